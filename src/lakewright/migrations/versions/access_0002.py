"""Requests for access."""

import sqlalchemy as sa
from alembic import op

revision = "access_0002"
down_revision = "access_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "access_requests",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("asked_for", sa.Text, nullable=False),
        sa.Column("object_id", sa.Text),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("requested_by", sa.Text, nullable=False),
        sa.Column("rights", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("lasts_ms", sa.BigInteger),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("requested_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("decided_by", sa.Text),
        sa.Column("decided_at", sa.BigInteger),
        sa.Column("comment", sa.Text, nullable=False, server_default=""),
        sa.Column("granted_until", sa.BigInteger),
    )
    op.create_index("access_requests_by_requester", "access_requests", ["requested_by", "state"])
    op.create_index("access_requests_by_object", "access_requests", ["object_id", "state"])


def downgrade() -> None:
    op.drop_table("access_requests")
