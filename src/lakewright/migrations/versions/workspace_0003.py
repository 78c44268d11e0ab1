"""Which secrets a task has looked up, so that they are masked in what it leaves behind."""

import sqlalchemy as sa
from alembic import op

revision = "workspace_0003"
down_revision = "workspace_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workspace_secrets_seen",
        sa.Column("token_id", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("scope_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("sealed", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("workspace_secrets_seen")
