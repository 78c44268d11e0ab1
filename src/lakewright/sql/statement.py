"""One statement from its text to its answer: a query, a change of rows, or a change of the catalog."""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lakewright.catalog import names
from lakewright.catalog.tables import TABLE, WRITE, require_files_writable
from lakewright.engines import duckdb
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Denied, Invalid, NotSupported
from lakewright.sql import changes, dialect, governed, shapes, wall
from lakewright.sql.caller import Caller, relation_of
from lakewright.sql.governed import Result

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlglot import exp


@dataclass(frozen=True)
class Desk:
    """Where a statement is worked on: who asks, the defaults of names, the values of parameters, how to stop."""

    ctx: Ctx
    catalog: str | None = None
    schema: str | None = None
    parameters: Mapping[str, exp.Expr] = field(default_factory=dict[str, Any])
    running: changes.Running = field(default_factory=changes.Running)
    limits: duckdb.Limits = duckdb.MODEST

    def full_name(self, parts: Sequence[str], levels: int = 3) -> str:
        """A name as the statement writes it, completed with the defaults."""
        defaults = [self.catalog, self.schema][: max(levels - len(parts), 0)] if levels > 1 else []
        if len(parts) > levels or len(parts) + len(defaults) < levels or None in defaults:
            raise Invalid(f"[TABLE_OR_VIEW_NOT_FOUND] '{'.'.join(parts)}' must be named from its catalog down")
        return ".".join(names.checked(p) for p in [*(d or "" for d in defaults), *parts])


def run(desk: Desk, sql: str) -> Result:
    from sqlglot import exp

    from lakewright.sql import commands, definitions  # they answer with `table` and `done` from here

    wall.check_text(sql)
    command = commands.read(sql)
    if command is not None:
        return command(desk)
    tree = dialect.parse(sql)
    if tree.args.get("with_") and not isinstance(tree, exp.Query):
        raise NotSupported("WITH in front of a change is not supported: put it into the query")
    if isinstance(tree, exp.Query | exp.Values):
        return governed.read(
            desk.ctx, tree, desk.parameters, desk.catalog, desk.schema, running=desk.running, limits=desk.limits
        )
    if isinstance(tree, exp.Insert):
        return insert(desk, tree)
    if isinstance(tree, exp.Update | exp.Delete | exp.Merge | exp.TruncateTable):
        return change(desk, tree)
    if isinstance(tree, exp.Create):
        return definitions.create(desk, tree)
    raise NotSupported(
        f"{tree.key.upper() if not isinstance(tree, exp.Command) else str(tree.this).upper()} is not supported"
    )


# -- changes of rows --------------------------------------------------------------------------------------------------


def change(desk: Desk, tree: exp.Update | exp.Delete | exp.Merge | exp.TruncateTable) -> Result:
    from sqlglot import exp

    table = tree.expressions[0] if isinstance(tree, exp.TruncateTable) else tree.this
    if not isinstance(table, exp.Table):
        raise Invalid("Only a table can be changed")
    name = desk.full_name([p for p in (table.catalog, table.db, table.name) if p])

    def work(ctx: Ctx) -> dict[str, int]:
        caller = Caller(ctx, ctx)
        found = caller.found(TABLE, name, WRITE)
        if found.spec.table_type == "VIEW":
            raise Invalid(f"[EXPECT_TABLE_NOT_VIEW] '{name}' is a view: it holds no rows of its own")
        require_files_writable(ctx, found)
        around = changes.Surroundings(
            caller, desk.catalog, desk.schema, desk.parameters, governed.spill(desk.ctx), ctx.principal.name, desk.limits,
            desk.running,
        )  # fmt: skip
        target = changes.Target(name, relation_of(found).location)
        if isinstance(tree, exp.Update):
            return changes.update(around, target, tree)
        if isinstance(tree, exp.Merge):
            return changes.merge(around, target, tree)
        return changes.delete(around, target, tree)

    counts = desk.ctx.snapshot(work)
    shown = counts if tree.key == "merge" else {"num_affected_rows": counts["num_affected_rows"]}
    return table_result([(n, "bigint") for n in shown], [shown], counts["num_affected_rows"])


def insert(desk: Desk, tree: exp.Insert) -> Result:
    from sqlglot import exp

    known = {"this", "expression", "overwrite", "by_name"}
    if extra := [k for k, v in tree.args.items() if v and k not in known]:
        raise NotSupported(f"INSERT with {', '.join(extra).upper()} is not supported")
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    if not isinstance(target, exp.Table) or target.args.get("partition"):
        raise NotSupported("INSERT takes a table, and no PARTITION")
    name = desk.full_name([p for p in (target.catalog, target.db, target.name) if p])
    overwrite = bool(tree.args.get("overwrite"))
    columns = [c.name for c in tree.this.expressions] if isinstance(tree.this, exp.Schema) else []
    existing = desk.ctx.snapshot(lambda c: governed.writable(c, name, overwrite=overwrite))
    if existing is None:
        desk.ctx.snapshot(lambda c: Caller(c, c).found(TABLE, name, WRITE))  # says why not
        raise Denied(f"'{name}' cannot be written to")
    result = governed.read(
        desk.ctx, tree.expression, desk.parameters, desk.catalog, desk.schema, running=desk.running, limits=desk.limits
    )
    try:
        counter = [0]
        reader = _counted(result.reader, counter)
        if not tree.args.get("by_name"):
            reader = _renamed(reader, columns or [c.name for c in existing.spec.columns])
        governed.put(desk.ctx, existing, reader, "overwrite" if overwrite else "append", keep_columns=True)
    finally:
        result.close()
    shown = {"num_affected_rows": counter[0], "num_inserted_rows": counter[0]}
    return table_result([(n, "bigint") for n in shown], [shown], counter[0])


def _renamed(reader: pa.RecordBatchReader, columns: Sequence[str]) -> pa.RecordBatchReader:
    """By position, as INSERT without BY NAME means it."""
    import pyarrow as pa

    if len(reader.schema) != len(columns):
        raise Invalid(
            f"[INSERT_COLUMN_ARITY_MISMATCH] The table wants {len(columns)} columns, the query gives {len(reader.schema)}"
        )
    schema = pa.schema([f.with_name(n) for f, n in zip(reader.schema, columns, strict=True)])
    return pa.RecordBatchReader.from_batches(
        schema, (pa.RecordBatch.from_arrays(b.columns, schema=schema) for b in reader)
    )


def _counted(reader: pa.RecordBatchReader, counter: list[int]) -> pa.RecordBatchReader:
    import pyarrow as pa

    def batches() -> Any:
        for batch in reader:
            counter[0] += batch.num_rows
            yield batch

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


# -- answers ----------------------------------------------------------------------------------------------------------


def table_result(
    columns: Sequence[tuple[str, str]], rows: Sequence[Mapping[str, Any]], affected: int | None = None
) -> Result:
    """A small answer of ours."""
    found = shapes.table_of(columns, rows)
    return Result(found.schema, found.to_reader(), affected)


def done() -> Result:
    return table_result([], [])


def described(desk: Desk, query: exp.Expr) -> pa.Schema:
    """The columns of a query, as the caller would get them, without its rows."""
    from sqlglot import exp

    limited = (
        exp.select("*")
        .from_(exp.Subquery(this=query.copy(), alias=exp.TableAlias(this=exp.to_identifier("q"))))
        .limit(0)
    )
    return governed.read(desk.ctx, limited, desk.parameters, desk.catalog, desk.schema).read_all().schema


def qualified(desk: Desk, query: exp.Expr) -> str:
    """The query as it must be stored to mean the same from everywhere: every table with its full name."""
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    tree = query.copy()
    for scope in traverse_scope(tree):
        for source in scope.sources.values():
            if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier):
                parts = desk.full_name([p for p in (source.catalog, source.db, source.name) if p]).split(".")
                if not source.args.get("alias"):
                    source.set("alias", exp.TableAlias(this=exp.to_identifier(source.name, quoted=True)))
                for key, part in zip(("catalog", "db", "this"), parts, strict=True):
                    source.set(key, exp.to_identifier(part, quoted=True))
    return tree.sql(dialect="databricks", comments=False)
