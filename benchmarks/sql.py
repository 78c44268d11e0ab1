"""Governed SQL against the same engine ungoverned, and against DataFusion on the same Delta files.

    make bench BENCH=sql

Three queries over a TPC-H-like table (`--rows`): an aggregation (q1), a selective filter (q6), a lookup by key. Each is
the least CPU of five, planning and an engine of its own included (which is most of a small query; DataFusion keeps its own).
Targets: a row filter costs at most 1.2 times the same filter written by hand (`of_by_hand`), rewriting at most 10 ms CPU.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import load
from lakewright.engines import delta
from lakewright.sql import dialect
from lakewright.sql.rewrite import Rewriter
from lakewright.sql.running import Execution
from lakewright.sql.world import Policy, Relation, Routine

QUERIES = {
    "q1": "SELECT flag, status, sum(quantity) AS q, sum(price) AS p, sum(price * (1 - discount)) AS d, avg(discount) AS a,"
    " count(*) AS n FROM {t} WHERE shipped <= DATE'1998-09-01' GROUP BY flag, status ORDER BY flag, status",
    "q6": "SELECT sum(price * discount) AS revenue FROM {t} WHERE shipped >= DATE'1994-01-01' AND shipped < DATE'1995-01-01'"
    " AND discount BETWEEN 0.05 AND 0.07 AND quantity < 24",
    "lookup": "SELECT * FROM {t} WHERE orderkey = 4242",
}


@dataclass(frozen=True)
class World:
    """One table, once as it is and once behind a filter that shows four fifths of it and a mask."""

    location: str
    columns: tuple[str, ...]
    user: str = "analyst"
    groups: frozenset[str] = frozenset({"analysts"})

    def relation(self, name: str, reader: str | None) -> Relation:
        policies: dict[str, Any] = {}
        if not name.endswith("plain"):
            function = "m.s.barred" if name.endswith("barred") else "m.s.shown"
            policies = {"row_filter": Policy(function, ("region",)), "masks": {"comment": Policy("m.s.hidden", ())}}
        return Relation(name, "table", self.columns, self.location, owner="owner", **policies)

    def routine(self, name: str, *, checked: bool) -> Routine:
        body = {
            "m.s.shown": "is_account_group_member('admins') OR r <> 'R4'",
            "m.s.barred": "r IN (SELECT DISTINCT region FROM m.s.plain WHERE region <> 'R4')",
            "m.s.hidden": "CASE WHEN is_account_group_member('admins') THEN r ELSE '***' END",
        }[name]
        return Routine(name, (("r", "STRING"),), body, owner="owner")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=3_000_000)
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp())
    try:
        columns = make(home / "lineitem", arguments.rows)
        report(World(str(home / "lineitem"), columns), home / "spill")
    finally:
        shutil.rmtree(home)


def report(world: World, spill: Path) -> None:
    figures: dict[str, Any] = {"benchmark": "sql"}
    for name, query in QUERIES.items():
        ways = {
            "plain": lambda q=query: run(world, spill, q.format(t="m.s.plain")),
            "by_hand": lambda q=query: run(world, spill, filtered(q).format(t="m.s.plain")),
            "governed": lambda q=query: run(world, spill, q.format(t="m.s.governed")),
            "barrier": lambda q=query: run(world, spill, q.format(t="m.s.barred")),
            "datafusion": lambda q=query: datafusion(world, q.format(t="t")),
        }
        cost = best(ways)
        print(f"{name:7}" + "   ".join(f"{way} {seconds:.3f}" for way, seconds in cost.items()) + "   CPU seconds")
        figures |= {
            f"{name}_cpu_ms": round(cost["plain"] * 1000), f"{name}_of_by_hand": round(cost["governed"] / cost["by_hand"], 2),
            f"{name}_barrier_of_plain": round(cost["barrier"] / cost["plain"], 2),
            f"{name}_datafusion_of_plain": round(cost["datafusion"] / cost["plain"], 2),
        }  # fmt: skip
    began = time.process_time()
    for _ in range(50):
        for query in QUERIES.values():
            Rewriter(world, opener=_once(world)).plan(dialect.parse(query.format(t="m.s.governed")))
    figures["rewrite_cpu_ms"] = round((time.process_time() - began) / 150 * 1000, 2)
    began = time.process_time()
    for _ in range(20):
        run(world, spill, "SELECT 1 AS one")
    figures["engine_cpu_ms"] = round((time.process_time() - began) / 20 * 1000, 1)
    print(f"rewriting {figures['rewrite_cpu_ms']} ms CPU, an engine of one's own {figures['engine_cpu_ms']} ms CPU")
    load.report(**figures)


def filtered(query: str) -> str:
    """The same query with the filter written into it by a person."""
    return query.replace(" WHERE ", " WHERE region <> 'R4' AND ")


def _once(world: World) -> Callable[..., delta.Snapshot]:
    snapshot = delta.open_at(world.location)
    return lambda *_: snapshot


def run(world: World, spill: Path, query: str) -> int:
    with Execution(Rewriter(world).plan(dialect.parse(query)), spill) as execution:
        return execution.reader().read_all().num_rows


def datafusion(world: World, query: str) -> int:
    import pyarrow as pa
    from deltalake import DeltaTable, QueryBuilder

    return pa.table(QueryBuilder().register("t", DeltaTable(world.location)).execute(query)).num_rows


def best(ways: dict[str, Callable[[], int]], times: int = 5) -> dict[str, float]:
    """Least CPU of each, all taken in turn: wall time says little on a machine that others use too."""
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(times):
        for way, act in ways.items():
            began = time.process_time()
            act()
            found[way].append(time.process_time() - began)
    return {way: min(costs) for way, costs in found.items()}


def make(location: Path, rows: int) -> tuple[str, ...]:
    """Ten files in the order of shipping, as a table that grows by the day has them."""
    import duckdb
    import pyarrow as pa

    made = duckdb.sql(
        f"SELECT i AS orderkey, DATE '1992-01-01' + CAST(i * 2500 // {rows} AS INTEGER) AS shipped,"
        " CAST(hash(i) % 50 + 1 AS DOUBLE) AS quantity, CAST(hash(i + 1) % 100000 AS DOUBLE) / 10 AS price,"
        " CAST(hash(i + 2) % 11 AS DOUBLE) / 100 AS discount, chr(CAST(65 + hash(i + 3) % 3 AS INTEGER)) AS flag,"
        " chr(CAST(70 + hash(i + 4) % 2 AS INTEGER)) AS status, 'R' || hash(i + 5) % 5 AS region,"
        f" 'comment ' || hash(i + 6) AS comment FROM range({rows}) t(i)"
    ).to_arrow_table()
    delta.create(
        location, pa.schema([f.with_type(pa.string()) if f.type == pa.string_view() else f for f in made.schema])
    )
    for part in range(10):
        delta.write(location, made.slice(part * rows // 10, rows // 10))
    return tuple(made.column_names)


if __name__ == "__main__":
    main()
