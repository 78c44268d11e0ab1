"""Where a token is good; administrators and users of each workspace that is there already."""

import json

import sqlalchemy as sa
from alembic import op

revision = "workspaces_0001"
down_revision = "identity_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tokens", sa.Column("home", sa.Text, nullable=False, server_default=""))
    connection = op.get_bind()
    found = sa.text(
        "SELECT id, name FROM objects WHERE parent_id IS NULL AND kind = 'workspace' ORDER BY created_at, id"
    )
    there = list(connection.execute(found))
    for workspace, name in there:
        _furnish(connection, workspace, name)
    if there:
        # The client's secrets and the first token are good everywhere, as they were.
        at_home = "UPDATE tokens SET home = :home WHERE kind IN ('personal', 'oauth', 'task', 'session')"
        connection.execute(sa.text(at_home), {"home": there[0][0]})
    connection.execute(sa.text("UPDATE epoch SET epoch = epoch + 1 WHERE id = 1"))


def _furnish(connection: sa.Connection, workspace: str, name: str) -> None:
    """The two groups of a workspace: everybody there is goes on entering it, and who administered it still does."""
    admins, users = f"{workspace}-admins", f"{workspace}-users"
    for group, shown in ((admins, "admins"), (users, "users")):
        connection.execute(
            sa.text(
                "INSERT INTO principals (id, kind, name, display_name, active, created_at)"
                " SELECT :id, 'group', :id, :shown, 1, created_at FROM principals WHERE id = 'admins'"
            ),
            {"id": group, "shown": shown},
        )
    for outer, inner in ((admins, "admins"), (users, admins)):
        connection.execute(
            sa.text("INSERT INTO members (group_id, member_id) VALUES (:o, :i)"), {"o": outer, "i": inner}
        )
    connection.execute(
        sa.text(
            "INSERT INTO members (group_id, member_id) SELECT :users, id FROM principals"
            " WHERE kind IN ('user', 'service_principal') AND deleted_at IS NULL"
        ),
        {"users": users},
    )
    connection.execute(
        sa.text("UPDATE objects SET owner = :owner, spec = :spec WHERE id = :id"),
        {"owner": admins, "spec": json.dumps({"deployment_name": name.lower()}), "id": workspace},
    )


def downgrade() -> None:
    op.drop_column("tokens", "home")
