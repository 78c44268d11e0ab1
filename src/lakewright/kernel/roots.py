"""The objects everything else sits under: the account, its metastore and its workspaces."""

from uuid import uuid4

from pydantic import BaseModel

from lakewright.kernel.kinds import Kind
from lakewright.kernel.store import Tx


class Root(BaseModel):
    """Nothing of its own: what a root holds is below it."""


ACCOUNT = Kind("account", example=Root())
METASTORE = Kind("metastore", example=Root())
WORKSPACE = Kind("workspace", example=Root(), ids="number")
IN_ACCOUNT = ACCOUNT.at("")
IN_METASTORE = METASTORE.at("")
IN_WORKSPACE = WORKSPACE.at("")

ADMINS = "admins"
USERS = "users"


def plant(tx: Tx, *, now: int, owner: str, workspace_id: str, workspace_name: str) -> None:
    """Make the roots, owned by the administrators' group."""
    for kind, root_id, name in (
        (ACCOUNT, str(uuid4()), "account"),
        (METASTORE, str(uuid4()), "metastore"),
        (WORKSPACE, workspace_id, workspace_name),
    ):
        tx.run(
            "INSERT INTO objects (id, kind, workspace, name, full_name, parent_id, owner, spec, version,"
            " created_at, created_by, updated_at, updated_by) VALUES (?, ?, ?, ?, ?, NULL, ?, '{}', 1, ?, ?, ?, ?)",
            root_id, kind.name, root_id if kind is WORKSPACE else "", name, "", owner, now, "system", now, "system",
        )  # fmt: skip
        tx.run("INSERT INTO ancestry (object_id, ancestor_id, depth) VALUES (?, ?, 0)", root_id, root_id)
