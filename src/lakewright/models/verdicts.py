"""Gate decisions: from rules and evidence to a verdict. Pure, so that anybody can repeat one from what it recorded."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lakewright.models.scan import Finding
from lakewright.models.statistics import Block, paired_difference, wilson


class Rule(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Signature(Rule):
    """The version says what goes in and what comes out."""

    check: Literal["signature"] = "signature"


class SafeFiles(Rule):
    """Loading the version runs nothing that is not known to be safe. `trusted` names findings a person looked at."""

    check: Literal["safe_files"] = "safe_files"
    trusted: list[str] = []


class Card(Rule):
    """Every section of the model card that the policy asks for is there."""

    check: Literal["card"] = "card"


class Lineage(Rule):
    """The version comes from a run that recorded the data it learnt from."""

    check: Literal["lineage"] = "lineage"


class Within(Rule):
    metric: str
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> "Within":
        if self.min is None and self.max is None:
            raise ValueError("a limit needs min or max")
        return self


class Limit(Within):
    """A metric of the evaluation within fixed limits."""

    check: Literal["limit"] = "limit"


class Slices(Within):
    """A metric within limits in every slice that has enough rows to be judged.

    A slice that counts its `successes` is judged by Wilson's interval: it fails when it is beyond the limit for
    certain, not when chance alone may have put it there.
    """

    check: Literal["slices"] = "slices"
    min_rows: int = 100
    at_least: int = 1
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


class BetterThanChampion(Rule):
    """Mean loss below the champion's on the same rows, with the whole interval at or below `margin`."""

    check: Literal["better_than_champion"] = "better_than_champion"
    margin: float = 0.0
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


GateRule = Annotated[
    Signature | SafeFiles | Card | Lineage | Limit | Slices | BetterThanChampion, Field(discriminator="check")
]

STANDARD: tuple[GateRule, ...] = (Signature(), SafeFiles(), Card(), Lineage(), BetterThanChampion())
"""What a release needs where no policy says otherwise."""


class Slice(BaseModel):
    """One part of the evaluation data. Further numbers are its metrics."""

    model_config = ConfigDict(extra="allow")

    slice: str
    rows: int
    successes: int | None = None

    def metric(self, name: str) -> float | None:
        value = (self.model_extra or {}).get(name)
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


class Comparison(BaseModel):
    """Summed loss of both models per block of rows: `[rows, candidate, champion]` each."""

    loss: str
    blocks: list[tuple[int, float, float]]


class Evaluation(BaseModel):
    """What an evaluation run says: its artifact `evaluation.json`. Keys not named here are its author's own."""

    run_id: str | None = None
    model_id: str | None = None
    metrics: dict[str, float] = {}
    slices: list[Slice] = []
    champion: int | None = None
    comparison: Comparison | None = None


@dataclass(frozen=True)
class Evidence:
    """All a verdict may look at, gathered by the server."""

    signature: bool
    findings: tuple[Finding, ...]
    missing: tuple[str, ...]
    run_id: str | None
    datasets: tuple[str, ...]
    metrics: dict[str, float]
    evaluation: Evaluation | None
    evaluation_run_id: str | None
    champion: int | None


@dataclass(frozen=True)
class Outcome:
    """One rule's answer and the figures it rests on."""

    check: str
    passed: bool
    because: str
    figures: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Decision:
    outcomes: tuple[Outcome, ...]

    @property
    def passed(self) -> bool:
        return all(outcome.passed for outcome in self.outcomes)

    @property
    def reasons(self) -> list[str]:
        return [f"{o.check}: {o.because}" for o in self.outcomes if not o.passed]

    def digest(self) -> str:
        """The same rules over the same evidence have the same digest, whenever they were run."""
        return hashlib.sha256(json.dumps([asdict(o) for o in self.outcomes], sort_keys=True).encode()).hexdigest()


def decide(rules: tuple[GateRule, ...] | list[GateRule], evidence: Evidence) -> Decision:
    return Decision(tuple(judge(rule, evidence) for rule in rules))


def judge(rule: GateRule, evidence: Evidence) -> Outcome:
    match rule:
        case Signature():
            because = "the version has a signature with inputs and outputs"
            return Outcome(
                rule.check, evidence.signature, because if evidence.signature else "the version has no signature"
            )
        case SafeFiles():
            return _safe_files(rule, evidence)
        case Card():
            missing = list(evidence.missing)
            because = f"the card lacks {', '.join(missing)}" if missing else "the card is complete"
            return Outcome(rule.check, not missing, because, {"missing": missing})
        case Lineage():
            return _lineage(rule, evidence)
        case Limit():
            return _limit(rule, evidence)
        case Slices():
            return _slices(rule, evidence)
        case BetterThanChampion():
            return _better(rule, evidence)


def _safe_files(rule: SafeFiles, evidence: Evidence) -> Outcome:
    open_ones = [str(f) for f in evidence.findings if f.what not in rule.trusted and str(f) not in rule.trusted]
    because = "; ".join(open_ones[:5]) if open_ones else "nothing in its files runs code that is not known to be safe"
    return Outcome(rule.check, not open_ones, because, {"findings": [str(f) for f in evidence.findings]})


def _lineage(rule: Lineage, evidence: Evidence) -> Outcome:
    if evidence.run_id is None:
        return Outcome(rule.check, False, "the version comes from no run")
    if not evidence.datasets:
        return Outcome(rule.check, False, f"run {evidence.run_id} recorded no data it learnt from (mlflow.log_input)")
    return Outcome(rule.check, True, f"run {evidence.run_id} learnt from {', '.join(evidence.datasets)}")


def _limit(rule: Limit, evidence: Evidence) -> Outcome:
    value = _metric(rule.metric, evidence)
    check = f"limit {rule.metric}"
    if value is None:
        return Outcome(check, False, f"no {rule.metric} was evaluated")
    return Outcome(check, _within(value, rule), f"{rule.metric} is {value:.6g}, {_wanted(rule)}", {"value": value})


def _slices(rule: Slices, evidence: Evidence) -> Outcome:
    check = f"slices {rule.metric}"
    slices = evidence.evaluation.slices if evidence.evaluation else []
    judged = [s for s in slices if s.rows >= rule.min_rows]
    values = {s.slice: s.metric(rule.metric) for s in judged}
    figures: dict[str, Any] = {"judged": values, "too_few_rows": [s.slice for s in slices if s.rows < rule.min_rows]}
    if len(judged) < rule.at_least:
        return Outcome(check, False, f"{len(judged)} slices have {rule.min_rows} rows; {rule.at_least} must", figures)
    if absent := [name for name, value in values.items() if value is None]:
        return Outcome(check, False, f"no {rule.metric} was evaluated for {', '.join(absent)}", figures)
    failing = [s.slice for s in judged if not _slice_within(s, values[s.slice] or 0.0, rule)]
    because = (
        f"{rule.metric} is beyond its limit for {', '.join(failing)}" if failing else f"{rule.metric} holds in all"
    )
    return Outcome(check, not failing, f"{because} ({_wanted(rule)})", figures)


def _slice_within(part: Slice, value: float, rule: Slices) -> bool:
    if part.successes is None:
        return _within(value, rule)
    share = wilson(part.successes, part.rows, rule.confidence)
    return (rule.min is None or share.high >= rule.min) and (rule.max is None or share.low <= rule.max)


def _better(rule: BetterThanChampion, evidence: Evidence) -> Outcome:
    if evidence.champion is None:
        return Outcome(rule.check, True, "there is no champion yet", {"champion": None})
    evaluation = evidence.evaluation
    if evaluation is None or evaluation.comparison is None or evaluation.champion is None:
        return Outcome(rule.check, False, f"it was not compared with the champion, version {evidence.champion}")
    if evaluation.champion != evidence.champion:
        because = f"it was compared with version {evaluation.champion}, but the champion is version {evidence.champion}"
        return Outcome(rule.check, False, because)
    try:
        blocks = [Block(rows, candidate, champion) for rows, candidate, champion in evaluation.comparison.blocks]
        found = paired_difference(blocks, rule.confidence)
    except ValueError as error:
        return Outcome(rule.check, False, f"the comparison cannot be used: {error}")
    figures = {
        **asdict(found),
        "champion": evidence.champion,
        "blocks": len(blocks),
        "loss": evaluation.comparison.loss,
    }
    because = (
        f"{evaluation.comparison.loss} differs from the champion's by {found.estimate:+.5f}"
        f" ({rule.confidence:.0%}: {found.low:+.5f} to {found.high:+.5f}; at most {rule.margin:+g} allowed)"
    )
    return Outcome(rule.check, found.high <= rule.margin, because, figures)


def _metric(name: str, evidence: Evidence) -> float | None:
    """The evaluation's figure; a training run's own figure of the same name is about other rows, so only without one."""
    source = evidence.evaluation.metrics if evidence.evaluation else evidence.metrics
    value = source.get(name)
    return value if value is not None and math.isfinite(value) else None


def _within(value: float, rule: Within) -> bool:
    return (rule.min is None or value >= rule.min) and (rule.max is None or value <= rule.max)


def _wanted(rule: Within) -> str:
    limits = [f"at least {rule.min:g}"] if rule.min is not None else []
    limits += [f"at most {rule.max:g}"] if rule.max is not None else []
    return " and ".join(limits) + " wanted"
