"""Release: the champion, the gate that judges a new version, the approval it needs, and the move that follows."""

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


def ask_for_approval(names: Names, version: int, comment: str) -> str:
    body = {"model": names.model, "version": version, "alias": CHAMPION, "comment": comment}
    return str(workspace.call("POST", "/api/2.1/lakewright/approvals", body)["approval_id"])


def carry_out(names: Names, approval: str, version: int) -> None:
    """Moves the champion, which the platform allows because, and only if, the approval stands for exactly this version."""
    done = workspace.call("POST", "/api/2.1/lakewright/releases", {"approval_id": approval})
    if (done["model"], int(done["version"])) != (names.model, version):
        raise SystemExit(f"Approval {approval} is for {done['model']} version {done['version']}.")
