"""Workspaces: separate places for teams in one installation, each with its own host name, people and administrators."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from lakewright.identity import credentials, workspace_access
from lakewright.kernel import hosts, objects, policy, roots
from lakewright.kernel.answers import Json
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import AlreadyExists, Invalid, NotFound, NotSupported
from lakewright.kernel.kinds import Target
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import Api, Ask, Nothing, Reply
from lakewright.kernel.roots import ACCOUNT, IN_ACCOUNT, IN_WORKSPACE, WORKSPACE, Root
from lakewright.kernel.rules import ADMIN, PER_ROW, Condition, Rule, Verdict

api = Api("accounts", "/api/2.0/accounts/{account_id}/workspaces")
mine = Api("accounts", "/api/2.0/preview/permissionassignments")


# ---- rule and target


@dataclass(frozen=True)
class AccountAdmin(Rule):
    """An administrator of the account, whatever the object: a workspace's own are not enough."""

    def __str__(self) -> str:
        return "to be an administrator of the account"

    def judge(self, ctx: Ctx, object_id: str) -> Verdict:
        is_admin = objects.find(ctx, ACCOUNT, "").owner in ctx.principal.ids
        return Verdict(is_admin, "administrator of the account" if is_admin else str(self))

    def covers(self, ctx: Ctx, object_id: str) -> bool:
        return bool(self.judge(ctx, object_id))

    def condition(self, ctx: Ctx) -> Condition:
        return Condition("1 = 1" if self.judge(ctx, "") else "1 = 0")


ACCOUNT_ADMIN = AccountAdmin()


def living(ctx: Ctx, workspace_id: str) -> Obj[Root]:
    """The workspace of that id. A stranger is refused the same whether there is one or not."""
    if workspace_id in ctx.platform.policy.labels(ctx.tx).values():
        return objects.find(ctx.in_workspace(workspace_id), WORKSPACE, "")
    if ACCOUNT_ADMIN.judge(ctx, ""):
        raise NotFound(f"there is no workspace '{workspace_id}'")
    return objects.find(ctx, ACCOUNT, "")  # on which no administrator of a workspace has anything


ONE = Target("{workspace_id}", WORKSPACE, is_id=True, finds=living)


# ---- asks


class InAccount(Ask):
    account_id: str


class CreateWorkspace(InAccount):
    workspace_name: str = Field(min_length=1, max_length=100)
    deployment_name: str | None = None


class One(InAccount):
    workspace_id: str


class UpdateWorkspace(One):
    workspace_name: str | None = Field(None, min_length=1, max_length=100)
    update_mask: str | None = None


Level = Literal["USER", "ADMIN", "UNKNOWN"]


class OfPrincipal(One):
    principal_id: str


class Assign(OfPrincipal):
    permissions: list[Level] = []


class MineOfPrincipal(Ask):
    principal_id: str


class AssignMine(MineOfPrincipal):
    permissions: list[Level] = []


# ---- workspaces


@api("POST", audit="createWorkspace", on=IN_ACCOUNT, needs=ACCOUNT_ADMIN)
def create(ctx: Ctx, account: Obj[Root], ask: CreateWorkspace) -> Json:
    """Make a workspace. Whoever makes it enters it as what they are, an administrator of the account."""
    name, label = ask.workspace_name.strip(), label_of(ask)
    if label in ctx.platform.policy.labels(ctx.tx) or _named(ctx, name):
        raise AlreadyExists(f"there is a workspace called '{name}' or deployed as '{label}' already")
    workspace_id = objects.new_id(WORKSPACE)
    roots.plant_workspace(ctx.tx, now=ctx.now(), workspace_id=workspace_id, name=name, deployment_name=label)
    policy.bump(ctx.tx)
    inside = ctx.in_workspace(workspace_id)
    for furnish in roots.FURNISHES:
        furnish(inside)
    return Json(show(ctx, living(ctx, workspace_id)), status=201)


@api("GET", audit="listWorkspaces", on=IN_ACCOUNT, needs=PER_ROW)
def list_(ctx: Ctx, account: Obj[Root], ask: InAccount) -> Json:
    """The workspaces that the caller may enter."""
    ids = sorted(ctx.platform.policy.labels(ctx.tx).values())
    return Json([show(ctx, living(ctx, w)) for w in ids if roots.users_of(w) in ctx.principal.ids])


@api("GET", "/{workspace_id}", audit="getWorkspace", on=ONE, needs=ADMIN)
def get(ctx: Ctx, workspace: Obj[Root], ask: One) -> Reply:
    return show(ctx, workspace)


@api("PATCH", "/{workspace_id}", audit="updateWorkspace", on=ONE, needs=ACCOUNT_ADMIN)
def update(ctx: Ctx, workspace: Obj[Root], ask: UpdateWorkspace) -> Reply:
    """Give it another name. Its host name stays: tokens, bookmarks and clients' settings hold it."""
    if ask.update_mask not in (None, "workspace_name"):
        raise NotSupported("updateWorkspace changes nothing but 'workspace_name'", field="update_mask")
    if ask.workspace_name and ask.workspace_name != workspace.name:
        if _named(ctx, ask.workspace_name):
            raise AlreadyExists(f"there is a workspace called '{ask.workspace_name}' already")
        ctx.tx.run(
            "UPDATE objects SET name = ?, version = version + 1, updated_at = ?, updated_by = ? WHERE id = ?",
            ask.workspace_name, ctx.now(), ctx.principal.id, workspace.id,
        )  # fmt: skip
    return show(ctx, living(ctx, workspace.id))


@api("DELETE", "/{workspace_id}", audit="deleteWorkspace", on=ONE, needs=ACCOUNT_ADMIN)
def delete(ctx: Ctx, workspace: Obj[Root], ask: One) -> Reply:
    """Delete it with everything in it; refused while something runs there. Its tokens and assignments end with it."""
    if workspace.id == ctx.platform.workspace:
        raise Invalid("the first workspace answers at the plain host and cannot be deleted")
    inside, shown = ctx.in_workspace(workspace.id), show(ctx, workspace)
    for close in roots.CLOSES:
        close(inside)
    objects.delete(inside, workspace, cascade=True)
    ctx.tx.run("UPDATE tokens SET revoked_at = ? WHERE home = ? AND revoked_at IS NULL", ctx.now(), workspace.id)
    for group in (roots.users_of(workspace.id), roots.admins_of(workspace.id)):
        credentials.end_principal(ctx, group)
    return shown


# ---- assignments, by the account or by the workspace itself


@api("GET", "/{workspace_id}/permissionassignments", audit="listWorkspacePermissionAssignments", on=ONE, needs=ADMIN)
def assigned(ctx: Ctx, workspace: Obj[Root], ask: One) -> Reply:
    return _assigned(ctx.in_workspace(workspace.id))


@api(
    "GET", "/{workspace_id}/permissionassignments/permissions", audit="listWorkspacePermissions", on=ONE, needs=ADMIN
)  # fmt: skip
def permissions(ctx: Ctx, workspace: Obj[Root], ask: One) -> Reply:
    said = {"USER": "May enter and use the workspace", "ADMIN": "May administer the workspace"}
    return {"permissions": [{"permission_level": level, "description": text} for level, text in said.items()]}


@api(
    "PUT", "/{workspace_id}/permissionassignments/principals/{principal_id}", audit="changeWorkspacePermissionAssignment",
    on=ONE, needs=ADMIN,
)  # fmt: skip
def assign(ctx: Ctx, workspace: Obj[Root], ask: Assign) -> Reply:
    """Let a person, a service principal or everybody in a group in; with no permissions, out again."""
    return _assign(ctx.in_workspace(workspace.id), ask.principal_id, ask.permissions)


@api(
    "DELETE", "/{workspace_id}/permissionassignments/principals/{principal_id}",
    audit="deleteWorkspacePermissionAssignment", on=ONE, needs=ADMIN,
)  # fmt: skip
def unassign(ctx: Ctx, workspace: Obj[Root], ask: OfPrincipal) -> Reply:
    return _unassign(ctx.in_workspace(workspace.id), ask.principal_id)


@mine("GET", audit="listPermissionAssignments", on=IN_WORKSPACE, needs=ADMIN)
def assigned_here(ctx: Ctx, workspace: Obj[Root], ask: Nothing) -> Reply:
    return _assigned(ctx)


@mine("PUT", "/principals/{principal_id}", audit="changePermissionAssignment", on=IN_WORKSPACE, needs=ADMIN)
def assign_here(ctx: Ctx, workspace: Obj[Root], ask: AssignMine) -> Reply:
    return _assign(ctx, ask.principal_id, ask.permissions)


@mine("DELETE", "/principals/{principal_id}", audit="deletePermissionAssignment", on=IN_WORKSPACE, needs=ADMIN)
def unassign_here(ctx: Ctx, workspace: Obj[Root], ask: MineOfPrincipal) -> Reply:
    return _unassign(ctx, ask.principal_id)


def _assigned(ctx: Ctx) -> Reply:
    return {"permission_assignments": [_assignment(dict(row), level) for row, level in workspace_access.assigned(ctx)]}


def _assign(ctx: Ctx, principal_id: str, wanted: list[Level]) -> Reply:
    if not {"USER", "ADMIN"} & set(wanted):
        return _unassign(ctx, principal_id)
    workspace_access.assign(ctx, principal_id, admin="ADMIN" in wanted)
    return next(
        _assignment(dict(row), level) for row, level in workspace_access.assigned(ctx) if row["id"] == principal_id
    )


def _unassign(ctx: Ctx, principal_id: str) -> Reply:
    if not workspace_access.unassign(ctx, principal_id):
        raise NotFound(f"principal '{principal_id}' is not assigned to this workspace")
    return {}


# ---- decisions


def label_of(ask: CreateWorkspace) -> str:
    """The first label of its host name: what was asked for, else its name as far as a host name can hold it."""
    asked = ask.deployment_name
    label = asked or "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in ask.workspace_name).split())
    label = label.lower()
    if not hosts.LABEL.fullmatch(label) or label == hosts.ACCOUNTS:
        raise Invalid(f"'{label}' cannot be part of a host name: give a deployment_name of letters, digits and hyphens")
    return label


def _named(ctx: Ctx, name: str) -> bool:
    return bool(
        ctx.tx.one(
            "SELECT id FROM objects WHERE parent_id IS NULL AND kind = 'workspace' AND deleted_at IS NULL AND name = ?",
            name,
        )
    )


# ---- show


def show(ctx: Ctx, workspace: Obj[Root]) -> Reply:
    label = workspace.spec.deployment_name
    return {
        "workspace_id": int(workspace.id), "workspace_name": workspace.name, "deployment_name": label,
        "account_id": objects.find(ctx, ACCOUNT, "").id, "creation_time": workspace.created_at,
        "workspace_status": "RUNNING", "workspace_status_message": "Workspace is running.",
        "workspace_url": hosts.url_of(label, ctx.settings, hosts.port_of(ctx.request.headers.get("host", ""))),
    }  # fmt: skip


def _assignment(row: dict[str, Any], level: str) -> Reply:
    names = {"user": "user_name", "group": "group_name", "service_principal": "service_principal_name"}
    principal_id: int | str = int(row["id"]) if row["id"].isdecimal() else row["id"]
    principal = {
        "principal_id": principal_id, "display_name": row["display_name"], names[row["kind"]]: row["name"],
    }  # fmt: skip
    return {"principal": principal, "permissions": [level]}
