"""Renames: a filter or mask keeps protecting when the function it names, or anything above it, gets another name."""

from typing import Any, TypeVar

from pydantic import BaseModel

from lakewright.catalog.columns import Column, RowFilter
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.kinds import KINDS
from lakewright.kernel.objects import Obj

S = TypeVar("S", bound=BaseModel)


def rename(ctx: Ctx, obj: Obj[S], name: str) -> Obj[S]:
    """Rename a catalog, schema or function, and every reference to a function in or under it."""
    before = obj.full_name
    renamed = objects.rename(ctx, obj, name)
    for table in referring(ctx, before):
        spec = table.spec
        columns = [_moved_column(c, before, renamed.full_name) for c in spec.columns]
        row_filter = _moved_filter(spec.row_filter, before, renamed.full_name)
        objects.update(ctx, table, columns=columns, row_filter=row_filter)
    return renamed


def referring(ctx: Ctx, function_or_above: str) -> list[Obj[Any]]:
    """Tables whose filter or masks call the function, or any function below that schema or catalog."""
    kind = KINDS["table"]
    rows = ctx.tx.all(
        f"SELECT {objects.COLUMNS} FROM objects WHERE kind = 'table' AND deleted_at IS NULL AND spec LIKE ?",
        f'%"function_name":"{_escaped(function_or_above)}%',
    )
    return [t for t in (objects.loaded(kind, row) for row in rows) if _calls(t.spec, function_or_above)]


def functions_of(table: Any) -> set[str]:
    """Every function that stands between a reader and the table's rows."""
    masks = {c.mask.function_name for c in table.columns if c.mask}
    return masks | ({table.row_filter.function_name} if table.row_filter else set())


def _calls(table: Any, name: str) -> bool:
    return any(_is_or_below(function, name) for function in functions_of(table))


def _is_or_below(function: str, name: str) -> bool:
    return function == name or function.startswith(name + ".")


def _moved(function: str, before: str, after: str) -> str:
    return after + function[len(before) :] if _is_or_below(function, before) else function


def _moved_column(column: Column, before: str, after: str) -> Column:
    if column.mask is None:
        return column
    mask = column.mask.model_copy(update={"function_name": _moved(column.mask.function_name, before, after)})
    return column.model_copy(update={"mask": mask})


def _moved_filter(row_filter: RowFilter | None, before: str, after: str) -> RowFilter | None:
    if row_filter is None:
        return None
    return row_filter.model_copy(update={"function_name": _moved(row_filter.function_name, before, after)})


def _escaped(name: str) -> str:
    """LIKE's own signs as `_`, which matches them too; `_calls` then looks exactly."""
    return "".join("_" if c in "%_\\" or ord(c) > 126 else c for c in name)
