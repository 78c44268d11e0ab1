"""Two columns as two comparable histograms: the same cells, counted on both sides, missing values a cell of their own.

Numbers fall into tenths of the reference (approximate quantiles, one scan for all columns); categories are their own
cells, the rare ones together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from lakewright.ml.frames import Column, Sort, one, quoted

if TYPE_CHECKING:
    import duckdb

TENTHS = [n / 10 for n in range(1, 10)]
CATEGORIES = 50
MISSING = "missing"
OTHERS = "all others"


@dataclass(frozen=True)
class Shape:
    column: Column
    sort: Sort
    cells: list[str]
    reference: list[int]
    current: list[int]


def numeric(
    database: "duckdb.DuckDBPyConnection", columns: Sequence[Column], reference: str, current: str
) -> list[Shape]:
    if not columns:
        return []
    edges = _edges(database, columns, reference)
    before, after = (_counted(database, columns, edges, source) for source in (reference, current))
    return [
        Shape(column, "numeric", _ranges(cut), r, c)
        for column, cut, r, c in zip(columns, edges, before, after, strict=True)
    ]


def _edges(database: "duckdb.DuckDBPyConnection", columns: Sequence[Column], source: str) -> list[list[float]]:
    asked = ", ".join(f"approx_quantile({column.number}, {TENTHS})" for column in columns)
    found = one(database, f"SELECT {asked} FROM {source}")
    return [sorted(set(edges or [])) for edges in found]


def _counted(
    database: "duckdb.DuckDBPyConnection", columns: Sequence[Column], edges: list[list[float]], source: str
) -> list[list[int]]:
    """Rows up to each edge, all columns in one scan; cells are the differences."""
    values = ", ".join(f"{column.number} AS x{i}" for i, column in enumerate(columns))
    asked = ", ".join(
        f"count(x{i}), count(*) - count(x{i})" + "".join(f", count(*) FILTER (x{i} <= {edge!r})" for edge in cut)
        for i, cut in enumerate(edges)
    )
    found = iter(one(database, f"SELECT {asked} FROM (SELECT {values} FROM {source})"))
    return [_cells(next(found), next(found), [next(found) for _ in cut]) for cut in edges]


def _cells(present: int, missing: int, upto: list[int]) -> list[int]:
    steps = [*upto, present]
    return [steps[0], *(high - low for low, high in pairwise(steps)), missing]


def _ranges(edges: list[float]) -> list[str]:
    if not edges:
        return ["any value", MISSING]
    between = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    return [f"up to {edges[0]:g}", *between, f"above {edges[-1]:g}", MISSING]


def categorical(database: "duckdb.DuckDBPyConnection", column: Column, reference: str, current: str) -> Shape:
    name = quoted(column.name)
    found = database.execute(
        f"""SELECT value, sum(r)::BIGINT, sum(c)::BIGINT FROM (
              SELECT {name}::VARCHAR AS value, count(*) AS r, 0 AS c FROM {reference} GROUP BY 1
              UNION ALL SELECT {name}::VARCHAR, 0, count(*) FROM {current} GROUP BY 1)
            GROUP BY 1 ORDER BY sum(r) + sum(c) DESC, 1"""
    ).fetchall()
    missing = [(r, c) for value, r, c in found if value is None] or [(0, 0)]
    named = [(str(value), int(r), int(c)) for value, r, c in found if value is not None]
    rest = named[CATEGORIES:]
    cells = [
        *named[:CATEGORIES],
        (OTHERS, sum(r for _, r, _ in rest), sum(c for *_, c in rest)),
        (MISSING, *missing[0]),
    ]
    return Shape(
        column, "categorical", [cell for cell, _, _ in cells], [r for _, r, _ in cells], [c for *_, c in cells]
    )


@dataclass(frozen=True)
class Distance:
    """Between two samples of numbers, value by value: no cells involved."""

    ks: float
    wasserstein: float


def exactly(database: "duckdb.DuckDBPyConnection", column: Column, reference: str, current: str) -> Distance:
    """Both samples in one sorted line; at each value, how much of either lies at or below it."""
    ks, wasserstein = one(
        database,
        f"""WITH sides AS (
              SELECT {column.number} AS x, 1 AS r, 0 AS c FROM {reference}
              UNION ALL SELECT {column.number}, 0, 1 FROM {current}),
            steps AS (SELECT x, sum(r) AS r, sum(c) AS c FROM sides WHERE x IS NOT NULL GROUP BY x),
            line AS (
              SELECT x, lead(x) OVER up - x AS width,
                     abs(sum(r) OVER up / (SELECT sum(r) FROM steps) - sum(c) OVER up / (SELECT sum(c) FROM steps)) AS gap
              FROM steps WINDOW up AS (ORDER BY x ROWS UNBOUNDED PRECEDING))
            SELECT max(gap), sum(gap * width) FROM line""",
    )
    return Distance(float(ks or 0.0), float(wasserstein or 0.0))
