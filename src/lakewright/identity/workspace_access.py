"""Access to workspaces: who may enter one, and who administers it.

A workspace has two groups of its own: its users, who may enter it, and among them its administrators, who own it. To
be assigned is to be in one of them, directly or through other groups, so that whoever is in neither is stopped at the
door by the membership sets that every request has at hand.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lakewright.kernel import policy
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid, NotFound
from lakewright.kernel.roots import ADMINS, admins_of, is_built_in, users_of
from lakewright.kernel.rules import ADMIN as ADMINISTRATOR
from lakewright.kernel.rules import Condition, Rule, Verdict
from lakewright.kernel.store import Row

USER, ADMIN = "USER", "ADMIN"

WELCOME: list[Callable[[Ctx, str, str], None]] = []
"""Called with the id and name of each person and service principal that comes into a workspace, in the transaction
that lets them in; possibly again for who is there already."""


@dataclass(frozen=True)
class AssignedToMine(Rule):
    """An administrator of the caller's workspace, of a principal assigned to it, itself or through a group."""

    def __str__(self) -> str:
        return "to be an administrator of a workspace that it is assigned to"

    def judge(self, ctx: Ctx, object_id: str) -> Verdict:
        here = self.condition(ctx)
        row = ctx.tx.one(f"SELECT 1 FROM (SELECT CAST(? AS TEXT) AS id) o WHERE {here.sql}", object_id, *here.params)
        return Verdict(row is not None, f"administrator of workspace {ctx.workspace}" if row else str(self))

    def covers(self, ctx: Ctx, object_id: str) -> bool:
        return False

    def condition(self, ctx: Ctx) -> Condition:
        if not ctx.workspace or admins_of(ctx.workspace) not in ctx.principal.ids:
            return Condition("1 = 0")
        here = assigned_ids(ctx)
        return Condition(f"o.id IN ({here.sql})", here.params)


ASSIGNED_TO_MINE = AssignedToMine()
SEE: Rule = ADMINISTRATOR | ASSIGNED_TO_MINE
"""To read a principal: of the account's administrators, and of those whose workspace it is assigned to."""


def assigned_ids(ctx: Ctx) -> Condition:
    """A SELECT of who is assigned to this workspace, itself or through a group. The account's administrators enter
    every workspace without being assigned to it, so they are not among them."""
    users, admins = users_of(ctx.workspace), admins_of(ctx.workspace)
    return Condition(
        "WITH RECURSIVE down(id) AS (SELECT member_id FROM members WHERE group_id IN (?, ?) AND member_id NOT IN (?, ?)"
        " UNION SELECT m.member_id FROM members m JOIN down ON m.group_id = down.id) SELECT id FROM down",
        (users, admins, admins, ADMINS),
    )


def assign(ctx: Ctx, principal_id: str, *, admin: bool = False) -> None:
    """Let a principal into this workspace, as a user or as one of its administrators and nothing else."""
    _require_assignable(ctx, principal_id)
    workspace = ctx.workspace
    to, other = (admins_of, users_of) if admin else (users_of, admins_of)
    _leave(ctx, other(workspace), principal_id)
    ctx.tx.run(
        "INSERT INTO members (group_id, member_id) VALUES (?, ?) ON CONFLICT DO NOTHING", to(workspace), principal_id
    )
    policy.bump(ctx.tx)
    welcome(ctx, [principal_id])


def unassign(ctx: Ctx, principal_id: str) -> bool:
    """Take an assignment back, with the tokens made under it if no group lets them in; whether there was one."""
    workspace = ctx.workspace
    had = _leave(ctx, users_of(workspace), principal_id) + _leave(ctx, admins_of(workspace), principal_id)
    policy.bump(ctx.tx)
    if users_of(workspace) not in ctx.platform.policy.closure(ctx.tx, principal_id):
        ctx.tx.run(
            "UPDATE tokens SET revoked_at = ? WHERE principal_id = ? AND home = ? AND revoked_at IS NULL",
            ctx.now(), principal_id, workspace,
        )  # fmt: skip
    return bool(had)


def assigned(ctx: Ctx) -> list[tuple[Row, str]]:
    """Who is assigned to this workspace directly, with what: their row of `principals`, and USER or ADMIN."""
    rows = ctx.tx.all(
        "SELECT p.id, p.kind, p.name, p.display_name, m.group_id FROM members m JOIN principals p ON p.id = m.member_id"
        " WHERE m.group_id IN (?, ?) AND p.deleted_at IS NULL ORDER BY p.name",
        users_of(ctx.workspace), admins_of(ctx.workspace),
    )  # fmt: skip
    return [
        (row, ADMIN if row["group_id"] == admins_of(ctx.workspace) else USER)
        for row in rows
        if not is_built_in(row["id"]) and row["id"] != ADMINS
    ]


def may_enter(ctx: Ctx, principal_id: str) -> bool:
    """Whether the principal is assigned to this workspace, itself or through a group."""
    return users_of(ctx.workspace) in ctx.platform.policy.closure(ctx.tx, principal_id)


def inside(ctx: Ctx) -> set[str]:
    """Every principal that may enter this workspace, groups too."""
    return _below(ctx, [users_of(ctx.workspace)])


def joined(ctx: Ctx, group_id: str, member_ids: Iterable[str]) -> None:
    """These joined a group: the workspaces that the group may enter welcome them."""
    for workspace in ctx.platform.policy.labels(ctx.tx).values():
        if users_of(workspace) in ctx.platform.policy.closure(ctx.tx, group_id):
            welcome(ctx.in_workspace(workspace), member_ids)


def welcome(ctx: Ctx, principals: Iterable[str]) -> None:
    """Welcome the people and machines among these principals and in their groups."""
    for member in sorted(_below(ctx, principals)):
        row = ctx.tx.one("SELECT kind, name FROM principals WHERE id = ? AND deleted_at IS NULL", member)
        if row is not None and row["kind"] != "group":
            for act in WELCOME:
                act(ctx, member, str(row["name"]))


def _below(ctx: Ctx, principals: Iterable[str]) -> set[str]:
    found = set[str]()
    for principal in principals:
        rows = ctx.tx.all(
            "WITH RECURSIVE down(id) AS (SELECT CAST(? AS TEXT) UNION SELECT m.member_id FROM members m JOIN down"
            " ON m.group_id = down.id) SELECT id FROM down",
            principal,
        )
        found |= {str(row["id"]) for row in rows}
    return found


def _leave(ctx: Ctx, group: str, principal_id: str) -> int:
    return ctx.tx.run("DELETE FROM members WHERE group_id = ? AND member_id = ?", group, principal_id)


def _require_assignable(ctx: Ctx, principal_id: str) -> None:
    if is_built_in(principal_id) or principal_id == ADMINS:
        raise Invalid(f"'{principal_id}' is a group of the platform's own: it is where it belongs")
    if ctx.tx.one("SELECT id FROM principals WHERE id = ? AND deleted_at IS NULL", principal_id) is None:
        raise NotFound(f"there is no principal with id '{principal_id}'", code="PRINCIPAL_DOES_NOT_EXIST")
