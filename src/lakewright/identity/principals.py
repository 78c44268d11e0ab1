"""What users, groups and service principals have in common: a row that grants may name, and an object to govern it.

These are plain functions inside a transaction, without a guard of their own: SCIM calls them after its guard, sign-in
by OpenID Connect after its own decision. Whoever calls them has decided that it may.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar
from unicodedata import normalize

from pydantic import BaseModel

from lakewright.identity import workspace_access
from lakewright.kernel import objects, policy, roots
from lakewright.kernel.context import Ctx, PrincipalKind
from lakewright.kernel.faults import AlreadyExists, Invalid, NotSupported
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.roots import ACCOUNT, ADMINS, USERS
from lakewright.kernel.rules import Condition
from lakewright.kernel.store import Duplicate, Row

S = TypeVar("S", bound=BaseModel)


Texts = Iterable[tuple[str, int, str, str]]
"""What filters look up: (path, number of the value, attribute, text as compared)."""

RESOURCE = {"user": "Users", "group": "Groups", "service_principal": "ServicePrincipals"}
TYPE = {"user": "User", "group": "Group", "service_principal": "ServicePrincipal"}
NAMED = {"user": "username", "group": "displayname", "service_principal": "applicationid"}
"""The attribute that is the principal's name."""


# entitlements and roles


@dataclass(frozen=True)
class Assignment:
    """What may stand in SCIM's `entitlements` or `roles`: declared by the capability that enforces it.

    `rows` is a SELECT of (principal_id, value); `write` makes the values of a principal exactly these.
    """

    values: tuple[str, ...]
    rows: Callable[[Ctx], Condition]
    write: Callable[[Ctx, str, frozenset[str]], None]


ASSIGNMENTS: dict[str, Assignment] = {}
"""By attribute: "entitlements", "roles". What is not here is refused: nothing would enforce it."""


def assignable(attribute: str) -> tuple[str, ...]:
    found = ASSIGNMENTS.get(attribute)
    return found.values if found is not None else ()


def assign(ctx: Ctx, principal_id: str, attribute: str, values: Iterable[str]) -> None:
    """Make these, and no others, the principal's entitlements or roles."""
    wanted = frozenset(values)
    refuse_unassignable(attribute, wanted)
    if attribute in ASSIGNMENTS:
        ASSIGNMENTS[attribute].write(ctx, principal_id, wanted)
        _touch(ctx, principal_id)


def refuse_unassignable(attribute: str, values: Iterable[str]) -> None:
    possible = assignable(attribute)
    if unknown := sorted(set(values) - set(possible)):
        offered = f"; possible: {', '.join(possible)}" if possible else ""
        raise NotSupported(f"{attribute}: nothing enforces {', '.join(unknown)}{offered}")


def assigned(ctx: Ctx, attribute: str, principal_ids: list[str]) -> dict[str, list[str]]:
    """What each of these principals has of it."""
    found: dict[str, list[str]] = {}
    if attribute not in ASSIGNMENTS:
        return found
    rows = ASSIGNMENTS[attribute].rows(ctx)
    for some in _chunks(principal_ids):
        sql = (
            f"SELECT a.principal_id, a.value FROM ({rows.sql}) a WHERE a.principal_id IN ({_marks(some)}) ORDER BY 1, 2"
        )
        for row in ctx.tx.all(sql, *rows.params, *some):
            found.setdefault(str(row["principal_id"]), []).append(str(row["value"]))
    return found


# making, naming, ending


def create(
    ctx: Ctx, kind: Kind[S], what: PrincipalKind, name: str, display: str, spec: S, id: str | None = None,
    texts: Texts = (),
) -> Obj[S]:  # fmt: skip
    """Make the principal, owned by the administrators. People and machines join the group of all users, and are
    assigned to the workspace that the request was for, if it was for one."""
    name = _checked(ctx, what, name)
    principal_id = id or objects.new_id(kind)
    inserted = ctx.tx.run(
        "INSERT INTO principals (id, kind, name, display_name, active, created_at) VALUES (?, ?, ?, ?, 1, ?)"
        " ON CONFLICT DO NOTHING",
        principal_id, what, name, display, ctx.now(),
    )  # fmt: skip
    if not inserted:
        raise AlreadyExists(f"a principal called '{name}' already exists")
    made = objects.create(ctx, kind, name, spec, under=objects.find(ctx, ACCOUNT, ""), owner=ADMINS, id=principal_id)
    set_texts(ctx, principal_id, texts or basic_texts(what, name, display, getattr(spec, "external_id", None)))
    if what != "group":
        add_member(ctx, USERS, principal_id)
        if ctx.workspace:
            workspace_access.assign(ctx, principal_id)
    return made


def rename(ctx: Ctx, principal: Obj[S], what: PrincipalKind, name: str) -> Obj[S]:
    """Another name for the same principal: its id, and with it all that was granted to it, stays."""
    name = _checked(ctx, what, name, itself=principal.id)
    try:
        ctx.tx.run("UPDATE principals SET name = ? WHERE id = ?", name, principal.id)
    except Duplicate as error:
        raise AlreadyExists(f"a principal called '{name}' already exists") from error
    policy.bump(ctx.tx)
    return objects.rename(ctx, principal, name)


def _checked(ctx: Ctx, what: PrincipalKind, name: str, itself: str = "") -> str:
    """The name as it is stored; AlreadyExists for one that only its case tells apart from another."""
    name = normalize("NFC", name.strip().lower() if what == "user" else name)
    if not name.strip() or len(name) > 255 or any(ord(c) < 32 for c in name):
        raise Invalid("a principal's name has 1 to 255 printable characters")
    path = NAMED[what]
    alike = ctx.tx.one(
        "SELECT v.principal_id FROM scim_values v JOIN principals p ON p.id = v.principal_id"
        " WHERE v.path = ? AND v.text = ? AND p.kind = ? AND p.deleted_at IS NULL AND p.id <> ?",
        path, name if path == "applicationid" else fold(name), what, itself,
    )  # fmt: skip
    if alike is not None:
        raise AlreadyExists(f"a {what.replace('_', ' ')} called '{name}' already exists")
    return name


def is_active(ctx: Ctx, principal_id: str) -> bool:
    return bool(ctx.tx.scalar("SELECT active FROM principals WHERE id = ?", principal_id))


def set_active(ctx: Ctx, principal_id: str, active: bool) -> None:
    """A deactivated principal's tokens stop at once, here and on every node: each request looks."""
    if active == is_active(ctx, principal_id):
        return
    if not active and principal_id == ctx.principal.id:
        raise Invalid("active: you cannot deactivate yourself")
    ctx.tx.run("UPDATE principals SET active = ? WHERE id = ?", int(active), principal_id)
    _touch(ctx, principal_id)
    policy.bump(ctx.tx)
    if not active:
        keep_an_administrator(ctx)


def rows(ctx: Ctx, principal_ids: list[str]) -> list[Row]:
    """What all principals have, deleted ones too: id, name, display_name, active."""
    found: list[Row] = []
    for some in _chunks(principal_ids):
        found += ctx.tx.all(
            f"SELECT id, name, display_name, active FROM principals WHERE id IN ({_marks(some)})", *some
        )
    return found


def display_name(ctx: Ctx, principal_id: str) -> str:
    return str(ctx.tx.scalar("SELECT display_name FROM principals WHERE id = ?", principal_id) or "")


def set_display_name(ctx: Ctx, principal_id: str, name: str) -> None:
    if ctx.tx.run(
        "UPDATE principals SET display_name = ? WHERE id = ? AND display_name <> ?", name, principal_id, name
    ):
        _touch(ctx, principal_id)


def find(ctx: Ctx, what: PrincipalKind, name: str) -> str | None:
    """The id of the living principal of that name, in any case a person may write it in."""
    folded = name if what == "service_principal" else fold(name)
    found = ctx.tx.scalar(
        "SELECT v.principal_id FROM scim_values v JOIN principals p ON p.id = v.principal_id"
        " WHERE v.path = ? AND v.text = ? AND p.kind = ? AND p.deleted_at IS NULL",
        NAMED[what], folded, what,
    )  # fmt: skip
    return str(found) if found is not None else None


# membership


def add_member(ctx: Ctx, group_id: str, member_id: str) -> None:
    """Put a principal into a group. A group that would end up inside itself is refused."""
    add_members(ctx, group_id, [member_id])


def add_members(ctx: Ctx, group_id: str, member_ids: Iterable[str]) -> None:
    wanted = list(dict.fromkeys(member_ids))
    known = {str(r["id"]): str(r["kind"]) for r in _living(ctx, wanted)}
    above = ctx.platform.policy.closure(ctx.tx, group_id)
    for member_id in wanted:
        if member_id not in known:
            raise Invalid(f"members: there is no principal with id '{member_id}'")
        if member_id in above:
            raise Invalid("a group cannot be a member of itself, directly or through others")
    added = 0
    for member_id in wanted:
        added += ctx.tx.run(
            "INSERT INTO members (group_id, member_id) VALUES (?, ?) ON CONFLICT DO NOTHING", group_id, member_id
        )
    if added:
        _touch(ctx, group_id)
        policy.bump(ctx.tx)
        workspace_access.joined(ctx, group_id, wanted)


def remove_member(ctx: Ctx, group_id: str, member_id: str) -> None:
    remove_members(ctx, group_id, [member_id])


def remove_members(ctx: Ctx, group_id: str, member_ids: Iterable[str]) -> None:
    removed = 0
    for some in _chunks(list(member_ids)):
        removed += ctx.tx.run(
            f"DELETE FROM members WHERE group_id = ? AND member_id IN ({_marks(some)})", group_id, *some
        )
    if removed:
        _touch(ctx, group_id)
        policy.bump(ctx.tx)
        keep_an_administrator(ctx)


def set_members(ctx: Ctx, group_id: str, member_ids: Iterable[str]) -> None:
    """Make these, and no others, the members of the group."""
    wanted, now = set(member_ids), set(member_ids_of(ctx, group_id))
    add_members(ctx, group_id, sorted(wanted - now))
    remove_members(ctx, group_id, sorted(now - wanted))


def set_groups(ctx: Ctx, principal_id: str, group_ids: Iterable[str], *, among: Iterable[str] | None = None) -> None:
    """Make these the groups that hold the principal itself. `among` bounds what may be left: an identity provider's
    claims do not take somebody out of a group that was made here. The group of all users is never left."""
    wanted = set(group_ids)
    rows = ctx.tx.all("SELECT group_id FROM members WHERE member_id = ?", principal_id)
    now = {group for r in rows if not roots.is_built_in(group := str(r["group_id"]))} - {USERS}
    for group_id in sorted(wanted - now):
        add_members(ctx, group_id, [principal_id])
    for group_id in sorted((now - wanted) & (set(among) if among is not None else now)):
        remove_members(ctx, group_id, [principal_id])


def member_ids_of(ctx: Ctx, group_id: str) -> list[str]:
    return [str(r["member_id"]) for r in ctx.tx.all("SELECT member_id FROM members WHERE group_id = ?", group_id)]


def members(ctx: Ctx, group_id: str, base_url: str = "") -> list[dict[str, Any]]:
    rows = ctx.tx.all(
        "SELECT p.id, p.kind, p.display_name FROM members m JOIN principals p ON p.id = m.member_id"
        " WHERE m.group_id = ? ORDER BY p.name",
        group_id,
    )
    return [
        {
            "value": r["id"], "display": r["display_name"], "type": TYPE[str(r["kind"])],
            "$ref": f"{base_url}/{RESOURCE[str(r['kind'])]}/{r['id']}",
        }
        for r in rows
    ]  # fmt: skip


def groups_of(ctx: Ctx, principal_ids: list[str], base_url: str = "") -> dict[str, list[dict[str, Any]]]:
    """Every group each principal is in, direct or through another, as SCIM says it."""
    direct: dict[str, set[str]] = {}
    for some in _chunks(principal_ids):
        sql = f"SELECT group_id, member_id FROM members WHERE member_id IN ({_marks(some)})"
        for row in ctx.tx.all(sql, *some):
            direct.setdefault(str(row["member_id"]), set()).add(str(row["group_id"]))
    closure = ctx.platform.policy.closure
    above = {group: closure(ctx.tx, group) for group in set[str]().union(*direct.values())}
    names: dict[str, str] = {}
    found: dict[str, list[dict[str, Any]]] = {}
    for principal_id, groups in direct.items():
        for group in sorted(frozenset[str]().union(*(above[g] for g in groups))):
            if roots.is_built_in(group):  # to be let into a workspace is an assignment, shown as one
                continue
            if group not in names:
                names[group] = ctx.name_of(group)
            found.setdefault(principal_id, []).append({
                "value": group, "display": names[group], "type": "direct" if group in groups else "indirect",
                "$ref": f"{base_url}/Groups/{group}",
            })  # fmt: skip
    return found


def keep_an_administrator(ctx: Ctx) -> None:
    """Refuse what would leave nobody who can sign in and administer."""
    left = ctx.tx.one(
        "WITH RECURSIVE down(id) AS (SELECT CAST(? AS TEXT) UNION SELECT m.member_id FROM members m JOIN down"
        " ON m.group_id = down.id) SELECT p.id FROM down JOIN principals p ON p.id = down.id"
        " WHERE p.kind <> 'group' AND p.active = 1 AND p.deleted_at IS NULL LIMIT 1",
        ADMINS,
    )
    if left is None:
        raise Invalid("the last administrator cannot be removed")


# what filters look up


def fold(text: str) -> str:
    """How a text without case is compared (RFC 7643 §2.3.1); the same form that scim2-models compares in."""
    return normalize("NFC", normalize("NFC", text).lower())


def basic_texts(what: PrincipalKind, name: str, display: str, external_id: str | None) -> Texts:
    """Of a principal that was not made by a SCIM payload."""
    path = NAMED[what]
    found = {path: name if path == "applicationid" else fold(name)}
    if display and display != name:
        found["displayname"] = fold(display)
    if external_id:
        found["externalid"] = external_id
    return [(name, 0, name, text) for name, text in found.items()]


def set_texts(ctx: Ctx, principal_id: str, texts: Texts) -> None:
    ctx.tx.run("DELETE FROM scim_values WHERE principal_id = ?", principal_id)
    ctx.tx.many(
        "INSERT INTO scim_values (principal_id, path, entry, head, text) VALUES (?, ?, ?, ?, ?)",
        [(principal_id, *each) for each in texts],
    )


# private


def _touch(ctx: Ctx, principal_id: str) -> None:
    """Another version of the resource: its members or its activity are not in its spec."""
    ctx.tx.run(
        "UPDATE objects SET version = version + 1, updated_at = ?, updated_by = ? WHERE id = ?",
        ctx.now(), ctx.principal.id, principal_id,
    )  # fmt: skip


def _living(ctx: Ctx, ids: list[str]) -> Iterable[Any]:
    for some in _chunks(ids):
        yield from ctx.tx.all(
            f"SELECT id, kind FROM principals WHERE deleted_at IS NULL AND id IN ({_marks(some)})", *some
        )


def _chunks(ids: list[str], size: int = 500) -> Iterable[list[str]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def _marks(values: list[str]) -> str:
    return ", ".join("?" * len(values))
