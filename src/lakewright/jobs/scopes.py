"""Scopes: what the parameters of a task may refer to, and its parameters with the references replaced."""

import json
from dataclasses import replace
from typing import Any

from lakewright.jobs import parameters, rows
from lakewright.jobs.definition import Task
from lakewright.jobs.parameters import Scope, TaskFacts
from lakewright.jobs.rows import Run, TaskRun
from lakewright.kernel.config import Settings as PlatformSettings
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid


def scope_of(ctx: Ctx, run: Run, task: TaskRun) -> Scope:
    """What references in this task's parameters may name."""
    if run.run_type == rows.ITERATIONS:
        return _scope_of_iteration(ctx, run, task)
    values = rows.values(ctx.tx, run.run_id)
    others = rows.latest(ctx.tx, run.run_id)
    return Scope(
        job_id=int(run.job_id),
        job_name=run.name,
        run_id=run.run_id,
        start_time=run.started_at or run.created_at,
        trigger=run.cause,
        trigger_time=run.due_at,
        repair_count=len(json.loads(run.repairs)),
        parameters=json.loads(run.parameters),
        task=TaskFacts(task.run_id, execution_count=task.attempt + 1),
        task_name=task.task_key,
        tasks={
            key: TaskFacts(t.run_id, t.result, t.attempt + 1, t.code, values.get(key, {})) for key, t in others.items()
        },
        workspace_id=ctx.workspace,
        workspace_url=address(ctx.settings),
    )


def _scope_of_iteration(ctx: Ctx, run: Run, task: TaskRun) -> Scope:
    """An iteration sees what its for_each task sees, itself as the task, and its own input."""
    above = rows.task(ctx.tx, run.parent_run_id or 0)
    outer = rows.run(ctx.tx, above.job_run_id) if above else None
    if above is None or outer is None:
        raise Invalid("the run that this iteration belongs to is gone")
    given = json.loads(run.overrides)["inputs"][int(task.task_key.rpartition("_")[2])]
    me = TaskFacts(task.run_id, execution_count=task.attempt + 1)
    return replace(scope_of(ctx, outer, above), task=me, task_name=task.task_key, input=given)


def address(settings: PlatformSettings) -> str:
    """Where this platform is reached, without a slash at the end."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    scheme = "https" if settings.tls_certificate else "http"
    return f"{scheme}://{settings.host}:{settings.port}"


def resolve(ctx: Ctx, run: Run, task: TaskRun, definition: Task) -> dict[str, Any]:
    """The parameters of a task as it will get them. Raises Invalid for a reference to nothing."""
    scope, overrides = scope_of(ctx, run, task), json.loads(run.overrides)
    if it := definition.notebook_task:
        own = parameters.named(it.base_parameters, overrides.get("notebook_params"), scope.parameters)
        return {
            "base_parameters": parameters.resolve_all(own, scope),
            "notebook_path": parameters.resolve(it.notebook_path, scope),
        }
    if it := definition.spark_python_task:
        given = overrides.get("python_params")
        words = it.parameters if given is None else given
        return {
            "parameters": parameters.resolve_all(words, scope),
            "python_file": parameters.resolve(it.python_file, scope),
        }
    if it := definition.run_job_task:
        return {"job_parameters": parameters.resolve_all(it.job_parameters, scope)}
    if it := definition.for_each_task:
        return {"inputs": parameters.resolve(it.inputs, scope)}
    if it := definition.approval_task:
        return parameters.resolve_all(it.model_dump(exclude_none=True), scope)
    return {}
