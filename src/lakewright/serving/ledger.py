"""The request log's tables as governed tables: written and read with the rights of the endpoint's owner."""

from typing import Any, cast

from lakewright.catalog.schemas import REACH, SCHEMA
from lakewright.catalog.tables import CREATE_TABLE, TABLE, WRITE
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Denied, NotFound
from lakewright.sql import governed


class Governed:
    def check(self, ctx: Ctx, table: str) -> None:
        try:
            allowed = WRITE.judge(ctx, objects.find(ctx, TABLE, table).id)
        except NotFound:
            allowed = _may_make(ctx, table)
        if not allowed:
            raise Denied(f"{ctx.principal.name} may neither write to table '{table}' nor make it")

    def append(self, ctx: Ctx, table: str, rows: Any) -> None:
        governed.write(ctx, table, rows, mode="append", merge_schema=True)

    def known(self, ctx: Ctx, table: str, ids: set[str], since_ms: int) -> set[str]:
        try:
            ctx.snapshot(lambda c: objects.find(c, TABLE, table))
        except NotFound:
            return set()
        reader: Any = cast(Any, governed).scan(
            ctx, table, columns=["databricks_request_id"], where=f"timestamp_ms >= {since_ms}"
        )
        return ids.intersection(reader.read_all().column(0).to_pylist())


def _may_make(ctx: Ctx, table: str) -> bool:
    try:
        schema = objects.find(ctx, SCHEMA, table.rpartition(".")[0])
    except NotFound:
        return False
    return bool((REACH & CREATE_TABLE).judge(ctx, schema.id))
