"""Virtual tables: what the platform knows, as tables of the catalog `system` that SQL can ask.

A capability registers one with `table(…)`. Reading it needs SELECT on its schema (or on the catalog), which only the
metastore's administrators have until they grant it; `open_to_all` tables judge row by row instead.
"""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakewright.catalog import types
from lakewright.engines.delta import Test
from lakewright.kernel.context import Ctx
from lakewright.sql import shapes

if TYPE_CHECKING:
    import pyarrow as pa

CATALOG = "system"
Rows = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Virtual:
    name: str
    columns: tuple[tuple[str, str], ...]
    """Name and type, as people write it."""
    rows: Callable[..., Rows]
    comment: str = ""
    open_to_all: bool = False

    @property
    def types(self) -> dict[str, Any]:
        return {name.lower(): types.parse(text).spark for name, text in self.columns}

    def read(self, ctx: Ctx, tests: Sequence[Test]) -> pa.Table:
        takes_tests = len(inspect.signature(self.rows).parameters) > 1
        found = self.rows(ctx, tests) if takes_tests else self.rows(ctx)
        return shapes.table_of(self.columns, list(found))


TABLES: dict[str, Virtual] = {}


def table(
    name: str,
    columns: Sequence[tuple[str, str]],
    rows: Callable[..., Rows],
    *,
    comment: str = "",
    open_to_all: bool = False,
) -> Virtual:
    """Register `system.<schema>.<table>`. `rows(ctx)` or `rows(ctx, tests)` answers dicts, in a read-only transaction;
    times are milliseconds. Rows for which a test does not hold may be left out: the query asks again by itself."""
    made = TABLES[name.lower()] = Virtual(name.lower(), tuple(columns), rows, comment, open_to_all)
    return made


def between(tests: Sequence[Test], column: str) -> tuple[int, int]:
    """The limits, in milliseconds, that the tests put on a column of times."""
    low, high = 0, 2**62
    for test in tests:
        if test.column.lower() != column.lower() or test.op not in ("=", ">", ">=", "<", "<=") or not test.values:
            continue
        at = _milliseconds(test.values[0])
        if at is None:
            continue
        if test.op in ("=", ">", ">="):
            low = max(low, at)
        if test.op in ("=", "<", "<="):
            high = min(high, at + (86_400_000 if _is_day(test.values[0]) else 1))
    return low, high


def _milliseconds(value: Any) -> int | None:
    import datetime as dt

    if isinstance(value, dt.datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=dt.UTC)).timestamp() * 1000)
    if isinstance(value, dt.date):
        return int(dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC).timestamp() * 1000)
    return None


def _is_day(value: Any) -> bool:
    import datetime as dt

    return isinstance(value, dt.date) and not isinstance(value, dt.datetime)
