"""The approval task of a job that names a model: it asks for the approval as the job, and waits for its answer."""

from typing import Any

from lakewright.jobs.gates import Answer, Question
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid
from lakewright.kernel.objects import Obj
from lakewright.kernel.rules import require
from lakewright.models import aliases, approvals, names
from lakewright.models.approvals import Approval
from lakewright.models.registered import ADD, REGISTERED_MODEL, RegisteredModel


class JobGate:
    """Answers as `jobs.gates.ModelGate`."""

    def ask(self, ctx: Ctx, question: Question) -> Answer:
        asked = _filed(ctx, question) or _file(ctx, question)
        return answer(ctx, asked)


def _filed(ctx: Ctx, question: Question) -> Obj[Approval] | None:
    """The request that this very task filed when it was asked first."""
    found = ctx.tx.scalar("SELECT approval_id FROM registry_asked_by_task WHERE task_run_id = ?", question.task_run_id)
    return None if found is None else objects.by_id(ctx, approvals.APPROVAL, str(found))


def _file(ctx: Ctx, question: Question) -> Obj[Approval]:
    job = ctx.as_principal(question.run_as)
    model = objects.find(job, REGISTERED_MODEL, names.checked(str(question.spec["model"])))
    require(job, ADD, model)
    number, alias = _version(job, model, question.spec)
    behind = sorted({(who, part) for who, part in question.behind if who})
    asked = approvals.asked(job, model, number, alias, str(question.spec.get("prompt", "")), behind)
    ctx.tx.run(
        "INSERT INTO registry_asked_by_task (task_run_id, approval_id) VALUES (?, ?)", question.task_run_id, asked.id
    )
    return asked


def _version(ctx: Ctx, model: Obj[RegisteredModel], spec: dict[str, Any]) -> tuple[int, str]:
    """A version and the alias it is meant for; without a number, the version that an alias such as `candidate` names."""
    alias = names.checked_alias(str(spec.get("alias") or "champion"))
    if not spec.get("version"):
        return aliases.pointed(ctx, model, alias), "champion"
    try:
        return int(spec["version"]), alias
    except ValueError as error:
        raise Invalid(f"approval_task: '{spec['version']}' is not a version number") from error


def answer(ctx: Ctx, asked: Obj[Approval]) -> Answer:
    now_is = approvals.standing(ctx, asked)
    last = asked.spec.votes[-1] if asked.spec.votes else None
    if now_is in ("APPROVED", "RELEASED") and last is not None:
        return Answer("approved", last.comment, last.principal)
    if now_is == "REJECTED" and last is not None:
        return Answer("rejected", last.comment, last.principal)
    if now_is == "PENDING":
        return Answer("pending")
    return Answer("rejected", f"the approval is {now_is}")
