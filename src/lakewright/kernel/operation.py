"""The one door. An operation says what it needs; calling it finds its object, checks, records, then runs.

Where its body runs is part of the declaration:

    IN_TX     in the writer's transaction, together with its audit row (the default; quick database work only)
    SNAPSHOT  in a reader thread, on one read-only state of the database (lists and searches)
    OUTSIDE   in a worker thread with no transaction (files, queries, processes)
    ASYNC     a coroutine on the event loop with no transaction (proxying to a model)
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Generic, Literal, TypeVar, cast, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import SchemaValidator

from lakewright.kernel import entitlements, objects
from lakewright.kernel.answers import Answer
from lakewright.kernel.audit import Entry
from lakewright.kernel.context import Ctx
from lakewright.kernel.dialects import Dialect, databricks
from lakewright.kernel.faults import Fault, Invalid, NotFound, NotSupported
from lakewright.kernel.kinds import Kind, Target
from lakewright.kernel.objects import Obj
from lakewright.kernel.roots import WORKSPACE
from lakewright.kernel.rules import EVERYONE, PER_ROW, PUBLIC, Rule, denied

S = TypeVar("S", bound=BaseModel)
A = TypeVar("A", bound=BaseModel)
Reply = dict[str, Any]

Runs = Literal["in_tx", "snapshot", "outside", "async"]
Body = Literal["json", "form", "file", "raw", "multipart", "none"]
"""`multipart` takes JSON too; the bytes of a file part arrive as base64, as JSON would have them. `raw` bodies are
not parsed at all."""
IN_TX: Runs = "in_tx"
SNAPSHOT: Runs = "snapshot"
OUTSIDE: Runs = "outside"
ASYNC: Runs = "async"


class Ask(BaseModel):
    """The fields of a request. What is not named here is refused: nothing is stored and ignored."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, arbitrary_types_allowed=True)


class Nothing(Ask):
    """The request of an operation that takes no fields."""


@dataclass(frozen=True, kw_only=True)
class Operation(Generic[S, A]):
    service: str
    audit: str
    verb: str
    path: str
    also: tuple[str, ...]
    on: Target[S]
    needs: Rule
    ask: type[A]
    run: Callable[[Ctx, Obj[S], A], Any]
    dialect: Dialect
    runs: Runs
    body: Body
    large: bool
    verbatim: bool
    doc: str

    @property
    def name(self) -> str:
        return f"{self.service}.{self.audit}"

    @property
    def routes(self) -> tuple[tuple[str, str], ...]:
        return tuple((self.verb, path) for path in (self.path, *self.also))

    @cached_property
    def _validator(self) -> SchemaValidator:
        """The ask's own, with every integer held to what a database column can hold."""
        # Not prebuilt: that would be the validator of the class, without the bounds.
        return SchemaValidator(_bounded(self.ask.__pydantic_core_schema__), _use_prebuilt=False)

    @cached_property
    def secret_fields(self) -> frozenset[str]:
        """Fields that are made to hold secrets."""
        found = {n: i.alias for n, i in self.ask.model_fields.items() if "Secret" in str(i.annotation)}
        return frozenset([*found, *(alias for alias in found.values() if alias)])

    @cached_property
    def entitled(self) -> entitlements.Needed:
        """What of the workspace one must be allowed to use before anything else is asked."""
        assert self.on.kind is not None
        return () if self.needs is PUBLIC else entitlements.needed(self.service, self.on.kind)

    def parse(self, fields: dict[str, Any]) -> A:
        """The request's fields as an ask; Invalid names the field, NotSupported a field nobody enforces."""
        try:
            return cast("A", self._validator.validate_python(fields))
        except ValidationError as error:
            raise self._refusal(error) from error

    def decide(self, ctx: Ctx, ask: A, entry: Entry) -> Obj[S]:
        """Find the object and check the rule; the entry learns what was decided and why."""
        kind, address = self.on.of(ask.__dict__)
        entry.kind, entry.address = kind.name, address
        entitlements.require(ctx, self.entitled if self.on.kind is not None else entitled_to(kind))
        target = self._find(ctx, kind, address)
        entry.object_id = target.id
        verdict = self.needs.judge(ctx, target.id)
        entry.because = verdict.because
        entry.decision = "allowed" if verdict else "refused"
        if not verdict:
            raise denied(ctx, verdict, kind.name, address or target.name)
        return target

    def _find(self, ctx: Ctx, kind: Kind[Any], address: str) -> Obj[Any]:
        is_id = not kind.unique_names if self.on.is_id is None else self.on.is_id
        try:
            if self.on.finds is not None:
                return self.on.finds(ctx, address)
            return objects.by_id(ctx, kind, address) if is_id else objects.find(ctx, kind, address)
        except NotFound:
            if (included := self._included(ctx, kind, address)) is not None:
                return included
            above = nearest_above(ctx, kind, address, is_id=is_id)
            if self.needs in (EVERYONE, PER_ROW, PUBLIC):
                raise
            verdict = self.needs.judge(ctx, above)
            if verdict:
                raise
            # A stranger learns nothing here: the same refusal as for an object that exists.
            raise denied(ctx, verdict, kind.name, address) from None

    def _included(self, ctx: Ctx, kind: Kind[Any], address: str) -> Obj[Any] | None:
        """The object of another kind that a request naming this one may mean."""
        for other in kind.includes if self.on.kind_named else ():
            try:
                return objects.find(ctx, other, address)
            except NotFound:
                continue
        return None

    def _refusal(self, error: ValidationError) -> Fault:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            return NotSupported(f"{self.audit} does not support the field '{where}'", field=where)
        if first["type"] == "missing":
            return Invalid(f"{self.audit}: '{where}' is required")
        if isinstance(fault := first.get("ctx", {}).get("error"), Fault):
            return fault
        return Invalid(f"{self.audit}: '{where}': {first['msg']}")


_PLAIN = {str, int, bool, float, type(None)}
"""Values that are recorded as they are; a secret is of a type of its own and never among them."""


def _bounded(schema: Any) -> Any:
    """The schema with bounds on integers that have none: 64 bits, as in SQLite, Postgres and Parquet."""
    if isinstance(schema, dict):
        given = cast("dict[str, Any]", schema)
        copied = {k: v if k in ("metadata", "serialization") else _bounded(v) for k, v in given.items()}
        if given.get("type") == "int":
            copied.setdefault("le", 2**63 - 1)
            copied.setdefault("ge", -(2**63))
        return copied
    if isinstance(schema, (list, tuple)):
        return type(schema)(map(_bounded, cast("list[Any]", schema)))  # type: ignore[reportUnknownVariableType]
    return schema


def recordable(ask: BaseModel) -> dict[str, Any]:
    """The ask as the audit trail keeps it: secrets starred, bodies left out, long texts cut."""
    given = {name: ask.__dict__.get(name) for name in ask.model_fields_set}
    if _serializes(type(ask)) or not _PLAIN.issuperset(map(type, given.values())):
        given = ask.model_dump(mode="json", exclude_unset=True, fallback=lambda value: f"<{type(value).__name__}>")
    return {name: _short(value) for name, value in given.items()}


@cache
def _serializes(ask: type[BaseModel]) -> bool:
    """Whether it says of a field that it is left out of records or written in another way, or takes other fields."""
    own = ask.__pydantic_decorators__
    hidden = any(info.exclude for info in ask.model_fields.values())
    return hidden or ask.model_config.get("extra") == "allow" or bool(own.field_serializers or own.model_serializers)


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > 2000:
        return f"{value[:2000]}… ({len(value)} characters)"
    return value


def nearest_above(ctx: Ctx, kind: Kind[Any], address: str, *, is_id: bool = False) -> str:
    """The id of what would be above a missing object: its tombstone if it was there once, else the nearest by name."""
    column = "id" if is_id or not kind.unique_names else "full_name"
    gone = ctx.tx.one(
        f"SELECT id FROM objects WHERE kind = ? AND {column} = ? AND deleted_at IS NOT NULL"
        " AND workspace IN ('', ?) ORDER BY deleted_at DESC LIMIT 1",
        kind.name, kind.fold(address), ctx.workspace,
    )  # fmt: skip
    if gone is not None:
        return str(gone["id"])
    if kind.separator == "/" and not is_id:  # folders: what is above a path is a path
        name = address
        while name := name.rpartition("/")[0]:
            try:
                return objects.find(ctx, kind, name).id
            except NotFound:
                continue
    above, name = kind.under, address
    while above is not None and above.under is not None and not is_id:
        name = name.rpartition(kind.separator)[0]
        try:
            return objects.find(ctx, above, name).id
        except NotFound:
            above = above.under
    return objects.find(ctx, kind.root, "").id


OPERATIONS: list[Operation[Any, Any]] = []


def entitled_to(kind: Kind[Any]) -> entitlements.Needed:
    """What it takes to get to objects of the kind by an API for all kinds: the same as by their own. The workspace
    itself is got to by entering it."""
    if kind is WORKSPACE:
        return ()
    service = next((o.service for o in OPERATIONS if o.on.kind is kind and kind.under is not None), "")
    return entitlements.needed(service, kind)


@dataclass(frozen=True)
class Api:
    """A family of operations under one base path, audited as one service, failing in one dialect."""

    service: str
    base: str
    dialect: Dialect = databricks

    def __call__(
        self,
        verb: str,
        path: str = "",
        *,
        audit: str,
        on: Target[S],
        needs: Rule,
        also: tuple[str, ...] = (),
        runs: Runs | None = None,
        body: Body = "json",
        large: bool = False,
        verbatim: bool = False,
    ) -> Callable[[Callable[[Ctx, Obj[S], A], Any]], Operation[S, A]]:
        """Declare an operation. `path` is below the base; `also` are further whole paths; a `large` one takes bodies up
        to the larger limit, because it carries data. A `verbatim` one needs its fields as they were sent, for an
        engine that keeps none of them: secrets that a task has looked up are masked in the record only."""

        def declare(run: Callable[[Ctx, Obj[S], A], Any]) -> Operation[S, A]:
            ask = list(get_type_hints(run).values())[2]
            where = runs or (SNAPSHOT if verb in ("GET", "HEAD") and needs is PER_ROW else IN_TX)
            operation = Operation(
                service=self.service, audit=audit, verb=verb, path=self.base + path, also=also, on=on, needs=needs,
                ask=ask, run=run, dialect=self.dialect, runs=where, body=body, large=large, verbatim=verbatim,
                doc=(run.__doc__ or "").strip(),
            )  # fmt: skip
            OPERATIONS.append(operation)
            return operation

        return declare


__all__ = [
    "ASYNC", "IN_TX", "OPERATIONS", "OUTSIDE", "SNAPSHOT", "Answer", "Api", "Ask", "Nothing", "Operation", "Reply",
]  # fmt: skip
