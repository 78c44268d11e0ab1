"""Changes of the catalog written as SQL. Each is the catalog's own operation, guarded and recorded as such."""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lakewright.access import privileges
from lakewright.catalog import catalogs, functions, protection, schemas, tables, types, volumes
from lakewright.catalog.tables import TABLE, Table
from lakewright.engines import delta
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import AlreadyExists, Invalid, NotFound, NotSupported
from lakewright.kernel.objects import Obj
from lakewright.sql import dialect, governed, shapes, wall
from lakewright.sql.caller import Caller, relation_of
from lakewright.sql.commands import Given, Pattern, pattern
from lakewright.sql.governed import Result
from lakewright.sql.statement import Desk, described, done, qualified, table_result

if TYPE_CHECKING:
    from sqlglot import exp

LEVELS = {"catalog": 1, "schema": 2, "database": 2, "metastore": 0, "share": 1}
KINDS = {"view": "table", "database": "schema", "model": "registered_model"}


# -- tables -----------------------------------------------------------------------------------------------------------


def create(desk: Desk, tree: exp.Create) -> Result:
    """CREATE TABLE, by its columns or as the result of a query."""
    from sqlglot import exp

    if str(tree.args.get("kind")).upper() != "TABLE":
        raise NotSupported(f"CREATE {tree.args.get('kind')} is not supported in this form")
    known = {"this", "kind", "exists", "replace", "properties", "expression"}
    if extra := [k for k, v in tree.args.items() if v and k not in known]:
        raise NotSupported(f"CREATE TABLE with {', '.join(extra).upper()} is not supported")
    wall.check_names(tree)
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    if not isinstance(target, exp.Table) or not isinstance(target.this, exp.Identifier):
        raise Invalid("A table is named by catalog, schema and table")
    name = desk.full_name([p for p in (target.catalog, target.db, target.name) if p])
    there = desk.ctx.snapshot(lambda c: _there(c, name))
    if there and tree.args.get("exists"):
        return done()
    options, partitions, location = _options(tree)
    if tree.expression is not None and tree.args.get("expression") is not None:
        return _create_as(desk, tree, name, there, options)
    if there and tree.args.get("replace"):
        raise NotSupported("CREATE OR REPLACE TABLE without AS is not supported on a table that exists")
    columns, key = _columns(tree.this, partitions)
    _make(desk.ctx, name, columns, options, location)
    if key:
        constraint = {"name": f"{name.rpartition('.')[2]}_pk", "child_columns": key}
        desk.ctx.call(tables.add_constraint, full_name_arg=name, constraint={"primary_key_constraint": constraint})
    return done()


def _create_as(desk: Desk, tree: exp.Create, name: str, there: bool, options: dict[str, Any]) -> Result:
    """The query is read first: what cannot be read is not made. A table that fails to fill is taken away again."""
    from sqlglot import exp

    if isinstance(tree.this, exp.Schema):
        raise NotSupported("CREATE TABLE … AS with a list of columns is not supported")
    query = tree.args["expression"]
    result = governed.read(
        desk.ctx, query.unnest(), desk.parameters, desk.catalog, desk.schema, running=desk.running, limits=desk.limits
    )
    try:
        if there:
            if not tree.args.get("replace"):
                raise AlreadyExists(f"[TABLE_OR_VIEW_ALREADY_EXISTS] table '{name}' already exists")
            governed.write(desk.ctx, name, result.reader, "overwrite")
            return table_result([("num_affected_rows", "bigint"), ("num_inserted_rows", "bigint")], [])
        _make(desk.ctx, name, shapes.columns_of(result.schema), options, None)
        try:
            governed.write(desk.ctx, name, result.reader, "append")
        except BaseException:
            desk.ctx.call(tables.delete, full_name=name)
            raise
    finally:
        result.close()
    return table_result([("num_affected_rows", "bigint"), ("num_inserted_rows", "bigint")], [])


def _make(ctx: Ctx, name: str, columns: list[dict[str, Any]], options: dict[str, Any], location: str | None) -> None:
    catalog, schema, table = name.split(".")
    kind = {"table_type": "EXTERNAL", "storage_location": location} if location else {"table_type": "MANAGED"}
    ctx.call(
        tables.create, name=table, catalog_name=catalog, schema_name=schema, data_source_format="DELTA", columns=columns,
        **kind, **options,
    )  # fmt: skip


def _there(ctx: Ctx, name: str) -> bool:
    """For the caller: one they may not know of is not there, until creating it is refused."""
    try:
        return bool(tables.SEE.judge(ctx, objects.find(ctx, TABLE, name).id))
    except NotFound:
        return False


def _options(tree: exp.Create) -> tuple[dict[str, Any], list[str], str | None]:
    from sqlglot import exp

    options: dict[str, Any] = {}
    partitions: list[str] = []
    location: str | None = None
    given = tree.args.get("properties")
    for each in given.expressions if given is not None else []:
        if isinstance(each, exp.FileFormatProperty):
            if each.name.lower() != "delta":
                raise NotSupported(f"USING {each.name.upper()} is not supported: tables are Delta")
        elif isinstance(each, exp.PartitionedByProperty):
            partitions = [e.name for e in each.this.expressions]
        elif isinstance(each, exp.SchemaCommentProperty):
            options["comment"] = each.this.name
        elif isinstance(each, exp.LocationProperty):
            location = each.this.name
        elif type(each) is exp.Property:
            options.setdefault("properties", {})[each.name] = each.args["value"].name
        else:
            raise NotSupported(f"{type(each).__name__} is not supported in CREATE TABLE")
    return options, partitions, location


def _columns(schema: exp.Expr, partitions: list[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Columns as creating a table asks for them, and the primary key."""
    from sqlglot import exp

    if not isinstance(schema, exp.Schema):
        raise Invalid("CREATE TABLE needs columns or AS")
    columns: list[dict[str, Any]] = []
    key: list[str] = []
    order = [p.lower() for p in partitions]
    for each in schema.expressions:
        if isinstance(each, exp.Constraint) and len(each.expressions) == 1:
            each = each.expressions[0]
        if isinstance(each, exp.PrimaryKey):
            key = [k.name for k in each.expressions]
            continue
        if not isinstance(each, exp.ColumnDef) or each.args.get("kind") is None:
            raise NotSupported(f"{each.sql()} is not supported in CREATE TABLE")
        column: dict[str, Any] = {
            "name": each.name,
            "type_text": each.args["kind"].sql(dialect="databricks"),
            "position": len(columns),
        }
        if each.name.lower() in order:
            column["partition_index"] = order.index(each.name.lower())
        for constraint in each.args.get("constraints") or []:
            if isinstance(constraint.kind, exp.NotNullColumnConstraint):
                column["nullable"] = bool(constraint.kind.args.get("allow_null"))
            elif isinstance(constraint.kind, exp.CommentColumnConstraint):
                column["comment"] = constraint.kind.this.name
            elif isinstance(constraint.kind, exp.PrimaryKeyColumnConstraint):
                key.append(each.name)
            else:
                raise NotSupported(f"{constraint.sql()} is not supported in CREATE TABLE")
        columns.append(column)
    if missing := set(order) - {c["name"].lower() for c in columns}:
        raise Invalid(f"PARTITIONED BY names columns that are not there: {', '.join(sorted(missing))}")
    return columns, key


def _add_columns(desk: Desk, given: Given) -> Result:
    """The log first, then the catalog: readers find more columns than they were told of, never fewer."""
    from sqlglot import exp

    name = desk.full_name(given.name())
    inner = given.raw("rest")
    inner = inner[1:-1] if inner.startswith("(") and inner.endswith(")") else inner
    tree = dialect.parse(f"CREATE TABLE t ({inner}\n)")
    if not isinstance(tree, exp.Create) or tree.args.get("properties") or tree.args.get("expression"):
        raise Invalid("[PARSE_SYNTAX_ERROR] ADD COLUMNS takes a list of columns", code="BAD_REQUEST")
    columns, key = _columns(tree.this, [])
    if key or any(not c.get("nullable", True) for c in columns):
        raise NotSupported("A column that is added may be NULL in the rows there are")
    table = desk.ctx.snapshot(lambda c: governed.writable(c, name, overwrite=False)) or _refused(desk, name)
    fields = [types.field(c["name"], types.parse(c["type_text"]), comment=c.get("comment")) for c in columns]
    delta.add_columns(relation_of(table).location, fields, by=desk.ctx.principal.name)
    asked = [
        {"name": c.name, "type_text": c.type_text, "nullable": c.nullable, "comment": c.comment}
        for c in table.spec.columns
    ]
    desk.ctx.call(
        tables.set_columns,
        full_name=name,
        columns=[*asked, *({k: v for k, v in c.items() if k != "position"} for c in columns)],
    )
    return done()


def _refused(desk: Desk, name: str) -> Obj[Table]:
    return desk.ctx.snapshot(lambda c: Caller(c, c).found(TABLE, name, tables.WRITE))


def _set_properties(desk: Desk, given: Given) -> Result:
    name = desk.full_name(given.name())
    desk.ctx.call(tables.set_properties, full_name=name, properties=_pairs(given.raw("pairs")))
    return done()


def _pairs(text: str) -> dict[str, str]:
    """`'a' = 'b', c.d = 1` as a mapping."""
    from sqlglot import exp

    tree = dialect.parse(f"CREATE TABLE t (a INT) TBLPROPERTIES ({text}\n)")
    given = tree.args.get("properties")
    found = given.expressions if isinstance(tree, exp.Create) and given is not None else []
    if not found or any(type(p) is not exp.Property for p in found):
        raise Invalid("[PARSE_SYNTAX_ERROR] Properties are written ('key' = 'value')", code="BAD_REQUEST")
    return {p.name: p.args["value"].name for p in found}


def _rename(desk: Desk, given: Given) -> Result:
    name, new = desk.full_name(given.name()), desk.full_name(given.name("to"))
    if name.rpartition(".")[0] != new.rpartition(".")[0]:
        raise NotSupported("A table stays in its schema when it is renamed")
    desk.ctx.call(tables.update, full_name=name, new_name=new.rpartition(".")[2])
    return done()


# -- filters, masks, views, functions ---------------------------------------------------------------------------------


def _set_filter(desk: Desk, given: Given) -> Result:
    desk.ctx.call(
        protection.set_row_filter, full_name=desk.full_name(given.name()),
        function_name=desk.full_name(given.name("function")), input_column_names=given.names("columns"),
    )  # fmt: skip
    return done()


def _drop_filter(desk: Desk, given: Given) -> Result:
    desk.ctx.call(protection.unset_row_filter, full_name=desk.full_name(given.name()))
    return done()


def _set_mask(desk: Desk, given: Given) -> Result:
    desk.ctx.call(
        protection.set_mask, full_name=desk.full_name(given.name()), column=given.names("column")[0],
        function_name=desk.full_name(given.name("function")), using_column_names=given.names("columns"),
    )  # fmt: skip
    return done()


def _drop_mask(desk: Desk, given: Given) -> Result:
    desk.ctx.call(protection.unset_mask, full_name=desk.full_name(given.name()), column=given.names("column")[0])
    return done()


def _create_view(desk: Desk, given: Given) -> Result:
    """The creator must be able to read what the view reads: it is bound as them here, and read as its owner later."""
    from sqlglot import exp

    name = desk.full_name(given.name())
    query = dialect.parse(given.raw("rest"))
    if not isinstance(query, exp.Query):
        raise Invalid("[PARSE_SYNTAX_ERROR] A view is AS a query", code="BAD_REQUEST")
    if query.find(exp.Placeholder, exp.Parameter):
        raise Invalid("[UNSUPPORTED_VIEW_PARAMETER] A view has no parameters")
    schema = described(desk, query)
    catalog, schema_name, view = name.split(".")
    there = desk.ctx.snapshot(lambda c: _there(c, name))
    if there and given.has("exists"):
        return done()
    columns = [{"name": f.name, "type_text": shapes.text_of(f.type)} for f in schema]
    comment = {"comment": given.text("text")} if given.has("text") else {}
    if there and given.has("replace"):
        _expect(desk, name, "view")
        desk.ctx.call(
            tables.replace_view, full_name=name, columns=columns, view_definition=qualified(desk, query), **comment
        )
        return done()
    desk.ctx.call(
        tables.create, name=view, catalog_name=catalog, schema_name=schema_name, table_type="VIEW", columns=columns,
        view_definition=qualified(desk, query), **comment,
    )  # fmt: skip
    return done()


def _create_function(desk: Desk, given: Given) -> Result:
    catalog, schema, name = desk.full_name(given.name()).split(".")
    parameters = [{"name": n, "type_text": t} for n, t in _parameters(given.raw("parameters"))]
    info = {
        "name": name, "catalog_name": catalog, "schema_name": schema, "input_params": {"parameters": parameters},
        "data_type": _type_name(given.raw("type")), "full_data_type": given.raw("type"), "routine_body": "SQL",
        "routine_definition": given.raw("rest"),
    }  # fmt: skip
    if given.has("text"):
        info["comment"] = given.text("text")
    with _ignoring(AlreadyExists, when=given.has("exists")):
        desk.ctx.call(functions.create, function_info=info, replace=given.has("replace"))
    return done()


def _parameters(text: str) -> Iterator[tuple[str, str]]:
    from sqlglot import exp

    if not text.strip():
        return
    tree = dialect.parse(f"CREATE TABLE t ({text}\n)")
    columns, _ = _columns(tree.this, []) if isinstance(tree, exp.Create) else ([], [])
    for column in columns:
        yield column["name"], column["type_text"]


def _type_name(text: str) -> str:
    return types.parse(text).name


# -- catalogs, schemas, volumes ---------------------------------------------------------------------------------------


def _create_catalog(desk: Desk, given: Given) -> Result:
    with _ignoring(AlreadyExists, when=given.has("exists")):
        desk.ctx.call(catalogs.create, name=desk.full_name(given.name(), 1), **_comment(given))
    return done()


def _create_schema(desk: Desk, given: Given) -> Result:
    catalog, name = desk.full_name(given.name(), 2).split(".")
    with _ignoring(AlreadyExists, when=given.has("exists")):
        desk.ctx.call(schemas.create, name=name, catalog_name=catalog, **_comment(given))
    return done()


def _create_volume(desk: Desk, given: Given) -> Result:
    catalog, schema, name = desk.full_name(given.name()).split(".")
    place = (
        {"volume_type": "EXTERNAL", "storage_location": given.text("location")}
        if given.has("location")
        else {"volume_type": "MANAGED"}
    )
    with _ignoring(AlreadyExists, when=given.has("exists")):
        desk.ctx.call(volumes.create, name=name, catalog_name=catalog, schema_name=schema, **place, **_comment(given))
    return done()


def _comment(given: Given) -> dict[str, Any]:
    return {"comment": given.text("text")} if given.has("text") else {}


@contextlib.contextmanager
def _ignoring(fault: type[Exception], *, when: bool) -> Iterator[None]:
    try:
        yield
    except fault:
        if not when:
            raise


def _drop(desk: Desk, given: Given) -> Result:
    kind = given.word("kind")
    name = desk.full_name(given.name(), LEVELS.get(kind, 3))
    force = {"force": True} if given.word("how") == "cascade" else {}
    with _ignoring(NotFound, when=given.has("exists")):
        match kind:
            case "table" | "view":
                _expect(desk, name, kind)
                desk.ctx.call(tables.delete, full_name=name)
            case "schema" | "database":
                desk.ctx.call(schemas.delete, full_name=name, **force)
            case "catalog":
                desk.ctx.call(catalogs.delete, name=name, **force)
            case "function":
                desk.ctx.call(functions.delete, name=name)
            case _:
                desk.ctx.call(volumes.delete, name=name)
    return done()


def _expect(desk: Desk, name: str, kind: str) -> None:
    """DROP VIEW must not drop a table, for those who may know which it is."""

    def check(ctx: Ctx) -> None:
        if _there(ctx, name) and (objects.find(ctx, TABLE, name).spec.table_type == "VIEW") != (kind == "view"):
            raise Invalid(f"[WRONG_COMMAND_FOR_OBJECT_TYPE] '{name}' is no {kind}")

    desk.ctx.snapshot(check)


def _comment_on(desk: Desk, given: Given) -> Result:
    kind = given.word("kind")
    name = desk.full_name(given.name(), LEVELS.get(kind, 3))
    operation, key = _update_of(kind)
    desk.ctx.call(operation, **{key: name, "comment": given.text("text") or ""})
    return done()


def _set_owner(desk: Desk, given: Given) -> Result:
    kind = given.word("kind")
    name = desk.full_name(given.name(), LEVELS.get(kind, 3))
    operation, key = _update_of(kind)
    desk.ctx.call(operation, **{key: name, "owner": _principal(given)})
    return done()


def _update_of(kind: str) -> tuple[Any, str]:
    return {
        "table": (tables.update, "full_name"), "view": (tables.update, "full_name"), "schema": (schemas.update, "full_name"),
        "database": (schemas.update, "full_name"), "catalog": (catalogs.update, "name"), "volume": (volumes.update, "name"),
        "function": (functions.update, "name"),
    }[kind]  # fmt: skip


# -- grants -----------------------------------------------------------------------------------------------------------


def _grant(desk: Desk, given: Given) -> Result:
    return _change_grants(desk, given, "add")


def _revoke(desk: Desk, given: Given) -> Result:
    return _change_grants(desk, given, "remove")


def _change_grants(desk: Desk, given: Given, what: str) -> Result:
    kind = given.word("kind") or "table"
    rights = [p.strip() for p in given.raw("rights").split(",")]
    desk.ctx.call(
        privileges.update, securable_type=KINDS.get(kind, kind), full_name=_securable(desk, given, kind),
        changes=[{"principal": _principal(given), what: rights}],
    )  # fmt: skip
    return done()


def _securable(desk: Desk, given: Given, kind: str) -> str:
    levels = LEVELS.get(kind, 3)
    if levels == 0:
        return desk.ctx.snapshot(lambda c: objects.find(c, _metastore(), "").id)
    return desk.full_name(given.name(), levels)


def _metastore() -> Any:
    from lakewright.kernel.roots import METASTORE

    return METASTORE


def _principal(given: Given) -> str:
    """A name with dots and @ has to stand in backticks; a plain one need not."""
    return given.names("principal")[0]


def _show_grants(desk: Desk, given: Given) -> Result:
    kind = given.word("kind") or "table"
    name = _securable(desk, given, kind)
    who = {"principal": _principal(given)} if given.has("principal") else {}
    found = desk.ctx.call(privileges.get, securable_type=KINDS.get(kind, kind), full_name=name, **who)
    rows = [
        {"Principal": a["principal"], "ActionType": p.replace("_", " "), "ObjectType": kind.upper(), "ObjectKey": name}
        for a in found["privilege_assignments"]
        for p in a["privileges"]
    ]
    return table_result([(c, "string") for c in ("Principal", "ActionType", "ObjectType", "ObjectKey")], rows)


def _patterns() -> Iterator[Pattern]:
    yield pattern("GRANT <rights:words> ON <securable> <name> TO <principal:one>", _grant)
    yield pattern("GRANT <rights:words> ON <metastore> TO <principal:one>", _grant)
    yield pattern("GRANT <rights:words> ON <name> TO <principal:one>", _grant)
    yield pattern("REVOKE <rights:words> ON <securable> <name> FROM <principal:one>", _revoke)
    yield pattern("REVOKE <rights:words> ON <metastore> FROM <principal:one>", _revoke)
    yield pattern("REVOKE <rights:words> ON <name> FROM <principal:one>", _revoke)
    yield pattern("SHOW [GRANTS | GRANT] [<principal:one>] ON <securable> <name>", _show_grants)
    yield pattern("ALTER TABLE <name> SET ROW FILTER <function:name> ON « <columns:list> »", _set_filter)
    yield pattern("ALTER TABLE <name> DROP ROW FILTER", _drop_filter)
    yield pattern(
        "ALTER TABLE <name> ALTER [COLUMN] <column:one> SET MASK <function:name> [USING COLUMNS « <columns:list> »]",
        _set_mask,
    )
    yield pattern("ALTER TABLE <name> ALTER [COLUMN] <column:one> DROP MASK", _drop_mask)
    yield pattern("ALTER (TABLE|VIEW) <name> SET TBLPROPERTIES « <pairs> »", _set_properties)
    yield pattern("ALTER (TABLE|VIEW) <name> RENAME TO <to:name>", _rename)
    yield pattern("ALTER TABLE <name> ADD (COLUMNS|COLUMN) <rest>", _add_columns)
    yield pattern("ALTER <kind> <name> [SET] OWNER TO <principal:one>", _set_owner)
    yield pattern("COMMENT ON <kind> <name> IS <text>", _comment_on)
    yield pattern("CREATE CATALOG [<exists>] <name> [COMMENT <text>]", _create_catalog)
    yield pattern("CREATE (SCHEMA|DATABASE) [<exists>] <name> [COMMENT <text>]", _create_schema)
    yield pattern("CREATE VOLUME [<exists>] <name> [COMMENT <text>]", _create_volume)
    yield pattern("CREATE EXTERNAL VOLUME [<exists>] <name> LOCATION <location:text> [COMMENT <text>]", _create_volume)
    yield pattern("CREATE [<replace>] VIEW [<exists>] <name> [COMMENT <text>] AS <rest>", _create_view)
    yield pattern(
        "CREATE [<replace>] FUNCTION [<exists>] <name> « <parameters:inside> » RETURNS <type:type> [LANGUAGE SQL] [DETERMINISTIC]"
        " [COMMENT <text>] [CONTAINS SQL | READS SQL DATA] RETURN <rest>",
        _create_function,
    )
    yield pattern("DROP <kind> [IF <exists:word>] <name> [<how>]", _drop)


PATTERNS = tuple(_patterns())
