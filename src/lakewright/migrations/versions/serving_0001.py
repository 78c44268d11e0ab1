"""Model processes of each node, and how the request logs of endpoints fare."""

import sqlalchemy as sa
from alembic import op

revision = "serving_0001"
down_revision = "kernel_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "serving_processes",
        sa.Column("attempt", sa.Text, primary_key=True),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("endpoint_id", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("port", sa.BigInteger, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
    )
    op.create_index("serving_processes_by_endpoint", "serving_processes", ["endpoint_id"])
    op.create_table(
        "serving_logs",
        sa.Column("endpoint_id", sa.Text, primary_key=True),
        sa.Column("problem", sa.Text, nullable=False),
        sa.Column("written", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("serving_logs")
    op.drop_index("serving_processes_by_endpoint", "serving_processes")
    op.drop_table("serving_processes")
