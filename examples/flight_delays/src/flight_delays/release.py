"""Release: the registered model's champion, new versions and their cards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flight_delays.workspace import Names

CHAMPION = "champion"


@dataclass(frozen=True)
class Version:
    model: str
    version: str

    @property
    def uri(self) -> str:
        return f"models:/{self.model}/{self.version}"


def champion(names: Names) -> Version | None:
    """The version in production, or None before the first release."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        found = MlflowClient().get_model_version_by_alias(names.model, CHAMPION)
    except MlflowException as missing:
        if missing.error_code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
            return None
        raise
    return Version(names.model, str(found.version))


def card(report: dict[str, Any]) -> dict[str, str]:
    """What a person who has to approve this version needs to read, taken from its evaluation."""
    scores, window = report["metrics"], report["window"]
    weakest = min(report["slices"], key=lambda one: one["auc"])
    gain = report["gain_over_champion"]
    compared = (
        "There is no champion yet."
        if gain is None
        else f"Against version {report['champion']}, log loss falls by {gain['gain']:.4f} "
        f"(95% interval {gain['low']:.4f} to {gain['high']:.4f}, bootstrapped over days)."
    )
    return {
        "intended_use": "Tells passengers' connection service and the gate planners, at a flight's scheduled departure from a "
        "New York airport, how probable an arrival 15 or more minutes late is.",
        "not_for": "Judging crews or carriers, or flights from other airports; cancelled and diverted flights were not learnt from.",
        "training_data": f"Flights from {window['training_from']} until {window['validation_from']} whose outcome was known by then. "
        "Features use only what was known before scheduled departure: weather of the hours that were over, delays of flights that "
        "had landed.",
        "evaluation": f"On {window['flights']} flights from {window['validation_from']} until {window['until']}, seen by no model: "
        f"AUC {scores['auc']:.3f}, log loss {scores['log_loss']:.4f}, calibration error {scores['calibration_error']:.3f}. {compared}",
        "slices": f"Every origin and carrier with 400 or more flights; the weakest is {weakest['slice']} (AUC {weakest['auc']:.3f}).",
        "limitations": "Seasons differ: weather and traffic drift within months, so the endpoint is watched and the model retrained "
        "when they do.",
        "risks": "A late flight judged punctual strands a connecting passenger; the answer is a probability, to be weighed by who asks.",
    }
