"""The catalog as the caller of one statement may see it, read in one snapshot."""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lakewright.catalog import places
from lakewright.catalog.catalogs import CATALOG
from lakewright.catalog.functions import FUNCTION, USE
from lakewright.catalog.schemas import SCHEMA
from lakewright.catalog.tables import READ, TABLE, Table
from lakewright.engines.delta import Test
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Denied, NotFound, Unauthenticated
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.rules import Rule, denied
from lakewright.sql import information, virtual
from lakewright.sql.world import Policy, Relation, Routine

if TYPE_CHECKING:
    import pyarrow as pa


class Caller:
    """A `world.World`. `ctx` is inside a snapshot; rows of virtual tables are read in a later one of `outer`."""

    def __init__(self, ctx: Ctx, outer: Ctx) -> None:
        self.ctx, self.outer = ctx, outer
        self._groups: frozenset[str] | None = None
        self.objects: dict[str, Obj[Table]] = {}
        """The tables that were resolved, by full name."""

    @property
    def user(self) -> str:
        return self.ctx.principal.name

    @property
    def groups(self) -> frozenset[str]:
        if self._groups is None:
            self._groups = self._names_of_groups()
        return self._groups

    def _names_of_groups(self) -> frozenset[str]:
        ids = sorted(self.ctx.principal.ids)
        marks = ", ".join("?" * len(ids))
        rows = (
            self.ctx.tx.all(f"SELECT name FROM principals WHERE kind = 'group' AND id IN ({marks})", *ids)
            if ids
            else []
        )
        return frozenset(str(r["name"]) for r in rows)

    def relation(self, name: str, reader: str | None) -> Relation:
        catalog, schema, _ = name.split(".")
        if schema == information.SCHEMA:
            return self._information(name)
        if catalog == virtual.CATALOG and name in virtual.TABLES:
            return self._virtual(virtual.TABLES[name], reader)
        table = self.found(TABLE, name, READ, self._as(reader))
        self.objects[name] = table
        return relation_of(table)

    def routine(self, name: str, reader: str | None, *, checked: bool) -> Routine:
        ctx = self._as(reader)
        try:
            function = objects.find(self.ctx, FUNCTION, name)
        except NotFound:
            function = None
        if checked and (function is None or not USE.judge(ctx, function.id)):
            raise Denied(f"[UNRESOLVED_ROUTINE] {ctx.principal.name} needs EXECUTE for function '{name}'")
        if function is None:
            raise NotFound(f"function '{name}' does not exist")
        params = sorted(function.spec.input_params, key=lambda p: p.position)
        return Routine(
            function.full_name, tuple((p.name, p.type_text) for p in params), function.spec.routine_definition,
            owner=function.owner, returns=function.spec.full_data_type,
        )  # fmt: skip

    def found(self, kind: Kind[Any], name: str, rule: Rule, ctx: Ctx | None = None) -> Obj[Any]:
        """The object if the rule holds on it; a refusal that does not tell whether there is one, else."""
        ctx = ctx or self.ctx
        try:
            found = objects.find(ctx, kind, name)
        except NotFound:
            above = self._above(name)
            if above is not None and rule.judge(ctx, above.id):
                raise NotFound(f"[TABLE_OR_VIEW_NOT_FOUND] {kind.name} '{name}' does not exist") from None
            near = above or objects.find(ctx, kind.root, "")
            raise denied(ctx, rule.judge(ctx, near.id), kind.name, name) from None
        verdict = rule.judge(ctx, found.id)
        if not verdict:
            raise denied(ctx, verdict, kind.name, name)
        return found

    def _above(self, name: str) -> Obj[Any] | None:
        catalog, schema, _ = name.split(".")
        for kind, above in ((SCHEMA, f"{catalog}.{schema}"), (CATALOG, catalog)):
            try:
                return objects.find(self.ctx, kind, above)
            except NotFound:
                continue
        return None

    def _as(self, reader: str | None) -> Ctx:
        """The owner of a view or function, for what stands in its definition."""
        if reader is None or reader == self.ctx.principal.id:
            return self.ctx
        try:
            return self.ctx.as_principal(reader)
        except Unauthenticated as e:
            raise Denied("The owner of a view or function in this statement is no longer active") from e

    def _virtual(self, found: virtual.Virtual, reader: str | None) -> Relation:
        if not found.open_to_all:
            ctx = self._as(reader)
            schema = objects.find(ctx, SCHEMA, found.name.rpartition(".")[0])
            verdict = READ.judge(ctx, schema.id)
            if not verdict:
                raise denied(ctx, verdict, "table", found.name)
        return self._shown(found, found.name)

    def _information(self, name: str) -> Relation:
        catalog, _, table = name.split(".")
        if table not in information.TABLES:
            raise NotFound(f"[TABLE_OR_VIEW_NOT_FOUND] table '{name}' does not exist")
        return self._shown(information.of(catalog, table), name)

    def _shown(self, found: virtual.Virtual, name: str) -> Relation:
        def rows(tests: Sequence[Test]) -> pa.Table:
            return self.outer.snapshot(lambda ctx: found.read(ctx, tests))

        return Relation(name, "virtual", tuple(n for n, _ in found.columns), rows=rows, types=found.types)


def relation_of(table: Obj[Table]) -> Relation:
    spec = table.spec
    catalog, schema, _ = table.full_name.split(".")
    row_filter = spec.row_filter
    masks = {
        c.name.lower(): Policy(c.mask.function_name.lower(), tuple(c.mask.using_column_names))
        for c in spec.columns
        if c.mask
    }
    return Relation(
        name=table.full_name,
        kind="view" if spec.table_type == "VIEW" else "table",
        columns=tuple(c.name for c in spec.columns),
        location=str(places.local(spec.storage_location)) if spec.storage_location else "",
        owner=table.owner,
        row_filter=Policy(row_filter.function_name.lower(), tuple(row_filter.input_column_names))
        if row_filter
        else None,
        masks=masks,
        definition=spec.view_definition or "",
        catalog=catalog,
        schema=schema,
    )
