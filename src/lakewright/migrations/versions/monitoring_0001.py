"""Monitors of tables, their refreshes, the alerts they raised and the runs those started."""

import sqlalchemy as sa
from alembic import op

revision = "monitoring_0001"
down_revision = "kernel_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "monitors",
        sa.Column("table_id", sa.Text, primary_key=True),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("failure", sa.Text, nullable=False),
        sa.Column("looked_until", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("monitors_by_due", "monitors", ["due_at"])
    op.create_table(
        "monitor_refreshes",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("table_id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("by", sa.Text, nullable=False),
    )
    op.create_index("monitor_refreshes_by_table", "monitor_refreshes", ["table_id", "id"])
    op.create_index("monitor_refreshes_by_state", "monitor_refreshes", ["state"])
    op.create_table(
        "monitor_alerts",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("table_id", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("refresh_id", sa.BigInteger, nullable=False),
        sa.Column("raised_at", sa.BigInteger, nullable=False),
        sa.Column("column_name", sa.Text, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.UniqueConstraint("table_id", "key"),
    )
    op.create_index("monitor_alerts_by_time", "monitor_alerts", ["table_id", "raised_at"])
    op.create_table(
        "monitor_runs",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("table_id", sa.Text, nullable=False),
        sa.Column("refresh_id", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
    )
    op.create_index("monitor_runs_by_table", "monitor_runs", ["table_id", "at"])


def downgrade() -> None:
    for name in ("monitor_runs", "monitor_alerts", "monitor_refreshes", "monitors"):
        op.drop_table(name)
