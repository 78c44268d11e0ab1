"""A monitor's analysis: windows, slices and models as rows, drift against the baseline and the window before."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from lakewright.kernel.faults import Invalid
from lakewright.monitoring.analysis import Plan, analyse, drift_table, ended_by, profile_table

DAY = dt.datetime(2013, 5, 1, tzinfo=dt.UTC)
AT = int((DAY + dt.timedelta(days=4)).timestamp() * 1000)


def flights(days: int = 3, shifted: int | None = None, rows: int = 800, seed: int = 1) -> pa.Table:
    """Some flights a day; from day `shifted` on the wind blows harder and AA flies less."""
    random = np.random.default_rng(seed)
    parts = []
    for day in range(days):
        off = shifted is not None and day >= shifted
        parts.append(pa.table({
            "at": pa.array([DAY + dt.timedelta(days=day, minutes=int(m)) for m in range(rows)], pa.timestamp("us", "UTC")),
            "number": pa.array(range(day * rows, (day + 1) * rows)),
            "wind": random.gamma(2.0, 8.0 if off else 4.0, rows),
            "humidity": random.uniform(0, 100, rows),
            "carrier": random.choice(["AA", "UA", "B6"], rows, p=[0.1, 0.5, 0.4] if off else [0.4, 0.3, 0.3]),
            "model_id": random.choice(["m/1", "m/2"], rows),
            "prediction": random.integers(0, 2, rows),
            "late": random.integers(0, 2, rows),
        }))  # fmt: skip
    return pa.concat_tables(parts)


BY_DAY = Plan(timestamp_col="at", granularities=("1 day",))


def test_each_day_is_a_window_with_a_row_per_column():
    outcome = analyse(BY_DAY, flights(), None, AT)
    assert [window.start.day for window in outcome.windows] == [1, 2, 3]
    first = {row["column_name"]: row for row in outcome.profiles if row["window"]["start"] == DAY}
    assert set(first) == {"number", "wind", "humidity", "carrier", "model_id", "prediction", "late"}
    assert first["wind"]["count"] == 800
    assert first["carrier"]["frequent_items"][0]["item"] == "AA"


def test_drift_from_day_to_day_is_named_and_nothing_else():
    outcome = analyse(BY_DAY, flights(shifted=2), None, AT)
    assert {(d.part.window.start.day, d.finding.column) for d in outcome.drifted} == {(3, "wind"), (3, "carrier")}
    assert {d.against for d in outcome.drifted} == {"CONSECUTIVE"}


def test_a_number_that_only_counts_up_is_no_drift():
    outcome = analyse(BY_DAY, flights(), None, AT)
    assert "number" not in {row["column_name"] for row in outcome.drifts}


def test_drift_from_the_baseline_is_named_with_what_moved():
    outcome = analyse(Plan(), flights(1, shifted=0), flights(1, seed=2).drop_columns(["number"]), AT)
    found = {d.finding.column: d.finding for d in outcome.drifted}
    assert set(found) == {"wind", "carrier"}
    assert "AA" in found["carrier"].because
    assert all(f.psi > f.limit for f in found.values())


def test_slices_and_models_are_looked_at_by_themselves():
    plan = Plan(
        timestamp_col="at", granularities=("1 week",), model_id_col="model_id", slicing=("carrier", "wind > 10"),
        prediction_col="prediction", label_col="late", problem="classification",
    )  # fmt: skip
    outcome = analyse(plan, flights(1), None, AT)
    parts = {(row["model_id"], row["slice_key"], row["slice_value"]) for row in outcome.profiles}
    assert ("m/1", "carrier", "AA") in parts
    assert ("*", "wind > 10", "false") in parts
    assert len(parts) == 3 * (1 + 3 + 2)
    quality = [row for row in outcome.profiles if row["column_name"] == ":table"]
    whole = next(row for row in quality if row["model_id"] == "*" and row["slice_key"] is None)
    assert whole["accuracy_score"] == pytest.approx(0.5, abs=0.1)
    assert whole["label_count"] == 800


def test_what_was_looked_at_is_not_looked_at_again_but_compared_with():
    seen = int((DAY + dt.timedelta(days=2)).timestamp() * 1000)
    plan = Plan(timestamp_col="at", granularities=("1 day",), since=seen)
    outcome = analyse(plan, flights(shifted=2), None, AT)
    assert {row["window"]["start"].day for row in outcome.profiles} == {3}
    assert {d.finding.column for d in outcome.drifted} == {"wind", "carrier"}
    assert ended_by(outcome.windows, AT) == seen + 86_400_000


def test_rows_become_tables():
    outcome = analyse(BY_DAY, flights(shifted=2), flights(1, seed=2), AT)
    profiles, drifts = profile_table(outcome.profiles), drift_table(outcome.drifts)
    assert profiles.num_rows == len(outcome.profiles)
    assert {"js_distance", "population_stability_index", "ks_test", "drift_type", "window_cmp"} <= set(
        drifts.column_names
    )


@pytest.mark.parametrize(
    "text",
    ["(SELECT 1)", "read_text('/etc/passwd')", "carrier = (SELECT max(carrier) FROM baseline)", "nothing", "wind; drop",
     "getenv('HOME') = 'x'", "other.wind > 1", ""],
)  # fmt: skip
def test_a_slice_can_only_compare_columns_with_constants(text):
    with pytest.raises(Invalid, match="slicing_exprs"):
        analyse(Plan(slicing=(text,)), flights(1), None, AT)


def test_a_window_of_an_unknown_length_is_refused():
    with pytest.raises(Invalid, match="fortnight"):
        analyse(Plan(timestamp_col="at", granularities=("fortnight",)), flights(1), None, AT)
