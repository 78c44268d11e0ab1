"""Analysis: a table, its windows and its slices, as rows of the profile and drift tables.

Usable with no server: Arrow in, rows out. The names of the rows' columns are those of Databricks' metric tables;
`psi_limit`, `drifted` and `explanation` are ours and say when a difference is more than chance and what moved.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

from lakewright.kernel.faults import Invalid
from lakewright.ml import drift, frames, profile
from lakewright.ml.drift import Finding, Report
from lakewright.ml.frames import TEMPORAL, Frame, literal, one, quoted
from lakewright.ml.profile import Profile
from lakewright.monitoring import slices
from lakewright.monitoring.slices import Slice

if TYPE_CHECKING:
    import duckdb

Against = Literal["BASELINE", "CONSECUTIVE"]
INTERVALS = {"5 minutes": "5 minutes", "30 minutes": "30 minutes", "1 hour": "1 hour", "1 day": "1 day",
             "1 month": "1 month", "1 year": "1 year"}  # fmt: skip
ALL_MODELS = "*"
MOST_WINDOWS = 30
LATE = timedelta(hours=1)
"""Rows may arrive so long after their window: until then it is looked at again."""


@dataclass(frozen=True)
class Plan:
    """What to look at, and how. Without `timestamp_col` the table is one window, now."""

    timestamp_col: str | None = None
    granularities: tuple[str, ...] = ()
    model_id_col: str | None = None
    prediction_col: str | None = None
    label_col: str | None = None
    problem: Literal["classification", "regression"] | None = None
    slicing: tuple[str, ...] = ()
    false_alarms: float = drift.FALSE_ALARMS
    smallest: float = drift.SMALLEST
    since: int = 0
    """Windows that ended before this (ms) have been looked at already."""


@dataclass(frozen=True)
class Window:
    start: datetime
    end: datetime
    granularity: str | None
    condition: str
    is_new: bool = True
    """An old one is there for the next one to be compared with."""

    def shown(self) -> dict[str, datetime]:
        return {"start": self.start, "end": self.end}


@dataclass(frozen=True)
class Part:
    """One window of one model's rows in one slice."""

    window: Window
    model: str
    slice: Slice

    def shown(self) -> dict[str, Any]:
        return {
            "window": self.window.shown(), "granularity": self.window.granularity, "model_id": self.model,
            "slice_key": self.slice.key, "slice_value": self.slice.value,
        }  # fmt: skip


@dataclass(frozen=True)
class Drifted:
    """A column of a part that changed more than chance would have it."""

    part: Part
    against: Against
    finding: Finding


@dataclass
class Outcome:
    profiles: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    drifts: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    drifted: list[Drifted] = field(default_factory=list[Drifted])
    windows: list[Window] = field(default_factory=list[Window])


def analyse(plan: Plan, data: Frame, baseline: Frame | None, at: int, memory: str = "1GB") -> Outcome:
    """`at` is the time of the refresh, ms."""
    given = {"data": data} if baseline is None else {"data": data, "baseline": baseline}
    with frames.opened(memory, **given) as database:
        return _Analysis(database, plan, baseline is not None, at).run()


class _Analysis:
    def __init__(self, database: "duckdb.DuckDBPyConnection", plan: Plan, has_baseline: bool, at: int) -> None:
        self._database, self._plan, self._has_baseline, self._at = database, plan, has_baseline, at
        self._columns = frames.columns(database, "data")
        self._aside = [c for c in (plan.timestamp_col, plan.model_id_col) if c is not None]
        if missing := sorted(set(self._aside) - {column.name for column in self._columns}):
            raise Invalid(f"the table has no column '{missing[0]}'")
        names = [column.name for column in self._columns]
        self._slicing = [slices.parse(text, names) for text in plan.slicing]
        self._before: dict[tuple[str | None, str, str | None, str | None], tuple[Part, list[Profile]]] = {}

    def run(self) -> Outcome:
        outcome = Outcome(windows=list(self._windows()))
        parts = list(product(outcome.windows, self._models(), slices.of(self._database, "data", self._slicing)))
        comparisons = len(parts) * max(1, len([c for c in self._columns if c.sort is not None]))
        for window, model, part_slice in parts:
            self._look_at(Part(window, model, part_slice), comparisons, outcome)
        return outcome

    def _look_at(self, part: Part, comparisons: int, outcome: Outcome) -> None:
        source = self._source(part)
        if not one(self._database, f"SELECT count(*) FROM {source}")[0]:
            return
        profiles = profile.within(self._database, source)
        key = part.window.granularity, part.model, part.slice.key, part.slice.value
        before, self._before[key] = self._before.get(key), (part, profiles)
        if not part.window.is_new:
            return
        outcome.profiles += [_profiled(part, each, "INPUT") for each in profiles]
        if (quality := self._quality(part)) is not None:
            outcome.profiles.append(quality)
        if before is not None:
            ahead = _counters(before[1], profiles)
            names = [each.column_name for each in profiles if each.column_name not in ahead]
            self._compare(part, before[0], self._source(before[0]), names, comparisons, before[1], profiles, outcome)
        if self._has_baseline:
            reference = self._baseline(part)
            names = [each.column_name for each in profiles]
            known = profile.within(self._database, reference)
            self._compare(part, None, reference, names, comparisons, known, profiles, outcome)

    def _compare(
        self, part: Part, earlier: Part | None, reference: str, names: list[str], comparisons: int,
        before: list[Profile], after: list[Profile], outcome: Outcome,
    ) -> None:  # fmt: skip
        against: Against = "CONSECUTIVE" if earlier else "BASELINE"
        report: Report = drift.between(
            self._database, reference, self._source(part), names, false_alarms=self._plan.false_alarms,
            smallest=self._plan.smallest, comparisons=comparisons,
        )  # fmt: skip
        was, now = ({each.column_name: each for each in side} for side in (before, after))
        for finding in report.findings:
            compared = _compared(part, earlier, against, finding, was[finding.column], now[finding.column])
            outcome.drifts.append(compared)
            if finding.changed:
                outcome.drifted.append(Drifted(part, against, finding))

    # what there is to look at

    def _windows(self) -> Iterator[Window]:
        if self._plan.timestamp_col is None:
            now = datetime.fromtimestamp(self._at / 1000, UTC)
            yield Window(now, now, None, "TRUE")
            return
        for granularity in self._plan.granularities:
            yield from self._buckets(granularity)

    def _buckets(self, granularity: str) -> Iterator[Window]:
        time = self._time(self._plan.timestamp_col or "")
        step = interval(granularity)
        found = self._database.execute(
            f"SELECT start, start + INTERVAL '{step}' FROM (SELECT DISTINCT time_bucket(INTERVAL '{step}', {time}) AS start"
            f" FROM data) WHERE start IS NOT NULL ORDER BY start DESC LIMIT {MOST_WINDOWS}"
        ).fetchall()
        since = datetime.fromtimestamp(self._plan.since / 1000, UTC).replace(tzinfo=None)
        fresh = [(start, end) for start, end in reversed(found) if end > since]
        # One window more than what is new, so that the first new one has something to be compared with.
        earlier = [(start, end) for start, end in reversed(found) if end <= since][-1:]
        for start, end in [*earlier, *fresh]:
            condition = f"{time} >= TIMESTAMP {literal(str(start))} AND {time} < TIMESTAMP {literal(str(end))}"
            shown = start.replace(tzinfo=UTC), end.replace(tzinfo=UTC)
            yield Window(*shown, granularity, condition, is_new=end > since)

    def _time(self, name: str) -> str:
        column = next(column for column in self._columns if column.name == name)
        if column.type not in TEMPORAL:
            raise Invalid(f"'{name}' is {column.type}; a time column must be a date or a timestamp")
        return f"make_timestamp(CAST(epoch({quoted(name)}) * 1000000 AS BIGINT))"

    def _models(self) -> list[str]:
        if self._plan.model_id_col is None:
            return [ALL_MODELS]
        found = self._database.execute(
            f"SELECT DISTINCT {quoted(self._plan.model_id_col)}::VARCHAR FROM data WHERE"
            f" {quoted(self._plan.model_id_col)} IS NOT NULL ORDER BY 1"
        ).fetchall()
        return [ALL_MODELS, *(str(model) for (model,) in found)] if len(found) > 1 else [ALL_MODELS]

    def _source(self, part: Part) -> str:
        return slices.source("data", [part.window.condition, part.slice.condition, self._is(part.model)], self._aside)

    def _is(self, model: str) -> str:
        if model == ALL_MODELS or self._plan.model_id_col is None:
            return "TRUE"
        return f"{quoted(self._plan.model_id_col)}::VARCHAR = {literal(model)}"

    def _baseline(self, part: Part) -> str:
        """The same slice of the baseline where it has the slice's columns, else all of it."""
        whole = slices.source("baseline", [])
        if part.slice.key is None:
            return whole
        try:
            slices.parse(part.slice.key, [column.name for column in frames.columns(self._database, "baseline")])
        except Invalid:
            return whole
        return slices.source("baseline", [part.slice.condition])

    def _quality(self, part: Part) -> dict[str, Any] | None:
        """How good the predictions were, over the rows whose label has arrived."""
        plan = self._plan
        if plan.label_col is None or plan.prediction_col is None:
            return None
        label, predicted = f"{quoted(plan.label_col)}", f"{quoted(plan.prediction_col)}"
        labelled = slices.source(self._source(part), [f"{label} IS NOT NULL AND {predicted} IS NOT NULL"])
        measured = {"label_count": "count(*)"}
        if plan.problem == "regression":
            error = f"({predicted}::DOUBLE - {label}::DOUBLE)"
            measured |= {"mean_squared_error": f"avg({error} * {error})", "mean_absolute_error": f"avg(abs{error})"}
        else:
            measured |= {"accuracy_score": f"avg(({label}::VARCHAR = {predicted}::VARCHAR)::INT)"}
        found = one(self._database, f"SELECT {', '.join(measured.values())} FROM {labelled}")
        return part.shown() | dict(zip(measured, found, strict=True)) | {"column_name": ":table", "log_type": "INPUT"}


def _counters(before: Sequence[Profile], after: Sequence[Profile]) -> set[str]:
    """Columns that only ever go up (clocks, numbers given in turn): they differ from window to window by nature."""
    was = {each.column_name: each for each in before}
    return {
        now.column_name
        for now in after
        if (then := was.get(now.column_name)) is not None
        and now.min is not None and then.max is not None and now.min >= then.max and now.min < (now.max or now.min)
        and now.distinct_count > now.count / 2
    }  # fmt: skip


def interval(granularity: str) -> str:
    """Databricks' names of windows, as intervals."""
    if granularity in INTERVALS:
        return INTERVALS[granularity]
    number, _, unit = granularity.partition(" ")
    if unit in ("week", "weeks") and number.isdigit() and 0 < int(number) <= 104:
        return f"{int(number)} weeks"
    raise Invalid(f"'{granularity}' is not a granularity; possible: {', '.join(INTERVALS)}, <n> weeks")


# ------------------------------------------------------------------ rows


def _profiled(part: Part, each: Profile, log_type: str) -> dict[str, Any]:
    figures = asdict(each) | {
        "percent_null": each.percent_null, "percent_zeros": each.percent_zeros,
        "percent_distinct": each.percent_distinct,
    }  # fmt: skip
    return part.shown() | figures | {"log_type": log_type}


def _compared(
    part: Part, earlier: Part | None, against: Against, finding: Finding, was: Profile, now: Profile
) -> dict[str, Any]:
    return part.shown() | {
        "window_cmp": earlier.window.shown() if earlier else None,
        "drift_type": against,
        "column_name": finding.column,
        "data_type": finding.data_type,
        "count_delta": now.count - was.count,
        "avg_delta": _less(now.avg, was.avg),
        "percent_null_delta": now.percent_null - was.percent_null,
        "percent_zeros_delta": _less(now.percent_zeros, was.percent_zeros),
        "percent_distinct_delta": now.percent_distinct - was.percent_distinct,
        "population_stability_index": finding.psi,
        "js_distance": finding.js_distance,
        "tv_distance": finding.tv_distance,
        "l_infinity_distance": finding.l_infinity_distance,
        "wasserstein_distance": finding.wasserstein,
        "ks_test": asdict(finding.ks) if finding.ks else None,
        "chi_squared_test": asdict(finding.chi_squared),
        "psi_limit": finding.limit,
        "drifted": finding.changed,
        "explanation": finding.because,
    }


def _less(one_side: float | None, other: float | None) -> float | None:
    return None if one_side is None or other is None else one_side - other


def profile_table(rows: Sequence[dict[str, Any]]) -> Any:
    pa: Any = import_module("pyarrow")
    counts = ("count", "num_nulls", "num_nan", "num_zeros", "distinct_count", "min_length", "max_length", "label_count")
    figures = (
        "avg", "stddev", "min", "max", "median", "avg_length", "percent_null", "percent_zeros", "percent_distinct",
        "accuracy_score", "mean_squared_error", "mean_absolute_error",
    )  # fmt: skip
    items = pa.list_(pa.struct([("item", pa.string()), ("count", pa.int64())]))
    return _arrow(rows, [
        *_common(pa), ("log_type", pa.string()), *((name, pa.int64()) for name in counts),
        *((name, pa.float64()) for name in figures), ("quantiles", pa.list_(pa.float64())), ("frequent_items", items),
    ])  # fmt: skip


def drift_table(rows: Sequence[dict[str, Any]]) -> Any:
    pa: Any = import_module("pyarrow")
    test = pa.struct([("statistic", pa.float64()), ("pvalue", pa.float64())])
    figures = (
        "avg_delta", "percent_null_delta", "percent_zeros_delta", "percent_distinct_delta", "population_stability_index",
        "js_distance", "tv_distance", "l_infinity_distance", "wasserstein_distance", "psi_limit",
    )  # fmt: skip
    return _arrow(rows, [
        *_common(pa), ("window_cmp", _window(pa)), ("drift_type", pa.string()), ("count_delta", pa.int64()),
        *((name, pa.float64()) for name in figures), ("ks_test", test), ("chi_squared_test", test),
        ("drifted", pa.bool_()), ("explanation", pa.string()),
    ])  # fmt: skip


def _window(pa: Any) -> Any:
    time = pa.timestamp("us", tz="UTC")
    return pa.struct([("start", time), ("end", time)])


def _common(pa: Any) -> list[tuple[str, Any]]:
    texts = ("granularity", "model_id", "slice_key", "slice_value", "column_name", "data_type")
    return [("window", _window(pa)), *((name, pa.string()) for name in texts), ("monitor_version", pa.int64())]


def _arrow(rows: Sequence[dict[str, Any]], fields: list[tuple[str, Any]]) -> Any:
    pa: Any = import_module("pyarrow")
    return pa.table({name: pa.array([row.get(name) for row in rows], kind) for name, kind in fields})


def ended_by(windows: Sequence[Window], at: int) -> int:
    """Up to when (ms) nothing is added any more: the end of the last window that has been over for a while."""
    settled = datetime.fromtimestamp(at / 1000, UTC) - LATE
    over = [window.end for window in windows if window.end <= settled]
    return int(max(over).timestamp() * 1000) if over else 0
