"""Governed tables, as far as monitors need them: read as their author sees them, replaced as their author may."""

from typing import Any, cast

from lakewright.catalog.tables import TABLE
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import NotFound
from lakewright.sql import governed

Arrow = Any  # a pyarrow Table or RecordBatchReader


def scan(ctx: Ctx, table: str) -> Arrow | None:
    """What the caller may see of it; None where there is no such table."""
    try:
        ctx.snapshot(lambda c: objects.find(c, TABLE, table))
    except NotFound:
        return None
    return cast(Any, governed).scan(ctx, table)


def replace(ctx: Ctx, table: str, rows: Arrow) -> None:
    """All of a table's rows, at once; the table is made where there is none."""
    governed.write(ctx, table, rows, mode="overwrite")
