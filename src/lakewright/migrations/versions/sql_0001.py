"""Statements sent to SQL warehouses: what ran, for whom, and what became of it."""

import sqlalchemy as sa
from alembic import op

revision = "sql_0001"
down_revision = "kernel_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sql_statements",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("warehouse_id", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("who_name", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("format", sa.Text, nullable=False),
        sa.Column("disposition", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("submitted_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("error_code", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("reads", sa.Text, nullable=False, server_default="[]"),
        sa.Column("rows", sa.BigInteger),
        sa.Column("bytes_read", sa.BigInteger),
        sa.Column("manifest", sa.Text, nullable=False, server_default="{}"),
    )
    op.create_index("sql_statements_by_time", "sql_statements", ["submitted_at"])
    op.create_index("sql_statements_by_who", "sql_statements", ["who", "submitted_at"])
    op.create_index("sql_statements_by_state", "sql_statements", ["state"])


def downgrade() -> None:
    op.drop_table("sql_statements")
