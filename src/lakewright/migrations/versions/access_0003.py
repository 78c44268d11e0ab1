"""Access reviews: campaigns and the grants they look at."""

import sqlalchemy as sa
from alembic import op

revision = "access_0003"
down_revision = "access_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "access_reviews",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("scope_id", sa.Text, nullable=False),
        sa.Column("started_by", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("closed_at", sa.BigInteger),
        sa.Column("result", sa.Text),
        sa.Column("signature", sa.Text),
    )
    op.create_table(
        "access_review_items",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("review_id", sa.Text, sa.ForeignKey("access_reviews.id"), nullable=False),
        sa.Column("object_id", sa.Text, nullable=False),
        sa.Column("object", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("right", sa.Text, nullable=False),
        sa.Column("granted_by", sa.Text, nullable=False),
        sa.Column("granted_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("reviewer", sa.Text, nullable=False),
        sa.Column("decision", sa.Text),
        sa.Column("decided_by", sa.Text),
        sa.Column("decided_at", sa.BigInteger),
        sa.Column("comment", sa.Text, nullable=False, server_default=""),
        sa.Column("outcome", sa.Text),
    )
    op.create_index("access_review_items_by_review", "access_review_items", ["review_id", "id"])
    op.create_index("access_review_items_by_reviewer", "access_review_items", ["reviewer", "review_id"])


def downgrade() -> None:
    op.drop_table("access_review_items")
    op.drop_table("access_reviews")
