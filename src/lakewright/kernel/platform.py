"""The platform in one process: its store, writer, policy, services, and the way every call takes."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast
from uuid import uuid4

import orjson

from lakewright.kernel import audit, hosts, ids, keys, migrate, roots
from lakewright.kernel.answers import Answer
from lakewright.kernel.audit import Entry
from lakewright.kernel.clock import Clock, SystemClock
from lakewright.kernel.config import Settings
from lakewright.kernel.context import ACCOUNT_HOME, NOBODY, SYSTEM, Ctx, Principal, PrincipalKind, RequestInfo
from lakewright.kernel.controllers import Running, fenced
from lakewright.kernel.faults import Denied, Fault, Misdirected, NotFound, Unauthenticated, honest
from lakewright.kernel.objects import new_id
from lakewright.kernel.operation import ASYNC, IN_TX, OUTSIDE, SNAPSHOT, Operation, recordable
from lakewright.kernel.policy import Policy
from lakewright.kernel.rules import PUBLIC
from lakewright.kernel.store import SqliteStore, Tx, open_store
from lakewright.kernel.vault import Vault
from lakewright.kernel.writer import Turn, Writer

T = TypeVar("T")
log = logging.getLogger(__name__)

Op = Operation[Any, Any]
Fields = dict[str, Any]


class Authenticator(Protocol):
    """Whose credential this is; Unauthenticated when it is nobody's. Called in the deciding transaction."""

    def __call__(self, platform: "Platform", tx: Tx, credential: str) -> Principal: ...


class Limit(Protocol):
    """Denied when a token that is limited to scopes does not cover the operation."""

    def __call__(self, who: Principal, operation: Op) -> None: ...


class Redacts(Protocol):
    """Masks the secrets that a task has looked up."""

    def text(self, data: str) -> str: ...
    def values(self, value: Any) -> Any: ...


Redacting = Callable[[Tx, str], Redacts | None]
"""By the id of a task's token: what it must not leave behind; None if it has looked up nothing."""


class Platform:
    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.store = open_store(settings.database_url, settings.sqlite_path)
        self.sole = isinstance(self.store, SqliteStore)
        self.node = _node(settings.data_dir)
        self.policy = Policy(self.clock.now)
        self.authenticator: Authenticator = _nobody
        self.redacting: Redacting = lambda tx, token_id: None
        self.limit: Limit = _not_limited
        self.loop: asyncio.AbstractEventLoop | None = None
        self._services: dict[type[Any], Any] = {}
        self._closing: list[Callable[[], None]] = []
        self._running: Running | None = None
        self._readers = ThreadPoolExecutor(4, thread_name_prefix="reader")
        self._workers = ThreadPoolExecutor(32, thread_name_prefix="worker")
        self.writer = Writer(self.store, self._seal, committed=self._committed, rolled_back=self.policy.forget)
        try:
            migrate.migrate(self.store)
            self.keys = keys.load(settings, self.store)
        except BaseException:
            self.store.close()  # whoever mends it and tries again must find the file free
            raise
        self.vault = Vault(self.keys)
        self.provide(self.vault)
        self.writer.start()
        self.account, self.workspace = self.writer.submit(self._plant)
        """Ids of the account and of its first workspace."""
        self.live: set[str] = set()
        """Notes of work that this process is doing outside of transactions."""
        self.recover()

    # services

    def provide(self, service: object, as_type: type[Any] | None = None) -> None:
        self._services[as_type or type(service)] = service

    def the(self, service: type[T]) -> T:
        found = self._services.get(service)
        if found is None:
            found = next((s for s in self._services.values() if isinstance(s, service)), None)
        if found is None:
            raise LookupError(f"no {service.__name__} was provided at start-up")
        return found

    def closes(self, act: Callable[[], None]) -> None:
        """Run `act` when the platform stops, last added first."""
        self._closing.append(act)

    def start(self) -> None:
        """Start the controllers."""
        self._running = Running(self)
        self._running.start()

    def stop(self) -> None:
        if self._running is not None:
            self._running.stop()
        for act in reversed(self._closing):
            try:
                act()
            except Exception:
                log.exception("a service did not stop cleanly")
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._workers.shutdown(wait=False, cancel_futures=True)
        self.writer.stop()
        self.store.close()

    def wake(self, *topics: str) -> None:
        self._committed(set(topics))

    # principals

    def principal(
        self,
        tx: Tx,
        principal_id: str,
        *,
        scopes: frozenset[str] | None = None,
        token_id: str = "",
        run_by: str = "",
        home: str = "",
    ) -> Principal:
        """A living, active principal with all its groups. Unauthenticated if it is gone or deactivated."""
        if principal_id == SYSTEM.id:
            return SYSTEM
        known = self.policy.principal(tx, principal_id)
        if known is None or not known.active:
            raise Unauthenticated("this principal is no longer active")
        kind = cast("PrincipalKind", known.kind)
        return Principal(
            principal_id, known.name, kind, self.policy.closure(tx, principal_id), scopes, token_id, run_by, home
        )

    # workspaces

    def place(self, tx: Tx, request: RequestInfo) -> hosts.Place:
        """What the host of a request stands for; Misdirected when nothing of ours is called that."""
        host = request.headers.get("host", "localhost")
        found = self.policy.place(tx, host, self.settings, self.workspace)
        if found is None:
            raise Misdirected(f"no workspace answers at '{host[:300]}'; see the settings base_host and public_url")
        return found

    def workspace_for(self, tx: Tx, request: RequestInfo, who: Principal, here: hosts.Place) -> str:
        """The workspace that a request at this place is for, empty for the account's; Denied when what it says does
        not agree."""
        headers = request.headers
        named = headers.get(hosts.HEADERS[0]) or headers.get(hosts.HEADERS[1]) or ""
        if request.account is not None:
            if request.account != self.account:
                raise NotFound(f"account '{request.account[:50]}' does not exist")
            workspace = ""
        else:
            home = "" if who.home == ACCOUNT_HOME else who.home
            workspace = here.workspace if here.fixed else named or home or here.workspace
        if named:
            self._agree(tx, named, headers, here)
        if who.home == ACCOUNT_HOME:
            if here.fixed and request.account is None:
                raise Denied("this token is for the account, and no good at a workspace's host")
        elif who.home and who.home != workspace and (request.account is None or who.run_by):
            raise Denied("this token was made in another workspace, and is good only there")
        return workspace

    def _agree(self, tx: Tx, named: str, headers: Mapping[str, str], here: hosts.Place) -> None:
        """Whatever names the workspace names the same one."""
        if any(headers.get(header, named) != named for header in hosts.HEADERS):
            raise Denied(f"{hosts.HEADERS[0]} and {hosts.HEADERS[1]} name two workspaces")
        if here.fixed and named != here.workspace:
            raise Denied(f"{hosts.HEADERS[0]} names workspace '{named[:50]}', which is not the one at this host")
        if not here.fixed and named not in self.policy.labels(tx).values():
            raise _outside(named)

    def require_inside(self, who: Principal, workspace: str) -> None:
        """Nobody does anything in a workspace they are not assigned to, themselves or through a group."""
        if roots.users_of(workspace) not in who.ids and who.id != SYSTEM.id:
            raise _outside(workspace)

    # transactions for controllers and services

    def system(self, workspace: str = "", **more: Any) -> Ctx:
        """The platform itself, in the first workspace unless another is said."""
        return Ctx(SYSTEM, workspace or self.workspace, RequestInfo(ids.request()), self, **more)

    def transact(self, act: Callable[[Ctx], T], principal: str | None = None, workspace: str = "") -> T:
        """A short write, as the platform itself or as a principal; durable when it returns."""

        def work(turn: Turn) -> T:
            ctx = self.system(workspace, turn=turn)
            return act(ctx.as_principal(principal) if principal else ctx)

        return self.writer.submit(fenced(work))

    def snapshot(self, act: Callable[[Ctx], T], principal: str | None = None, workspace: str = "") -> T:
        with self.store.snapshot() as tx:
            ctx = self.system(workspace, snapshot_tx=tx)
            return act(ctx.as_principal(principal) if principal else ctx)

    # the way every call takes

    async def handle(
        self, operation: Op, request: RequestInfo, credential: str | Principal, fields: Fields | Fault
    ) -> Answer:
        """A request from outside: authenticate, decide, run, record; the answer, or a Fault."""
        call = Call(self, operation, request, credential, fields)
        loop = asyncio.get_running_loop()
        if operation.runs == IN_TX:
            return await self.writer.submit_async(call.in_tx)
        if operation.runs == SNAPSHOT:
            result = await loop.run_in_executor(self._readers, call.in_snapshot)
            await self.writer.submit_async(call.record)
            return _or_raise(result)
        if operation.runs == OUTSIDE:
            await self.writer.submit_async(call.admit)
            result = await loop.run_in_executor(self._workers, call.outside)
            await self.writer.submit_async(call.finish)
            return _or_raise(result)
        if self.sole:
            refused = call.decide_in_snapshot()
        else:
            refused = await loop.run_in_executor(self._readers, call.decide_in_snapshot)
        result = refused or await call.on_loop()
        await self.writer.submit_async(call.record)
        return _or_raise(result)

    def call(
        self,
        principal: str | Principal,
        operation: Op,
        request: RequestInfo | None = None,
        workspace: str | None = None,
        /,
        **fields: Any,
    ) -> Any:
        """The same from inside the process, blocking: controllers, the CLI's own server side. `workspace`: which it is
        for; None: the request says, else the first."""
        who = self.snapshot(lambda ctx: self.principal(ctx.tx, principal)) if isinstance(principal, str) else principal
        call = Call(self, operation, request or RequestInfo(ids.request()), who, fields, workspace)
        if operation.runs == IN_TX:
            return self.writer.submit(fenced(call.in_tx))
        if operation.runs == SNAPSHOT:
            result = call.in_snapshot()
            self.writer.submit(call.record)
            return _or_raise(result)
        if operation.runs == OUTSIDE:
            self.writer.submit(fenced(call.admit))
            result = call.outside()
            self.writer.submit(call.finish)
            return _or_raise(result)
        if self.loop is None:
            raise RuntimeError(f"{operation.name} runs on the event loop, and no server is running")
        refused = call.decide_in_snapshot()
        result = refused or asyncio.run_coroutine_threadsafe(call.on_loop(), self.loop).result()
        self.writer.submit(call.record)
        return _or_raise(result)

    def call_within(self, ctx: Ctx, operation: Op, fields: Fields) -> Any:
        """An operation called by another: in its transaction if it has one."""
        if not ctx.in_transaction:
            return self.call(ctx.principal, operation, ctx.request, ctx.workspace, **fields)
        if operation.runs in (OUTSIDE, ASYNC):
            raise RuntimeError(f"{operation.name} does I/O and cannot be called inside a transaction")
        call = Call(self, operation, ctx.request, ctx.principal, fields, ctx.workspace)
        if ctx.turn is not None:
            return call.in_tx(ctx.turn)
        assert ctx.snapshot_tx is not None
        result = call.within_snapshot(ctx.snapshot_tx)
        self.writer.submit(call.record)
        return _or_raise(result)

    async def would_refuse(self, operation: Op, request: RequestInfo, credential: str, fields: Fields) -> bool:
        """Whether a request would be refused as things are: asked before a large body is taken in."""
        call = Call(self, operation, request, credential, fields)
        return await asyncio.get_running_loop().run_in_executor(self._readers, call.decide_in_snapshot) is not None

    async def record_stray(
        self, request: RequestInfo, credential: str, method: str, path: str, fault: Fault | None
    ) -> None:
        """A request that reached no operation is on record too, with whose it was."""

        def work(turn: Turn) -> None:
            entry = _entry(self, request, "http", f"unknown {method}", {})
            entry.address = path[:2000]
            redacts: Redacts | None = None
            with suppress(Fault):
                entry.workspace = self.place(turn.tx, request).workspace
            try:
                who = self.authenticator(self, turn.tx, credential)
                _asking(entry, who)
                redacts = self.redacting(turn.tx, who.token_id) if who.run_by else None
            except Unauthenticated:
                entry.because = "no valid credential; nothing is there that would ask for one"
            if fault is None:
                entry.status = 204
            else:
                _note(entry, fault)
            if redacts is not None:
                _mask(entry, redacts)
            turn.entries.append(entry)

        await self.writer.submit_async(work)

    # private

    def _seal(self, tx: Tx, entries: Any) -> None:
        audit.seal(tx, entries, self.keys.audit)

    def _committed(self, topics: set[str]) -> None:
        if self._running is not None:
            self._running.wake(topics)

    def _plant(self, turn: Turn) -> tuple[str, str]:
        tx = turn.tx
        if (planted := roots.planted(tx)) is not None:
            audit.adopt(tx, self.keys.audit)
            return planted
        now, workspace_id = self.clock.now(), new_id(roots.WORKSPACE)
        audit.begin(tx, self.keys.audit)
        account_id = roots.plant(tx, now=now, workspace_id=workspace_id, workspace_name=self.settings.workspace)
        return account_id, workspace_id

    def recover(self) -> None:
        """Requests that a crash cut off, or whose end could not be recorded, get their audit row now."""

        def work(turn: Turn) -> None:
            for row in turn.tx.all("SELECT request_id, entry FROM inflight WHERE node = ?", self.node):
                if row["request_id"] in self.live:
                    continue
                entry = Entry(**orjson.loads(row["entry"]))
                entry.status, entry.error = 500, "its end is not on record; what it did may be partial"
                turn.entries.append(entry)
                turn.tx.run("DELETE FROM inflight WHERE request_id = ?", row["request_id"])

        self.writer.submit(work)


class Call:
    """One call of one operation on its way through authentication, decision, body and record."""

    def __init__(
        self,
        platform: Platform,
        operation: Op,
        request: RequestInfo,
        credential: str | Principal,
        fields: Fields | Fault,
        workspace: str | None = None,
    ) -> None:
        """`workspace`: of a call from inside; None: the request says."""
        self.platform, self.operation, self.request = platform, operation, request
        self._workspace = workspace
        self._credential = credential
        self._ask: Any = None
        self._malformed: Fault | None = None
        self._recorded: dict[str, Any] = {}
        self._target: Any = None
        self._fields = fields
        self._redacts: Redacts | None = None
        self._entry: Entry
        self._ctx: Ctx
        try:
            if isinstance(fields, Fault):
                raise fields
            self._ask = operation.parse(fields)
            self._recorded = recordable(self._ask)
        except Fault as fault:
            self._malformed = fault

    def _new_entry(self) -> Entry:
        """A turn may be repeated, so each attempt fills in an entry of its own."""
        return _entry(self.platform, self.request, self.operation.service, self.operation.audit, self._recorded)

    def in_tx(self, turn: Turn) -> Any:
        entry = self._new_entry()
        turn.entries.append(entry)
        try:
            ctx = self._decide(turn.tx, entry, turn=turn)
            return _answered(entry, self.operation.run(ctx, self._target, self._ask))
        except BaseException as error:
            self._failed(entry, error)
            raise

    def in_snapshot(self) -> Any:
        """The answer or the exception; the entry is left for `record`."""
        with self.platform.store.snapshot() as tx:
            return self.within_snapshot(tx)

    def within_snapshot(self, tx: Tx) -> Any:
        self._entry = self._new_entry()
        try:
            ctx = self._decide(tx, self._entry, snapshot_tx=tx)
            return _answered(self._entry, self.operation.run(ctx, self._target, self._ask))
        except Exception as error:
            self._failed(self._entry, error)
            return Failed(error)

    def decide_in_snapshot(self) -> "Failed | None":
        self._entry = self._new_entry()
        with self.platform.store.snapshot() as tx:
            try:
                self._ctx = replace(self._decide(tx, self._entry, snapshot_tx=tx), snapshot_tx=None)
            except Exception as error:
                self._failed(self._entry, error)
                return Failed(error)
        return None

    async def on_loop(self) -> Any:
        try:
            return _answered(self._entry, await self.operation.run(self._ctx, self._target, self._ask))
        except Exception as error:
            self._failed(self._entry, error)
            return Failed(error)

    def record(self, turn: Turn) -> None:
        turn.entries.append(self._entry)

    def admit(self, turn: Turn) -> None:
        """Decide on work that happens outside; a note of it stays until `finish`, so that a crash is on record.

        What cannot be recorded must not happen: the trail is asked first, because afterwards it is too late.
        """
        entry = self._new_entry()
        audit.rehearse(turn.tx)
        try:
            self._ctx = replace(self._decide(turn.tx, entry, turn=turn), turn=None)
        except BaseException as error:
            self._failed(entry, error)
            turn.entries.append(entry)
            raise
        self._entry = entry
        self.platform.live.add(self._inflight)
        turn.tx.run(
            "INSERT INTO inflight (request_id, node, entry) VALUES (?, ?, ?)",
            self._inflight, self.platform.node, orjson.dumps(entry.__dict__, default=str).decode(),
        )  # fmt: skip

    def outside(self) -> Any:
        try:
            return _answered(self._entry, self.operation.run(self._ctx, self._target, self._ask))
        except Exception as raised:
            error = honest(raised)
            self._failed(self._entry, error)
            return Failed(error)

    def finish(self, turn: Turn) -> None:
        self.platform.live.discard(self._inflight)  # should this fail, `recover` finds the note
        turn.tx.run("DELETE FROM inflight WHERE request_id = ?", self._inflight)
        turn.entries.append(self._entry)

    @property
    def _inflight(self) -> str:
        return f"{self.request.request_id}/{id(self)}"

    def _decide(self, tx: Tx, entry: Entry, *, turn: Turn | None = None, snapshot_tx: Tx | None = None) -> Ctx:
        platform, who = self.platform, NOBODY
        here: hosts.Place | None = None
        if self._workspace is None and self.request.account is None:
            here = platform.place(tx, self.request)
            entry.workspace = here.workspace
        if self.operation.needs is not PUBLIC:
            given = self._credential
            who = given if isinstance(given, Principal) else platform.authenticator(platform, tx, given)
            _asking(entry, who)
            if who.run_by:
                self._keep_back(tx, who, entry)
            if who.scopes is not None and not isinstance(given, Principal):
                platform.limit(who, self.operation)
        workspace = self._where(tx, who, here)
        self.request.workspace = entry.workspace = workspace
        if workspace and who is not NOBODY:
            platform.require_inside(who, workspace)
        ctx = Ctx(who, workspace, self.request, platform, turn, snapshot_tx, entry)
        if self._malformed is not None:
            raise self._malformed
        self._target = self.operation.decide(ctx, self._ask, entry)
        return ctx

    def _where(self, tx: Tx, who: Principal, here: hosts.Place | None) -> str:
        if self._workspace is not None:
            return self._workspace
        return self.platform.workspace_for(tx, self.request, who, here or self.platform.place(tx, self.request))

    def _keep_back(self, tx: Tx, who: Principal, entry: Entry) -> None:
        """A task hands secrets that it has looked up to nobody else: they are masked in what it asks to be kept."""
        self._redacts = self.platform.redacting(tx, who.token_id)
        if self._redacts is None or self._malformed is not None or isinstance(self._fields, Fault):
            return
        if not self.operation.verbatim:
            own = self.operation.secret_fields
            shown = {k: v if k in own else self._redacts.values(v) for k, v in self._fields.items()}
            try:
                self._ask = self.operation.parse(shown)
            except Fault as fault:
                self._malformed = fault
        entry.ask = self._recorded = self._redacts.values(recordable(self._ask))

    def _failed(self, entry: Entry, error: BaseException) -> None:
        _note(entry, error)
        if self._redacts is not None:
            _mask(entry, self._redacts)


class Failed:
    """An exception as a value, so that the record is written before it is raised."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _answered(entry: Entry, answer: Any) -> Any:
    """The answer, its status on record when it is not the usual 200."""
    if not isinstance(answer, dict):
        entry.status = getattr(answer, "status", 200)
    return answer  # pyright: ignore[reportUnknownVariableType]


def _or_raise(result: Any) -> Any:
    if isinstance(result, Failed):
        raise result.error
    return result


def _entry(platform: Platform, request: RequestInfo, service: str, action: str, ask: Fields) -> Entry:
    return Entry(
        at=platform.clock.now(), request_id=request.request_id, workspace="", source=request.source,
        user_agent=request.user_agent, service=service, action=action, ask=ask,
        client_request_id=request.client_request_id,
    )  # fmt: skip


def _asking(entry: Entry, who: Principal) -> None:
    entry.who, entry.who_name = who.id, who.name
    if who.run_by:
        entry.run_as, entry.run_by = who.name, who.run_by


def _mask(entry: Entry, redacts: Redacts) -> None:
    entry.error, entry.because = redacts.text(entry.error), redacts.text(entry.because)
    entry.address = redacts.text(entry.address)


def _note(entry: Entry, error: BaseException) -> None:
    """What became of a request that failed. A body may refuse what the guard let through: then that is the decision."""
    if not isinstance(error, Fault):
        entry.status, entry.error = 500, type(error).__name__
        return
    entry.status, entry.error = error.status, str(error)[:2000]
    if error.status in (401, 403) and entry.decision != "refused":
        entry.decision, entry.because = "refused", entry.error


def _outside(workspace: str) -> Denied:
    return Denied(f"you are not assigned to workspace '{workspace[:50]}': ask one of its administrators")


def _not_limited(who: Principal, operation: Op) -> None:
    raise Denied("tokens with scopes are not understood here")


def _nobody(platform: Platform, tx: Tx, credential: str) -> Principal:
    raise Unauthenticated("no way to sign in is set up")


def _node(data_dir: Path) -> str:
    """This node's name: made once, kept, so that it finds its own unfinished work after a crash."""
    path = data_dir / "node"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(uuid4().hex)
    return path.read_text().strip()
