"""Evidence: what was recorded about a version, read again by the server each time somebody decides on it."""

from dataclasses import dataclass

import orjson
from pydantic import ValidationError

from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid
from lakewright.kernel.objects import Obj
from lakewright.models import sources, versions
from lakewright.models.registered import RegisteredModel
from lakewright.models.sources import Run
from lakewright.models.verdicts import Evaluation

ARTIFACT = "evaluation.json"
TAG = "lakewright.evaluation_run_id"
LARGEST = 8 * 2**20


@dataclass(frozen=True)
class Gathered:
    run: Run | None
    evaluation: Evaluation | None
    evaluation_run_id: str | None


def gather(ctx: Ctx, model: Obj[RegisteredModel], number: int, evaluation_run_id: str | None = None) -> Gathered:
    """The version's run and its evaluation, read with the caller's rights. No transaction may be open: it reads files."""
    version = ctx.snapshot(lambda ctx: versions.of(ctx, model, number))
    if version.run_id is None:
        return Gathered(None, None, None)
    runs = sources.tracked(ctx)
    judged_by = evaluation_run_id or version.tags.get(TAG) or version.run_id
    body = runs.artifact(ctx, judged_by, ARTIFACT, LARGEST)
    evaluation = parsed(body, version) if body is not None else None
    return Gathered(runs.read(ctx, version.run_id), evaluation, judged_by if evaluation else None)


def parsed(body: bytes, version: versions.Version) -> Evaluation:
    """Invalid if it cannot be understood, or if it is about some other model."""
    try:
        evaluation = Evaluation.model_validate(orjson.loads(body))
    except (orjson.JSONDecodeError, ValidationError) as error:
        raise Invalid(f"{ARTIFACT} is not an evaluation: {str(error).splitlines()[0]}") from error
    pairs = ((evaluation.model_id, version.logged_model_id), (evaluation.run_id, version.run_id))
    if not any(said == own for said, own in pairs if said is not None):
        raise Invalid(
            f"{ARTIFACT} is not about this version: it names model_id {evaluation.model_id} and run_id"
            f" {evaluation.run_id}, the version comes from model {version.logged_model_id} of run {version.run_id}"
        )
    return evaluation
