"""Reading and writing governed objects. There is no way here to list without a rule."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from lakewright.kernel import ids, policy
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import AlreadyExists, Conflict, Invalid, NotFound
from lakewright.kernel.kinds import KINDS, Kind
from lakewright.kernel.roots import WORKSPACE
from lakewright.kernel.rules import Rule
from lakewright.kernel.store import Duplicate, Row

S = TypeVar("S", bound=BaseModel)

COLUMNS = (
    "id, kind, workspace, name, full_name, parent_id, owner, spec, version, created_at, created_by, updated_at,"
    " updated_by"
)


@dataclass(frozen=True)
class Obj(Generic[S]):
    """One object. Principals are ids, times milliseconds."""

    id: str
    kind: str
    workspace: str
    name: str
    full_name: str
    parent_id: str | None
    owner: str
    version: int
    created_at: int
    created_by: str
    updated_at: int
    updated_by: str
    spec: S


def find(ctx: Ctx, kind: Kind[S], full_name: str) -> Obj[S]:
    """The object of that name in the caller's workspace; of a root kind, the empty name is the root itself."""
    if kind.under is None:
        return _root(ctx, kind, full_name)
    row = ctx.tx.one(
        f"SELECT {COLUMNS} FROM objects WHERE workspace = ? AND kind = ? AND full_name = ? AND deleted_at IS NULL",
        _workspace(ctx, kind), kind.name, kind.fold(full_name),
    )  # fmt: skip
    if row is None:
        raise NotFound(f"{kind.name} '{full_name}' does not exist")
    return loaded(kind, row)


def by_id(ctx: Ctx, kind: Kind[S], object_id: str) -> Obj[S]:
    row = ctx.tx.one(
        f"SELECT {COLUMNS} FROM objects WHERE id = ? AND kind = ? AND workspace = ? AND deleted_at IS NULL",
        object_id, kind.name, _workspace(ctx, kind),
    )  # fmt: skip
    if row is None:
        raise NotFound(f"{kind.name} '{object_id}' does not exist")
    return loaded(kind, row)


def again(ctx: Ctx, obj: Obj[S]) -> Obj[S]:
    """The same object as it is now in this transaction."""
    kind: Kind[S] = KINDS[obj.kind]
    row = ctx.tx.one(f"SELECT {COLUMNS} FROM objects WHERE id = ? AND deleted_at IS NULL", obj.id)
    if row is None:
        raise NotFound(f"{obj.kind} '{obj.full_name}' does not exist")
    return loaded(kind, row)


def parent(ctx: Ctx, obj: Obj[Any]) -> Obj[Any]:
    row = ctx.tx.one(f"SELECT {COLUMNS} FROM objects WHERE id = ?", obj.parent_id)
    if row is None:
        raise NotFound(f"{obj.kind} '{obj.full_name}' has nothing above it")
    return loaded(KINDS[str(row["kind"])], row)


def loaded(kind: Kind[S], row: Row) -> Obj[S]:
    return Obj(
        row["id"], row["kind"], row["workspace"], row["name"], row["full_name"], row["parent_id"], row["owner"],
        row["version"], row["created_at"], row["created_by"], row["updated_at"], row["updated_by"],
        kind.spec.model_validate_json(row["spec"]),
    )  # fmt: skip


def visible(
    ctx: Ctx, kind: Kind[S], needs: Rule, *, under: Obj[Any] | None = None, after: str = "", limit: int | None = None
) -> list[Obj[S]]:
    """What the rule lets the caller see, ordered by full name; below `under` (any depth) when that is given."""
    above = under or _root(ctx, kind.root, "")
    where, params = ["o.workspace = ?", "o.full_name > ?", "o.deleted_at IS NULL"], [_workspace(ctx, kind), after]
    tail: list[Any] = []
    if under is not None and under.parent_id is not None:
        where.append("o.id IN (SELECT object_id FROM ancestry WHERE ancestor_id = ?)")
        tail.append(under.id)
    if needs.covers(ctx, above.id):
        where.append("o.kind = ?")
        tail.append(kind.name)
    else:
        condition = needs.condition(ctx)
        # `|| ''` keeps the planner off the index on kind: the few ids the rule allows must drive the query.
        where += ["o.kind || '' = ?", condition.sql]
        tail += [kind.name, *condition.params]
    sql = f"SELECT {COLUMNS} FROM objects o WHERE {' AND '.join(where)} ORDER BY o.full_name"
    if limit is not None:
        sql += f" LIMIT {int(limit)}"
    return [loaded(kind, row) for row in ctx.tx.all(sql, *params, *tail)]


def page(
    ctx: Ctx, kind: Kind[S], needs: Rule, *, under: Obj[Any] | None = None, size: int | None, token: str | None
) -> tuple[list[Obj[S]], str | None]:
    """One page of `visible` and the token of the next; a token is good for its caller and its listing only."""
    if size is not None and size < 0:
        raise Invalid("max_results cannot be negative")
    bound = f"{ctx.principal.id}:{kind.name}:{under.id if under else ''}"
    after = open_token(ctx, token, bound) if token else ""
    if not size:
        return visible(ctx, kind, needs, under=under, after=after), None
    found = visible(ctx, kind, needs, under=under, after=after, limit=size + 1)
    if len(found) <= size:
        return found, None
    return found[:size], seal_token(ctx, found[size - 1].full_name, bound)


def seal_token(ctx: Ctx, position: str, bound: str) -> str:
    """A page token: a position, authenticated for one listing of one caller in one workspace."""
    mark = _mark(ctx, position, bound)
    return base64.urlsafe_b64encode(mark + position.encode()).decode().rstrip("=")


def open_token(ctx: Ctx, token: str, bound: str) -> str:
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        position = raw[16:].decode()
    except (ValueError, UnicodeDecodeError) as error:
        raise Invalid("page_token is not one that this listing gave out") from error
    mark = _mark(ctx, position, bound)
    if not hmac.compare_digest(mark, raw[:16]):
        raise Invalid("page_token is not one that this listing gave out")
    return position


def _mark(ctx: Ctx, position: str, bound: str) -> bytes:
    said = f"{ctx.workspace}\0{bound}\0{position}"
    return hmac.new(ctx.platform.keys.pages, said.encode(), hashlib.sha256).digest()[:16]


def create(
    ctx: Ctx, kind: Kind[S], name: str, spec: S, *, under: Obj[Any], owner: str | None = None, id: str | None = None
) -> Obj[S]:
    """Make an object below `under`; its creator owns it unless `owner` says who. AlreadyExists if the name is taken."""
    object_id, now, who = id or new_id(kind), ctx.now(), ctx.principal.id
    name = kind.fold(name)
    full_name = f"{under.full_name}{kind.separator}{name}" if under.full_name else name
    made = Obj(
        object_id, kind.name, _workspace(ctx, kind), name, full_name if kind.unique_names else object_id, under.id,
        owner or who, 1, now, who, now, who, spec,
    )  # fmt: skip
    # Not by catching Duplicate: a caller may go on after AlreadyExists, and an error ends a Postgres transaction.
    inserted = ctx.tx.run(
        f"INSERT INTO objects ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        made.id, made.kind, made.workspace, made.name, made.full_name, made.parent_id, made.owner,
        spec.model_dump_json(), made.version, now, who, now, who,
    )  # fmt: skip
    if not inserted:
        raise AlreadyExists(f"{kind.name} '{full_name}' already exists")
    ctx.tx.run(
        "INSERT INTO ancestry (object_id, ancestor_id, depth) SELECT ?, ancestor_id, depth + 1 FROM ancestry"
        " WHERE object_id = ? UNION ALL SELECT ?, ?, 0",
        made.id, under.id, made.id, made.id,
    )  # fmt: skip
    return made


def update(ctx: Ctx, obj: Obj[S], **changes: Any) -> Obj[S]:
    """Change fields of the spec. Conflict if somebody changed the object since it was read."""
    spec = type(obj.spec).model_validate({**dict(obj.spec), **changes})
    return replace_spec(ctx, obj, spec)


def replace_spec(ctx: Ctx, obj: Obj[S], spec: S) -> Obj[S]:
    _write(ctx, obj, "spec = ?", spec.model_dump_json())
    return again(ctx, obj)


def set_owner(ctx: Ctx, obj: Obj[S], principal_id: str) -> Obj[S]:
    kind: Kind[S] = KINDS[obj.kind]
    if kind.before_transfer is not None and principal_id != obj.owner:
        kind.before_transfer(ctx, obj, principal_id)
    _write(ctx, obj, "owner = ?", principal_id)
    policy.bump(ctx.tx)
    return again(ctx, obj)


def rename(ctx: Ctx, obj: Obj[S], name: str) -> Obj[S]:
    """Give it another name under the same parent; everything below it is renamed with it."""
    kind: Kind[S] = KINDS[obj.kind]
    name = kind.fold(name)
    if not kind.unique_names:
        _write(ctx, obj, "name = ?", name)
        return again(ctx, obj)
    base = obj.full_name[: len(obj.full_name) - len(obj.name)]
    try:
        _write(ctx, obj, "name = ?, full_name = ?", name, base + name)
        for below in ctx.tx.all(
            "SELECT o.id, o.kind, o.full_name FROM objects o JOIN ancestry a ON a.object_id = o.id"
            " WHERE a.ancestor_id = ? AND a.depth > 0 AND o.deleted_at IS NULL",
            obj.id,
        ):
            if KINDS[str(below["kind"])].unique_names:
                moved = base + name + str(below["full_name"])[len(obj.full_name) :]
                ctx.tx.run("UPDATE objects SET full_name = ? WHERE id = ?", moved, below["id"])
    except Duplicate as error:
        raise AlreadyExists(f"{kind.name} '{base + name}' already exists") from error
    return again(ctx, obj)


def children(ctx: Ctx, obj: Obj[Any]) -> int:
    """How many living objects sit directly under it."""
    return int(ctx.tx.scalar("SELECT COUNT(*) FROM objects WHERE parent_id = ? AND deleted_at IS NULL", obj.id))


def delete(ctx: Ctx, obj: Obj[Any], *, cascade: bool = False) -> None:
    """Remove it. With anything under it: Conflict, unless `cascade`.

    The row stays as a tombstone: who held rights on it is told 404 afterwards, a stranger still 403, and a new object
    of the same name shares nothing with the old one.
    """
    if not cascade and children(ctx, obj):
        raise Conflict(
            f"{obj.kind} '{obj.full_name}' is not empty; delete what is in it first or force it", code="INVALID_STATE"
        )
    _ask_before_delete(ctx, obj)
    ctx.tx.run(
        "UPDATE objects SET deleted_at = ?, updated_at = ?, updated_by = ? WHERE deleted_at IS NULL AND id IN"
        " (SELECT object_id FROM ancestry WHERE ancestor_id = ?)",
        ctx.now(), ctx.now(), ctx.principal.id, obj.id,
    )  # fmt: skip
    policy.bump(ctx.tx)


def _ask_before_delete(ctx: Ctx, obj: Obj[Any]) -> None:
    asked = sorted({kind.name for kind in KINDS.values() if kind.before_delete is not None})
    if not asked:
        return
    rows = ctx.tx.all(
        f"SELECT {', '.join(f'o.{c.strip()}' for c in COLUMNS.split(','))} FROM objects o JOIN ancestry a ON"
        f" a.object_id = o.id WHERE a.ancestor_id = ? AND o.deleted_at IS NULL AND o.kind IN ({', '.join('?' * len(asked))})",
        obj.id, *asked,
    )  # fmt: skip
    for row in rows:
        kind = KINDS[str(row["kind"])]
        assert kind.before_delete is not None
        kind.before_delete(ctx, loaded(kind, row))


def new_id(kind: Kind[Any]) -> str:
    return ids.uuid() if kind.ids == "uuid" else ids.number()


def _write(ctx: Ctx, obj: Obj[Any], assignments: str, *values: Any) -> None:
    changed = ctx.tx.run(
        f"UPDATE objects SET {assignments}, version = version + 1, updated_at = ?, updated_by = ?"
        " WHERE id = ? AND version = ? AND deleted_at IS NULL",
        *values, ctx.now(), ctx.principal.id, obj.id, obj.version,
    )  # fmt: skip
    if not changed:
        raise Conflict(
            f"{obj.kind} '{obj.full_name}' was changed by somebody else at the same time; read it and repeat"
        )


def _workspace(ctx: Ctx, kind: Kind[Any]) -> str:
    return ctx.workspace if kind.root is WORKSPACE else ""


def _root(ctx: Ctx, kind: Kind[Any], address: str) -> Obj[Any]:
    row = ctx.tx.one(
        f"SELECT {COLUMNS} FROM objects WHERE kind = ? AND workspace = ? AND parent_id IS NULL",
        kind.name, _workspace(ctx, kind),
    )  # fmt: skip
    if row is None or address not in ("", row["id"], row["name"]):
        raise NotFound(f"{kind.name} '{address}' does not exist")
    return loaded(kind, row)
