"""The objects everything else sits under: the account, its metastore and its workspaces."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import uuid4

from pydantic import BaseModel

from lakewright.kernel.kinds import Kind
from lakewright.kernel.store import Tx

if TYPE_CHECKING:
    from lakewright.kernel.context import Ctx


class Root(BaseModel):
    """Almost nothing of its own: what a root holds is below it."""

    deployment_name: str = ""
    """Of a workspace: the first label of its host name."""


ACCOUNT = Kind("account", example=Root())
METASTORE = Kind("metastore", example=Root())
WORKSPACE = Kind("workspace", example=Root(), ids="number")
IN_ACCOUNT = ACCOUNT.at("")
IN_METASTORE = METASTORE.at("")
IN_WORKSPACE = WORKSPACE.at("")

ADMINS = "admins"
"""The account's administrators: they own the account and its metastore, and are in every workspace's `admins_of`."""
USERS = "users"
"""Everybody in the account."""

ENTITLEMENTS = ("workspace-access", "databricks-sql-access")
"""Rights on a workspace without which nothing of it, or nothing of its SQL, may be used: see `entitlements`."""
BY_DEFAULT = ENTITLEMENTS
"""Which of them everybody holds in a new workspace, as the group of all users."""

FURNISHES: "list[Callable[[Ctx], None]]" = []
"""Called in each new workspace, in the transaction that makes it, for what it begins with; may be called again."""

CLOSES: "list[Callable[[Ctx], None]]" = []
"""Called in a workspace that is about to be deleted; raises a Fault while something there must not go."""


def admins_of(workspace: str) -> str:
    """The group that owns a workspace."""
    return f"{workspace}-admins"


def users_of(workspace: str) -> str:
    """The group whose members may enter a workspace; its administrators are in it."""
    return f"{workspace}-users"


def is_built_in(group: str) -> bool:
    """Whether it is one of a workspace's own two groups. All other ids are numbers, `admins` or `users`."""
    return group.endswith(("-admins", "-users"))


def planted(tx: Tx) -> tuple[str, str] | None:
    """The ids of the account and of the first workspace, once they are there."""
    first = "SELECT id FROM objects WHERE parent_id IS NULL AND kind = ? ORDER BY created_at, id LIMIT 1"
    found = [tx.scalar(first, kind.name) for kind in (ACCOUNT, WORKSPACE)]
    return (str(found[0]), str(found[1])) if None not in found else None


def plant(tx: Tx, *, now: int, workspace_id: str, workspace_name: str) -> str:
    """Make the account, owned by the administrators' group, its metastore, and a first workspace; the account's id."""
    account_id = str(uuid4())
    for group in (ADMINS, USERS):
        _group(tx, group, now)
    for kind, root_id in ((ACCOUNT, account_id), (METASTORE, str(uuid4()))):
        _root(tx, kind, root_id, "", kind.name, ADMINS, Root(), now)
    label = workspace_name.lower()
    plant_workspace(tx, now=now, workspace_id=workspace_id, name=workspace_name, deployment_name=label)
    return account_id


def plant_workspace(tx: Tx, *, now: int, workspace_id: str, name: str, deployment_name: str) -> None:
    """Make a workspace, owned by administrators of its own; the account's are among them."""
    plant_groups(tx, now=now, workspace_id=workspace_id)
    spec = Root(deployment_name=deployment_name)
    _root(tx, WORKSPACE, workspace_id, workspace_id, name, admins_of(workspace_id), spec, now)
    for right in BY_DEFAULT:
        tx.run(
            'INSERT INTO grants (object_id, principal, "right", granted_by, granted_at) VALUES (?, ?, ?, ?, ?)',
            workspace_id, USERS, right, "system", now,
        )  # fmt: skip


def plant_groups(tx: Tx, *, now: int, workspace_id: str) -> None:
    for group in (admins_of(workspace_id), users_of(workspace_id)):
        _group(tx, group, now)
    for outer, inner in ((admins_of(workspace_id), ADMINS), (users_of(workspace_id), admins_of(workspace_id))):
        tx.run("INSERT INTO members (group_id, member_id) VALUES (?, ?) ON CONFLICT DO NOTHING", outer, inner)


def _group(tx: Tx, group: str, now: int) -> None:
    tx.run(
        "INSERT INTO principals (id, kind, name, display_name, active, created_at) VALUES (?, 'group', ?, ?, 1, ?)",
        group, group, group.rpartition("-")[2], now,
    )  # fmt: skip


def _root(tx: Tx, kind: Kind[Root], root_id: str, workspace: str, name: str, owner: str, spec: Root, now: int) -> None:
    tx.run(
        "INSERT INTO objects (id, kind, workspace, name, full_name, parent_id, owner, spec, version,"
        " created_at, created_by, updated_at, updated_by) VALUES (?, ?, ?, ?, ?, NULL, ?, ?, 1, ?, ?, ?, ?)",
        root_id, kind.name, workspace, name, "", owner, spec.model_dump_json(), now, "system", now, "system",
    )  # fmt: skip
    tx.run("INSERT INTO ancestry (object_id, ancestor_id, depth) VALUES (?, ?, 0)", root_id, root_id)
