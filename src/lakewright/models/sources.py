"""Where a version comes from: only from what its registrar may read, and only from inside the platform."""

import re
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid, NotSupported
from lakewright.kernel.rules import require
from lakewright.models import names
from lakewright.models.registered import REGISTERED_MODEL, USE


@dataclass(frozen=True)
class Run:
    """What the registry needs to know of a tracked run."""

    run_id: str
    experiment_id: str
    by: str
    """Who logged it, by id."""
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    params: dict[str, str] = field(default_factory=dict[str, str])
    tags: dict[str, str] = field(default_factory=dict[str, str])
    datasets: tuple[dict[str, Any], ...] = ()


@runtime_checkable
class Runs(Protocol):
    """Tracked runs, judged for the caller: each method raises Denied or NotFound like the operations of tracking."""

    def read(self, ctx: Ctx, run_id: str) -> Run: ...
    def logged_model(self, ctx: Ctx, model_id: str) -> Run | None:
        """The run that logged this model; None if no run did. Raises if the caller may not read the model."""
        ...

    def artifact(self, ctx: Ctx, run_id: str, path: str, largest: int) -> bytes | None: ...


@dataclass(frozen=True)
class Origin:
    run_id: str | None
    by: str


LOGGED_MODEL = re.compile(r"models:/(m-[0-9a-zA-Z]{1,64})")
VERSION = re.compile(r"models:/([^/@?#;]+)/(\d+)")
OF_RUN = re.compile(r"runs:/([0-9a-zA-Z]{1,64})(/[^?#;\\]*)?")
TRACKED = re.compile(
    r"dbfs:/databricks/mlflow-tracking/(\d+)/(?:([0-9a-f]{32})/artifacts|logged_models/(m-\w+)/artifacts)(/[^?#;\\]*)?"
)


def checked(ctx: Ctx, source: str, run_id: str | None, model_id: str | None) -> Origin:
    """The run behind a source. Denied or NotFound if the caller may not read it, Invalid if it is not ours."""
    if ".." in source or "%" in source:
        raise Invalid(f"source '{source}' is not a plain location")
    if copied := VERSION.fullmatch(source):
        return _of_version(ctx, copied[1], copied[2], run_id)
    named = _named_by(source, model_id)
    runs = {run for run in (run_id, named[0]) if run}
    if len(runs) > 1:
        raise Invalid(f"source '{source}' belongs to run {named[0]}, not to run {run_id}")
    logged = _logged(ctx, named[1])
    if logged and runs and logged.run_id not in runs:
        raise Invalid(f"model {named[1]} was logged by run {logged.run_id}, not by run {min(runs)}")
    if runs:
        logged = tracked(ctx).read(ctx, min(runs))
    return Origin(logged.run_id, logged.by) if logged else Origin(None, "")


def _named_by(source: str, model_id: str | None) -> tuple[str | None, str | None]:
    """Run and logged model that the source's own text names."""
    if match := LOGGED_MODEL.fullmatch(source):
        return None, _same(model_id, match[1])
    if match := OF_RUN.fullmatch(source):
        return match[1], model_id
    if match := TRACKED.fullmatch(source):
        return match[2], _same(model_id, match[3])
    raise Invalid(
        f"source '{source}' is not inside the platform: use runs:/…, models:/… or the artifact location of a run"
    )


def _same(given: str | None, named: str | None) -> str | None:
    if given and named and given != named:
        raise Invalid(f"source names model {named}, but model_id is {given}")
    return named or given


def _logged(ctx: Ctx, model_id: str | None) -> Run | None:
    return tracked(ctx).logged_model(ctx, model_id) if model_id else None


def tracked(ctx: Ctx) -> Runs:
    try:
        return ctx.the(Runs)
    except LookupError:
        raise NotSupported("createModelVersion: this server tracks no runs") from None


def _of_version(ctx: Ctx, full_name: str, number: str, run_id: str | None) -> Origin:
    """A copy keeps the run of what it is copied from, and whoever logged that run stays one of its authors."""
    from lakewright.models import versions

    def read(ctx: Ctx) -> Origin:
        model = objects.find(ctx, REGISTERED_MODEL, names.checked(full_name))
        require(ctx, USE, model)
        version = versions.of(ctx, model, int(number))
        if run_id and run_id != version.run_id:
            raise Invalid(f"'{full_name}' version {number} comes from run {version.run_id}, not from run {run_id}")
        return Origin(version.run_id, version.run_by or version.created_by)

    return ctx.snapshot(read)
