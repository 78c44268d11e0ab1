"""Grants may end by themselves."""

import sqlalchemy as sa
from alembic import op

revision = "access_0001"
down_revision = "kernel_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("grants", sa.Column("expires_at", sa.BigInteger))
    op.create_index("grants_by_end", "grants", ["expires_at"])


def downgrade() -> None:
    op.drop_index("grants_by_end", "grants")
    op.drop_column("grants", "expires_at")
