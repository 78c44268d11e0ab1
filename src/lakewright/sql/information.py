"""information_schema: what is in the catalogs, each row judged for the caller as the REST listings judge it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lakewright.catalog import catalogs, functions, schemas, tables, volumes
from lakewright.catalog.people import People
from lakewright.kernel import grants, objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Denied, NotFound
from lakewright.kernel.objects import Obj
from lakewright.kernel.rules import MANAGE
from lakewright.sql import virtual

SCHEMA = "information_schema"
Row = dict[str, Any]
_WHO = (
    ("created", "timestamp"),
    ("created_by", "string"),
    ("last_altered", "timestamp"),
    ("last_altered_by", "string"),
)


def _who(obj: Obj[Any], people: People) -> Row:
    return {
        "created": obj.created_at, "created_by": people[obj.created_by], "last_altered": obj.updated_at,
        "last_altered_by": people[obj.updated_by],
    }  # fmt: skip


def _under(ctx: Ctx, catalog: str) -> Obj[Any] | None:
    """Everything for system.information_schema, one catalog for its own."""
    if catalog == virtual.CATALOG:
        return None
    try:
        found = objects.find(ctx, catalogs.CATALOG, catalog)
    except NotFound:
        found = None
    if found is None or not catalogs.SEE.judge(ctx, found.id):
        raise Denied(f"{ctx.principal.name} needs USE_CATALOG on catalog '{catalog}'")
    return found


def _catalogs(ctx: Ctx, catalog: str) -> Iterator[Row]:
    people, only = People(ctx), _under(ctx, catalog)
    for c in objects.visible(ctx, catalogs.CATALOG, catalogs.SEE):
        if only is None or c.id == only.id:
            yield {
                "catalog_name": c.name,
                "catalog_owner": people[c.owner],
                "comment": c.spec.comment,
                **_who(c, people),
            }


def _schemata(ctx: Ctx, catalog: str) -> Iterator[Row]:
    people = People(ctx)
    for s in objects.visible(ctx, schemas.SCHEMA, schemas.SEE, under=_under(ctx, catalog)):
        yield {
            "catalog_name": s.full_name.split(".")[0], "schema_name": s.name, "schema_owner": people[s.owner],
            "comment": s.spec.comment, **_who(s, people),
        }  # fmt: skip


def _named(obj: Obj[Any]) -> Row:
    catalog, schema, name = obj.full_name.split(".")
    return {"table_catalog": catalog, "table_schema": schema, "table_name": name}


def _tables(ctx: Ctx, catalog: str) -> Iterator[Row]:
    people = People(ctx)
    for t in objects.visible(ctx, tables.TABLE, tables.SEE, under=_under(ctx, catalog)):
        yield {
            **_named(t), "table_type": t.spec.table_type, "is_insertable_into": "NO" if t.spec.table_type == "VIEW" else "YES",
            "table_owner": people[t.owner], "comment": t.spec.comment, "data_source_format": t.spec.data_source_format,
            **_who(t, people),
        }  # fmt: skip


def _columns(ctx: Ctx, catalog: str) -> Iterator[Row]:
    for t in objects.visible(ctx, tables.TABLE, tables.SEE, under=_under(ctx, catalog)):
        for c in t.spec.columns:
            yield {
                **_named(t), "column_name": c.name, "ordinal_position": c.position, "is_nullable": "YES" if c.nullable else "NO",
                "full_data_type": c.type_text, "data_type": c.type_name, "comment": c.comment,
                "partition_index": c.partition_index,
            }  # fmt: skip


def _views(ctx: Ctx, catalog: str) -> Iterator[Row]:
    may = tables.REACH & (tables.SELECT | MANAGE)
    for t in objects.visible(ctx, tables.TABLE, may, under=_under(ctx, catalog)):
        if t.spec.table_type == "VIEW":
            yield {**_named(t), "view_definition": t.spec.view_definition}


def _routines(ctx: Ctx, catalog: str) -> Iterator[Row]:
    people = People(ctx)
    for f in objects.visible(ctx, functions.FUNCTION, functions.SEE, under=_under(ctx, catalog)):
        where = f.full_name.split(".")
        yield {
            "routine_catalog": where[0], "routine_schema": where[1], "routine_name": where[2], "routine_owner": people[f.owner],
            "routine_body": f.spec.routine_body, "data_type": f.spec.data_type, "full_data_type": f.spec.full_data_type,
            "routine_definition": f.spec.routine_definition, "comment": f.spec.comment, **_who(f, people),
        }  # fmt: skip


def _volumes(ctx: Ctx, catalog: str) -> Iterator[Row]:
    people = People(ctx)
    for v in objects.visible(ctx, volumes.VOLUME, volumes.SEE, under=_under(ctx, catalog)):
        where = v.full_name.split(".")
        yield {
            "volume_catalog": where[0], "volume_schema": where[1], "volume_name": where[2], "volume_owner": people[v.owner],
            "volume_type": v.spec.volume_type, "comment": v.spec.comment, **_who(v, people),
        }  # fmt: skip


def _table_privileges(ctx: Ctx, catalog: str) -> Iterator[Row]:
    """Grants on the tables that the caller manages."""
    people = People(ctx)
    for t in objects.visible(ctx, tables.TABLE, tables.ADMINISTER, under=_under(ctx, catalog)):
        for principal, rights in grants.held(ctx, t).items():
            for right in rights:
                yield {**_named(t), "grantee": people[principal], "privilege_type": right}


_TABLE = (("table_catalog", "string"), ("table_schema", "string"), ("table_name", "string"))
_Columns = tuple[tuple[str, str], ...]
TABLES: dict[str, tuple[_Columns, Callable[[Ctx, str], Iterator[Row]]]] = {
    "catalogs": ((("catalog_name", "string"), ("catalog_owner", "string"), ("comment", "string"), *_WHO), _catalogs),
    "schemata": (
        (("catalog_name", "string"), ("schema_name", "string"), ("schema_owner", "string"), ("comment", "string"), *_WHO),
        _schemata,
    ),
    "tables": (
        (
            *_TABLE, ("table_type", "string"), ("is_insertable_into", "string"), ("table_owner", "string"),
            ("comment", "string"), *_WHO, ("data_source_format", "string"),
        ),
        _tables,
    ),
    "columns": (
        (
            *_TABLE, ("column_name", "string"), ("ordinal_position", "int"), ("is_nullable", "string"),
            ("full_data_type", "string"), ("data_type", "string"), ("comment", "string"), ("partition_index", "int"),
        ),
        _columns,
    ),
    "views": ((*_TABLE, ("view_definition", "string")), _views),
    "routines": (
        (
            ("routine_catalog", "string"), ("routine_schema", "string"), ("routine_name", "string"),
            ("routine_owner", "string"), ("routine_body", "string"), ("data_type", "string"), ("full_data_type", "string"),
            ("routine_definition", "string"), ("comment", "string"), *_WHO,
        ),
        _routines,
    ),
    "volumes": (
        (
            ("volume_catalog", "string"), ("volume_schema", "string"), ("volume_name", "string"), ("volume_owner", "string"),
            ("volume_type", "string"), ("comment", "string"), *_WHO,
        ),
        _volumes,
    ),
    "table_privileges": ((*_TABLE, ("grantee", "string"), ("privilege_type", "string")), _table_privileges),
}  # fmt: skip


def of(catalog: str, table: str) -> virtual.Virtual:
    columns, rows = TABLES[table]

    def found(ctx: Ctx) -> Iterator[Row]:
        return rows(ctx, catalog)

    return virtual.Virtual(f"{catalog}.{SCHEMA}.{table}", columns, found, open_to_all=True)
