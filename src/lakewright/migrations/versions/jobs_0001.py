"""Runs of jobs: one row per run and per attempt at a task, task values, decisions on approvals, schedules."""

import sqlalchemy as sa
from alembic import op

revision = "jobs_0001"
down_revision = "kernel_0001"
branch_labels = ("jobs",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "job_run",
        sa.Column("run_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("run_type", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("parameters", sa.Text, nullable=False),
        sa.Column("overrides", sa.Text, nullable=False),
        sa.Column("chosen", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("due_at", sa.BigInteger),
        sa.Column("parent_run_id", sa.BigInteger),
        sa.Column("creator", sa.Text, nullable=False),
        sa.Column("run_as", sa.Text, nullable=False),
        sa.Column("idempotency", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("code", sa.Text),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("deadline", sa.BigInteger),
        sa.Column("stopped_for", sa.Text),
        sa.Column("repairs", sa.Text, nullable=False),
        sa.Column("deleted_at", sa.BigInteger),
    )
    op.create_index("job_run_by_job", "job_run", ["job_id", "created_at"])
    op.create_index("job_run_by_time", "job_run", ["workspace", "created_at"])
    op.create_index("job_run_by_state", "job_run", ["state", "created_at"])
    op.create_index("job_run_by_parent", "job_run", ["parent_run_id"])
    op.create_index("job_run_by_token", "job_run", ["workspace", "creator", "idempotency"], unique=True)
    op.create_table(
        "task_run",
        sa.Column("run_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("job_run_id", sa.BigInteger, nullable=False),
        sa.Column("task_key", sa.Text, nullable=False),
        sa.Column("attempt", sa.BigInteger, nullable=False),
        sa.Column("retries", sa.BigInteger, nullable=False),
        sa.Column("losses", sa.BigInteger, nullable=False),
        sa.Column("original_run_id", sa.BigInteger, nullable=False),
        sa.Column("repair", sa.BigInteger),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("code", sa.Text),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger),
        sa.Column("claimed_at", sa.BigInteger),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("deadline", sa.BigInteger),
        sa.Column("stopped_for", sa.Text),
        sa.Column("node", sa.Text),
        sa.Column("token_id", sa.Text),
        sa.Column("child_run_id", sa.BigInteger),
        sa.Column("resolved", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text),
        sa.Column("output", sa.Text, nullable=False),
    )
    op.create_index("task_run_by_run", "task_run", ["job_run_id", "task_key", "attempt"], unique=True)
    op.create_index("task_run_by_state", "task_run", ["state", "due_at"])
    op.create_index("task_run_by_token", "task_run", ["token_id"])
    op.create_table(
        "task_value",
        sa.Column("job_run_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("task_key", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("set_by", sa.BigInteger, nullable=False),
        sa.Column("set_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "run_decision",
        sa.Column("run_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("decided_by", sa.Text, nullable=False),
        sa.Column("decided_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "schedule_state",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("schedule", sa.Text, nullable=False),
        sa.Column("next_fire_at", sa.BigInteger),
        sa.Column("last_fired_at", sa.BigInteger),
    )
    op.create_index("schedule_state_due", "schedule_state", ["next_fire_at"])


def downgrade() -> None:
    for table in ("schedule_state", "run_decision", "task_value", "task_run", "job_run"):
        op.drop_table(table)
