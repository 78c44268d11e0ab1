"""Data for everybody else: governed scans, governed writes and statements, as the principal of a context.

The runtime, features, monitors and serving read and write tables here and nowhere else, so that filters, masks and
grants hold on every path.
"""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lakewright.catalog import names, tables
from lakewright.catalog.delta import create as begin_log
from lakewright.catalog.tables import TABLE, WRITE, Table
from lakewright.engines import delta, duckdb
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Denied, Invalid, NotFound
from lakewright.kernel.objects import Obj
from lakewright.sql import dialect, parameters, shapes, wall
from lakewright.sql.caller import Caller, relation_of
from lakewright.sql.changes import Running
from lakewright.sql.rewrite import Plan, Rewriter, Scan
from lakewright.sql.running import Execution

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlglot import exp


@dataclass
class Result:
    """What a statement answers. Read it once; it is closed when it has been read to its end, or by `close`."""

    schema: pa.Schema
    reader: pa.RecordBatchReader
    rows_affected: int | None = None
    reads: tuple[str, ...] = ()
    bytes_read: int = 0
    _open: list[Execution] = field(default_factory=list[Execution])

    def read_all(self) -> pa.Table:
        try:
            return self.reader.read_all()
        finally:
            self.close()

    def close(self) -> None:
        while self._open:
            self._open.pop().close()


def query(
    ctx: Ctx,
    sql: str,
    parameters: Mapping[str, Any] | Sequence[Any] | None = None,
    catalog: str | None = None,
    schema: str | None = None,
) -> Result:
    """Any statement, as the principal of the context. For what it may say see `wall` and `statement`."""
    from lakewright.sql import statement  # the DDL calls back into `write`

    return statement.run(statement.Desk(ctx, catalog, schema, _constants(parameters)), sql)


def scan(
    ctx: Ctx,
    table: str,
    columns: Sequence[str] | None = None,
    where: str | None = None,
    version: int | None = None,
) -> pa.RecordBatchReader:
    """The rows of a table that the principal may see, as they may see them. `where` is one SQL condition."""
    from sqlglot import exp

    source = _table_node(table)
    if version is not None:
        source.set("version", exp.Version(this="VERSION", expression=exp.Literal.number(version), kind="AS OF"))
    shown = [exp.column(exp.to_identifier(c, quoted=True)) for c in columns] if columns is not None else ["*"]
    tree = exp.select(*shown).from_(source)
    if where:
        tree = tree.where(_condition(where))
    return read(ctx, tree, {}, None, None).reader


def write(
    ctx: Ctx,
    table: str,
    data: Any,
    mode: Literal["append", "overwrite"] = "append",
    *,
    merge_schema: bool = False,
) -> int:
    """Append to or replace the rows of a table (anything that speaks Arrow), making the table where there is none.
    Answers the version, which is on the disk by then. Columns meet by name."""
    if mode not in ("append", "overwrite"):
        raise Invalid(f"mode is append or overwrite, not '{mode}'")
    reader = _reader(data)
    full_name = ".".join(names.parts(table, 3))
    existing = ctx.snapshot(lambda c: writable(c, full_name, overwrite=mode == "overwrite"))
    if existing is None:
        existing = _make(ctx, full_name, reader.schema)
    return put(ctx, existing, reader, mode, merge_schema=merge_schema)


# -- reading ----------------------------------------------------------------------------------------------------------


def read(
    ctx: Ctx,
    tree: exp.Expr,
    constants: Mapping[str, exp.Expr],
    catalog: str | None,
    schema: str | None,
    *,
    running: Running | None = None,
    limits: duckdb.Limits = duckdb.MODEST,
) -> Result:
    """A parsed query: planned in one snapshot of the catalog, run outside of it."""

    def planned(c: Ctx) -> tuple[Plan, list[dict[str, Any]]]:
        rewriter = Rewriter(Caller(c, _outside(ctx)), catalog, schema)
        return rewriter.plan(tree, constants), rewriter.data()

    plan, data = ctx.snapshot(planned)
    ctx.note_data(data)
    execution = Execution(plan, spill(ctx), limits)
    try:
        if running is not None:
            running.take(execution)
        reader = execution.reader()
        return Result(reader.schema, _closing(reader, execution), None, plan.reads, execution.bytes_read, [execution])
    except BaseException:
        execution.close()
        raise


def spill(ctx: Ctx) -> Path:
    return ctx.settings.data_dir / "sql" / "spill"


def _outside(ctx: Ctx) -> Ctx:
    """The same caller with no transaction of its own: rows of virtual tables are read when the engine asks for them."""
    from dataclasses import replace

    return replace(ctx, turn=None, snapshot_tx=None)


def _closing(reader: pa.RecordBatchReader, execution: Execution) -> pa.RecordBatchReader:
    import pyarrow as pa

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from reader
        finally:
            execution.close()

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def _constants(given: Mapping[str, Any] | Sequence[Any] | None) -> dict[str, exp.Expr]:
    return parameters.of_values(given)


def _table_node(table: str) -> exp.Table:
    from sqlglot import exp

    catalog, schema, name = names.parts(table, 3)
    quoted = [exp.to_identifier(p, quoted=True) for p in (name, schema, catalog)]
    return exp.Table(this=quoted[0], db=quoted[1], catalog=quoted[2])


def _condition(where: str) -> exp.Expr:
    """One expression and nothing after it."""
    from sqlglot import exp

    wall.check_text(where)
    tree = dialect.parse(f"SELECT 1 WHERE ({where}\n)")
    if not isinstance(tree, exp.Select) or {k for k, v in tree.args.items() if v} != {"expressions", "where"}:
        raise Invalid("'where' is one SQL condition")
    return tree.args["where"].this


# -- writing ----------------------------------------------------------------------------------------------------------


def writable(ctx: Ctx, full_name: str, *, overwrite: bool) -> Obj[Table] | None:
    """The table if the principal may write to it; None if there is none (making it has its own check)."""
    try:
        objects.find(ctx, TABLE, full_name)
    except NotFound:
        return None
    caller = Caller(ctx, ctx)
    table = caller.found(TABLE, full_name, WRITE)
    if table.spec.table_type == "VIEW" or not table.spec.storage_location:
        raise Invalid(f"[EXPECT_TABLE_NOT_VIEW] '{full_name}' is a view: it holds no rows of its own")
    tables.require_files_writable(ctx, table)
    if overwrite and limited(caller, table):
        raise Denied(
            f"{ctx.principal.name} does not see all rows and values of '{full_name}' and so cannot replace them"
        )
    return table


def limited(caller: Caller, table: Obj[Table]) -> bool:
    """Whether a filter or a mask hides anything of the table from the caller."""
    rewriter = Rewriter(caller)
    rewriter.scans["s"] = Scan(relation_of(table), None)
    return rewriter.visible(relation_of(table), "s") is not None


def _make(ctx: Ctx, full_name: str, schema: pa.Schema) -> Obj[Table]:
    catalog, schema_name, name = full_name.split(".")
    ctx.call(
        tables.create, name=name, catalog_name=catalog, schema_name=schema_name, table_type="MANAGED",
        data_source_format="DELTA", columns=shapes.columns_of(schema),
    )  # fmt: skip
    return ctx.snapshot(lambda c: objects.find(c, TABLE, full_name))


def put(
    ctx: Ctx,
    table: Obj[Table],
    reader: pa.RecordBatchReader,
    mode: Literal["append", "overwrite"],
    *,
    merge_schema: bool = False,
    keep_columns: bool = False,
) -> int:
    """Rows into a table whose writing was allowed. `keep_columns`: replacing rows does not replace columns."""
    location = relation_of(table).location
    if table.spec.table_type == "EXTERNAL" and table.spec.columns and not delta.exists(location):
        # It may be registered before anything lies at its place; its first rows find a log there.
        with suppress(FileExistsError):
            begin_log(Path(location), table.spec.columns, now=ctx.now(), properties=table.spec.properties)
    there = delta.arrow_schema(location)
    known = {n.lower(): n for n in there.names}
    new = [n for n in reader.schema.names if n.lower() not in known]
    if len({n.lower() for n in reader.schema.names}) != len(reader.schema.names):
        raise Invalid("[COLUMN_ALREADY_EXISTS] A column is given twice")
    by = ctx.principal.name
    if mode == "overwrite" and not keep_columns and (new or len(known) != len(reader.schema.names)):
        return _replace(ctx, table, reader, location, by)
    if new and not merge_schema:
        raise Invalid(f"[DELTA_SCHEMA_MISMATCH] '{table.full_name}' has no column {', '.join(new)}")
    fitted = _fitted(reader, there, new)
    version = delta.write(location, fitted, mode=mode, schema="merge" if new else "keep", by=by)
    if new:
        ctx.call(tables.set_columns, full_name=table.full_name, columns=shapes.columns_of(fitted.schema))
    return version


def _replace(ctx: Ctx, table: Obj[Table], reader: pa.RecordBatchReader, location: str, by: str) -> int:
    """New rows with other columns. The catalog is asked first: what protects the table must remain possible."""
    columns = shapes.columns_of(reader.schema)
    ctx.call(tables.set_columns, full_name=table.full_name, columns=columns)
    return delta.write(location, _fitted(reader, _plain(reader.schema), []), mode="overwrite", schema="replace", by=by)


def _fitted(reader: pa.RecordBatchReader, there: pa.Schema, new: list[str]) -> pa.RecordBatchReader:
    """The same rows with the table's columns, in its order and types; columns that were not given are NULL."""
    import pyarrow as pa

    given = {n.lower(): i for i, n in enumerate(reader.schema.names)}
    added = [pa.field(n, shapes.arrow_of(shapes.text_of(reader.schema.field(n).type))) for n in new]
    schema = pa.schema([*there, *added])

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            yield pa.RecordBatch.from_arrays([_column(batch, given, f) for f in schema], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _column(batch: pa.RecordBatch, given: Mapping[str, int], wanted: pa.Field) -> pa.Array:
    import pyarrow as pa

    at = given.get(wanted.name.lower())
    try:
        column = pa.nulls(batch.num_rows, wanted.type) if at is None else _cast(batch.column(at), wanted.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as e:
        raise Invalid(f"[DELTA_SCHEMA_MISMATCH] Values for column {wanted.name} are no {wanted.type}") from e
    if not wanted.nullable and column.null_count:
        raise Invalid(f"DELTA_NOT_NULL_CONSTRAINT_VIOLATED: column {wanted.name} must not hold NULL")
    return column


def _cast(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if column.type == wanted:
        return column
    if pa.types.is_decimal(wanted) and pa.types.is_integer(column.type):
        column = column.cast(pa.decimal128(38, wanted.scale))  # else Arrow asks for room that is not needed
    # Nanoseconds are cut off: tables keep microseconds, as every engine here does.
    return column.cast(wanted, safe=not pa.types.is_timestamp(column.type))


def _plain(schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([pa.field(f.name, shapes.arrow_of(shapes.text_of(f.type))) for f in schema])


def _reader(data: Any) -> pa.RecordBatchReader:
    import pyarrow as pa

    if isinstance(data, pa.RecordBatchReader):
        return data
    if isinstance(data, pa.Table):
        return data.to_reader()
    if hasattr(data, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(data)
    raise Invalid("Rows to write must be Arrow data: a table, a reader, or something that exports one")
