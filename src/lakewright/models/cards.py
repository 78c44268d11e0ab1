"""Model cards: what a model is for and how well it does it. Facts fill themselves; judgement is written by a person."""

import hashlib
from typing import Any, get_args

import orjson

from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Denied, Invalid
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import OUTSIDE, Api, Ask, Reply
from lakewright.models import evidence, policies, versions
from lakewright.models.evidence import Gathered
from lakewright.models.names import ModelName
from lakewright.models.policies import Section
from lakewright.models.registered import ADD, REGISTERED_MODEL, SEE, RegisteredModel

WRITTEN = ("intended_use", "limits", "owner")
"""Only a person can write these: they are promises, and a service principal keeps none."""
SECTIONS: tuple[str, ...] = get_args(Section)
OF_MODEL = 0
"""The version number under which the sections of all versions are kept."""

api = Api("lakewright", "/api/2.1/lakewright/cards")
BY_NAME = REGISTERED_MODEL.at("{model}")


class OfModel(Ask):
    model: ModelName


class OfVersion(OfModel):
    version: int
    evaluation_run_id: str | None = None


class WriteForModel(OfModel):
    intended_use: str | None = None
    limits: str | None = None
    owner: str | None = None


class WriteForVersion(WriteForModel):
    version: int


@api("GET", "/{model}", audit="getModelCardText", on=BY_NAME, needs=SEE)
def get_for_model(ctx: Ctx, model: Obj[RegisteredModel], ask: OfModel) -> Reply:
    """What was written for every version."""
    return {"model": model.full_name, "sections": written(ctx, model, OF_MODEL)}


@api("GET", "/{model}/{version}", audit="getModelCard", on=BY_NAME, needs=SEE, runs=OUTSIDE)
def get(ctx: Ctx, model: Obj[RegisteredModel], ask: OfVersion) -> Reply:
    """Filled from the run for those who may read the run; for others as the gate filled it last."""
    try:
        gathered = evidence.gather(ctx, model, ask.version, ask.evaluation_run_id)
    except Denied:
        gathered = None

    def read(ctx: Ctx) -> Reply:
        version = versions.of(ctx, model, ask.version)
        facts = filled(version, gathered) if gathered else as_judged(ctx, model, ask.version)
        sections = facts | written(ctx, model, ask.version)
        lacking = missing(sections, policies.of(ctx, model).card_sections)
        return {
            "model": model.full_name, "version": ask.version, "digest": version.digest, "sections": sections,
            "complete": not lacking, "missing": lacking,
        }  # fmt: skip

    return ctx.snapshot(read)


@api("PATCH", "/{model}", audit="updateModelCardText", on=BY_NAME, needs=ADD)
def write_for_model(ctx: Ctx, model: Obj[RegisteredModel], ask: WriteForModel) -> Reply:
    """Holds for every version that does not say otherwise, so that a retrained model keeps its purpose and its limits."""
    return {"model": model.full_name, "sections": write(ctx, model, OF_MODEL, ask)}


@api("PATCH", "/{model}/{version}", audit="updateModelCard", on=BY_NAME, needs=ADD)
def write_for_version(ctx: Ctx, model: Obj[RegisteredModel], ask: WriteForVersion) -> Reply:
    versions.of(ctx, model, ask.version)
    return {"model": model.full_name, "version": ask.version, "sections": write(ctx, model, ask.version, ask)}


def write(ctx: Ctx, model: Obj[RegisteredModel], number: int, ask: WriteForModel) -> dict[str, Any]:
    if ctx.principal.kind != "user":
        raise Denied(f"{', '.join(WRITTEN)} are written by a person, and {ctx.principal.name} is a service principal")
    given = {name: value.strip() for name in WRITTEN if (value := getattr(ask, name)) is not None}
    if any(len(value) > 20_000 for value in given.values()):
        raise Invalid("a section has at most 20000 characters")
    if given.get("owner"):
        _check_person(ctx, given["owner"])
    sections = _own(ctx, model.id, number) | given
    ctx.tx.run(
        "INSERT INTO registry_cards (model_id, version, sections, updated_at, updated_by) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (model_id, version) DO UPDATE SET sections = excluded.sections, updated_at = excluded.updated_at,"
        " updated_by = excluded.updated_by",
        model.id, number, orjson.dumps(sections).decode(), ctx.now(), ctx.principal.id,
    )  # fmt: skip
    return sections


def _check_person(ctx: Ctx, name: str) -> None:
    kind = ctx.tx.scalar("SELECT kind FROM principals WHERE id = ?", ctx.id_of(name))
    if kind == "service_principal":
        raise Invalid("the owner of a model is a person or a group of people")


def written(ctx: Ctx, model: Obj[RegisteredModel], number: int) -> dict[str, Any]:
    """The sections people wrote for this version, else for the model."""
    own = {k: v for k, v in _own(ctx, model.id, number).items() if v}
    return _own(ctx, model.id, OF_MODEL) | own if number != OF_MODEL else own


def _own(ctx: Ctx, model_id: str, number: int) -> dict[str, Any]:
    found = ctx.tx.scalar("SELECT sections FROM registry_cards WHERE model_id = ? AND version = ?", model_id, number)
    return orjson.loads(found) if found else {}


def written_digest(ctx: Ctx, model: Obj[RegisteredModel], number: int) -> str:
    """What an approver read: another word, another digest."""
    return hashlib.sha256(orjson.dumps(written(ctx, model, number), option=orjson.OPT_SORT_KEYS)).hexdigest()


def as_judged(ctx: Ctx, model: Obj[RegisteredModel], number: int) -> dict[str, Any]:
    """The filled sections as the last gate saw them: part of the verdict, and so of what an approver answers for."""
    found = ctx.tx.scalar(
        "SELECT verdict FROM registry_verdicts WHERE model_id = ? AND version = ? ORDER BY nth DESC LIMIT 1",
        model.id, number,
    )  # fmt: skip
    return orjson.loads(found).get("sections", {}) if found else {}


def filled(version: versions.Version, gathered: Gathered) -> dict[str, Any]:
    """The sections that need nobody: each comes from what was recorded when the model was made and judged."""
    evaluation, run = gathered.evaluation, gathered.run
    return {
        "data": [dict(d) for d in run.datasets] if run else [],
        "metrics": dict(evaluation.metrics if evaluation else run.metrics if run else {}),
        "slices": [s.model_dump(exclude_none=True) for s in evaluation.slices] if evaluation else [],
        "environment": version.facts.get("environment") or {},
        "lineage": _lineage(version, gathered),
    }


def _lineage(version: versions.Version, gathered: Gathered) -> dict[str, Any]:
    if gathered.run is None:
        return {}
    tags = gathered.run.tags
    said = {
        "run_id": version.run_id, "experiment_id": gathered.run.experiment_id, "source": version.source,
        "evaluation_run_id": gathered.evaluation_run_id, "commit": tags.get("mlflow.source.git.commit"),
        "job_id": tags.get("mlflow.databricks.jobID"), "job_run_id": tags.get("mlflow.databricks.jobRunID"),
    }  # fmt: skip
    return {k: v for k, v in said.items() if v}


def missing(sections: dict[str, Any], wanted: list[Section]) -> list[str]:
    """The wanted sections that say nothing, in the order a card has them."""
    return [name for name in SECTIONS if name in wanted and not _says_something(sections.get(name))]


def _says_something(section: Any) -> bool:
    return bool(section.strip()) if isinstance(section, str) else bool(section)
