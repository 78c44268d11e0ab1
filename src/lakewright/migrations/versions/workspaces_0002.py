"""Everybody keeps what they could use of each workspace that is there already, now that it can be taken away."""

import sqlalchemy as sa
from alembic import op

revision = "workspaces_0002"
down_revision = "workspaces_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    for right in ("workspace-access", "databricks-sql-access"):
        connection.execute(
            sa.text(
                'INSERT INTO grants (object_id, principal, "right", granted_by, granted_at)'
                " SELECT id, 'users', :right, 'system', created_at FROM objects"
                " WHERE parent_id IS NULL AND kind = 'workspace' AND deleted_at IS NULL"
            ),
            {"right": right},
        )
    connection.execute(sa.text("UPDATE epoch SET epoch = epoch + 1 WHERE id = 1"))


def downgrade() -> None:
    op.execute("DELETE FROM grants WHERE \"right\" IN ('workspace-access', 'databricks-sql-access')")
