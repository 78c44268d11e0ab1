"""Repair: running some tasks of an ended run again, as part of the same run."""

import json
from dataclasses import dataclass
from typing import Any

from lakewright.jobs import engine, graph, parameters, rows, states
from lakewright.jobs.kind import Job
from lakewright.jobs.rows import Run, TaskRun
from lakewright.jobs.states import Standing
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import BadState, Invalid


@dataclass(frozen=True)
class Wanted:
    tasks: tuple[str, ...]
    all_failed: bool
    dependents: bool
    latest_repair_id: int | None
    job_parameters: dict[str, str] | None
    notebook_params: dict[str, str] | None
    python_params: list[str] | None


def repair(ctx: Ctx, run: Run, job: Job, wanted: Wanted) -> int:
    """Reopen the run with new attempts of the chosen tasks; the id of this repair.

    It runs the job as it is now, so it runs as whom the job runs now: new code must not get the rights that the run had.
    """
    before: list[dict[str, Any]] = json.loads(run.repairs)
    _check(run, before, wanted)
    newest = rows.latest(ctx.tx, run.run_id)
    keys = chosen(job.settings.graph, newest, wanted)
    repair_id = rows.new_run_id()
    now, limit = ctx.now(), job.settings.timeout_seconds
    done = {
        "id": repair_id,
        "at": now,
        "state": run.state,
        "result": run.result,
        "message": run.message,
        "end": run.ended_at,
        "by": ctx.principal.id,
    }
    reopened = rows.move_run(
        ctx, run, "reopen", result=None, code=None, message="", ended_at=None, stopped_for=None,
        settings=job.settings.model_dump_json(), chosen=json.dumps(sorted(newest.keys() & job.settings.graph.keys())),
        run_as=job.run_as, parameters=json.dumps(_parameters(run, job, wanted)),
        overrides=json.dumps(_overrides(run, wanted)),
        repairs=json.dumps([*before, done]), deadline=now + limit * 1000 if limit else None,
    )  # fmt: skip
    if reopened is None:
        raise BadState(f"Run {run.run_id} is in progress and cannot be repaired")
    for key in keys:
        engine.insert_attempt(ctx, reopened, key, newest[key], repair=repair_id)
    engine.record(ctx, "runStart", reopened, f"repair {repair_id}")
    engine.advance(ctx, run.run_id)
    return repair_id


def _check(run: Run, before: list[dict[str, Any]], wanted: Wanted) -> None:
    if run.state != states.TERMINATED:
        raise BadState(f"Run {run.run_id} is in progress and cannot be repaired")
    if bool(wanted.tasks) == wanted.all_failed:
        raise Invalid("repairRun: give either rerun_tasks or rerun_all_failed_tasks")
    latest = before[-1]["id"] if before else None
    if wanted.latest_repair_id != latest:
        raise Invalid(f"latest_repair_id must be {latest}, the id of the repair before this one")


def chosen(whole: graph.Graph, newest: dict[str, TaskRun], wanted: Wanted) -> list[str]:
    """The tasks to run again, by the job as it is now."""
    failed = {key for key, task in newest.items() if task.result in states.BAD}
    keys = failed if wanted.all_failed else set(wanted.tasks)
    for key in sorted(keys):
        if key not in whole or key not in newest:
            raise Invalid(f"rerun_tasks: '{key}' is not a task of both this run and the job as it is now")
    if wanted.dependents:
        keys |= {below for key in keys for below in graph.reach(whole, key, up=False) if below in newest}
    if not keys:
        raise Invalid("repairRun: no task of this run failed")
    return [key for key in graph.ordered(whole) if key in keys]


def _parameters(run: Run, job: Job, wanted: Wanted) -> dict[str, str]:
    held = {k: v for k, v in json.loads(run.parameters).items() if k in job.settings.defaults}
    return parameters.job_parameters(job.settings.defaults, {**held, **(wanted.job_parameters or {})})


def _overrides(run: Run, wanted: Wanted) -> dict[str, Any]:
    given = {"notebook_params": wanted.notebook_params, "python_params": wanted.python_params}
    return {**json.loads(run.overrides), **{k: v for k, v in given.items() if v is not None}}


def history(ctx: Ctx, run: Run) -> list[dict[str, Any]]:
    """What the run was before each repair, and is after the last: ORIGINAL first."""
    done: list[dict[str, Any]] = json.loads(run.repairs)
    of_run = rows.attempts(ctx.tx, run.run_id)
    shown: list[dict[str, Any]] = []
    for i in range(len(done) + 1):
        repair_id = done[i - 1]["id"] if i else None
        at = (
            Standing(done[i]["state"], done[i]["result"], done[i]["message"], is_run=True)
            if i < len(done)
            else run.standing
        )
        item = {
            "type": "REPAIR" if i else "ORIGINAL",
            "start_time": done[i - 1]["at"] if i else run.created_at,
            "end_time": (done[i]["end"] if i < len(done) else run.ended_at) or 0,
            "task_run_ids": [task.run_id for task in of_run if task.repair == repair_id],
            **states.show(at),
        }
        shown.append({**item, "id": repair_id} if repair_id else item)
    return shown
