import dataclasses
import random

import pytest
from pydantic import TypeAdapter, ValidationError

from lakewright.models.scan import Finding
from lakewright.models.verdicts import (
    STANDARD,
    BetterThanChampion,
    Card,
    Comparison,
    Evaluation,
    Evidence,
    GateRule,
    Limit,
    Lineage,
    SafeFiles,
    Signature,
    Slice,
    Slices,
    decide,
    judge,
)


def compared(difference: float, champion: int = 2, days: int = 30) -> Evaluation:
    draw = random.Random(3)
    blocks = [(100, 100 * (0.4 + difference + draw.gauss(0, 0.01)), 40.0) for _ in range(days)]
    return Evaluation(metrics={"auc": 0.71}, champion=champion, comparison=Comparison(loss="log_loss", blocks=blocks))


GOOD = Evidence(
    signature=True, findings=(), missing=(), run_id="r1", datasets=("main.ml.flights@7",), metrics={"auc": 0.99},
    evaluation=compared(-0.05), evaluation_run_id="r2", champion=2,
)  # fmt: skip


def but(**changes) -> Evidence:
    return dataclasses.replace(GOOD, **changes)


def test_good_evidence_passes_every_standard_rule():
    decision = decide(STANDARD, GOOD)
    assert decision.passed and decision.reasons == []


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (but(signature=False), "signature: the version has no signature"),
        (but(findings=(Finding("model.pkl", "imports os.system"),)), "safe_files: model.pkl: imports os.system"),
        (but(missing=("limits", "owner")), "card: the card lacks limits, owner"),
        (but(run_id=None), "lineage: the version comes from no run"),
        (but(datasets=()), "lineage: run r1 recorded no data it learnt from (mlflow.log_input)"),
        (but(evaluation=None), "better_than_champion: it was not compared with the champion, version 2"),
        (but(champion=3), "better_than_champion: it was compared with version 2, but the champion is version 3"),
    ],
)
def test_one_gap_in_the_evidence_fails_one_rule_and_says_which(evidence, reason):
    assert decide(STANDARD, evidence).reasons == [reason]


def test_a_finding_somebody_looked_at_may_be_trusted_by_name():
    evidence = but(findings=(Finding("model.pkl", "imports my.Thing"),))
    assert not judge(SafeFiles(trusted=["imports my.Other"]), evidence).passed
    assert judge(SafeFiles(trusted=["imports my.Thing"]), evidence).passed
    assert judge(SafeFiles(trusted=["model.pkl: imports my.Thing"]), evidence).passed


def test_the_first_model_has_no_champion_to_beat():
    assert judge(BetterThanChampion(), but(champion=None, evaluation=None)).passed


def test_better_by_chance_is_not_better():
    assert not judge(BetterThanChampion(), but(evaluation=compared(-0.0005))).passed
    assert judge(BetterThanChampion(margin=0.01), but(evaluation=compared(-0.0005))).passed
    assert not judge(BetterThanChampion(margin=0.01), but(evaluation=compared(0.05))).passed


def test_a_comparison_of_one_block_is_refused_not_believed():
    outcome = judge(BetterThanChampion(), but(evaluation=compared(-0.5, days=1)))
    assert not outcome.passed and "two blocks" in outcome.because


def test_limits_are_about_the_evaluation_not_about_what_training_claims():
    assert judge(Limit(metric="auc", min=0.7), GOOD).passed
    assert not judge(Limit(metric="auc", min=0.75), GOOD).passed, "training's own 0.99 must not count"
    assert not judge(Limit(metric="brier", max=0.2), GOOD).passed
    assert judge(Limit(metric="auc", min=0.75), but(evaluation=None)).passed


def test_not_a_number_is_not_within_any_limit():
    evaluation = Evaluation(metrics={"auc": float("nan")})
    assert not judge(Limit(metric="auc", min=0.0), but(evaluation=evaluation)).passed


def sliced(*slices: Slice) -> Evidence:
    return but(evaluation=Evaluation(slices=list(slices)))


def test_every_slice_with_enough_rows_must_hold():
    rule = Slices(metric="auc", min=0.6, min_rows=100)
    good, bad, small = Slice(slice="EWR", rows=500, auc=0.7), Slice(slice="JFK", rows=500, auc=0.5), Slice(slice="LGA", rows=9, auc=0.1)  # fmt: skip
    assert judge(rule, sliced(good, small)).passed
    assert judge(rule, sliced(good, small)).figures["too_few_rows"] == ["LGA"]
    assert "JFK" in judge(rule, sliced(good, bad)).because
    assert not judge(rule, sliced(small)).passed, "nothing judged is nothing proved"
    assert not judge(rule, sliced(Slice(slice="EWR", rows=500))).passed, (
        "a slice without the metric is not a good slice"
    )


def test_a_counted_slice_fails_only_when_it_is_surely_beyond_the_limit():
    rule = Slices(metric="accuracy", min=0.8, min_rows=10)
    assert judge(rule, sliced(Slice(slice="a", rows=20, successes=15, accuracy=0.75))).passed
    assert not judge(rule, sliced(Slice(slice="a", rows=2000, successes=1500, accuracy=0.75))).passed


def test_the_same_evidence_has_the_same_digest_and_other_evidence_another():
    assert decide(STANDARD, GOOD).digest() == decide(STANDARD, but()).digest()
    others = [but(datasets=("other",)), but(evaluation=compared(-0.06)), but(missing=("owner",))]
    assert len({decide(STANDARD, e).digest() for e in (GOOD, *others)}) == 4


def test_rules_are_data_and_unknown_ones_are_refused():
    rules = TypeAdapter(list[GateRule])
    assert rules.validate_python([{"check": "limit", "metric": "auc", "min": 0.7}]) == [Limit(metric="auc", min=0.7)]
    assert {type(r) for r in STANDARD} == {Signature, SafeFiles, Card, Lineage, BetterThanChampion}
    boundless = {"check": "limit", "metric": "auc"}
    for wrong in ({"check": "reviewed_code"}, {"check": "limit"}, boundless, {"check": "card", "skip": True}):
        with pytest.raises(ValidationError):
            rules.validate_python([wrong])
