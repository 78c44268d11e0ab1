"""What notebooks and files hold, and secrets, sealed."""

import sqlalchemy as sa
from alembic import op

revision = "workspace_0001"
down_revision = "kernel_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workspace_content",
        sa.Column("object_id", sa.Text, primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "workspace_secrets",
        sa.Column("scope_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("sealed", sa.Text, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("workspace_secrets")
    op.drop_table("workspace_content")
