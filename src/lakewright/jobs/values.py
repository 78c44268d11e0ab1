"""Task values: small JSON values a task leaves for those after it (`dbutils.jobs.taskValues`)."""

import json
from typing import Any

from lakewright.jobs import rows, states
from lakewright.jobs.kind import CAN_VIEW
from lakewright.jobs.rows import TaskRun
from lakewright.jobs.runs import job_of_run
from lakewright.kernel import rules
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Denied, Invalid, NotFound
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.roots import IN_WORKSPACE, Root
from lakewright.kernel.rules import EVERYONE

MAX_BYTES = 48 * 1024

api = Api("jobs", "/api/2.2/jobs/runs/task-values")


class SetValue(Ask):
    key: str
    value: Any


class GetValue(Ask):
    task_key: str
    key: str
    run_id: int | None = None


@api("POST", audit="setTaskValue", on=IN_WORKSPACE, needs=EVERYONE)
def set_(ctx: Ctx, workspace: Obj[Root], ask: SetValue) -> Reply:
    """Open to everyone because only a running task's own token gets further, and only to its own run."""
    task = own_task(ctx)
    if task is None or task.state not in (states.STARTING, states.RUNNING):
        raise Denied("task values are set by a running task, with its own token")
    text = json.dumps(ask.value, ensure_ascii=False)
    if not ask.key:
        raise Invalid("key: a task value needs a name")
    if len(text.encode()) > MAX_BYTES:
        raise Invalid(f"value: its JSON is longer than {MAX_BYTES} bytes")
    ctx.tx.run(
        "INSERT INTO task_value (job_run_id, task_key, name, value, set_by, set_at) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (job_run_id, task_key, name) DO UPDATE SET value = excluded.value, set_by = excluded.set_by,"
        " set_at = excluded.set_at",
        task.job_run_id, task.task_key, ask.key, text, task.run_id, ctx.now(),
    )  # fmt: skip
    return {}


@api("GET", audit="getTaskValue", on=IN_WORKSPACE, needs=EVERYONE, runs=SNAPSHOT)
def get(ctx: Ctx, workspace: Obj[Root], ask: GetValue) -> Reply:
    """A task reads the values of its own run with its token; anybody else must be allowed to see the job."""
    task = own_task(ctx)
    if task is not None:
        job_run_id = _outer(ctx, task.job_run_id)
    elif ask.run_id is not None:
        job_run_id = ask.run_id
        rules.require(ctx, CAN_VIEW, job_of_run(ctx, str(job_run_id)))
    else:
        raise Invalid("run_id is required outside a task")
    found = rows.values(ctx.tx, job_run_id).get(ask.task_key, {})
    if ask.key not in found:
        raise NotFound(f"task '{ask.task_key}' has set no value '{ask.key}'")
    return {"value": found[ask.key]}


def own_task(ctx: Ctx) -> TaskRun | None:
    """The task whose token the caller came with."""
    if not ctx.principal.token_id:
        return None
    found = rows.tasks(ctx.tx, "token_id = ?", ctx.principal.token_id)
    return found[0] if found else None


def _outer(ctx: Ctx, job_run_id: int) -> int:
    """The run whose tasks a task names: an iteration names those of the run it is part of."""
    run = rows.run(ctx.tx, job_run_id)
    if run is None or run.run_type != rows.ITERATIONS:
        return job_run_id
    above = rows.task(ctx.tx, run.parent_run_id or 0)
    return above.job_run_id if above else job_run_id
