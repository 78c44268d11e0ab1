"""SQL over governed tables: parse, authorise, rewrite, run."""

from lakewright.kernel.platform import Platform
from lakewright.sql import doors, history, statements, warehouses
from lakewright.sql.pool import Pool

__all__ = ["doors", "history", "install", "statements", "warehouses"]


def install(platform: Platform) -> None:
    pool = Pool()
    platform.provide(pool)
    platform.closes(pool.close)
    platform.transact(statements.recover)
    platform.transact(warehouses.plant)
