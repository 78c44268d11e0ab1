"""Showing runs and tasks as clients read them."""

import json

from lakewright.jobs import definition, engine, graph, iterations, rows, scopes, states
from lakewright.jobs.rows import Run, TaskRun
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import NotFound
from lakewright.kernel.operation import Reply


class NoRun(NotFound):
    """With this status and text the SDK raises ResourceDoesNotExist."""

    status, code = 400, "INVALID_PARAMETER_VALUE"


def in_order(ctx: Ctx, run: Run) -> list[TaskRun]:
    newest = rows.latest(ctx.tx, run.run_id)
    return [newest[key] for key in graph.ordered(engine.graph_of(run)) if key in newest]


def of_run(ctx: Ctx, run: Run) -> Reply:
    settings, began = run.definition, run.started_at or run.created_at
    values = json.loads(run.parameters)
    shown: Reply = {
        "job_id": int(run.job_id),
        "run_id": run.run_id,
        "number_in_job": run.run_id,
        "original_attempt_run_id": run.run_id,
        "creator_user_name": ctx.name_of(run.creator),
        "run_as_user_name": ctx.name_of(run.run_as),
        "run_name": run.name,
        "run_type": run.run_type,
        "run_page_url": f"{scopes.address(ctx.settings)}/jobs/{run.job_id}/runs/{run.run_id}",
        "trigger": run.cause,
        "format": "MULTI_TASK",
        "start_time": run.created_at,
        "end_time": run.ended_at or 0,
        "setup_duration": 0,
        "execution_duration": 0,
        "cleanup_duration": 0,
        "run_duration": (run.ended_at - began) if run.ended_at else 0,
        "job_parameters": [
            {"name": p.name, "default": p.default, "value": values[p.name]} for p in settings.parameters
        ],
        **states.show(run.standing),
    }
    if run.started_at and run.started_at > run.created_at:
        shown["queue_duration"] = run.started_at - run.created_at
    if run.cause == "PERIODIC" and settings.schedule:
        shown["schedule"] = settings.schedule.model_dump(mode="json")
    if run.parent_run_id:
        shown["trigger_info"] = {"run_id": run.parent_run_id}
    if overrides := json.loads(run.overrides):
        shown["overriding_parameters"] = overrides
    return shown


def of_task(run: Run, task: TaskRun, *, resolved: bool = False) -> Reply:
    described = run.definition.task(task.task_key)
    shown = definition.show_task(described) | {
        "run_id": task.run_id,
        "attempt_number": task.attempt,
        "original_attempt_run_id": task.original_run_id,
        "start_time": task.started_at or task.claimed_at or task.ended_at or 0,
        "end_time": task.ended_at or 0,
        "setup_duration": _between(task.claimed_at, task.started_at),
        "execution_duration": _between(task.started_at, task.ended_at),
        "cleanup_duration": 0,
        **states.show(task.standing),
    }
    if described.condition_task:
        outcome = {"outcome": task.outcome} if task.outcome else {}
        shown["condition_task"] = described.condition_task.model_dump() | json.loads(task.resolved) | outcome
    elif resolved and task.resolved != "{}":
        names = ("parameters", "base_parameters", "job_parameters")
        shown["resolved_values"] = {described.kind: {k: v for k, v in json.loads(task.resolved).items() if k in names}}
    return shown


def _between(start: int | None, end: int | None) -> int:
    return max(0, end - start) if start is not None and end is not None else 0


def with_stats(ctx: Ctx, task: TaskRun, shown: Reply) -> Reply:
    """A for_each task says how far its iterations are."""
    if found := iterations.of(ctx, task):
        shown["for_each_task"]["stats"] = iterations.stats(found[1])
    return shown


def alone(ctx: Ctx, task: TaskRun, *, resolved: bool = False) -> Reply:
    """One attempt as if it were a run of its own."""
    run = rows.run(ctx.tx, task.job_run_id)
    if run is None:
        raise NoRun(f"Run {task.run_id} does not exist.")
    one = with_stats(ctx, task, of_task(run, task, resolved=resolved))
    same = ("start_time", "end_time", "setup_duration", "execution_duration", "cleanup_duration", "state", "status",
            "attempt_number", "original_attempt_run_id")  # fmt: skip
    shown = of_run(ctx, run) | {name: one[name] for name in same} | {
        "run_id": task.run_id, "job_run_id": run.run_id, "run_name": task.task_key, "run_duration": 0, "tasks": [one],
    }  # fmt: skip
    if found := iterations.of(ctx, task):
        shown["iterations"] = [of_task(found[0], each, resolved=resolved) for each in found[1]]
    return shown
