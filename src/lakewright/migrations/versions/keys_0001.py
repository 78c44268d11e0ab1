"""The root key, wrapped by a master key that is outside the database."""

import sqlalchemy as sa
from alembic import op

revision = "keys_0001"
down_revision = "kernel_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "keyring",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("wrapped", sa.Text, nullable=False),
        sa.Column("master", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("keyring")
