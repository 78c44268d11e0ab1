"""Tables: governed Delta tables and views, with the filters and masks that stand before their rows."""

import shutil
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from pydantic import BaseModel, Field

from lakewright.catalog import definers, delta, dropped, locations, names, places
from lakewright.catalog.catalogs import BROWSING, CATALOG, Catalog
from lakewright.catalog.catalogs import SEE as SEE_CATALOG
from lakewright.catalog.columns import (
    AskedColumn,
    Column,
    ColumnMask,
    RowFilter,
    distinct,
    made,
    named,
)
from lakewright.catalog.people import People
from lakewright.catalog.reach import Mainly
from lakewright.catalog.schemas import EXTERNAL_USE, REACH, SCHEMA, Schema
from lakewright.catalog.schemas import SEE as SEE_SCHEMA
from lakewright.engines import delta as engine
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import BadState, Invalid, NotFound, NotSupported
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import OUTSIDE, SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.roots import IN_METASTORE, Root
from lakewright.kernel.rules import MANAGE, PER_ROW, require

__all__ = ["MODIFY", "READ", "SELECT", "TABLE", "WRITE", "Column", "ColumnMask", "RowFilter", "Table"]


class Table(BaseModel):
    table_type: Literal["MANAGED", "EXTERNAL", "VIEW"]
    data_source_format: str | None = "DELTA"
    columns: list[Column] = []
    storage_location: str | None = None
    view_definition: str | None = None
    row_filter: RowFilter | None = None
    properties: dict[str, str] = {}
    comment: str | None = None
    primary_key: list[str] = []
    primary_key_name: str | None = None
    timeseries: str | None = None

    @property
    def protected(self) -> bool:
        """Whether what a reader gets differs from what the files hold."""
        return self.row_filter is not None or any(c.mask for c in self.columns)


TABLE = Kind("table", example=Table(table_type="MANAGED"), under=SCHEMA, folded=True, also_called=("tables",))
SELECT, MODIFY = TABLE.privileges("SELECT", "MODIFY")


def _check_transfer(ctx: Ctx, table: Obj[Table], owner: str) -> None:
    if table.spec.table_type == "VIEW":
        definers.check_transfer(ctx, table, owner)


TABLE.before_transfer = _check_transfer
(CREATE_TABLE,) = SCHEMA.privileges("CREATE_TABLE")

READ = REACH & SELECT
"""What reading a table's rows needs, on every path."""
WRITE = REACH & MODIFY
ADMINISTER = REACH & MANAGE
KNOW = REACH & Mainly(SELECT, MODIFY | MANAGE)
SEE = Mainly(KNOW, BROWSING)
"""What knowing of a table needs."""

DELTA_PROPERTIES = frozenset({"delta.appendOnly", "delta.logRetentionDuration", "delta.deletedFileRetentionDuration"})
"""Those that hold here. Others would be written into the log and obeyed by nobody."""

api = Api("unityCatalog", "/api/2.1/unity-catalog")
BY_NAME = TABLE.at("{full_name}")
IN_SCHEMA = SCHEMA.at("{catalog_name}.{schema_name}")


class CreateTable(Ask):
    name: str
    catalog_name: str
    schema_name: str
    table_type: str
    data_source_format: str | None = None
    columns: list[AskedColumn] = Field(default_factory=list[AskedColumn])
    storage_location: str | None = None
    view_definition: str | None = None
    comment: str | None = None
    properties: dict[str, str] | None = None


class Listing(Ask):
    catalog_name: str
    schema_name: str
    include_browse: bool = False
    include_manifest_capabilities: Literal[False] = False
    include_delta_metadata: Literal[False] = False
    omit_columns: bool = False
    omit_properties: bool = False
    omit_username: bool = False
    max_results: int | None = None
    page_token: str | None = None


class Summaries(Ask):
    catalog_name: str
    schema_name_pattern: str | None = None
    table_name_pattern: str | None = None
    include_manifest_capabilities: Literal[False] = False
    max_results: int | None = None
    page_token: str | None = None


class Named(Ask):
    full_name: str


class ReadTable(Named):
    include_browse: bool = False
    include_delta_metadata: Literal[False] = False
    include_manifest_capabilities: Literal[False] = False
    read_streaming_table_as_managed: bool = False
    read_materialized_view_as_managed: bool = False


class UpdateTable(Named):
    """`owner` is the public API's; the rest is what ALTER TABLE says."""

    owner: str | None = None
    comment: str | None = None
    properties: dict[str, str] | None = None
    new_name: str | None = None


@api("POST", "/tables", audit="createTable", on=IN_SCHEMA, needs=REACH & CREATE_TABLE, runs=OUTSIDE)
def create(ctx: Ctx, schema: Obj[Schema], ask: CreateTable) -> Reply:
    """The files first, then the object: a crash between the two leaves an unused folder, never a table without data."""
    name = names.checked(ask.name, "table name")
    _accept(ask)
    if ask.table_type == "VIEW":
        return ctx.transact(lambda ctx: _add(ctx, schema, name, _view(ask)))
    if ask.table_type == "EXTERNAL":
        return _create_external(ctx, schema, name, ask)
    return _create_managed(ctx, schema, name, ask)


@api("GET", "/tables", audit="listTables", on=IN_SCHEMA, needs=SEE_SCHEMA, runs=SNAPSHOT)
def list_(ctx: Ctx, schema: Obj[Schema], ask: Listing) -> Reply:
    found, following = objects.page(
        ctx, TABLE, SEE if ask.include_browse else KNOW, under=schema, size=ask.max_results, token=ask.page_token
    )
    people = People(ctx)
    left_out = {
        *(["columns"] if ask.omit_columns else []), *(["properties"] if ask.omit_properties else []),
        *(["owner", "created_by", "updated_by"] if ask.omit_username else []),
    }  # fmt: skip
    shown_tables = [{k: v for k, v in show(ctx, t, people).items() if k not in left_out} for t in found]
    return {"tables": shown_tables, "next_page_token": following}


@api(
    "GET", "/table-summaries", audit="listTableSummaries", on=CATALOG.at("{catalog_name}"), needs=SEE_CATALOG,
    runs=SNAPSHOT,
)  # fmt: skip
def list_summaries(ctx: Ctx, catalog: Obj[Catalog], ask: Summaries) -> Reply:
    """Patterns are LIKE's. A page may hold fewer than asked for, even none, and still name a next one."""
    found, following = objects.page(ctx, TABLE, SEE, under=catalog, size=ask.max_results, token=ask.page_token)
    tables = [
        {"full_name": t.full_name, "table_type": t.spec.table_type}
        for t in found
        if like(t.full_name.split(".")[1], ask.schema_name_pattern) and like(t.name, ask.table_name_pattern)
    ]
    return {"tables": tables, "next_page_token": following}


@api("GET", "/tables/{full_name}", audit="getTable", on=BY_NAME, needs=SEE, runs=SNAPSHOT)
def get(ctx: Ctx, table: Obj[Table], ask: ReadTable) -> Reply:
    if not ask.include_browse:
        require(ctx, KNOW, table)
    return shown(ctx, table)


@api("GET", "/tables/{full_name}/exists", audit="tableExists", on=IN_METASTORE, needs=PER_ROW)
def exists(ctx: Ctx, metastore: Obj[Root], ask: Named) -> Reply:
    """For the caller: a table nobody told them of does not exist."""
    try:
        return {"table_exists": bool(SEE.judge(ctx, objects.find(ctx, TABLE, ask.full_name).id))}
    except NotFound:
        return {"table_exists": False}


@api("PATCH", "/tables/{full_name}", audit="updateTable", on=BY_NAME, needs=ADMINISTER)
def update(ctx: Ctx, table: Obj[Table], ask: UpdateTable) -> Reply:
    changed = {k: v for k in ("comment", "properties") if (v := getattr(ask, k)) is not None}
    if ask.properties is not None and _of_delta(ask.properties) != _of_delta(table.spec.properties):
        raise NotSupported("updateTable does not change delta.* properties; ALTER TABLE … SET TBLPROPERTIES does")
    if changed:
        table = objects.update(ctx, table, **changed)
    if ask.new_name is not None and (name := names.checked(ask.new_name, "new_name")) != table.name:
        require(ctx, CREATE_TABLE, objects.parent(ctx, table))
        table = objects.rename(ctx, table, name)
    if ask.owner is not None:
        table = objects.set_owner(ctx, table, ctx.id_of(ask.owner))
    return shown(ctx, table)


@api("DELETE", "/tables/{full_name}", audit="deleteTable", on=BY_NAME, needs=ADMINISTER)
def delete(ctx: Ctx, table: Obj[Table], ask: Named) -> Reply:
    dropped.drop(ctx, table)
    return {}


# ---- columns after creation


class SetColumns(Named):
    columns: list[AskedColumn]


alter = Api("unityCatalog", "/api/2.1/lakewright/tables/{full_name}")


@alter("PUT", "/columns", audit="setTableColumns", on=BY_NAME, needs=WRITE)
def set_columns(ctx: Ctx, table: Obj[Table], ask: SetColumns) -> Reply:
    """The columns as the last commit to the table's log left them: ALTER TABLE, schema evolution, replacement."""
    return shown(ctx, evolve(ctx, table, made(ask.columns)))


class SetProperties(Named):
    properties: dict[str, str]


@alter("PUT", "/properties", audit="setTableProperties", on=BY_NAME, needs=ADMINISTER, runs=OUTSIDE)
def set_properties(ctx: Ctx, table: Obj[Table], ask: SetProperties) -> Reply:
    """ALTER TABLE … SET TBLPROPERTIES: what `delta.` says goes into the log first, for every engine to obey."""
    if for_delta := _of_delta(ask.properties):
        _accept_properties(for_delta)
        if not table.spec.storage_location:
            raise Invalid(f"'{table.full_name}' is a view: it has no {', '.join(sorted(for_delta))}")
        ctx.snapshot(lambda ctx: require_files_writable(ctx, table))
        engine.set_properties(places.local(table.spec.storage_location), for_delta)

    def add(ctx: Ctx) -> Reply:
        now = objects.again(ctx, table)
        require(ctx, ADMINISTER, now)
        return shown(ctx, objects.update(ctx, now, properties={**now.spec.properties, **ask.properties}))

    return ctx.transact(add)


class ReplaceView(Named):
    columns: list[AskedColumn]
    view_definition: str
    comment: str | None = None


@alter("PUT", "/view", audit="replaceView", on=BY_NAME, needs=ADMINISTER)
def replace_view(ctx: Ctx, table: Obj[Table], ask: ReplaceView) -> Reply:
    """CREATE OR REPLACE VIEW: another query under the same name and grants, read as whoever wrote it."""
    if table.spec.table_type != "VIEW":
        raise Invalid(f"'{table.full_name}' is no view")
    changed = {"columns": made(ask.columns), "view_definition": ask.view_definition, "comment": ask.comment}
    return shown(ctx, definers.rewritten(ctx, table, table.spec.model_copy(update=changed)))


def evolve(ctx: Ctx, table: Obj[Table], columns: list[Column]) -> Obj[Table]:
    """Give the table other columns. Protection survives: what a mask or the filter needs cannot go or change type."""
    kept = carried(table.spec, columns)
    return objects.update(ctx, table, columns=kept) if kept != table.spec.columns else table


# ---- constraints


class PrimaryKey(Ask):
    name: str
    child_columns: list[str]
    timeseries_columns: list[str] = Field(default_factory=list[str])
    rely: bool = False


class Constraint(Ask):
    primary_key_constraint: PrimaryKey


class CreateConstraint(Ask):
    full_name_arg: str
    constraint: Constraint


class DeleteConstraint(Named):
    constraint_name: str
    cascade: bool = False


@api("POST", "/constraints", audit="createTableConstraint", on=TABLE.at("{full_name_arg}"), needs=ADMINISTER)
def add_constraint(ctx: Ctx, table: Obj[Table], ask: CreateConstraint) -> Reply:
    """A primary key says which rows are about the same thing (feature lookups rely on it); it is not checked on write."""
    key = ask.constraint.primary_key_constraint
    if key.rely:
        raise NotSupported("createTableConstraint does not support the field 'rely'", field="rely")
    if not key.child_columns:
        raise Invalid("a primary key has columns")
    if table.spec.primary_key:
        raise BadState(f"table '{table.full_name}' has a primary key")
    if len(key.timeseries_columns) > 1:
        raise Invalid("a primary key has at most one timeseries column")
    columns = [_column(table.spec, name).name for name in key.child_columns]
    times = [_column(table.spec, name).name for name in key.timeseries_columns]
    table = objects.update(
        ctx, table, primary_key=columns, primary_key_name=key.name, timeseries=next(iter(times), None)
    )
    return {"primary_key_constraint": _key(table.spec)}


@api("DELETE", "/constraints/{full_name}", audit="deleteTableConstraint", on=BY_NAME, needs=ADMINISTER)
def drop_constraint(ctx: Ctx, table: Obj[Table], ask: DeleteConstraint) -> Reply:
    if table.spec.primary_key_name != ask.constraint_name:
        raise NotFound(f"table '{table.full_name}' has no constraint '{ask.constraint_name}'")
    objects.update(ctx, table, primary_key=[], primary_key_name=None, timeseries=None)
    return {}


# ---- other engines


class TableCredentials(Ask):
    table_id: str
    operation: Literal["READ", "READ_WRITE"] = "READ"


LASTS_MS = 3_600_000


@api(
    "POST", "/temporary-table-credentials", audit="generateTemporaryTableCredential", on=TABLE.by_id("{table_id}"),
    needs=READ & EXTERNAL_USE, also=("/api/2.0/unity-catalog/temporary-table-credentials",),
)  # fmt: skip
def credentials(ctx: Ctx, table: Obj[Table], ask: TableCredentials) -> Reply:
    """Local files need no key beyond being on this machine, so the answer holds the place and no secret.

    That is also why a table whose rows or values differ by reader is never handed out this way.
    """
    if table.spec.protected:
        raise locations.withheld(table.full_name)
    if table.spec.storage_location is None:
        raise Invalid(f"'{table.full_name}' is a view: it has no files")
    if ask.operation == "READ_WRITE":
        require(ctx, WRITE, table)
        require_files_writable(ctx, table)
    return {"url": table.spec.storage_location, "expiration_time": ctx.now() + LASTS_MS}


# ---- decisions


def _accept(ask: CreateTable) -> None:
    if ask.table_type not in ("MANAGED", "EXTERNAL", "VIEW"):
        raise NotSupported(f"createTable does not support table_type {ask.table_type}")
    if ask.table_type != "VIEW" and (ask.data_source_format or "DELTA") != "DELTA":
        raise NotSupported(f"createTable does not support data_source_format {ask.data_source_format}")
    if ask.table_type != "VIEW" and ask.view_definition is not None:
        raise Invalid("view_definition belongs to a VIEW")
    _accept_properties(ask.properties or {})
    if any(c.mask for c in ask.columns):
        raise NotSupported("createTable does not support the field 'columns.mask'; set the mask afterwards")


def _accept_properties(given: dict[str, str]) -> None:
    if unknown := sorted(set(_of_delta(given)) - DELTA_PROPERTIES):
        raise NotSupported(f"tables do not support the property {', '.join(unknown)}", field="properties")


def _of_delta(properties: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in properties.items() if k.startswith("delta.")}


def _view(ask: CreateTable) -> Table:
    if not ask.view_definition:
        raise Invalid("view_definition is required for a VIEW")
    if ask.storage_location:
        raise Invalid("a VIEW has no storage_location")
    return Table(
        table_type="VIEW", data_source_format=None, columns=made(ask.columns), view_definition=ask.view_definition,
        comment=ask.comment, properties=ask.properties or {},
    )  # fmt: skip


def _create_managed(ctx: Ctx, schema: Obj[Schema], name: str, ask: CreateTable) -> Reply:
    if ask.storage_location:
        raise Invalid("storage_location cannot be chosen for a MANAGED table")
    if not ask.columns:
        raise Invalid("a MANAGED table needs columns")
    columns, properties, table_id = made(ask.columns), ask.properties or {}, str(uuid4())
    location = ctx.snapshot(lambda ctx: places.managed(ctx, schema, "tables", table_id))
    path = places.local(location)
    delta.create(path, columns, now=ctx.now(), properties=properties)
    spec = Table(
        table_type="MANAGED", columns=columns, storage_location=location, comment=ask.comment, properties=properties
    )
    try:
        return ctx.transact(lambda ctx: _add(ctx, schema, name, spec, table_id))
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def _create_external(ctx: Ctx, schema: Obj[Schema], name: str, ask: CreateTable) -> Reply:
    """Register what lies, or will lie, at a place the caller may use. The log there, if any, has the say on columns."""
    if not ask.storage_location:
        raise Invalid("storage_location is required for an EXTERNAL table")
    path = places.local(ask.storage_location)
    ctx.snapshot(lambda ctx: locations.claim(ctx, path, locations.CREATE_EXTERNAL_TABLE))
    columns = _external_columns(path, ask)
    spec = Table(
        table_type="EXTERNAL", columns=columns, storage_location=places.url(path), comment=ask.comment,
        properties=ask.properties or {},
    )  # fmt: skip

    def add(ctx: Ctx) -> Reply:
        locations.claim(ctx, path, locations.CREATE_EXTERNAL_TABLE)
        return _add(ctx, schema, name, spec)

    return ctx.transact(add)


def _external_columns(path: Path, ask: CreateTable) -> list[Column]:
    asked, there = made(ask.columns), delta.columns_at(path)
    if there is None:
        return asked
    if asked and [(c.name, c.type_text) for c in asked] != [(c.name, c.type_text) for c in there]:
        raise Invalid("columns differ from those of the Delta table at storage_location")
    return there


def require_files_writable(ctx: Ctx, table: Obj[Table]) -> None:
    """Whoever may change the table, its place must allow it too."""
    if table.spec.table_type == "EXTERNAL":
        locations.require_writable(ctx, table)


def _add(ctx: Ctx, schema: Obj[Schema], name: str, spec: Table, table_id: str | None = None) -> Reply:
    # Between the guard's decision and this transaction a right may have been revoked or the schema dropped.
    schema = objects.again(ctx, schema)
    require(ctx, REACH & CREATE_TABLE, schema)
    return shown(ctx, objects.create(ctx, TABLE, name, spec, under=schema, id=table_id))


def carried(table: Table, columns: list[Column]) -> list[Column]:
    """`columns` wearing the masks and comments that columns of the same name have; refused if protection would go."""
    distinct(columns)
    for needed in protecting(table):
        before, after = named(table.columns, needed), named(columns, needed)
        if after is None:
            raise BadState(f"column '{needed}' is masked or used by a filter or mask; unset that first")
        if before is not None and before.type_text != after.type_text:
            raise BadState(f"column '{needed}' is masked or used by a filter or mask; its type cannot change")
    return [_with_old(c, named(table.columns, c.name)) for c in columns]


def protecting(table: Table) -> set[str]:
    """The columns without which a filter or mask could not be computed."""
    found = set(table.row_filter.input_column_names) if table.row_filter else set[str]()
    for column in table.columns:
        if column.mask:
            found |= {column.name, *column.mask.using_column_names}
    return found


def _with_old(column: Column, before: Column | None) -> Column:
    if before is None:
        return column
    return column.model_copy(update={"mask": before.mask, "comment": column.comment or before.comment})


def _column(table: Table, name: str) -> Column:
    if (found := named(table.columns, name)) is None:
        raise Invalid(f"there is no column '{name}'")
    return found


def like(text: str, pattern: str | None) -> bool:
    """SQL's LIKE without a regular expression: linear in the text for each `%`."""
    if pattern is None:
        return True
    at, star, mark, i = 0, -1, 0, 0
    pattern = pattern.lower()
    while i < len(text):
        if at < len(pattern) and pattern[at] == "%":
            star, mark, at = at, i, at + 1
        elif at < len(pattern) and pattern[at] in ("_", text[i]):
            at, i = at + 1, i + 1
        elif star >= 0:
            mark += 1
            at, i = star + 1, mark
        else:
            return False
    return all(c == "%" for c in pattern[at:])


# ---- show


def shown(ctx: Ctx, table: Obj[Table]) -> Reply:
    return show(ctx, table, People(ctx))


def show(ctx: Ctx, table: Obj[Table], people: People) -> Reply:
    """What the caller may know of the table. Where its files lie is for readers of a table that is the same to all."""
    catalog_name, schema_name, name = table.full_name.split(".")
    spec = table.spec
    may_read = bool(READ.judge(ctx, table.id))
    browsing = not may_read and not (REACH & (MODIFY | MANAGE)).judge(ctx, table.id)
    reply: dict[str, Any] = {
        "name": name, "catalog_name": catalog_name, "schema_name": schema_name, "full_name": table.full_name,
        "table_id": table.id, "table_type": spec.table_type, "data_source_format": spec.data_source_format,
        "columns": [_show_column(c) for c in spec.columns], "comment": spec.comment, "properties": spec.properties,
        "owner": people[table.owner], "metastore_id": people.metastore_id, "browse_only": browsing,
        "created_at": table.created_at, "created_by": people[table.created_by],
        "updated_at": table.updated_at, "updated_by": people[table.updated_by],
    }  # fmt: skip
    if may_read and not spec.protected:
        reply["storage_location"] = spec.storage_location
    if not browsing and spec.view_definition is not None:
        reply["view_definition"] = spec.view_definition
    if spec.row_filter is not None:
        reply["row_filter"] = spec.row_filter.model_dump()
    if spec.primary_key:
        reply["table_constraints"] = [{"primary_key_constraint": _key(spec)}]
    return reply


def _show_column(column: Column) -> dict[str, Any]:
    return column.model_dump(exclude_none=True)


def _key(spec: Table) -> dict[str, Any]:
    timeseries = [spec.timeseries] if spec.timeseries else []
    return {"name": spec.primary_key_name, "child_columns": spec.primary_key, "timeseries_columns": timeseries}
