"""What a request about a run or a logged model is decided on: the experiment it belongs to.

The experiment is looked up from the id that the operation acts on, never taken from the request beside it: a request
that names its own experiment and another's run is judged by the run's.
"""

from typing import Any

from pydantic import model_validator

from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid, NotFound
from lakewright.kernel.kinds import Target
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import Ask
from lakewright.kernel.rules import Rule
from lakewright.tracking.experiments import EXPERIMENT, Experiment


class OfRun(Ask):
    """A request about one run. Old clients say run_uuid, the current one both."""

    run_id: str
    run_uuid: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_run(cls, fields: Any) -> Any:
        given: dict[str, Any] = fields
        if given.get("run_uuid"):
            given = {"run_id": given["run_uuid"], **given}
            if given["run_id"] != given["run_uuid"]:
                raise Invalid("run_id and run_uuid name different runs")
        return given


class OfModel(Ask):
    """A request about one logged model."""

    model_id: str


def in_run() -> Target[Experiment]:
    return Target("{run_id}", EXPERIMENT, is_id=True, finds=experiment_of_run)


def in_model() -> Target[Experiment]:
    return Target("{model_id}", EXPERIMENT, is_id=True, finds=experiment_of_model)


def experiment_of_run(ctx: Ctx, run_id: str) -> Obj[Experiment]:
    found = ctx.tx.scalar("SELECT experiment_id FROM runs WHERE run_uuid = ?", run_id)
    if found is None:
        raise NotFound(f"Run with id={run_id} not found")
    return objects.by_id(ctx, EXPERIMENT, str(found))


def experiment_of_model(ctx: Ctx, model_id: str) -> Obj[Experiment]:
    found = ctx.tx.scalar("SELECT experiment_id FROM logged_models WHERE model_id = ?", model_id)
    if found is None:
        raise NotFound(f"Logged model with ID '{model_id}' not found.")
    return objects.by_id(ctx, EXPERIMENT, str(found))


def experiment_of_trace(ctx: Ctx, trace_id: str) -> Obj[Experiment]:
    found = ctx.tx.scalar("SELECT experiment_id FROM trace_info WHERE request_id = ?", trace_id)
    if found is None:
        raise NotFound(f"Trace with ID '{trace_id}' not found.")
    return objects.by_id(ctx, EXPERIMENT, str(found))


def require_usable(ctx: Ctx, experiment: Obj[Experiment], model_id: str, needs: Rule) -> None:
    """The model is in this experiment, or in one on which the caller holds `needs`; no other id names one here."""
    try:
        owner = experiment_of_model(ctx, model_id)
    except NotFound:
        owner = None
    if owner is None or (owner.id != experiment.id and not needs.judge(ctx, owner.id)):
        raise Invalid(f"Logged model with ID '{model_id}' is not one that this run can be tied to.")
