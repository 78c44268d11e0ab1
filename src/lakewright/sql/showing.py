"""SHOW and DESCRIBE: what the catalog's own listings answer the caller, as rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lakewright.catalog import catalogs, functions, schemas, tables, volumes
from lakewright.catalog.tables import READ, TABLE, like
from lakewright.engines import delta
from lakewright.kernel.faults import Denied, Invalid
from lakewright.sql import information, virtual
from lakewright.sql.caller import Caller, relation_of
from lakewright.sql.commands import Given, Pattern, pattern
from lakewright.sql.governed import Result, limited
from lakewright.sql.statement import Desk, table_result


def _strings(*names: str) -> list[tuple[str, str]]:
    return [(n, "string") for n in names]


def _matching(given: Given, name: str) -> bool:
    """SHOW's patterns: `*` for any characters, `|` between alternatives; LIKE's `%` is taken too."""
    wanted = given.text("text")
    return wanted is None or any(like(name, w.strip().replace("*", "%")) for w in wanted.split("|"))


def _show_catalogs(desk: Desk, given: Given) -> Result:
    found = desk.ctx.call(catalogs.list_, include_browse=True)["catalogs"]
    return table_result(_strings("catalog"), [{"catalog": c["name"]} for c in found if _matching(given, c["name"])])


def _show_schemas(desk: Desk, given: Given) -> Result:
    catalog = desk.full_name(given.name(), 1) if given.has("name") else _needed(desk.catalog, "catalog")
    found = [s["name"] for s in desk.ctx.call(schemas.list_, catalog_name=catalog, include_browse=True)["schemas"]]
    names = [n for n in (information.SCHEMA, *found) if _matching(given, n)]
    return table_result(_strings("databaseName"), [{"databaseName": n} for n in sorted(set(names))])


def _show_tables(desk: Desk, given: Given) -> Result:
    catalog, schema = _schema(desk, given)
    rows = [
        {"database": schema, "tableName": n, "isTemporary": False}
        for n in sorted(_tables_in(desk, catalog, schema))
        if _matching(given, n)
    ]
    return table_result([("database", "string"), ("tableName", "string"), ("isTemporary", "boolean")], rows)


def _tables_in(desk: Desk, catalog: str, schema: str) -> set[str]:
    if schema == information.SCHEMA:
        return set(information.TABLES)
    listed = desk.ctx.call(
        tables.list_, catalog_name=catalog, schema_name=schema, omit_columns=True, include_browse=True
    )["tables"]
    return {t["name"] for t in listed} | {
        n.rpartition(".")[2] for n in virtual.TABLES if n.startswith(f"{catalog}.{schema}.")
    }


def _show_views(desk: Desk, given: Given) -> Result:
    catalog, schema = _schema(desk, given)
    listed = desk.ctx.call(
        tables.list_, catalog_name=catalog, schema_name=schema, omit_columns=True, include_browse=True
    )["tables"]
    rows = [
        {"namespace": schema, "viewName": t["name"], "isTemporary": False, "isMaterialized": False}
        for t in listed
        if t["table_type"] == "VIEW" and _matching(given, t["name"])
    ]
    columns = [
        ("namespace", "string"),
        ("viewName", "string"),
        ("isTemporary", "boolean"),
        ("isMaterialized", "boolean"),
    ]
    return table_result(columns, rows)


def _show_functions(desk: Desk, given: Given) -> Result:
    catalog, schema = _schema(desk, given)
    listed = desk.ctx.call(functions.list_, catalog_name=catalog, schema_name=schema, include_browse=True)["functions"]
    return table_result(
        _strings("function"), [{"function": f["full_name"]} for f in listed if _matching(given, f["name"])]
    )


def _show_volumes(desk: Desk, given: Given) -> Result:
    catalog, schema = _schema(desk, given)
    listed = desk.ctx.call(volumes.list_, catalog_name=catalog, schema_name=schema, include_browse=True)["volumes"]
    rows = [{"database": schema, "volume_name": v["name"]} for v in listed if _matching(given, v["name"])]
    return table_result(_strings("database", "volume_name"), rows)


def _show_columns(desk: Desk, given: Given) -> Result:
    return table_result(_strings("col_name"), [{"col_name": c["col_name"]} for c in _columns(desk, given)])


def _show_properties(desk: Desk, given: Given) -> Result:
    found = desk.ctx.call(tables.get, full_name=desk.full_name(given.name()), include_browse=True)
    rows = [{"key": k, "value": v} for k, v in sorted(found["properties"].items())]
    return table_result(_strings("key", "value"), rows)


def _schema(desk: Desk, given: Given) -> tuple[str, str]:
    if not given.has("name"):
        return _needed(desk.catalog, "catalog"), _needed(desk.schema, "schema")
    catalog, schema = desk.full_name(given.name(), 2).split(".")
    return catalog, schema


def _needed(value: str | None, what: str) -> str:
    if value is None:
        raise Invalid(f"No {what} is named, and the statement has no default one")
    return value


# -- DESCRIBE ---------------------------------------------------------------------------------------------------------

DESCRIBED = _strings("col_name", "data_type", "comment")
Row = dict[str, Any]


def _columns(desk: Desk, given: Given) -> list[Row]:
    name = desk.full_name(given.name())
    if name in virtual.TABLES or name.split(".")[1] == information.SCHEMA:
        relation = desk.ctx.snapshot(lambda c: Caller(c, c).relation(name, None))
        found = virtual.TABLES.get(name) or information.of(name.split(".")[0], name.split(".")[2])
        assert relation.name == name  # the caller may read it
        return [{"col_name": n, "data_type": t, "comment": None} for n, t in found.columns]
    shown = desk.ctx.call(tables.get, full_name=name, include_browse=True)
    return [{"col_name": c["name"], "data_type": c["type_text"], "comment": c.get("comment")} for c in shown["columns"]]


def _describe(desk: Desk, given: Given) -> Result:
    rows = _columns(desk, given)
    name = desk.full_name(given.name())
    if given.has("more") and name not in virtual.TABLES:
        rows += _details(desk.ctx.call(tables.get, full_name=name, include_browse=True))
    return table_result(DESCRIBED, rows)


def _details(shown: Row) -> Iterator[Row]:
    yield {"col_name": "", "data_type": "", "comment": ""}
    yield {"col_name": "# Detailed Table Information", "data_type": "", "comment": ""}
    facts: dict[str, Any] = {
        "Catalog": shown["catalog_name"], "Database": shown["schema_name"], "Table": shown["name"],
        "Owner": shown["owner"], "Type": shown["table_type"], "Provider": shown.get("data_source_format"),
        "Comment": shown.get("comment"), "Location": shown.get("storage_location"), "View Text": shown.get("view_definition"),
        "Row Filter": shown["row_filter"]["function_name"] if shown.get("row_filter") else None,
        "Column Masks": ", ".join(f"{c['name']}: {c['mask']['function_name']}" for c in shown["columns"] if c.get("mask")) or None,
    }  # fmt: skip
    for key, value in facts.items():
        if value is not None:
            yield {"col_name": key, "data_type": value, "comment": ""}


def _whole(desk: Desk, given: Given) -> tuple[str, Row]:
    """The place of a table whose every row the caller may see: its files and history tell how many there are."""
    name = desk.full_name(given.name())

    def find(ctx: Any) -> str:
        caller = Caller(ctx, ctx)
        table = caller.found(TABLE, name, READ)
        if limited(caller, table):
            raise Denied(
                f"{ctx.principal.name} does not see all rows and values of '{name}', and so not its files and history"
            )
        if not table.spec.storage_location:
            raise Invalid(f"'{name}' is a view: it has no files")
        return relation_of(table).location

    return desk.ctx.snapshot(find), desk.ctx.call(tables.get, full_name=name, include_browse=True)


def _history(desk: Desk, given: Given) -> Result:
    location, _ = _whole(desk, given)
    rows = [
        {
            "version": h["version"], "timestamp": h.get("timestamp"), "userName": h.get("userName"),
            "operation": h.get("operation"), "operationParameters": _pairs(h.get("operationParameters")),
            "operationMetrics": _pairs(h.get("operationMetrics")),
        }
        for h in delta.history(location)
    ]  # fmt: skip
    columns = [
        ("version", "bigint"), ("timestamp", "timestamp"), ("userName", "string"), ("operation", "string"),
        ("operationParameters", "map<string,string>"), ("operationMetrics", "map<string,string>"),
    ]  # fmt: skip
    return table_result(columns, rows)


def _pairs(found: Row | None) -> list[tuple[str, str]]:
    return [(k, str(v)) for k, v in (found or {}).items()]


def _detail(desk: Desk, given: Given) -> Result:
    location, shown = _whole(desk, given)
    snapshot = delta.open_at(location)
    row = {
        "format": "delta", "id": shown["table_id"], "name": shown["full_name"], "description": shown.get("comment"),
        "location": shown.get("storage_location"), "createdAt": shown["created_at"], "lastModified": shown["updated_at"],
        "partitionColumns": list(snapshot.partition_columns), "numFiles": len(snapshot.files),
        "sizeInBytes": sum(f.size for f in snapshot.files), "properties": list(snapshot.configuration.items()),
    }  # fmt: skip
    columns = [
        ("format", "string"), ("id", "string"), ("name", "string"), ("description", "string"), ("location", "string"),
        ("createdAt", "timestamp"), ("lastModified", "timestamp"), ("partitionColumns", "array<string>"),
        ("numFiles", "bigint"), ("sizeInBytes", "bigint"), ("properties", "map<string,string>"),
    ]  # fmt: skip
    return table_result(columns, [row])


def _describe_schema(desk: Desk, given: Given) -> Result:
    found = desk.ctx.call(schemas.get, full_name=desk.full_name(given.name(), 2), include_browse=True)
    facts = {
        "Catalog Name": found["catalog_name"],
        "Namespace Name": found["name"],
        "Comment": found.get("comment"),
        "Owner": found["owner"],
    }
    return _facts(facts)


def _describe_catalog(desk: Desk, given: Given) -> Result:
    found = desk.ctx.call(catalogs.get, name=desk.full_name(given.name(), 1), include_browse=True)
    return _facts({"Catalog Name": found["name"], "Comment": found.get("comment"), "Owner": found["owner"]})


def _describe_function(desk: Desk, given: Given) -> Result:
    found = desk.ctx.call(functions.get, name=desk.full_name(given.name()), include_browse=True)
    inputs = ", ".join(f"{p['name']} {p['type_text']}" for p in found["input_params"]["parameters"])
    facts = {
        "Function": found["full_name"],
        "Input": inputs,
        "Returns": found["full_data_type"],
        "Body": found["routine_definition"],
    }
    return table_result(_strings("function_desc"), [{"function_desc": f"{k}: {v}"} for k, v in facts.items()])


def _facts(facts: Row) -> Result:
    columns = _strings("database_description_item", "database_description_value")
    return table_result(
        columns,
        [dict(zip(("database_description_item", "database_description_value"), f, strict=True)) for f in facts.items()],
    )


_IN, _LIKE = "[(IN|FROM) <name>]", "[[LIKE] <text>]"
PATTERNS: tuple[Pattern, ...] = (
    pattern(f"SHOW CATALOGS {_LIKE}", _show_catalogs),
    pattern(f"SHOW (SCHEMAS|DATABASES) {_IN} {_LIKE}", _show_schemas),
    pattern(f"SHOW TABLES {_IN} {_LIKE}", _show_tables),
    pattern(f"SHOW VIEWS {_IN} {_LIKE}", _show_views),
    pattern(f"SHOW [USER] FUNCTIONS {_IN} {_LIKE}", _show_functions),
    pattern(f"SHOW VOLUMES {_IN} {_LIKE}", _show_volumes),
    pattern("SHOW COLUMNS (IN|FROM) <name>", _show_columns),
    pattern("SHOW TBLPROPERTIES <name>", _show_properties),
    pattern("(DESCRIBE|DESC) HISTORY <name>", _history),
    pattern("(DESCRIBE|DESC) DETAIL <name>", _detail),
    pattern("(DESCRIBE|DESC) (SCHEMA|DATABASE) [EXTENDED] <name>", _describe_schema),
    pattern("(DESCRIBE|DESC) CATALOG [EXTENDED] <name>", _describe_catalog),
    pattern("(DESCRIBE|DESC) FUNCTION [EXTENDED] <name>", _describe_function),
    pattern("(DESCRIBE|DESC) [TABLE] [<more:extended>] <name>", _describe),
)
