"""Release: the champion, the gate that judges a new version, and the move that an approval allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flight_delays import workspace

if TYPE_CHECKING:
    from flight_delays.workspace import Names

CHAMPION = "champion"
EVALUATION_TAG = "lakewright.evaluation_run_id"


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


def judge(names: Names, version: int, evaluation_run: str) -> dict[str, Any]:
    """The platform's own verdict, from the version's files and its recorded evaluation."""
    body = {"model": names.model, "version": version, "evaluation_run_id": evaluation_run, "alias": CHAMPION}
    return workspace.call("POST", "/api/2.1/lakewright/gates/run", body)


def go_live(names: Names, version: int) -> None:
    """Moves the champion the ordinary way. The platform allows it because, and only if, somebody else approved this version."""
    from mlflow import MlflowClient

    MlflowClient().set_registered_model_alias(names.model, CHAMPION, str(version))
