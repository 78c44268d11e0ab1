"""Model versions, aliases, cards, verdicts, release policies, approvers and what was live when."""

import sqlalchemy as sa
from alembic import op

revision = "models_0001"
down_revision = "kernel_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "registry_versions",
        sa.Column("model_id", sa.Text, sa.ForeignKey("objects.id"), primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("status_message", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.Column("logged_model_id", sa.Text),
        sa.Column("run_workspace", sa.Text, nullable=False),
        sa.Column("run_by", sa.Text, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("dependencies", sa.Text, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("updated_by", sa.Text, nullable=False),
        sa.Column("deleted_at", sa.BigInteger),
    )
    op.create_index("registry_versions_by_run", "registry_versions", ["run_id"])
    op.create_table(
        "registry_aliases",
        sa.Column("model_id", sa.Text, sa.ForeignKey("objects.id"), primary_key=True),
        sa.Column("alias", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("moved_at", sa.BigInteger, nullable=False),
        sa.Column("moved_by", sa.Text, nullable=False),
    )
    op.create_table(
        "registry_cards",
        sa.Column("model_id", sa.Text, sa.ForeignKey("objects.id"), primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("sections", sa.Text, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("updated_by", sa.Text, nullable=False),
    )
    op.create_table(
        "registry_verdicts",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("model_id", sa.Text, sa.ForeignKey("objects.id"), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("nth", sa.BigInteger, nullable=False),
        sa.Column("files", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("passed", sa.Integer, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
    )
    op.create_index("registry_verdicts_by_version", "registry_verdicts", ["model_id", "version", "nth"], unique=True)
    op.create_table(
        "registry_policies",
        sa.Column("scope_id", sa.Text, sa.ForeignKey("objects.id"), primary_key=True),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("updated_by", sa.Text, nullable=False),
    )
    op.create_table(
        "registry_approvers",
        sa.Column("approval_id", sa.Text, sa.ForeignKey("objects.id"), primary_key=True),
        sa.Column("principal", sa.Text, primary_key=True),
    )
    op.create_index("registry_approvers_by_principal", "registry_approvers", ["principal"])
    op.create_table(
        "registry_asked_by_task",
        sa.Column("task_run_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("approval_id", sa.Text, sa.ForeignKey("objects.id"), nullable=False),
    )
    op.create_table(
        "registry_deployments",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("full_name", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("share", sa.Double, nullable=False),
        sa.Column("live_from", sa.BigInteger, nullable=False),
        sa.Column("live_until", sa.BigInteger),
        sa.Column("moved_by", sa.Text, nullable=False),
        sa.Column("approval_id", sa.Text),
        sa.Column("approved_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("registry_deployments_by_target", "registry_deployments", ["model_id", "target", "live_until"])
    op.create_table(
        "registry_uses",
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("direction", sa.Text, nullable=False),
        sa.Column("entity", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
    )
    op.create_index("registry_uses_by_version", "registry_uses", ["model_id", "version"])


def downgrade() -> None:
    for table in (
        "registry_uses", "registry_deployments", "registry_asked_by_task", "registry_approvers", "registry_policies", "registry_verdicts", "registry_cards",
        "registry_aliases", "registry_versions",
    ):  # fmt: skip
        op.drop_table(table)
