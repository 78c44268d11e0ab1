"""Folders of dropped tables and volumes, until they are removed."""

import sqlalchemy as sa
from alembic import op

revision = "catalog_0001"
down_revision = "kernel_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "catalog_dropped",
        sa.Column("object_id", sa.Text, primary_key=True),
        sa.Column("full_name", sa.Text, nullable=False),
        sa.Column("location", sa.Text, nullable=False),
        sa.Column("dropped_at", sa.BigInteger, nullable=False),
    )
    op.create_index("catalog_dropped_by_time", "catalog_dropped", ["dropped_at"])


def downgrade() -> None:
    op.drop_table("catalog_dropped")
