"""Launching: everything a task's process gets, and that is all it gets.

A folder of its own with its code in it, the address of the platform, a token of the principal it runs as, and its
parameters. Not the database, not the storage root, not another task's files.
"""

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from lakewright.engines.processes import Limits, TaskSpec
from lakewright.jobs import scopes, sources
from lakewright.jobs.engine import Claim
from lakewright.kernel.faults import NotSupported
from lakewright.kernel.platform import Platform

GRACE = 30.0
"""Seconds past its timeout after which the launcher itself ends a task, should nobody else."""


def prepare(platform: Platform, claim: Claim, folder: Path) -> TaskSpec:
    """Fetch the task's code into its folder and say how to run it. Faults end the task with their message."""
    code = folder / "code"
    code.mkdir(mode=0o700, parents=True, exist_ok=True)
    entry, argv = _entry(platform, claim, code)
    timeout = claim.definition.timeout_seconds
    host = scopes.address(platform.settings)
    return TaskSpec(
        attempt=claim.task.attempt_id,
        entry=entry,
        argv=argv,
        env=environment(claim, host),
        workdir=folder,
        ports=(_port(host),),
        limits=Limits(
            memory_mb=platform.settings.jobs.task_memory_mb, wall_seconds=timeout + GRACE if timeout else None
        ),
        redact=(claim.token,),
    )


def _entry(platform: Platform, claim: Claim, code: Path) -> tuple[str, tuple[str, ...]]:
    resolved = claim.resolved
    if claim.definition.spark_python_task:
        path = _fetched(platform, claim, str(resolved["python_file"]), code)
        return "lakewright.runtime.main:script", (str(path), *resolved["parameters"])
    if claim.definition.notebook_task:
        path = _fetched(platform, claim, str(resolved["notebook_path"]), code)
        return "lakewright.runtime.main:notebook", (str(path), json.dumps(resolved["base_parameters"]))
    raise NotSupported(f"a {claim.definition.kind} has no process")


def _fetched(platform: Platform, claim: Claim, path: str, code: Path) -> Path:
    """The code, as the principal the task runs as may read it."""
    acting = platform.snapshot(lambda ctx: ctx.as_principal(claim.run.run_as).principal)
    ctx = replace(platform.system(claim.run.workspace), principal=acting)
    return sources.fetch(ctx, platform.the(sources.Sources), path, code)


def environment(claim: Claim, host: str) -> dict[str, str]:
    """The variables the SDK, MLflow and our own runtime look for."""
    run, task = claim.run, claim.task
    about = {
        "job_id": int(run.job_id),
        "job_run_id": run.run_id,
        "run_id": task.run_id,
        "task_key": task.task_key,
        "attempt": task.attempt,
        "parameters": claim.resolved.get("base_parameters", claim.resolved.get("parameters", [])),
        "job_parameters": json.loads(run.parameters),
    }
    return {
        "DATABRICKS_HOST": host,
        "DATABRICKS_TOKEN": claim.token,
        "DATABRICKS_WORKSPACE_ID": run.workspace,
        "MLFLOW_TRACKING_URI": "databricks",
        "MLFLOW_REGISTRY_URI": "databricks-uc",
        "LAKEWRIGHT_TASK": json.dumps(about),
    }


def _port(host: str) -> int:
    parts = urlsplit(host)
    return parts.port or (443 if parts.scheme == "https" else 80)
