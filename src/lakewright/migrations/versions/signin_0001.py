"""Sign-in: what tokens are limited to and came from, authorization codes, applications, federation, outside accounts."""

import sqlalchemy as sa
from alembic import op

revision = "signin_0001"
down_revision = "identity_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("scopes", sa.Text),  # null: everything the principal may do
        sa.Column("parent_id", sa.Text),  # the credential it came from and ends with
        sa.Column("client_id", sa.Text, nullable=False, server_default=""),
        sa.Column("used_at", sa.BigInteger),
    ):
        op.add_column("tokens", column)
    op.create_index("tokens_by_parent", "tokens", ["parent_id"])
    op.create_table(
        "oauth_codes",
        sa.Column("hash", sa.Text, primary_key=True),
        sa.Column("grant_id", sa.Text, nullable=False),
        sa.Column("client_id", sa.Text, nullable=False),
        sa.Column("redirect_uri", sa.Text, nullable=False),
        sa.Column("challenge", sa.Text, nullable=False),
        sa.Column("offline", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger),
    )
    op.create_table(
        "oauth_apps",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("client_id", sa.Text, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("redirect_urls", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("secret_hash", sa.Text, nullable=False),  # empty: a public application
        sa.Column("access_minutes", sa.BigInteger, nullable=False),
        sa.Column("refresh_minutes", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
    )
    op.create_table(
        "federation_policies",
        sa.Column("uid", sa.Text, primary_key=True),
        sa.Column("principal_id", sa.Text, nullable=False),  # empty: of the whole account
        sa.Column("policy_id", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("principal_id", "policy_id"),
    )
    op.create_index("federation_policies_by_issuer", "federation_policies", ["issuer"])
    op.create_table(
        "outside_accounts",
        sa.Column("issuer", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("principal_id", sa.Text, sa.ForeignKey("principals.id"), nullable=False),
        sa.Column("linked_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "claimed_members",
        sa.Column("group_id", sa.Text, sa.ForeignKey("principals.id"), primary_key=True),
        sa.Column("member_id", sa.Text, sa.ForeignKey("principals.id"), primary_key=True),
        sa.Column("issuer", sa.Text, nullable=False),
    )


def downgrade() -> None:
    for table in ("claimed_members", "outside_accounts", "federation_policies", "oauth_apps", "oauth_codes"):
        op.drop_table(table)
    op.drop_index("tokens_by_parent", "tokens")
    for column in ("used_at", "client_id", "parent_id", "scopes"):
        op.drop_column("tokens", column)
