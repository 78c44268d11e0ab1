"""Functions: named SQL expressions, for queries, row filters and column masks."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lakewright.catalog import definers, names, renames, types
from lakewright.catalog.catalogs import BROWSING
from lakewright.catalog.people import People
from lakewright.catalog.reach import Mainly
from lakewright.catalog.schemas import REACH, SCHEMA, Schema
from lakewright.catalog.schemas import SEE as SEE_SCHEMA
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import BadState, Invalid, NotFound, NotSupported
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.rules import MANAGE, require

Access = Literal["CONTAINS_SQL", "READS_SQL_DATA", "NO_SQL"]


class FunctionParam(BaseModel):
    name: str
    type_text: str
    type_name: str
    type_json: str = ""
    position: int
    comment: str | None = None
    parameter_default: str | None = None


class Function(BaseModel):
    input_params: list[FunctionParam] = []
    data_type: str
    full_data_type: str
    routine_body: Literal["SQL"] = "SQL"
    routine_definition: str
    is_deterministic: bool = True
    sql_data_access: Access = "CONTAINS_SQL"
    comment: str | None = None
    properties: str | None = None


FUNCTION = Kind(
    "function", example=Function(data_type="BOOLEAN", full_data_type="boolean", routine_definition="true"), under=SCHEMA,
    folded=True, also_called=("functions",),
)  # fmt: skip
FUNCTION.before_transfer = definers.check_transfer
(EXECUTE,) = FUNCTION.privileges("EXECUTE")
(CREATE_FUNCTION,) = SCHEMA.privileges("CREATE_FUNCTION")

USE = REACH & EXECUTE
"""What calling a function needs."""
KNOW = REACH & Mainly(EXECUTE, MANAGE)
SEE = Mainly(KNOW, BROWSING)

api = Api("unityCatalog", "/api/2.1/unity-catalog/functions")
BY_NAME = FUNCTION.at("{name}")


class AskedParam(Ask):
    name: str
    type_text: str
    type_name: str | None = None
    position: int | None = None
    type_json: str | None = None
    type_precision: int | None = None
    type_scale: int | None = None
    type_interval_type: str | None = None
    parameter_mode: Literal["IN"] | None = None
    parameter_type: Literal["PARAM"] | None = None
    parameter_default: str | None = None
    comment: str | None = None


class AskedParams(Ask):
    parameters: list[AskedParam] = Field(default_factory=list[AskedParam])


class Dependencies(Ask):
    dependencies: list[dict[str, dict[str, str]]] = Field(default_factory=list[dict[str, dict[str, str]]])


class FunctionInfo(Ask):
    """`routine_body` SQL is what Lakewright evaluates; every other body is refused where it is declared."""

    name: str
    catalog_name: str
    schema_name: str
    input_params: AskedParams = AskedParams()
    data_type: str
    full_data_type: str | None = None
    routine_body: str = "SQL"
    routine_definition: str
    parameter_style: Literal["S"] = "S"
    is_deterministic: bool = True
    sql_data_access: Access = "CONTAINS_SQL"
    is_null_call: Literal[False] = False
    security_type: Literal["DEFINER"] = "DEFINER"
    specific_name: str | None = None
    comment: str | None = None
    properties: str | None = None
    external_language: Literal["SQL"] | None = None
    routine_dependencies: Dependencies | None = None
    return_params: AskedParams | None = None


class CreateFunction(Ask):
    model_config = ConfigDict(extra="forbid")

    function_info: FunctionInfo
    replace: bool = False
    """CREATE OR REPLACE: whoever manages the function gives it another body and owns it then; its grants stay."""


class Listing(Ask):
    catalog_name: str
    schema_name: str
    include_browse: bool = False
    max_results: int | None = None
    page_token: str | None = None


class Named(Ask):
    name: str


class ReadFunction(Named):
    include_browse: bool = False


class UpdateFunction(Named):
    owner: str | None = None
    comment: str | None = None


class DeleteFunction(Named):
    force: bool = False


IN_SCHEMA = SCHEMA.at("{catalog_name}.{schema_name}")


@api(
    "POST", audit="createFunction", needs=REACH & CREATE_FUNCTION,
    on=SCHEMA.at("{function_info.catalog_name}.{function_info.schema_name}"),
)  # fmt: skip
def create(ctx: Ctx, schema: Obj[Schema], ask: CreateFunction) -> Reply:
    name, spec = names.checked(ask.function_info.name, "function name"), made(ask.function_info)
    if ask.replace and (before := _there(ctx, f"{schema.full_name}.{name}")):
        require(ctx, MANAGE, before)
        return shown(ctx, definers.rewritten(ctx, before, replaced(ctx, before, spec)))
    return shown(ctx, objects.create(ctx, FUNCTION, name, spec, under=schema))


@api("GET", audit="listFunctions", on=IN_SCHEMA, needs=SEE_SCHEMA, runs=SNAPSHOT)
def list_(ctx: Ctx, schema: Obj[Schema], ask: Listing) -> Reply:
    found, following = objects.page(
        ctx, FUNCTION, SEE if ask.include_browse else KNOW, under=schema, size=ask.max_results, token=ask.page_token
    )
    people = People(ctx)
    return {"functions": [show(ctx, f, people) for f in found], "next_page_token": following}


@api("GET", "/{name}", audit="getFunction", on=BY_NAME, needs=SEE, runs=SNAPSHOT)
def get(ctx: Ctx, function: Obj[Function], ask: ReadFunction) -> Reply:
    if not ask.include_browse:
        require(ctx, KNOW, function)
    return shown(ctx, function)


@api("PATCH", "/{name}", audit="updateFunction", on=BY_NAME, needs=REACH & MANAGE)
def update(ctx: Ctx, function: Obj[Function], ask: UpdateFunction) -> Reply:
    if ask.comment is not None:
        function = objects.update(ctx, function, comment=ask.comment)
    if ask.owner is not None:
        function = objects.set_owner(ctx, function, ctx.id_of(ask.owner))
    return shown(ctx, function)


@api("DELETE", "/{name}", audit="deleteFunction", on=BY_NAME, needs=REACH & MANAGE)
def delete(ctx: Ctx, function: Obj[Function], ask: DeleteFunction) -> Reply:
    """A function that protects a table stays, forced or not: without it the table could not be read by anybody."""
    if renames.referring(ctx, function.full_name):
        raise BadState(f"function '{function.full_name}' is a row filter or column mask; unset it there first")
    objects.delete(ctx, function)
    return {}


def made(info: FunctionInfo) -> Function:
    """What is stored of a function, all its types understood."""
    if info.routine_body != "SQL":
        raise NotSupported(f"createFunction does not support routine_body {info.routine_body}")
    if info.return_params is not None and info.return_params.parameters:
        raise NotSupported("createFunction does not support table functions")
    if info.routine_dependencies is not None and info.routine_dependencies.dependencies:
        raise NotSupported("createFunction does not support the field 'routine_dependencies'")
    if info.specific_name is not None and info.specific_name.lower() != info.name.lower():
        raise NotSupported("createFunction does not support a 'specific_name' that is not the name")
    params = info.input_params.parameters
    if len({p.name.lower() for p in params}) != len(params):
        raise Invalid("a parameter is given twice")
    returns = types.parse(info.full_data_type or info.data_type.lower())
    expression(info.routine_definition)
    return Function(
        input_params=[_param(p, at) for at, p in enumerate(params)], data_type=returns.name, full_data_type=returns.text,
        routine_definition=info.routine_definition, is_deterministic=info.is_deterministic,
        sql_data_access=info.sql_data_access, comment=info.comment, properties=info.properties,
    )  # fmt: skip


def expression(body: str) -> None:
    """Invalid unless the body is one SQL expression. Whether each reader may run it is asked when it runs."""
    import sqlglot  # 0.1 s to import
    from sqlglot import errors, exp

    try:
        parsed = sqlglot.parse(f"SELECT {body}", dialect="databricks")
    except errors.SqlglotError as error:
        raise Invalid("routine_definition is not a SQL expression") from error
    select = parsed[0] if len(parsed) == 1 else None
    if (
        not isinstance(select, exp.Select)
        or len(select.expressions) != 1
        or {"from", "from_", "where", "into", "joins"} & {name for name, value in select.args.items() if value}
    ):
        raise Invalid("routine_definition must be one SQL expression")


def replaced(ctx: Ctx, before: Obj[Function], spec: Function) -> Function:
    """What may take the function's place: while it protects a table, only a body for the same types."""
    same = _types(before.spec) == _types(spec)
    if not same and renames.referring(ctx, before.full_name):
        raise BadState(f"function '{before.full_name}' is a row filter or column mask; its types cannot change")
    return spec


def _types(function: Function) -> tuple[str, ...]:
    return (function.full_data_type, *(p.type_text for p in function.input_params))


def _there(ctx: Ctx, full_name: str) -> Obj[Function] | None:
    try:
        return objects.find(ctx, FUNCTION, full_name)
    except NotFound:
        return None


def _param(asked: AskedParam, position: int) -> FunctionParam:
    of = types.parse(asked.type_text)
    if asked.parameter_default is not None:
        raise NotSupported("createFunction does not support the field 'parameter_default'")
    return FunctionParam(
        name=names.checked(asked.name, "parameter name"), type_text=of.text, type_name=of.name, position=position,
        type_json=asked.type_json or "", comment=asked.comment,
    )  # fmt: skip


def shown(ctx: Ctx, function: Obj[Function]) -> Reply:
    return show(ctx, function, People(ctx))


def show(ctx: Ctx, function: Obj[Function], people: People) -> Reply:
    catalog_name, schema_name, name = function.full_name.split(".")
    spec = function.spec
    return {
        "name": name, "catalog_name": catalog_name, "schema_name": schema_name, "full_name": function.full_name,
        "function_id": function.id, "owner": people[function.owner], "comment": spec.comment,
        "input_params": {"parameters": [p.model_dump(exclude_none=True) | _IN for p in spec.input_params]},
        "data_type": spec.data_type, "full_data_type": spec.full_data_type, "routine_body": spec.routine_body,
        "routine_definition": spec.routine_definition, "is_deterministic": spec.is_deterministic,
        "parameter_style": "S", "sql_data_access": spec.sql_data_access, "is_null_call": False, "security_type": "DEFINER",
        "specific_name": name, "properties": spec.properties, "metastore_id": people.metastore_id,
        "created_at": function.created_at, "created_by": people[function.created_by],
        "updated_at": function.updated_at, "updated_by": people[function.updated_by],
    }  # fmt: skip


_IN = {"parameter_mode": "IN", "parameter_type": "PARAM"}
