"""The job engine: what becomes of runs and tasks, one transaction per transition.

Everything a crash must not lose is in rows; what follows from the end of a task (its retry, the tasks that waited for
it, the result of the run) is worked out in the transaction that records the end. A function here therefore either
happened whole or not at all, and calling it again after a crash finds nothing left to do.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lakewright.identity import tokens
from lakewright.jobs import graph, parameters, rows, scopes, states
from lakewright.jobs.definition import ConditionTask, Settings, Task
from lakewright.jobs.graph import Edge
from lakewright.jobs.parameters import Scope
from lakewright.jobs.rows import Run, TaskRun
from lakewright.kernel.audit import Entry
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Fault, Invalid

WORKLOAD_FAILED = "Workload failed, see run output for details."
LONGEST_TOKEN = 30 * 24 * 3600
"""Seconds a task's token lives when the task has no timeout; it is revoked when the attempt ends."""


# --- a run begins ---


@dataclass(frozen=True)
class Order:
    """What a new run is asked to be."""

    job_id: str
    settings: Settings
    creator: str
    run_as: str
    run_type: str = "JOB_RUN"
    cause: str = "ONE_TIME"
    due_at: int | None = None
    parent_run_id: int | None = None
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    overrides: Mapping[str, Any] = field(default_factory=dict[str, Any])
    only: tuple[str, ...] = ()
    queue: bool | None = None
    idempotency: str | None = None


def open_run(ctx: Ctx, order: Order) -> Run:
    """Make a run of a job, or answer the one that the same idempotency token made before."""
    if made := made_before(ctx, order.creator, order.idempotency, order.run_type, order.job_id):
        return made
    settings, now, run_id = order.settings, ctx.now(), rows.new_run_id()
    chosen = sorted(graph.only(settings.graph, order.only)) if order.only else []
    scope = Scope(
        int(order.job_id), settings.name, run_id, now, order.cause, order.due_at, workspace_id=ctx.workspace,
        workspace_url=scopes.address(ctx.settings),
    )  # fmt: skip
    given = parameters.job_parameters(settings.defaults, order.parameters)
    state, result, message = _admission(ctx, order)
    made = Run(
        run_id, ctx.workspace, order.job_id, order.run_type, settings.name, settings.model_dump_json(),
        json.dumps(parameters.resolve_all(given, scope)), json.dumps(dict(order.overrides)), json.dumps(chosen),
        order.cause, order.due_at, order.parent_run_id, order.creator, order.run_as, order.idempotency, state, result,
        None, message, now, None, now if result else None, None, None, "[]", None,
    )  # fmt: skip
    if result:
        rows.insert(ctx, made)
        record(ctx, "runSkipped", made, message)
        return made
    return plant(ctx, made)


def plant(ctx: Ctx, run: Run) -> Run:
    """Store a new run with the first attempts of its tasks, and let it go unless it has to queue."""
    rows.insert(ctx, run)
    ctx.emit("job_run", str(run.run_id), {"job_id": run.job_id, "state": run.state})
    for key in graph.ordered(graph_of(run)):
        insert_attempt(ctx, run, key)
    if run.state == states.PENDING:
        _begin(ctx, run)
    return rows.run(ctx.tx, run.run_id) or run


def made_before(ctx: Ctx, creator: str, token: str | None, run_type: str, job_id: str | None = None) -> Run | None:
    """The run that this idempotency token of this caller already stands for. Invalid if that is another kind of run."""
    if not token:
        return None
    row = ctx.tx.one(
        "SELECT run_id, deleted_at FROM job_run WHERE workspace = ? AND creator = ? AND idempotency = ?",
        ctx.workspace, creator, token,
    )  # fmt: skip
    if row is None:
        return None
    if row["deleted_at"] is not None:
        raise Invalid(f"the run {row['run_id']} made with this idempotency_token has been deleted")
    made = rows.run(ctx.tx, row["run_id"])
    if made is not None and (made.run_type != run_type or job_id not in (None, made.job_id)):
        raise Invalid(f"this idempotency_token stands for run {made.run_id}, which is not a run of this kind and job")
    return made


def _admission(ctx: Ctx, order: Order) -> tuple[str, str | None, str]:
    """State, result and message of a new run, by how many of its job are active."""
    limit = order.settings.max_concurrent_runs
    if order.run_type == "SUBMIT_RUN" or holding(ctx, order.job_id) < limit:
        return states.PENDING, None, ""
    queues = order.queue if order.queue is not None else bool(order.settings.queue and order.settings.queue.enabled)
    if queues and limit > 0:
        return states.QUEUED, None, f"Run is queued: {limit} runs of the job are active."
    why = f"Skipping this run because the limit of {limit} maximum concurrent runs has been reached."
    return states.SKIPPED, states.MAXIMUM_CONCURRENT_RUNS_REACHED, why


def holding(ctx: Ctx, job_id: str) -> int:
    """Runs of the job that take one of its places."""
    # The no-op update makes two nodes that admit runs of one job take turns.
    ctx.tx.run("UPDATE objects SET deleted_at = deleted_at WHERE id = ?", job_id)
    marks = ", ".join("?" * len(states.HOLDING_RUNS))
    return int(
        ctx.tx.scalar(
            f"SELECT COUNT(*) FROM job_run WHERE job_id = ? AND run_type <> ? AND state IN ({marks})",
            job_id, rows.ITERATIONS, *sorted(states.HOLDING_RUNS),
        )
    )  # fmt: skip


def insert_attempt(ctx: Ctx, run: Run, key: str, after: TaskRun | None = None, **changes: Any) -> TaskRun:
    run_id = rows.new_run_id()
    fresh = TaskRun(
        run_id, run.run_id, key, after.attempt + 1 if after else 0, 0, 0, after.original_run_id if after else run_id,
        None, states.BLOCKED, None, None, "", ctx.now(), None, None, None, None, None, None, None, None, None, "{}",
        None, "{}",
    )  # fmt: skip
    made = replace(fresh, **changes)
    rows.insert(ctx, made)
    return made


def _begin(ctx: Ctx, run: Run) -> None:
    """The run may go: its clock starts and its first tasks become ready."""
    now, limit = ctx.now(), run.definition.timeout_seconds
    ctx.tx.run(
        "UPDATE job_run SET started_at = ?, deadline = ? WHERE run_id = ?",
        now, now + limit * 1000 if limit else None, run.run_id,
    )  # fmt: skip
    record(ctx, "runStart", run)
    advance(ctx, run.run_id)


def dequeue(ctx: Ctx, job_id: str, limit: int) -> None:
    """Let waiting runs of the job go, oldest first, as far as there are places."""
    waiting = rows.runs(
        ctx.tx, "job_id = ? AND state = ? AND deleted_at IS NULL ORDER BY created_at, run_id", job_id, states.QUEUED
    )
    for run in waiting:
        if holding(ctx, job_id) >= limit:
            return
        if rows.move_run(ctx, run, "dequeue", message=""):
            _begin(ctx, run)


# --- a run goes on ---


def graph_of(run: Run) -> dict[str, list[Edge]]:
    """The tasks of the run and what they wait for, as far as they were chosen."""
    chosen = json.loads(run.chosen)
    whole = run.definition.graph
    return graph.restrict(whole, set(chosen)) if chosen else whole


def advance(ctx: Ctx, job_run_id: int) -> None:
    """Decide on every task that waits for nothing any more; when none is left, on the run."""
    run = rows.lock(ctx, job_run_id)
    if run is None or run.state not in (states.PENDING, states.RUNNING, states.TERMINATING):
        return
    newest, edges, settings = rows.latest(ctx.tx, job_run_id), graph_of(run), run.definition
    for key in graph.ordered(edges):
        task = newest[key]
        if task.state == states.BLOCKED:
            newest[key] = _unblock(ctx, run, task, settings.task(key), edges[key], newest)
    if all(task.state in states.OVER for task in newest.values()):
        _conclude(ctx, run, edges, newest)


def _unblock(
    ctx: Ctx, run: Run, task: TaskRun, definition: Task, edges: list[Edge], newest: Mapping[str, TaskRun]
) -> TaskRun:
    if definition.disabled and task.task_key not in json.loads(run.chosen):
        return _skip(ctx, task, states.DISABLED)
    if any(newest[edge.task_key].state not in states.OVER for edge in edges):
        return task
    seen = [graph.seen_through(e, newest[e.task_key].result or "", newest[e.task_key].outcome) for e in edges]
    verdict = graph.decide(definition.run_if, seen)
    if verdict != graph.RUN:
        return _skip(ctx, task, verdict)
    if definition.condition_task:
        return _judge(ctx, run, task, definition.condition_task)
    return rows.move_task(ctx, task, "ready", due_at=ctx.now()) or task


def _skip(ctx: Ctx, task: TaskRun, result: str) -> TaskRun:
    message = {
        states.DISABLED: "Task is disabled.",
        states.EXCLUDED: "Task excluded: its run condition was not met.",
        states.UPSTREAM_FAILED: "An upstream task failed.",
        states.UPSTREAM_CANCELED: "An upstream task was canceled.",
    }[result]
    return rows.move_task(ctx, task, "skip", result=result, message=message, ended_at=ctx.now()) or task


def _judge(ctx: Ctx, run: Run, task: TaskRun, condition: ConditionTask) -> TaskRun:
    """A condition task needs no compute: it is decided here and now."""
    now = ctx.now()
    try:
        scope = scopes.scope_of(ctx, run, task)
        left, right = parameters.resolve(condition.left, scope), parameters.resolve(condition.right, scope)
        outcome = "true" if compare(condition.op, left, right) else "false"
        changes: dict[str, Any] = {
            "result": states.SUCCESS,
            "outcome": outcome,
            "resolved": json.dumps({"left": left, "right": right}),
        }
    except Invalid as fault:
        changes = {"result": states.FAILED, "code": "INVALID_RUN_CONFIGURATION", "message": str(fault)}
    rows.move_task(ctx, task, "ready", due_at=now)
    return rows.move_task(ctx, task, "finish", started_at=now, ended_at=now, **changes) or task


def compare(op: str, left: str, right: str) -> bool:
    """Equality is of text ("12.0" is not "12"); order is of numbers."""
    if op == "EQUAL_TO":
        return left == right
    if op == "NOT_EQUAL":
        return left != right
    try:
        a, b = float(left), float(right)
    except ValueError:
        raise Invalid(f"{op} compares numbers, not '{left}' and '{right}'") from None
    return {"GREATER_THAN": a > b, "GREATER_THAN_OR_EQUAL": a >= b, "LESS_THAN": a < b, "LESS_THAN_OR_EQUAL": a <= b}[
        op
    ]


def _conclude(ctx: Ctx, run: Run, edges: graph.Graph, newest: Mapping[str, TaskRun]) -> None:
    if run.stopped_for == states.TIMEDOUT:
        verdict = graph.Verdict(states.TIMEDOUT, "Run timed out.")
    elif run.stopped_for:
        verdict = graph.Verdict(states.CANCELED, "Run cancelled.")
    else:
        results = {key: newest[key].result or "" for key in edges}
        verdict = graph.roll_up(edges, results, {key: newest[key].message for key in edges})
    now = ctx.now()
    ended = rows.move_run(ctx, run, "finish", result=verdict.result, message=verdict.message, ended_at=now)
    if ended is None:
        return
    if run.run_type == rows.ITERATIONS:
        return
    record(ctx, "runSucceeded" if verdict.result in states.GOOD else "runFailed", ended, verdict.message)
    dequeue(ctx, run.job_id, _limit(ctx, run))


def _limit(ctx: Ctx, run: Run) -> int:
    """How many runs the job may have at once now; queued runs of a deleted job do not start."""
    row = ctx.tx.one("SELECT spec FROM objects WHERE id = ? AND deleted_at IS NULL", run.job_id)
    return int(json.loads(row["spec"])["settings"]["max_concurrent_runs"]) if row else 0


# --- a task goes on ---


@dataclass(frozen=True)
class Claim:
    """An attempt this node has taken on itself to run: what to run, and the token it runs with."""

    run: Run
    task: TaskRun
    definition: Task
    resolved: dict[str, Any]
    token: str


def claim(ctx: Ctx, node: str, task: TaskRun) -> Claim | None:
    """Take a ready task; None when it is not there any more, needs no process, or cannot be run as it is written."""
    run = rows.lock(ctx, task.job_run_id)
    if run is None:
        return None
    definition = run.definition.task(task.task_key)
    if definition.approval_task or definition.run_job_task or definition.for_each_task:
        return None
    taken = rows.move_task(ctx, task, "claim", node=node, claimed_at=ctx.now())
    if taken is None:
        return None
    _running(ctx, run)
    ctx.tx.run("DELETE FROM task_value WHERE job_run_id = ? AND task_key = ?", run.run_id, task.task_key)
    try:
        resolved = scopes.resolve(ctx, run, taken, definition)
    except Invalid as fault:
        finish(ctx, taken, states.FAILED, str(fault), code="INVALID_RUN_CONFIGURATION")
        return None
    return _equip(ctx, run, taken, definition, resolved)


def _equip(ctx: Ctx, run: Run, task: TaskRun, definition: Task, resolved: dict[str, Any]) -> Claim | None:
    """The token of the run-as principal; nothing else of the platform goes with a task."""
    seconds = definition.timeout_seconds + 600 if definition.timeout_seconds else LONGEST_TOKEN
    try:
        ctx.platform.principal(ctx.tx, run.run_as)
        token_id, secret = tokens.mint(
            ctx, run.run_as, seconds, f"job {run.job_id} run {run.run_id} task {task.task_key}", run_by=run.creator
        )
    except Fault as fault:
        finish(ctx, task, states.FAILED, f"cannot run as {ctx.name_of(run.run_as)}: {fault}", code="UNAUTHORIZED_ERROR")
        return None
    ctx.tx.run(
        "UPDATE task_run SET token_id = ?, resolved = ? WHERE run_id = ?", token_id, json.dumps(resolved), task.run_id
    )
    return Claim(run, replace(task, token_id=token_id), definition, resolved, secret)


def _running(ctx: Ctx, run: Run) -> None:
    if run.state == states.PENDING:
        rows.move_run(ctx, run, "begin")


def started(ctx: Ctx, task: TaskRun) -> bool:
    """Its process runs; False when it was cancelled in between and must be killed."""
    run = rows.lock(ctx, task.job_run_id)
    limit = run.definition.task(task.task_key).timeout_seconds if run else 0
    now = ctx.now()
    deadline = now + limit * 1000 if limit else None
    return rows.move_task(ctx, task, "started", started_at=now, deadline=deadline) is not None


def wait(ctx: Ctx, task: TaskRun, message: str, child_run_id: int | None = None, **changes: Any) -> TaskRun | None:
    """The task goes on by waiting for somebody, without compute."""
    run = rows.lock(ctx, task.job_run_id)
    if run is None:
        return None
    now, limit = ctx.now(), run.definition.task(task.task_key).timeout_seconds
    _running(ctx, run)
    return rows.move_task(
        ctx, task, "wait", message=message, started_at=now, deadline=now + limit * 1000 if limit else None,
        child_run_id=child_run_id, **changes,
    )  # fmt: skip


def finish(
    ctx: Ctx,
    task: TaskRun,
    result: str,
    message: str = "",
    *,
    code: str | None = None,
    output: Mapping[str, Any] | None = None,
    lost: bool = False,
) -> bool:
    """The attempt is over. Its retry, what waited for it and the end of the run follow in this transaction."""
    run = rows.lock(ctx, task.job_run_id)
    now = ctx.now()
    ended = rows.move_task(
        ctx,
        task,
        "finish",
        result=result,
        message=message,
        code=code,
        output=json.dumps(dict(output or {})),
        ended_at=now,
    )
    if ended is None or run is None:
        return False
    if ended.token_id:
        tokens.revoke(ctx, ended.token_id)
    if not _again(ctx, run, ended, lost=lost):
        advance(ctx, run.run_id)
    return True


def _again(ctx: Ctx, run: Run, ended: TaskRun, *, lost: bool) -> bool:
    """Whether there is another attempt after this one."""
    if run.state == states.TERMINATING:
        return False
    if lost and ended.losses < ctx.settings.jobs.lost_restarts:
        insert_attempt(
            ctx, run, ended.task_key, ended, state=states.WAITING_FOR_RETRY, due_at=ctx.now(), retries=ended.retries,
            losses=ended.losses + 1, repair=ended.repair,
        )  # fmt: skip
        return True
    policy = run.definition.task(ended.task_key).retry_policy
    began = ended.started_at or ended.claimed_at or ended.created_at
    due = policy.next_start(ended.result or "", ended.retries, began, ctx.now())
    if due is None:
        return False
    insert_attempt(
        ctx, run, ended.task_key, ended, state=states.WAITING_FOR_RETRY, due_at=due, retries=ended.retries + 1,
        losses=ended.losses, repair=ended.repair,
    )  # fmt: skip
    ctx.emit("task_run", str(ended.run_id), {"job_run_id": run.run_id, "state": states.WAITING_FOR_RETRY})
    return True


def ready_again(ctx: Ctx) -> None:
    """Retries whose time has come."""
    for task in rows.tasks(ctx.tx, "state = ? AND due_at <= ?", states.WAITING_FOR_RETRY, ctx.now()):
        rows.move_task(ctx, task, "ready", due_at=ctx.now())


# --- on record ---


def record(ctx: Ctx, action: str, run: Run, because: str = "") -> None:
    """What the engine does goes into the audit trail beside what people do: who made the run, as whom it acts."""
    assert ctx.turn is not None
    if run.run_type == rows.ITERATIONS:
        return
    ctx.turn.entries.append(
        Entry(
            at=ctx.now(), request_id=ctx.request.request_id, workspace=ctx.workspace, source="jobs", user_agent="",
            service="jobs", action=action, who=run.creator, who_name=ctx.name_of(run.creator), run_as=ctx.name_of(run.run_as),
            kind="job", object_id=run.job_id, address=run.job_id,
            ask={"run_id": run.run_id, "cause": run.cause}, because=because, run_by=ctx.name_of(run.creator),
        )
    )  # fmt: skip
