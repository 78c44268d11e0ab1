"""Jobs: a graph of tasks, who may run it, and as whom it runs.

Owner and executor are two principals. Naming a service principal as `run_as` takes the user role on it, and so does
changing what a job does that runs as one: or the right to edit a job would be the right to act as anybody. A job that
names nobody runs as its creator, until somebody who may not act as the creator changes what it does: then as them.
"""

from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from lakewright.identity.service_principals import SERVICE_PRINCIPAL, USE
from lakewright.jobs import definition, rows, schedules, stopping
from lakewright.jobs.definition import PAGE, RunAs, Settings
from lakewright.jobs.kind import CAN_MANAGE, CAN_VIEW, JOB, Job
from lakewright.kernel import grants, objects, rules
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Denied, Fault, Invalid, NotFound, NotSupported
from lakewright.kernel.kinds import Target
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.roots import IN_WORKSPACE, WORKSPACE, Root
from lakewright.kernel.rules import ADMIN, EVERYONE, PER_ROW

S = TypeVar("S", bound=BaseModel)


api = Api("jobs", "/api/2.2/jobs")


def old(path: str) -> tuple[str, ...]:
    """The same operation for clients of version 2.1 and 2.0."""
    return (f"/api/2.1/jobs{path}", f"/api/2.0/jobs{path}")


class NoJob(NotFound):
    """With this status and text the SDK raises ResourceDoesNotExist."""

    status, code = 400, "INVALID_PARAMETER_VALUE"


def _find(ctx: Ctx, job_id: str) -> Obj[Job]:
    try:
        return objects.by_id(ctx, JOB, job_id)
    except NotFound:
        raise NoJob(f"Job {job_id} does not exist.") from None


BY_ID: Target[Job] = Target("{job_id}", JOB, is_id=True, finds=_find)


# --- asks ---


class AccessControl(Ask):
    user_name: str | None = None
    group_name: str | None = None
    service_principal_name: str | None = None
    permission_level: str


class CreateJob(Settings, Ask):
    access_control_list: list[AccessControl] = Field(default_factory=list[AccessControl])


class ResetJob(Ask):
    job_id: int
    new_settings: Settings


class UpdateJob(Ask):
    job_id: int
    new_settings: dict[str, Any] = Field(default_factory=dict)
    fields_to_remove: list[str] = Field(default_factory=list[str])


class ById(Ask):
    job_id: int


class GetJob(ById):
    include_trigger_state: bool = False
    page_token: str | None = None


class ListJobs(Ask):
    limit: int = 20
    offset: int = Field(default=0, ge=0)
    name: str | None = None
    expand_tasks: bool = False
    page_token: str | None = None


# --- operations ---


@api("POST", "/create", audit="create", on=IN_WORKSPACE, needs=EVERYONE, also=old("/create"))
def create(ctx: Ctx, workspace: Obj[Root], ask: CreateJob) -> Reply:
    """Open to everyone: a job acts with the rights of its maker, or of a principal its maker may act as."""
    settings = Settings.model_validate(ask.model_dump(exclude={"access_control_list"}, exclude_unset=True))
    spec = Job(settings=settings, run_as=actor(ctx, settings.run_as), authors=[ctx.principal.id])
    job = objects.create(ctx, JOB, settings.name[:255] or "Untitled", spec, under=workspace)
    share(ctx, job, ask.access_control_list)
    schedules.follow(ctx, job.id, settings.schedule)
    return {"job_id": int(job.id)}


@api("POST", "/reset", audit="reset", on=BY_ID, needs=CAN_MANAGE, also=old("/reset"))
def reset(ctx: Ctx, job: Obj[Job], ask: ResetJob) -> Reply:
    """Replace all settings."""
    _change(ctx, job, ask.new_settings)
    return {}


@api("POST", "/update", audit="update", on=BY_ID, needs=CAN_MANAGE, also=old("/update"))
def update(ctx: Ctx, job: Obj[Job], ask: UpdateJob) -> Reply:
    """Replace the given fields, merge lists entry by entry, remove the named fields."""
    held = job.spec.settings.model_dump(mode="json", exclude_unset=True)
    changed = valid(Settings, definition.merged(held, ask.new_settings, ask.fields_to_remove), "update: new_settings")
    _change(ctx, job, changed)
    return {}


@api("POST", "/delete", audit="delete", on=BY_ID, needs=CAN_MANAGE, also=old("/delete"))
def delete(ctx: Ctx, job: Obj[Job], ask: ById) -> Reply:
    """The job, not its history: active runs are cancelled, runs stay readable."""
    for run in rows.runs(ctx.tx, "job_id = ? AND state NOT IN ('TERMINATED', 'SKIPPED')", job.id):
        stopping.stop_run(ctx, run.run_id, "CANCELED")
    schedules.follow(ctx, job.id, None)
    objects.delete(ctx, job)
    return {}


@api("GET", "/get", audit="get", on=BY_ID, needs=CAN_VIEW, also=old("/get"), runs=SNAPSHOT)
def get(ctx: Ctx, job: Obj[Job], ask: GetJob) -> Reply:
    shown = show(ctx, job)
    bound = f"{ctx.principal.id}:job:{job.id}"
    start = int(objects.open_token(ctx, ask.page_token, bound)) if ask.page_token else 0
    if _cut(shown["settings"], start):
        shown |= {"has_more": True, "next_page_token": objects.seal_token(ctx, str(start + PAGE), bound)}
    if ask.include_trigger_state and job.spec.settings.schedule:
        shown["trigger_state"] = {"pause_status": job.spec.settings.schedule.pause_status}
    return shown


@api("GET", "/list", audit="list", on=IN_WORKSPACE, needs=PER_ROW, also=old("/list"))
def list_(ctx: Ctx, workspace: Obj[Root], ask: ListJobs) -> Reply:
    """Newest first."""
    if not 0 < ask.limit <= PAGE:
        raise Invalid(f"limit must be between 1 and {PAGE}")
    found = objects.visible(ctx, JOB, CAN_VIEW)
    if ask.name is not None:
        found = [job for job in found if job.spec.settings.name.lower() == ask.name.lower()]
    found.sort(key=_place, reverse=True)
    bound = f"{ctx.principal.id}:jobs:{ask.name or ''}"
    begin = _begin(found, objects.open_token(ctx, ask.page_token, bound), ask.limit) if ask.page_token else ask.offset
    page = found[begin : begin + ask.limit]
    reply: Reply = {"jobs": [_listed(ctx, job, ask.expand_tasks) for job in page], "has_more": False}
    if begin + ask.limit < len(found):
        reply |= {"has_more": True, "next_page_token": objects.seal_token(ctx, f"n{_place(page[-1])}", bound)}
    if begin > 0 and page:
        reply["prev_page_token"] = objects.seal_token(ctx, f"p{_place(page[0])}", bound)
    return reply


def _place(job: Obj[Job]) -> str:
    return f"{job.created_at:015d}:{job.id}"


def _begin(jobs: list[Obj[Job]], token: str, limit: int) -> int:
    """Where the page after ("n") or before ("p") a place begins, whatever was added or removed meanwhile."""
    way, place = token[0], token[1:]
    if way == "n":
        return sum(1 for job in jobs if _place(job) >= place)
    return max(0, sum(1 for job in jobs if _place(job) > place) - limit)


# --- decisions ---


def actor(ctx: Ctx, named: RunAs | None, before: Job | None = None, *, same_work: bool = False) -> str:
    """The principal a definition acts as, given who asks, whom it names and, of a change, what was there before."""
    if named is None and (before is None or before.settings.run_as is not None):
        return ctx.principal.id
    wanted = ctx.id_of(named.name) if named else (before.run_as if before else "")
    if before is not None and same_work and wanted == before.run_as:
        return wanted
    try:
        _may_act_as(ctx, wanted, named)
    except Denied:
        if named is not None:
            raise
        return ctx.principal.id
    return wanted


def _may_act_as(ctx: Ctx, principal_id: str, named: RunAs | None) -> None:
    """Denied unless the caller is that principal, an administrator, or has the user role on the service principal."""
    kind = ctx.tx.scalar("SELECT kind FROM principals WHERE id = ?", principal_id)
    if named is not None and kind != ("service_principal" if named.service_principal_name else "user"):
        raise Invalid(f"run_as: '{named.name}' is a {kind}")
    if principal_id == ctx.principal.id:
        return
    if kind == "service_principal":
        rules.require(ctx, USE, objects.by_id(ctx, SERVICE_PRINCIPAL, principal_id))
    elif not ADMIN.judge(ctx, objects.find(ctx, WORKSPACE, "").id):
        raise Denied(f"{ctx.principal.name} may not run jobs as {ctx.name_of(principal_id)}: only administrators may")


def _work(settings: Settings) -> Any:
    """The part of the settings that says what is done."""
    return settings.tasks, settings.parameters, settings.environments


def _change(ctx: Ctx, job: Obj[Job], settings: Settings) -> None:
    before = job.spec.settings
    run_as = actor(ctx, settings.run_as, job.spec, same_work=_work(settings) == _work(before))
    authors = sorted({*job.spec.authors, ctx.principal.id})
    if settings.timeout_seconds != before.timeout_seconds:
        stopping.change_timeout(ctx, job.id, settings.timeout_seconds)
    schedules.follow(ctx, job.id, settings.schedule)
    if settings.name != before.name:
        job = objects.rename(ctx, job, settings.name[:255] or "Untitled")
    objects.replace_spec(ctx, job, Job(settings=settings, run_as=run_as, authors=authors))


def share(ctx: Ctx, job: Obj[Job], entries: list[AccessControl]) -> None:
    """Permissions given at creation."""
    for entry in entries:
        name = entry.user_name or entry.group_name or entry.service_principal_name
        if name is None:
            raise Invalid("access_control_list: an entry names a user, a group or a service principal")
        if entry.permission_level == "IS_OWNER":
            objects.set_owner(ctx, job, ctx.id_of(name))
        else:
            grants.change(ctx, job, ctx.id_of(name), add=[entry.permission_level])


def valid(model: type[S], fields: Any, where: str) -> S:
    """Fields that did not come straight from the request, checked as if they had."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([where, *map(str, first["loc"])])
        fault: type[Fault] = NotSupported if first["type"] == "extra_forbidden" else Invalid
        raise fault(f"{place}: {first['msg']}") from error


# --- show ---


def show(ctx: Ctx, job: Obj[Job]) -> Reply:
    run_as = ctx.name_of(job.spec.run_as)
    return {
        "job_id": int(job.id),
        "creator_user_name": ctx.name_of(job.created_by),
        "run_as_user_name": run_as,
        "created_time": job.created_at,
        "settings": definition.show(job.spec.settings),
    }


def _listed(ctx: Ctx, job: Obj[Job], expand: bool) -> Reply:
    shown = show(ctx, job)
    del shown["run_as_user_name"]
    if not expand:
        for name in ("tasks", "environments", "parameters"):
            shown["settings"].pop(name, None)
    elif _cut(shown["settings"], 0):
        shown["has_more"] = True
    return shown


def _cut(shown: dict[str, Any], start: int) -> bool:
    """Leave one page of each long list; whether any has more after it. A list that is through is empty."""
    more = False
    for name in ("tasks", "environments", "parameters"):
        if name in shown:
            more = more or len(shown[name]) > start + PAGE
            shown[name] = shown[name][start : start + PAGE]
    return more
