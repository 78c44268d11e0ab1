"""The kernel's tables: principals, objects, grants, audit, events, leases."""

import sqlalchemy as sa
from alembic import op

revision = "kernel_0001"
down_revision = None
branch_labels = None
depends_on = None

# Names sort the same on both engines: by their bytes.
Name = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
LIVING = sa.text("deleted_at IS NULL")


def upgrade() -> None:
    op.create_table("meta", sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False))
    op.create_table(
        "epoch", sa.Column("id", sa.Integer, primary_key=True), sa.Column("epoch", sa.BigInteger, nullable=False)
    )
    op.execute("INSERT INTO epoch (id, epoch) VALUES (1, 1)")
    op.create_table(
        "principals",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", Name, nullable=False),
        sa.Column("display_name", sa.Text, nullable=False, server_default=""),
        sa.Column("active", sa.Integer, nullable=False, server_default="1"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("deleted_at", sa.BigInteger),
    )
    _unique_living("principals_by_name", "principals", ["name"])
    op.create_table(
        "members",
        sa.Column("group_id", sa.Text, sa.ForeignKey("principals.id"), primary_key=True),
        sa.Column("member_id", sa.Text, sa.ForeignKey("principals.id"), primary_key=True),
    )
    op.create_index("members_by_member", "members", ["member_id"])
    op.create_table(
        "objects",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("name", Name, nullable=False),
        sa.Column("full_name", Name, nullable=False),
        sa.Column("parent_id", sa.Text, sa.ForeignKey("objects.id")),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("updated_by", sa.Text, nullable=False),
        sa.Column("deleted_at", sa.BigInteger),
    )
    _unique_living("objects_by_name", "objects", ["workspace", "kind", "full_name"])
    op.create_index("objects_by_parent", "objects", ["parent_id", "kind"])
    op.create_index("objects_by_owner", "objects", ["owner"])
    op.create_table(
        "ancestry",
        sa.Column("object_id", sa.Text, sa.ForeignKey("objects.id"), primary_key=True),
        sa.Column("ancestor_id", sa.Text, sa.ForeignKey("objects.id"), primary_key=True),
        sa.Column("depth", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ancestry_by_ancestor", "ancestry", ["ancestor_id", "object_id"])
    op.create_table(
        "grants",
        sa.Column("object_id", sa.Text, sa.ForeignKey("objects.id"), primary_key=True),
        sa.Column("principal", sa.Text, primary_key=True),
        sa.Column("right", sa.Text, primary_key=True),
        sa.Column("granted_by", sa.Text, nullable=False),
        sa.Column("granted_at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("grants_by_principal", "grants", ["principal", "right", "object_id"])
    _audit()
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("events_by_topic", "events", ["topic", "seq"])
    op.create_table(
        "event_readers",
        sa.Column("reader", sa.Text, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "inflight",
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("entry", sa.Text, nullable=False),
    )
    op.create_table(
        "idempotency",
        sa.Column("principal", sa.Text, primary_key=True),
        sa.Column("operation", sa.Text, primary_key=True),
        sa.Column("token", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("reply", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )


def _audit() -> None:
    texts = (
        "request_id", "workspace", "source", "user_agent", "service", "action", "who", "who_name", "run_as", "kind",
        "object_id", "address", "ask",
    )  # fmt: skip
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("because", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
    )
    op.create_index("audit_by_time", "audit", ["at"])
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("mac", sa.Text, nullable=False),
    )


def _unique_living(name: str, table: str, columns: list[str]) -> None:
    op.create_index(name, table, columns, unique=True, sqlite_where=LIVING, postgresql_where=LIVING)


def downgrade() -> None:
    for table in (
        "idempotency", "inflight", "leases", "event_readers", "events", "audit_head", "audit", "grants", "ancestry",
        "objects", "members", "principals", "epoch", "meta",
    ):  # fmt: skip
        op.drop_table(table)
