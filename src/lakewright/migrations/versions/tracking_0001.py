"""MLflow's own tables, as its own migrations make them (see lakewright.tracking.schema)."""

from alembic import op

from lakewright.tracking.schema import statements

revision = "tracking_0001"
down_revision = "kernel_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    # Straight to the driver: the statements hold colons and percent signs that mean nothing to anybody else.
    cursor = connection.connection.cursor()
    for statement in statements(connection.dialect.name):
        cursor.execute(statement)
    cursor.close()


def downgrade() -> None:
    raise NotImplementedError("MLflow's tables are taken back by restoring the backup made before the upgrade")
