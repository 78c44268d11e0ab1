"""Gates: a task that waits, holding no compute, until somebody who is allowed to has decided.

An approval task names its approvers, who decide on the run itself (`runs/approve`, `runs/reject`), or the version of
a model; then the approval of that version is waited for, and whoever keeps those approvals answers as a `ModelGate`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from lakewright.jobs import engine, rows, scopes, states
from lakewright.jobs.definition import ApprovalTask
from lakewright.jobs.rows import Run, TaskRun
from lakewright.kernel.audit import Entry
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import BadState, Denied, Fault, Invalid

Decided = Literal["pending", "approved", "rejected"]


@dataclass(frozen=True)
class Answer:
    decided: Decided
    reason: str = ""
    by: str = ""
    """Id of the principal who decided."""


@dataclass(frozen=True)
class Question:
    """What an approval task asks for, references resolved, and for whose run."""

    run_id: int
    task_run_id: int
    requested_by: str
    """Id of who started the run: never to be its approver."""
    run_as: str
    spec: dict[str, Any]
    behind: tuple[tuple[str, str], ...] = ()
    """Who else had a hand in the run, by id, and which: none of them is to be its approver."""


@runtime_checkable
class ModelGate(Protocol):
    """Whoever keeps the approvals of model versions. `spec` holds `model` and `version` or `alias`."""

    def ask(self, ctx: Ctx, question: Question) -> Answer:
        """Called in a transaction, again and again until it is decided; the first call may file the request."""
        ...


def question(ctx: Ctx, run: Run, task: TaskRun) -> Question:
    spec = scopes.resolve(ctx, run, task, run.definition.task(task.task_key))
    behind = tuple(hands(ctx, run, the_run="the job run that asked", the_job="the job that asked"))
    return Question(run.run_id, task.run_id, run.creator, run.run_as, spec, behind)


def hands(ctx: Ctx, run: Run, *, the_run: str = "this run", the_job: str = "the job") -> Iterator[tuple[str, str]]:
    """Everybody who had a hand in the run, by id, and which: also through the runs that started it."""
    above: Run | None = run
    while above is not None:
        yield above.creator, f"started {the_run}"
        yield above.run_as, f"is whom {the_run} runs as"
        for repair in json.loads(above.repairs):
            yield repair.get("by", ""), f"repaired {the_run}"
        for author in _authors(ctx, above.job_id):
            yield author, f"wrote {the_job}"
        parent = rows.task(ctx.tx, above.parent_run_id) if above.parent_run_id else None
        above = rows.run(ctx.tx, parent.job_run_id) if parent else None


def _authors(ctx: Ctx, job_id: str) -> set[str]:
    row = ctx.tx.one("SELECT spec, created_by, updated_by FROM objects WHERE id = ?", job_id)
    if row is None:
        return set()
    return {str(row["created_by"]), *(json.loads(row["spec"]).get("authors") or [str(row["updated_by"])])}


def ask(ctx: Ctx, question: Question) -> Answer:
    """Where the decision stands."""
    if question.spec.get("model"):
        try:
            gate = ctx.the(ModelGate)
        except LookupError:
            raise Invalid("approval_task: no capability here decides on models") from None
        return gate.ask(ctx, question)
    row = ctx.tx.one("SELECT decision, reason, decided_by FROM run_decision WHERE run_id = ?", question.task_run_id)
    return Answer(row["decision"], row["reason"], row["decided_by"]) if row else Answer("pending")


def waits_for(question: Question) -> str:
    spec = question.spec
    whom = (
        ", ".join(spec.get("approvers", ()))
        or f"the approvers of {spec.get('model')} {spec.get('version') or spec.get('alias')}"
    )
    prompt = f": {spec['prompt']}" if spec.get("prompt") else ""
    return f"{states.AWAITS_APPROVAL}: waits for {whom}{prompt}"


def settle(ctx: Ctx, task: TaskRun, answer: Answer) -> None:
    """Let the run go on, or end the task, by what was decided."""
    who = ctx.name_of(answer.by) if answer.by else "somebody"
    because = f": {answer.reason}" if answer.reason else ""
    output = {"approval": {"decision": answer.decided, "by": who, "reason": answer.reason}}
    if answer.decided == "approved":
        engine.finish(ctx, task, states.SUCCESS, f"Approved by {who}{because}", output=output)
    elif answer.decided == "rejected":
        engine.finish(ctx, task, states.FAILED, f"Rejected by {who}{because}", output=output)


def look(ctx: Ctx, task: TaskRun) -> None:
    """One look at an approval task that is ready or waiting."""
    run = rows.lock(ctx, task.job_run_id)
    if run is None:
        return
    try:
        asked = question(ctx, run, task)
        answer = ask(ctx, asked)
    except Fault as fault:
        engine.finish(ctx, task, states.FAILED, str(fault), code="INVALID_RUN_CONFIGURATION")
        return
    if task.state == states.PENDING:
        waiting = engine.wait(ctx, task, waits_for(asked))
        if waiting is None:
            return
        task = waiting
    settle(ctx, task, answer)


def decide(ctx: Ctx, run: Run, task: TaskRun, decision: Literal["approved", "rejected"], reason: str) -> None:
    """A named approver's decision. Refused to everybody else, and to whoever started or wrote the run."""
    definition: ApprovalTask | None = run.definition.task(task.task_key).approval_task
    if definition is None or not definition.approvers:
        raise Invalid(f"Run {task.run_id} is not an approval that is decided here")
    _may_decide(ctx, run, definition)
    if task.state != states.WAITING:
        raise BadState(f"Run {task.run_id} does not wait for an approval: it is {task.result or task.state}")
    ctx.tx.run(
        "INSERT INTO run_decision (run_id, decision, reason, decided_by, decided_at) VALUES (?, ?, ?, ?, ?)",
        task.run_id, decision, reason, ctx.principal.id, ctx.now(),
    )  # fmt: skip
    _record(ctx, run, task, decision, reason)
    settle(ctx, task, Answer(decision, reason, ctx.principal.id))


def _may_decide(ctx: Ctx, run: Run, definition: ApprovalTask) -> None:
    me = ctx.principal
    if not any(_is(ctx, name) for name in definition.approvers):
        raise Denied(f"{me.name} is not among the approvers of this run: {', '.join(definition.approvers)}")
    for who, part in hands(ctx, run):
        if me.id == who:
            raise Denied(f"{me.name} {part} and cannot approve it: somebody else must")


def _is(ctx: Ctx, name: str) -> bool:
    """Whether the caller is this user, group or service principal."""
    found = ctx.tx.scalar("SELECT id FROM principals WHERE name = ? AND deleted_at IS NULL", name)
    return found is not None and found in ctx.principal.ids


def _record(ctx: Ctx, run: Run, task: TaskRun, decision: str, reason: str) -> None:
    """The decision with its reason and what could be seen when it was made."""
    assert ctx.turn is not None
    evidence = {key: t.result for key, t in rows.latest(ctx.tx, run.run_id).items() if t.result}
    ctx.turn.entries.append(
        Entry(
            at=ctx.now(), request_id=ctx.request.request_id, workspace=ctx.workspace, source=ctx.request.source,
            user_agent=ctx.request.user_agent, service="jobs", action="approvalDecided", who=ctx.principal.id,
            who_name=ctx.principal.name, run_as=ctx.name_of(run.run_as), kind="job", object_id=run.job_id,
            address=run.job_id, because=reason,
            ask={
                "run_id": run.run_id, "task_key": task.task_key, "decision": decision, "reason": reason,
                "results": evidence, "values": rows.values(ctx.tx, run.run_id),
            },
        )
    )  # fmt: skip
