"""Expectations: what must hold of a row, and what happens to rows and to the run when it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


@dataclass(frozen=True)
class Expectation:
    """``holds`` is a SQL condition over one row. An unknown answer (NULL) counts as broken: write ``or x is null`` to allow it."""

    name: str
    holds: str
    action: Literal["quarantine", "warn"] = "quarantine"


@dataclass(frozen=True)
class Checked:
    kept: pa.Table
    quarantined: pa.Table
    broken: dict[str, int]


class TooManyBadRows(Exception):
    """The source itself is broken: better no new table than a hollow one."""


def check(
    engine: duckdb.DuckDBPyConnection, table: str, expectations: list[Expectation], *, at_most: float = 0.05
) -> Checked:
    """Splits ``table`` into rows that may be used and rows set aside, each of those with every reason it was.

    ``broken`` counts rows per expectation, warnings included. More than ``at_most`` of the rows set aside stops the run.
    """
    engine.execute(f"create or replace temp table judged as select *, {_reasons(expectations)} as reasons from {table}")
    kept = engine.sql("select * exclude (reasons) from judged where reasons = ''").to_arrow_table()
    quarantined = engine.sql("select * from judged where reasons <> ''").to_arrow_table()
    total = len(kept) + len(quarantined)
    if len(quarantined) > at_most * total:
        raise TooManyBadRows(
            f"{len(quarantined)} of {total} rows of {table} broke an expectation (limit {at_most:.0%})."
        )
    return Checked(kept, quarantined, {one.name: _count_broken(engine, table, one) for one in expectations})


def _reasons(expectations: list[Expectation]) -> str:
    cases = [
        f"case when coalesce({one.holds}, false) then null else '{one.name}' end"
        for one in expectations
        if one.action == "quarantine"
    ]
    return f"concat_ws(', ', {', '.join(cases)})" if cases else "''"


def _count_broken(engine: duckdb.DuckDBPyConnection, table: str, one: Expectation) -> int:
    row = engine.execute(f"select count(*) from {table} where not coalesce({one.holds}, false)").fetchone()
    return int(row[0]) if row else 0
