"""A profile counts what is there."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakewright.ml import profile


def test_numbers_texts_and_truths():
    table = pa.table({
        "delay": [0.0, 1.0, None, float("nan"), 3.0],
        "carrier": ["AA", "AA", "UA", None, "B6x"],
        "late": [True, False, True, True, None],
    })  # fmt: skip
    delay, carrier, late = profile.of(table)
    assert (delay.count, delay.num_nulls, delay.num_nan, delay.num_zeros) == (5, 1, 1, 1)
    assert (delay.avg, delay.min, delay.max, delay.median) == (pytest.approx(4 / 3), 0.0, 3.0, 1.0)
    assert delay.percent_null == 20.0
    assert (carrier.min_length, carrier.max_length, carrier.distinct_count) == (2, 3, 3)
    assert next((item.item, item.count) for item in carrier.frequent_items) == ("AA", 2)
    assert [(item.item, item.count) for item in late.frequent_items] == [("true", 3), ("false", 1)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), min_size=2, max_size=200))
def test_moments_are_numpys(values):
    [found] = profile.of(pa.table({"x": pa.array(values, pa.float64())}))
    present = np.array([value for value in values if value is not None])
    assert found.num_nulls == len(values) - len(present)
    if len(present) > 1:
        assert found.avg == pytest.approx(present.mean(), rel=1e-9, abs=1e-6)
        assert found.stddev == pytest.approx(present.std(ddof=1), rel=1e-6, abs=1e-6)


def test_an_empty_table_has_a_profile():
    [found] = profile.of(pa.table({"x": pa.array([], pa.float64())}))
    assert (found.count, found.avg, found.percent_null, found.quantiles) == (0, None, 0.0, [])
