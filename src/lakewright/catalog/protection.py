"""Row filters and column masks: which function decides, for every reader, what they get of a table."""

from pydantic import Field

from lakewright.catalog.columns import Column, ColumnMask, RowFilter, named
from lakewright.catalog.functions import FUNCTION, USE, Function
from lakewright.catalog.tables import ADMINISTER, BY_NAME, Named, Table, shown
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid, NotFound
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import Api, Ask, Reply

api = Api("unityCatalog", "/api/2.1/lakewright/tables/{full_name}")

NUMBERS = frozenset({"BYTE", "SHORT", "INT", "LONG", "FLOAT", "DOUBLE", "DECIMAL"})


class SetRowFilter(Named):
    function_name: str
    input_column_names: list[str]


class SetMask(Named):
    column: str
    function_name: str
    using_column_names: list[str] = Field(default_factory=list[str])


class OfColumn(Ask):
    full_name: str
    column: str


@api("PUT", "/row-filter", audit="setRowFilter", on=BY_NAME, needs=ADMINISTER)
def set_row_filter(ctx: Ctx, table: Obj[Table], ask: SetRowFilter) -> Reply:
    """ALTER TABLE … SET ROW FILTER."""
    function = _usable(ctx, table, ask.function_name)
    columns = [_column(table, name) for name in ask.input_column_names]
    fits(function, columns, returns="BOOLEAN", what="a row filter")
    row_filter = RowFilter(function_name=function.full_name, input_column_names=[c.name for c in columns])
    return shown(ctx, objects.update(ctx, table, row_filter=row_filter))


@api("DELETE", "/row-filter", audit="unsetRowFilter", on=BY_NAME, needs=ADMINISTER)
def unset_row_filter(ctx: Ctx, table: Obj[Table], ask: Named) -> Reply:
    return shown(ctx, objects.update(ctx, table, row_filter=None))


@api("PUT", "/columns/{column}/mask", audit="setColumnMask", on=BY_NAME, needs=ADMINISTER)
def set_mask(ctx: Ctx, table: Obj[Table], ask: SetMask) -> Reply:
    """ALTER TABLE … ALTER COLUMN … SET MASK. The function is given the column's value first, then the named columns."""
    function = _usable(ctx, table, ask.function_name)
    column = _column(table, ask.column)
    others = [_column(table, name) for name in ask.using_column_names]
    fits(function, [column, *others], returns=column.type_name, what=f"a mask of column '{column.name}'")
    mask = ColumnMask(function_name=function.full_name, using_column_names=[c.name for c in others])
    return shown(ctx, objects.update(ctx, table, columns=masked(table.spec, column.name, mask)))


@api("DELETE", "/columns/{column}/mask", audit="unsetColumnMask", on=BY_NAME, needs=ADMINISTER)
def unset_mask(ctx: Ctx, table: Obj[Table], ask: OfColumn) -> Reply:
    column = _column(table, ask.column)
    return shown(ctx, objects.update(ctx, table, columns=masked(table.spec, column.name, None)))


def fits(function: Obj[Function], columns: list[Column], *, returns: str, what: str) -> None:
    """Invalid unless the function takes these columns and answers that type."""
    params = function.spec.input_params
    if len(params) != len(columns):
        raise Invalid(f"'{function.full_name}' takes {len(params)} arguments, {what} gives it {len(columns)}")
    for param, column in zip(params, columns, strict=True):
        if not alike(param.type_name, column.type_name):
            raise Invalid(f"'{function.full_name}' takes {param.type_text} as '{param.name}', not {column.type_text}")
    if not alike(function.spec.data_type, returns):
        raise Invalid(f"{what} must answer {returns}, '{function.full_name}' answers {function.spec.data_type}")


def alike(one: str, other: str) -> bool:
    """Types the engine converts without loss of meaning."""
    return one == other or {one, other} <= NUMBERS


def masked(table: Table, name: str, mask: ColumnMask | None) -> list[Column]:
    return [c.model_copy(update={"mask": mask}) if c.name == name else c for c in table.columns]


def _usable(ctx: Ctx, table: Obj[Table], function_name: str) -> Obj[Function]:
    """The function, if whoever sets it may run it; the refusal is the same whether or not there is one."""
    if table.spec.table_type == "VIEW":
        raise Invalid(f"'{table.full_name}' is a view: put the filter or mask on its tables")
    try:
        function = objects.find(ctx, FUNCTION, function_name)
    except NotFound:
        raise Invalid(f"{ctx.principal.name} cannot use a function '{function_name}'") from None
    if not USE.judge(ctx, function.id):
        raise Invalid(f"{ctx.principal.name} cannot use a function '{function_name}'")
    return function


def _column(table: Obj[Table], name: str) -> Column:
    if (found := named(table.spec.columns, name)) is None:
        raise Invalid(f"table '{table.full_name}' has no column '{name}'")
    return found
