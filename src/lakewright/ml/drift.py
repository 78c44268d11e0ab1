"""Drift: which columns changed, how much, and whether that is more than chance.

A column has changed when two things hold. The difference is larger than chance makes it: a two-sample chi-squared
test whose limit is shared out over all columns compared, so that a table in which nothing changed raises an alarm in
`false_alarms` of the windows, whether it has one column or fifty, a thousand rows or a million. And it is large
enough to matter: with a million rows any difference is real, so a stability index below `smallest` is left alone.
Each finding says what moved from where to where.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakewright.ml import distances, frames, shapes
from lakewright.ml.frames import Column, Frame, Sort
from lakewright.ml.shapes import Shape

if TYPE_CHECKING:
    import duckdb

FALSE_ALARMS = 0.05
SMALLEST = 0.02
EXACT_UP_TO = 500_000


@dataclass(frozen=True)
class Test:
    statistic: float
    pvalue: float


@dataclass(frozen=True)
class Finding:
    column: str
    sort: Sort
    changed: bool
    because: str
    psi: float
    limit: float
    js_distance: float
    tv_distance: float
    l_infinity_distance: float
    chi_squared: Test
    ks: Test | None
    wasserstein: float | None
    reference_count: int
    current_count: int
    data_type: str


@dataclass(frozen=True)
class Report:
    findings: list[Finding]
    false_alarms: float

    @property
    def changed(self) -> list[Finding]:
        """The columns that changed, the most changed first."""
        return sorted((f for f in self.findings if f.changed), key=lambda f: f.psi / f.limit, reverse=True)


def compare(
    reference: Frame,
    current: Frame,
    columns: Iterable[str] | None = None,
    *,
    false_alarms: float = FALSE_ALARMS,
    smallest: float = SMALLEST,
    exact_up_to: int = EXACT_UP_TO,
    memory: str = "1GB",
) -> Report:
    with frames.opened(memory, reference=reference, current=current) as database:
        return between(
            database, "reference", "current", columns,
            false_alarms=false_alarms, smallest=smallest, exact_up_to=exact_up_to,
        )  # fmt: skip


def between(
    database: "duckdb.DuckDBPyConnection",
    reference: str,
    current: str,
    columns: Iterable[str] | None = None,
    *,
    false_alarms: float = FALSE_ALARMS,
    smallest: float = SMALLEST,
    comparisons: int | None = None,
    exact_up_to: int = EXACT_UP_TO,
) -> Report:
    """Two tables (or sub-queries in brackets) of one database. `comparisons` counts further windows and slices."""
    chosen = _comparable(database, reference, current, columns)
    numbers = [column for column in chosen if column.sort == "numeric"]
    found = shapes.numeric(database, numbers, reference, current)
    found += [shapes.categorical(database, c, reference, current) for c in chosen if c.sort == "categorical"]
    order = {column.name: position for position, column in enumerate(chosen)}
    chance = distances.each_of(false_alarms, comparisons or len(chosen))
    judged = [
        _judge(shape, chance, smallest, _exact(database, shape, reference, current, exact_up_to))
        for shape in sorted(found, key=lambda shape: order[shape.column.name])
    ]
    return Report(judged, false_alarms)


def _comparable(
    database: "duckdb.DuckDBPyConnection", reference: str, current: str, columns: Iterable[str] | None
) -> list[Column]:
    """Columns both sides have, of comparable kinds."""
    before = {column.name: column for column in frames.columns(database, reference)}
    wanted = None if columns is None else set(columns)
    return [
        column
        for column in frames.columns(database, current)
        if column.sort is not None
        and (wanted is None or column.name in wanted)
        and column.name in before
        and before[column.name].sort == column.sort
    ]


def _exact(
    database: "duckdb.DuckDBPyConnection", shape: Shape, reference: str, current: str, most: int
) -> shapes.Distance | None:
    """Sorting costs four times the counting, so very large tables do without."""
    if shape.sort != "numeric" or sum(shape.reference) + sum(shape.current) > most:
        return None
    return shapes.exactly(database, shape.column, reference, current)


def _judge(shape: Shape, chance: float, smallest: float, exact: shapes.Distance | None) -> Finding:
    r, c = shape.reference, shape.current
    n, m = sum(r), sum(c)
    chi = Test(*distances.chi_squared(r, c))
    psi = distances.psi(r, c) if n and m else 0.0
    present = n - r[-1], m - c[-1]
    return Finding(
        column=shape.column.name,
        sort=shape.sort,
        changed=chi.pvalue < chance and psi >= smallest,
        because=explain(shape) if n and m else "one side has no rows",
        psi=psi,
        limit=limit(shape, chance, smallest),
        js_distance=distances.jensen_shannon(r, c),
        tv_distance=distances.total_variation(r, c),
        l_infinity_distance=distances.largest_move(r, c),
        chi_squared=chi,
        ks=Test(exact.ks, distances.kolmogorov_tail(exact.ks, *present)) if exact else None,
        wasserstein=exact.wasserstein if exact else None,
        reference_count=n,
        current_count=m,
        data_type=shape.column.type,
    )


def limit(shape: Shape, chance: float, smallest: float) -> float:
    """The stability index chance alone would stay under, given so many rows, or `smallest` if that is more."""
    n, m = sum(shape.reference), sum(shape.current)
    cells, _ = distances.pooled(shape.reference, shape.current)
    if not n or not m or len(cells) < 2:
        return max(smallest, 1e-9)
    return max(smallest, distances.chi_squared_limit(chance, len(cells) - 1) * (1 / n + 1 / m))


def explain(shape: Shape, most: int = 3) -> str:
    """The cells that moved most, as shares of the rows: `carrier: AA 12.0% -> 30.1%`."""
    before, after = distances.shares(shape.reference), distances.shares(shape.current)
    moved = sorted(zip(shape.cells, before, after, strict=True), key=lambda cell: -abs(cell[2] - cell[1]))
    told = "; ".join(_move(shape, cell, b, a) for cell, b, a in moved[:most] if a != b)
    return f"{shape.column.name}: {told}" if told else f"{shape.column.name}: no change"


def _move(shape: Shape, cell: str, before: float, after: float) -> str:
    seen = "" if before or cell in (shapes.MISSING, shapes.OTHERS) or shape.sort == "numeric" else " (new)"
    return f"{cell} {before:.1%} -> {after:.1%}{seen}"


def summary(findings: Sequence[Finding]) -> str:
    """One line for an alert."""
    return " | ".join(f"{finding.because} (PSI {finding.psi:.3f}, limit {finding.limit:.3f})" for finding in findings)
