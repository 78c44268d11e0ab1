"""Who is asking, through what request, in which transaction."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from lakewright.kernel.faults import Invalid
from lakewright.kernel.store import Tx
from lakewright.kernel.writer import Turn

if TYPE_CHECKING:
    from lakewright.kernel.audit import Entry
    from lakewright.kernel.clock import Clock
    from lakewright.kernel.config import Settings
    from lakewright.kernel.operation import Operation
    from lakewright.kernel.platform import Platform

T = TypeVar("T")

PrincipalKind = Literal["user", "group", "service_principal", "system"]


@dataclass(frozen=True)
class Principal:
    """A person, a service principal or the platform itself. `ids` is what a grant may name and still mean it."""

    id: str
    name: str
    kind: PrincipalKind
    ids: frozenset[str] = frozenset()
    scopes: frozenset[str] | None = None
    """Scopes of the token it came with; None: all of its rights."""
    token_id: str = ""
    run_by: str = ""
    """Who set it in motion, by name, when it acts for a job: the one who started the run."""
    home: str = ""
    """The workspace its token is good in, or ACCOUNT_HOME; empty: wherever the principal may go."""


ACCOUNT_HOME = "account"
"""The home of tokens for the account's own operations, which are no good at a workspace's host."""

NOBODY = Principal("", "", "system")
SYSTEM = Principal("system", "system", "system", frozenset({"system"}))


@dataclass(slots=True)
class RequestInfo:
    """Where a request came from. In-process calls have their own."""

    request_id: str
    source: str = "internal"
    user_agent: str = ""
    base_url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """By lower-case name."""
    client_request_id: str = ""
    """What the client calls this request, for its own search; `request_id` is ours."""
    account: str | None = None
    """The account that its path names, when it is a request to the account."""
    workspace: str = ""
    """What it was found to be for; filled in when it is decided."""


@dataclass(slots=True)
class Ctx:
    """Handed to each operation. `tx` is there only inside a transaction (see `operation.IN_TX` and its fellows)."""

    principal: Principal
    workspace: str
    request: RequestInfo
    platform: "Platform"
    turn: Turn | None = None
    snapshot_tx: Tx | None = None
    entry: "Entry | None" = None
    """This call's audit entry, for what only its body can know."""

    @property
    def tx(self) -> Tx:
        if self.turn is not None:
            return self.turn.tx
        if self.snapshot_tx is not None:
            return self.snapshot_tx
        raise RuntimeError("no transaction here: an OUTSIDE operation uses ctx.transact or ctx.snapshot")

    @property
    def in_transaction(self) -> bool:
        return self.turn is not None or self.snapshot_tx is not None

    @property
    def clock(self) -> "Clock":
        return self.platform.clock

    @property
    def settings(self) -> "Settings":
        return self.platform.settings

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return self.platform.clock.now()

    def the(self, service: type[T]) -> T:
        """The service of this type that was provided at start-up."""
        return self.platform.the(service)

    def emit(self, topic: str, key: str, payload: dict[str, Any]) -> None:
        """Write an event in this transaction; its subscribers wake after the commit."""
        from lakewright.kernel import events

        events.emit(self, topic, key, payload)

    def call(self, operation: "Operation[Any, Any]", /, **fields: Any) -> Any:
        """Another operation as the same principal: guarded and recorded like any other."""
        return self.platform.call_within(self, operation, fields)

    def as_principal(self, principal_id: str) -> "Ctx":
        """Run-as. The caller of this has already checked that it may."""
        return replace(self, principal=self.platform.principal(self.tx, principal_id))

    def in_workspace(self, workspace: str) -> "Ctx":
        """The same, in another workspace: for what belongs to one that the caller of this knows."""
        return replace(self, workspace=workspace)

    def name_of(self, principal_id: str) -> str:
        """What a principal is called; its id when it is gone."""
        row = self.tx.one("SELECT name, display_name FROM principals WHERE id = ?", principal_id)
        if row is None:
            return principal_id
        # A workspace's own two groups are called alike in every workspace: `admins` and `users`.
        return str(row["display_name"] if "-" in principal_id else row["name"])

    def id_of(self, name: str) -> str:
        """The living principal of this name; Invalid when there is none."""
        found = self.tx.scalar("SELECT id FROM principals WHERE name = ? AND deleted_at IS NULL", name)
        if found is None:
            raise Invalid(f"Could not find principal with name {name}", code="PRINCIPAL_DOES_NOT_EXIST")
        return str(found)

    def transact(self, act: "Callable[[Ctx], T]") -> T:
        """A short write from outside a transaction: durable when this returns."""
        if self.turn is not None:
            return act(self)
        return self.platform.writer.submit(lambda turn: act(replace(self, turn=turn, snapshot_tx=None)))

    def snapshot(self, act: "Callable[[Ctx], T]") -> T:
        """A short read from outside a transaction."""
        if self.in_transaction:
            return act(self)
        with self.platform.store.snapshot() as tx:
            return act(replace(self, snapshot_tx=tx))

    def note_data(self, read: list[dict[str, Any]]) -> None:
        """Put on record which data this call reads."""
        if self.entry is not None:
            self.entry.data = [*(self.entry.data or []), *read]

    def redacted(self, text: str) -> str:
        """The text as it may be kept: without the secrets that the task which sent it has looked up."""
        if not self.principal.run_by:
            return text
        redacts = self.snapshot(lambda c: c.platform.redacting(c.tx, c.principal.token_id))
        return redacts.text(text) if redacts is not None else text

    def after_commit(self, act: Callable[[], None]) -> None:
        """In-memory consequences (wake a thread, drop a cache) once the transaction has become durable."""
        if self.turn is None:
            raise RuntimeError("only a writing transaction is followed by anything")
        self.turn.after_commit.append(act)
