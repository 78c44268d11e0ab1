"""Every secret scope has a key of its own, wrapped."""

import sqlalchemy as sa
from alembic import op

revision = "workspace_0002"
down_revision = "workspace_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workspace_scope_keys",
        sa.Column("scope_id", sa.Text, primary_key=True),
        sa.Column("wrapped", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("workspace_scope_keys")
