"""Models: registered, versioned, carded, gated, approved by somebody else, released, and on record for what was live."""

from lakewright.jobs.gates import ModelGate
from lakewright.kernel.platform import Platform
from lakewright.models import (
    aliases,
    approvals,
    cards,
    gates,
    mlflow_api,
    policies,
    registered,
    release,
    sweeping,
    transfers,
    versions,
)
from lakewright.models.job_gate import JobGate
from lakewright.models.sources import Runs
from lakewright.models.tracked import TrackedRuns


def install(platform: Platform) -> None:
    platform.provide(TrackedRuns(), as_type=Runs)
    platform.provide(JobGate(), as_type=ModelGate)


__all__ = [
    "aliases", "approvals", "cards", "gates", "install", "mlflow_api", "policies", "registered", "release", "sweeping",
    "transfers", "versions",
]  # fmt: skip
