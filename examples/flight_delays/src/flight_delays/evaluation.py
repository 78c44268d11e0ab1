"""Evaluation: is this model good enough, and is it better than the one in production? Both judged on flights neither has seen.

Candidates and champion are compared by log loss, the score that an honest probability minimises. Flights of one day share their
weather and their jams, so the interval of a difference is bootstrapped over whole days: over single flights it would be too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# Fixed limits: what any model must reach, whoever it competes with.
LEAST_AUC = 0.68
LEAST_SLICE_AUC = 0.60
MOST_CALIBRATION_ERROR = 0.12
LEAST_SLICE_ROWS = 400
SLICED_BY = ("origin", "carrier")


@dataclass(frozen=True)
class Better:
    """By how much log loss falls from one model to another, with its 95% interval (positive: the new one is better)."""

    gain: float
    low: float
    high: float

    @property
    def surely(self) -> bool:
        return self.low > 0


@dataclass(frozen=True)
class Verdict:
    passed: bool
    reasons: list[str] = field(default_factory=list)


def scores(late: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

    return {
        "auc": float(roc_auc_score(late, probability)),
        "average_precision": float(average_precision_score(late, probability)),
        "log_loss": float(log_losses(late, probability).mean()),
        "brier": float(brier_score_loss(late, probability)),
        "calibration_error": calibration_error(late, probability),
        "share_late": float(late.mean()),
    }


def log_losses(late: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Per flight."""
    import numpy as np

    likelihood = np.where(late == 1, probability, 1 - probability)
    return -np.log(np.clip(likelihood, 1e-6, 1.0))


def calibration_error(late: np.ndarray, probability: np.ndarray, bins: int = 10) -> float:
    """Mean distance between what was promised and what came true, over ten bins of equally many flights."""
    import numpy as np

    gaps = [
        len(part) * abs(float(probability[part].mean()) - float(late[part].mean()))
        for part in np.array_split(np.argsort(probability, kind="stable"), bins)
        if len(part)
    ]
    return sum(gaps) / len(late)


def slices(rows: pa.Table, late: np.ndarray, probability: np.ndarray) -> list[dict[str, Any]]:
    """The scores of every origin and every carrier that has enough flights to say anything."""
    found: list[dict[str, Any]] = []
    for column in SLICED_BY:
        values = rows[column].to_numpy(zero_copy_only=False)
        for value in sorted({str(one) for one in values}):
            inside = values == value
            if inside.sum() >= LEAST_SLICE_ROWS and 0 < late[inside].sum() < inside.sum():
                found.append(
                    {
                        "slice": f"{column}={value}",
                        **scores(late[inside], probability[inside]),
                        "rows": int(inside.sum()),
                    }
                )
    return found


@dataclass(frozen=True)
class Days:
    """Both models' summed log loss on each day's flights: what a comparison needs, and all that its auditor needs to repeat it."""

    flights: np.ndarray
    new: np.ndarray
    old: np.ndarray

    def rows(self) -> list[list[float]]:
        return [list(day) for day in zip(self.flights.tolist(), self.new.tolist(), self.old.tolist(), strict=True)]


def by_day(rows: pa.Table, late: np.ndarray, old: np.ndarray, new: np.ndarray) -> Days:
    import numpy as np
    import pyarrow.compute as pc

    _, day = np.unique(pc.day_of_year(rows["judged_at"]).to_numpy(zero_copy_only=False), return_inverse=True)
    sums = [np.bincount(day, weights=log_losses(late, probability)) for probability in (new, old)]
    return Days(np.bincount(day), *sums)


def compare(days: Days, *, resamples: int = 2000, seed: int = 7) -> Better:
    import numpy as np

    gain, flights = days.old - days.new, days.flights
    drawn = np.random.default_rng(seed).integers(0, len(flights), (resamples, len(flights)))
    means = gain[drawn].sum(axis=1) / flights[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Better(float(gain.sum() / flights.sum()), float(low), float(high))


def judge(overall: dict[str, float], by_slice: list[dict[str, Any]], against_champion: Better | None) -> Verdict:
    reasons: list[str] = []
    if overall["auc"] < LEAST_AUC:
        reasons.append(f"AUC {overall['auc']:.3f} is below {LEAST_AUC}")
    if overall["calibration_error"] > MOST_CALIBRATION_ERROR:
        reasons.append(f"calibration error {overall['calibration_error']:.3f} is above {MOST_CALIBRATION_ERROR}")
    for one in by_slice:
        if one["auc"] < LEAST_SLICE_AUC:
            reasons.append(f"AUC {one['auc']:.3f} for {one['slice']} is below {LEAST_SLICE_AUC}")
    if against_champion is not None and not against_champion.surely:
        reasons.append(
            f"not surely better than the champion: log loss falls by {against_champion.gain:.4f} "
            f"(95% interval {against_champion.low:.4f} to {against_champion.high:.4f})"
        )
    return Verdict(not reasons, reasons)
