"""Training and judging: on earlier flights, on later flights, and never on the same ones."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest


def test_the_windows_follow_the_newest_month_that_landed() -> None:
    from flight_delays.windows import windows

    span = windows(datetime(2013, 1, 1, 10, tzinfo=UTC), datetime(2013, 5, 1, 3, 59, tzinfo=UTC))
    assert span.describe() == {"training_from": "2013-01-01", "validation_from": "2013-04-01", "until": "2013-05-01"}


def test_a_run_writes_down_its_windows_so_that_they_can_be_read_again() -> None:
    from flight_delays.windows import recorded, windows

    span = windows(datetime(2013, 1, 1, 10, tzinfo=UTC), datetime(2013, 5, 1, 3, 59, tzinfo=UTC))
    assert recorded({**span.describe(), "features": "26"}) == span


def test_training_without_enough_months_says_so() -> None:
    from flight_delays.windows import NotEnoughMonths, windows

    with pytest.raises(NotEnoughMonths, match="the first is of 2013-01-01"):
        windows(datetime(2013, 1, 1, 10, tzinfo=UTC), datetime(2013, 3, 31, 22, tzinfo=UTC))


def test_no_training_flight_or_its_outcome_reaches_into_validation(features) -> None:
    from flight_delays import windows

    border = datetime(2013, 2, 1, 5, tzinfo=UTC)
    span = windows.Windows(datetime(2013, 1, 1, 5, tzinfo=UTC), border, datetime(2013, 3, 1, 5, tzinfo=UTC))
    training, validation = windows.training_rows(features, span), windows.validation_rows(features, span)
    assert pc.max(training["judged_at"]).as_py() < border
    assert pc.max(training["label_known_at"]).as_py() < border
    assert pc.min(validation["judged_at"]).as_py() >= border
    assert training["late"].null_count == validation["late"].null_count == 0


@pytest.mark.parametrize("name", ["sklearn", "lightgbm"])
def test_a_candidate_learns_something_that_holds_later(features, name: str) -> None:
    from flight_delays import candidates, evaluation

    border = pa.scalar(datetime(2013, 2, 1, 5, tzinfo=UTC), pa.timestamp("us", "UTC"))
    known = features.filter(pc.is_valid(features["late"]))
    earlier, later = (
        known.filter(pc.less(known["judged_at"], border)),
        known.filter(pc.greater_equal(known["judged_at"], border)),
    )
    model = candidates.fit(candidates.CANDIDATES[name], earlier)
    late = candidates.labels(later)
    found = evaluation.scores(late, model.predict_proba(candidates.inputs(later))[:, 1])
    assert found["auc"] > 0.68
    assert candidates.CANDIDATES[name].requirements()[0].startswith("mlflow==")


def test_an_airport_and_a_carrier_nobody_has_seen_are_still_judged(features) -> None:
    from flight_delays import candidates

    rows = features.filter(pc.is_valid(features["late"])).slice(0, 3_000)
    for candidate in candidates.CANDIDATES.values():
        model = candidates.fit(candidate, rows)
        unseen = candidates.inputs(rows.slice(0, 2)).assign(dest="XXX", carrier="??")
        assert ((model.predict_proba(unseen) >= 0) & (model.predict_proba(unseen) <= 1)).all()


def _noisy(rng: np.random.Generator, late: np.ndarray, noise: float) -> np.ndarray:
    return np.clip(np.where(late == 1, 0.7, 0.2) + rng.normal(0, noise, len(late)), 0.02, 0.98)


def test_better_is_only_believed_with_an_interval_above_zero(features) -> None:
    from flight_delays import candidates, evaluation

    rows = features.filter(pc.is_valid(features["late"])).slice(0, 20_000)
    late, rng = candidates.labels(rows), np.random.default_rng(3)
    champion, good, twin = _noisy(rng, late, 0.3), _noisy(rng, late, 0.1), _noisy(rng, late, 0.3)
    assert evaluation.compare(evaluation.by_day(rows, late, champion, good)).surely
    same = evaluation.compare(evaluation.by_day(rows, late, champion, twin))
    assert not same.surely
    verdict = evaluation.judge(evaluation.scores(late, twin), [], same)
    assert not verdict.passed
    assert any("not surely better than the champion" in reason for reason in verdict.reasons)


def test_one_weak_slice_fails_the_whole_model() -> None:
    from flight_delays import evaluation

    overall = {"auc": 0.75, "calibration_error": 0.03}
    verdict = evaluation.judge(overall, [{"slice": "origin=LGA", "auc": 0.55}], None)
    assert verdict.reasons == ["AUC 0.550 for origin=LGA is below 0.6"]
    assert evaluation.judge(overall, [{"slice": "origin=LGA", "auc": 0.71}], None).passed


def test_the_release_gate_can_read_the_evaluation_and_agrees(features) -> None:
    """The gate repeats the comparison from the days' figures, in its own arithmetic."""
    from flight_delays import candidates, evaluation

    from lakewright.models.verdicts import Evaluation

    rows = features.filter(pc.is_valid(features["late"])).slice(0, 20_000)
    late, rng = candidates.labels(rows), np.random.default_rng(3)
    champion, good = _noisy(rng, late, 0.3), _noisy(rng, late, 0.1)
    days = evaluation.by_day(rows, late, champion, good)
    read = Evaluation.model_validate(
        {
            "metrics": evaluation.scores(late, good),
            "slices": evaluation.slices(rows, late, good),
            "champion": 1,
            "comparison": {"loss": "log_loss", "blocks": days.rows()},
        }
    )
    from lakewright.models.statistics import Block, paired_difference

    assert read.comparison is not None
    theirs = paired_difference([Block(*block) for block in read.comparison.blocks])
    ours = evaluation.compare(days)
    assert theirs.estimate == pytest.approx(-ours.gain)
    assert (theirs.high < 0) == ours.surely
    assert {one.slice for one in read.slices} >= {"origin=EWR", "origin=JFK", "origin=LGA"}
