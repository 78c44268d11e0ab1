"""What users, groups and service principals have in common: a row that grants may name, and an object to govern it."""

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel

from lakewright.kernel import objects, policy
from lakewright.kernel.context import Ctx, PrincipalKind
from lakewright.kernel.faults import AlreadyExists, Invalid
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.roots import ACCOUNT, ADMINS, USERS
from lakewright.kernel.store import Duplicate

S = TypeVar("S", bound=BaseModel)


WELCOME: list[Callable[[Ctx, str, str], None]] = []
"""Called with the id and name of each new person and service principal, in the transaction that makes it."""


def create(
    ctx: Ctx, kind: Kind[S], what: PrincipalKind, name: str, display: str, spec: S, id: str | None = None
) -> Obj[S]:
    """Make the principal, owned by the administrators; people and machines join the group of all users."""
    if not name.strip() or len(name) > 255 or any(ord(c) < 32 for c in name):
        raise Invalid("a principal's name has 1 to 255 printable characters")
    principal_id = id or objects.new_id(kind)
    try:
        ctx.tx.run(
            "INSERT INTO principals (id, kind, name, display_name, active, created_at) VALUES (?, ?, ?, ?, 1, ?)",
            principal_id, what, name, display, ctx.now(),
        )  # fmt: skip
    except Duplicate as error:
        raise AlreadyExists(f"a principal called '{name}' already exists") from error
    made = objects.create(ctx, kind, name, spec, under=objects.find(ctx, ACCOUNT, ""), owner=ADMINS, id=principal_id)
    if what != "group":
        add_member(ctx, USERS, principal_id)
        for welcome in WELCOME:
            welcome(ctx, principal_id, name)
    return made


def add_member(ctx: Ctx, group_id: str, member_id: str) -> None:
    """Put a principal into a group. A group that would end up inside itself is refused."""
    if group_id == member_id or member_id in ctx.platform.policy.closure(ctx.tx, group_id):
        raise Invalid("a group cannot be a member of itself, directly or through others")
    if ctx.tx.one("SELECT id FROM principals WHERE id = ? AND deleted_at IS NULL", member_id) is None:
        raise Invalid(f"members: there is no principal with id '{member_id}'")
    ctx.tx.run("INSERT INTO members (group_id, member_id) VALUES (?, ?) ON CONFLICT DO NOTHING", group_id, member_id)
    policy.bump(ctx.tx)


def remove_member(ctx: Ctx, group_id: str, member_id: str) -> None:
    ctx.tx.run("DELETE FROM members WHERE group_id = ? AND member_id = ?", group_id, member_id)
    policy.bump(ctx.tx)


def members(ctx: Ctx, group_id: str) -> list[dict[str, Any]]:
    rows = ctx.tx.all(
        "SELECT p.id, p.kind, p.display_name FROM members m JOIN principals p ON p.id = m.member_id"
        " WHERE m.group_id = ? ORDER BY p.name",
        group_id,
    )
    resource = {"user": "Users", "group": "Groups", "service_principal": "ServicePrincipals"}
    return [
        {"value": r["id"], "display": r["display_name"], "$ref": f"{resource[str(r['kind'])]}/{r['id']}"} for r in rows
    ]


def groups_of(ctx: Ctx, principal_id: str) -> list[dict[str, Any]]:
    """Every group the principal is in, direct or through another, as SCIM says it."""
    direct = {str(r["group_id"]) for r in ctx.tx.all("SELECT group_id FROM members WHERE member_id = ?", principal_id)}
    found: list[dict[str, Any]] = []
    for group_id in sorted(ctx.platform.policy.closure(ctx.tx, principal_id) - {principal_id}):
        found.append({
            "value": group_id, "display": ctx.name_of(group_id), "type": "direct" if group_id in direct else "indirect",
            "$ref": f"Groups/{group_id}",
        })  # fmt: skip
    return found


def is_active(ctx: Ctx, principal_id: str) -> bool:
    return bool(ctx.tx.scalar("SELECT active FROM principals WHERE id = ?", principal_id))


def set_active(ctx: Ctx, principal_id: str, active: bool) -> None:
    """A deactivated principal's tokens stop at once, here and on every node: each request looks."""
    if not active and principal_id == ctx.principal.id:
        raise Invalid("active: you cannot deactivate yourself")
    ctx.tx.run("UPDATE principals SET active = ? WHERE id = ?", int(active), principal_id)
    policy.bump(ctx.tx)


def display_name(ctx: Ctx, principal_id: str) -> str:
    return str(ctx.tx.scalar("SELECT display_name FROM principals WHERE id = ?", principal_id) or "")


def set_display_name(ctx: Ctx, principal_id: str, name: str) -> None:
    ctx.tx.run("UPDATE principals SET display_name = ? WHERE id = ?", name, principal_id)
