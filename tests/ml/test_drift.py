"""Drift agrees with scipy, names what was planted, and keeps quiet at the rate it was told to."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from lakewright.ml import distances, drift

COUNTS = st.lists(st.integers(0, 5000), min_size=2, max_size=12)
PAIRS = COUNTS.flatmap(
    lambda r: st.tuples(st.just(r), st.lists(st.integers(0, 5000), min_size=len(r), max_size=len(r)))
)
NUMBERS = st.lists(st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=60)


def some(counts):
    return sum(counts) > 0


@given(PAIRS)
def test_jensen_shannon_is_scipys(pair):
    reference, current = pair
    if some(reference) and some(current):
        assert distances.jensen_shannon(reference, current) == pytest.approx(
            float(jensenshannon(reference, current, base=2)), abs=1e-7
        )


@given(PAIRS)
def test_psi_is_symmetric_never_negative_and_nought_for_the_same(pair):
    reference, current = pair
    assert distances.psi(reference, current) == pytest.approx(distances.psi(current, reference))
    assert distances.psi(reference, current) >= 0
    assert distances.psi(reference, reference) == 0


def test_psi_of_a_worked_example():
    assert distances.psi([50, 50], [40, 60]) == pytest.approx(0.1 * np.log(1.5 / 1) / 1, rel=0.02)


@given(PAIRS)
def test_chi_squared_is_scipys_where_no_cell_is_small(pair):
    reference, current = ([count + 20 for count in side] for side in pair)
    theirs = stats.chi2_contingency([reference, current], correction=False)
    ours = distances.chi_squared(reference, current)
    if distances.pooled(reference, current)[0] == reference:
        assert ours == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-6, abs=1e-12)


@given(st.floats(0.01, 400), st.integers(1, 60))
def test_the_chi_squared_tail_is_scipys(statistic, freedom):
    assert distances.chi_squared_tail(statistic, freedom) == pytest.approx(
        float(stats.chi2.sf(statistic, freedom)), rel=1e-9, abs=1e-14
    )


@pytest.mark.parametrize("chance", [0.05, 0.001, 1e-6])
@pytest.mark.parametrize("freedom", [1, 9, 50])
def test_the_chi_squared_limit_is_scipys(chance, freedom):
    assert distances.chi_squared_limit(chance, freedom) == pytest.approx(stats.chi2.isf(chance, freedom), rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(NUMBERS, NUMBERS)
def test_ks_and_wasserstein_are_scipys(reference, current):
    [finding] = drift.compare(pa.table({"x": reference}), pa.table({"x": current})).findings
    assert finding.ks is not None
    assert finding.ks.statistic == pytest.approx(stats.ks_2samp(reference, current).statistic, abs=1e-9)
    assert finding.wasserstein == pytest.approx(stats.wasserstein_distance(reference, current), rel=1e-6, abs=1e-6)


def test_the_ks_chance_is_scipys_for_large_samples():
    random = np.random.default_rng(1)
    one, other = random.normal(size=4000), random.normal(0.05, size=3000)
    theirs = stats.ks_2samp(one, other, method="asymp")
    assert distances.kolmogorov_tail(theirs.statistic, 4000, 3000) == pytest.approx(theirs.pvalue, rel=0.05)


def sample(random: np.random.Generator, rows: int, columns: int = 50) -> pa.Table:
    numbers = {f"n{i}": random.gamma(2.0, size=rows) for i in range(columns * 4 // 5)}
    texts = {
        f"c{i}": random.choice(list("abcdefg"), size=rows, p=[0.4, 0.2, 0.2, 0.1, 0.05, 0.03, 0.02])
        for i in range(columns // 5)
    }
    return pa.table(numbers | texts)


def test_a_planted_shift_in_one_of_fifty_columns_is_named():
    random = np.random.default_rng(3)
    current = sample(random, 5000)
    shifted = current["n17"].to_numpy() * 1.4
    current = current.set_column(current.schema.get_field_index("n17"), "n17", pa.array(shifted))
    report = drift.compare(sample(random, 5000), current)
    [found] = report.changed
    assert found.column == "n17"
    assert found.psi > found.limit
    assert "n17: above" in found.because


@pytest.mark.parametrize("rows", [1000, 4000])
def test_columns_that_did_not_change_alarm_together_in_about_five_windows_of_a_hundred(rows):
    random = np.random.default_rng(11)
    alarms = sum(
        bool(drift.compare(sample(random, rows, 10), sample(random, rows, 10), smallest=0.0, exact_up_to=0).changed)
        for _ in range(100)
    )
    assert 1 <= alarms <= 12  # 5 are expected; either bound is crossed by chance about once in a hundred


def test_a_million_rows_do_not_alarm_for_a_difference_that_does_not_matter():
    random = np.random.default_rng(5)
    before, after = (pa.table({"x": random.normal(mean, size=1_000_000)}) for mean in (0.0, 0.01))
    [finding] = drift.compare(before, after).findings
    assert finding.chi_squared.pvalue < 1e-4
    assert not finding.changed


def test_missing_values_new_categories_and_times_are_told():
    start = dt.datetime(2013, 1, 1)
    before = pa.table({
        "wind": [float(n % 10) for n in range(1000)],
        "carrier": ["AA", "UA"] * 500,
        "at": [start + dt.timedelta(minutes=n) for n in range(1000)],
    })  # fmt: skip
    after = pa.table({
        "wind": [None if n % 2 else float(n % 10) for n in range(1000)],
        "carrier": ["AA", "ZZ"] * 500,
        "at": [start + dt.timedelta(minutes=n) for n in range(1000)],
    })  # fmt: skip
    found = {finding.column: finding for finding in drift.compare(before, after).findings}
    assert "missing 0.0% -> 50.0%" in found["wind"].because
    assert "ZZ 0.0% -> 50.0% (new)" in found["carrier"].because
    assert [found[name].changed for name in ("wind", "carrier", "at")] == [True, True, False]


def test_nothing_is_found_where_a_side_is_empty():
    full = pa.table({"x": [1.0, 2.0], "c": ["a", "b"]})
    for report in (drift.compare(full, full.slice(0, 0)), drift.compare(full.slice(0, 0), full)):
        assert not report.changed


def test_streams_are_read_once_and_columns_that_cannot_be_compared_are_left_out():
    table = pa.table({"x": [1.0, 2.0], "list": [[1], [2]], 'odd "name': [1, 2]})
    report = drift.compare(table.to_reader(), table.to_reader())
    assert [finding.column for finding in report.findings] == ["x", 'odd "name']
