"""Profiles: what a table looks like, column by column, all numbers in one scan.

The figures carry the names of Databricks' profile metrics table, so that a monitor writes them as they are.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lakewright.ml import frames
from lakewright.ml.frames import FLOATING, Column, Frame, one, quoted

if TYPE_CHECKING:
    import duckdb

QUANTILES = [n / 100 for n in (1, 5, 10, 25, 50, 75, 90, 95, 99)]


@dataclass(frozen=True)
class Item:
    item: str
    count: int


@dataclass(frozen=True)
class Profile:
    column_name: str
    data_type: str
    count: int
    num_nulls: int
    distinct_count: int
    num_nan: int | None = None
    num_zeros: int | None = None
    avg: float | None = None
    stddev: float | None = None
    min: float | None = None
    max: float | None = None
    median: float | None = None
    quantiles: list[float] = field(default_factory=list[float])
    min_length: int | None = None
    max_length: int | None = None
    avg_length: float | None = None
    frequent_items: list[Item] = field(default_factory=list[Item])

    @property
    def percent_null(self) -> float:
        return 100.0 * self.num_nulls / self.count if self.count else 0.0

    @property
    def percent_zeros(self) -> float | None:
        return None if self.num_zeros is None else 100.0 * self.num_zeros / self.count if self.count else 0.0

    @property
    def percent_distinct(self) -> float:
        return 100.0 * self.distinct_count / self.count if self.count else 0.0


def of(table: Frame, memory: str = "1GB") -> list[Profile]:
    with frames.opened(memory, given=table) as database:
        return within(database, "given")


def within(database: "duckdb.DuckDBPyConnection", source: str) -> list[Profile]:
    columns = frames.columns(database, source)
    if not columns:
        return []
    asked = [_figures(column) for column in columns]
    selected = ", ".join(sql for figures in asked for sql in figures.values())
    found = iter(one(database, f"SELECT count(*), {selected} FROM {source}"))
    count = int(next(found))
    return [
        _profile(database, source, column, count, {name: next(found) for name in figures})
        for column, figures in zip(columns, asked, strict=True)
    ]


def _figures(column: Column) -> dict[str, str]:
    name, figures = quoted(column.name), dict[str, str]()
    figures["present"] = f"count({name})"
    figures["distinct_count"] = f"approx_count_distinct({name})"
    if column.type in FLOATING:
        figures["num_nan"] = f"count(*) FILTER (isnan({name}))"
    if column.sort == "numeric":
        value = column.number
        figures |= {
            "num_zeros": f"count(*) FILTER ({value} = 0)",
            "avg": f"avg({value})",
            "stddev": f"stddev_samp({value})",
            "min": f"min({value})",
            "max": f"max({value})",
            "quantiles": f"approx_quantile({value}, {QUANTILES})",
        }
    elif column.type.startswith("VARCHAR"):
        figures |= {
            "min_length": f"min(length({name}))",
            "max_length": f"max(length({name}))",
            "avg_length": f"avg(length({name}))",
        }
    return figures


def _profile(
    database: "duckdb.DuckDBPyConnection", source: str, column: Column, count: int, found: dict[str, Any]
) -> Profile:
    estimated: list[float] = found.pop("quantiles", None) or []
    quantiles = [float(value) for value in estimated]
    present = int(found.pop("present"))
    return Profile(
        column.name, column.type, count, count - present, quantiles=quantiles,
        median=quantiles[QUANTILES.index(0.5)] if quantiles else None,
        frequent_items=_frequent(database, source, column) if column.sort == "categorical" else [], **found,
    )  # fmt: skip


def _frequent(database: "duckdb.DuckDBPyConnection", source: str, column: Column) -> list[Item]:
    name = quoted(column.name)
    found = database.execute(
        f"SELECT {name}::VARCHAR, count(*) FROM {source} WHERE {name} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10"
    ).fetchall()
    return [Item(str(item), int(count)) for item, count in found]
