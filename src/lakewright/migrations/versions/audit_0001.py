"""Audit rows say what was decided, who set a task in motion, what the client called it and which data was read."""

import sqlalchemy as sa
from alembic import op

revision = "audit_0001"
down_revision = "kernel_0001"
branch_labels = None
depends_on = None

ADDED = ("decision", "run_by", "client_request_id", "data")


def upgrade() -> None:
    for name in ADDED:
        op.add_column("audit", sa.Column(name, sa.Text, nullable=False, server_default=""))
    # 0: the trail has rows of the chain without a key; the first start with this version signs where that ends.
    op.add_column("audit_head", sa.Column("keyed_from", sa.BigInteger, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("audit_head", "keyed_from")
    for name in reversed(ADDED):
        op.drop_column("audit", name)
