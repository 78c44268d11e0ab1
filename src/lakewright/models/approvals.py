"""Approvals: somebody else says that exactly this version, with this card and this verdict, may go live."""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from pydantic import BaseModel

from lakewright.identity.service_principals import SERVICE_PRINCIPAL
from lakewright.kernel import grants, objects
from lakewright.kernel.context import SYSTEM, Ctx
from lakewright.kernel.faults import BadState, Denied, NotFound
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.roots import IN_METASTORE, Root
from lakewright.kernel.rules import MANAGE, PER_ROW, Condition, Rule, Verdict
from lakewright.models import cards, gates, policies, separation, versions
from lakewright.models.names import Alias, ModelName
from lakewright.models.registered import ADD, REGISTERED_MODEL, SEE, RegisteredModel
from lakewright.models.separation import Actor, Part

HOUR_MS = 3_600_000

State = Literal["PENDING", "APPROVED", "REJECTED", "RELEASED"]
Standing = Literal["PENDING", "APPROVED", "REJECTED", "RELEASED", "EXPIRED", "VOID"]


class Vote(BaseModel):
    principal: str
    decision: Literal["approve", "reject"]
    comment: str
    at: int


class Approval(BaseModel):
    model: str
    version: int
    alias: str
    files: str
    verdict_id: str
    subject: str
    """Digest of all that is approved: files, written card, verdict, alias. Another subject is another question."""
    state: State = "PENDING"
    comment: str = ""
    requested_by: str
    behind: list[tuple[str, str]] = []
    """Who else had it asked for, by id, and how: whoever started or wrote the job that asked."""
    needed: int = 1
    groups: list[str] = []
    expires_at: int
    votes: list[Vote] = []


APPROVAL = Kind(
    "approval", under=REGISTERED_MODEL, unique_names=False,
    example=Approval(
        model="c.s.m", version=1, alias="champion", files="f", verdict_id="v", subject="s", requested_by="u",
        expires_at=2**52,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Approver(Rule):
    """One of the principals the release policy named when the approval was asked for; without any, who manages the model.

    Not a right that could be granted: whoever owns the model could then choose who approves it.
    """

    def __str__(self) -> str:
        return "to be one of the approvers"

    def judge(self, ctx: Ctx, object_id: str) -> Verdict:
        named = [r["principal"] for r in ctx.tx.all(f"{NAMED} WHERE approval_id = ?", object_id)]
        if not named:
            managing = MANAGE.judge(ctx, object_id)
            return managing if managing else Verdict(False, str(self))
        if through := ctx.principal.ids & set(named):
            return Verdict(True, f"approver as {min(through)}")
        return Verdict(False, str(self))

    def covers(self, ctx: Ctx, object_id: str) -> bool:
        return False

    def condition(self, ctx: Ctx) -> Condition:
        mine, managing = sorted(ctx.principal.ids), MANAGE.condition(ctx)
        named = (
            f"o.id IN (SELECT approval_id FROM registry_approvers WHERE principal IN ({', '.join('?' * len(mine))}))"
        )
        unnamed = f"(o.id NOT IN (SELECT approval_id FROM registry_approvers) AND {managing.sql})"
        return Condition(f"({named} OR {unnamed})", (*mine, *managing.params))


NAMED = "SELECT principal FROM registry_approvers"
APPROVER = Approver()
LOOK = APPROVER | SEE

api = Api("lakewright", "/api/2.1/lakewright/approvals")
BY_ID = APPROVAL.by_id("{approval_id}")


class Request(Ask):
    model: ModelName
    version: int
    alias: Alias = "champion"
    comment: str = ""


class Listing(Ask):
    model: ModelName | None = None
    state: Standing | None = None
    max_results: int | None = None
    page_token: str | None = None


class ById(Ask):
    approval_id: str


class Answer(ById):
    comment: str = ""
    subject: str | None = None
    """What the approver saw. Given, it must still be what is asked about."""


@api("POST", audit="requestApproval", on=REGISTERED_MODEL.at("{model}"), needs=ADD)
def request(ctx: Ctx, model: Obj[RegisteredModel], ask: Request) -> Reply:
    return show(ctx, asked(ctx, model, ask.version, ask.alias, ask.comment, []))


@api("GET", audit="listApprovals", on=IN_METASTORE, needs=PER_ROW)
def list_(ctx: Ctx, metastore: Obj[Root], ask: Listing) -> Reply:
    found, following = objects.page(ctx, APPROVAL, LOOK, size=ask.max_results, token=ask.page_token)
    shown = [show(ctx, a) for a in found if ask.model is None or a.spec.model == ask.model]
    return {"approvals": [a for a in shown if ask.state in (None, a["state"])], "next_page_token": following}


@api("GET", "/{approval_id}", audit="getApproval", on=BY_ID, needs=LOOK, runs=SNAPSHOT)
def get(ctx: Ctx, approval: Obj[Approval], ask: ById) -> Reply:
    return show(ctx, approval)


@api("POST", "/{approval_id}/approve", audit="approve", on=BY_ID, needs=APPROVER)
def approve(ctx: Ctx, approval: Obj[Approval], ask: Answer) -> Reply:
    _refuse_own_work(ctx, approval)
    votes = _voted(ctx, approval, ask, "approve")
    given = [_groups(ctx, v.principal) for v in votes]
    done = separation.enough(given, approval.spec.needed, frozenset(approval.spec.groups))
    return show(ctx, _settled(ctx, approval, votes, "APPROVED" if done else "PENDING"))


@api("POST", "/{approval_id}/reject", audit="reject", on=BY_ID, needs=APPROVER)
def reject(ctx: Ctx, approval: Obj[Approval], ask: Answer) -> Reply:
    return show(ctx, _settled(ctx, approval, _voted(ctx, approval, ask, "reject"), "REJECTED"))


def subject(ctx: Ctx, model: Obj[RegisteredModel], version: versions.Version, alias: str) -> tuple[str, gates.Kept]:
    """Digest of what an approval of this version would be about, and the verdict in it. BadState if it is not ready."""
    kept = gates.newest(ctx, model, version)
    if kept is None:
        raise BadState(f"no gate has judged version {version.version} of '{model.full_name}' yet; run the gate first")
    reasons = [] if kept.passed else list(kept.verdict["reasons"])
    if lacking := card_lacks(ctx, model, version, kept):
        reasons.append(f"the model card lacks {', '.join(lacking)}")
    if reasons:
        raise BadState(f"version {version.version} of '{model.full_name}' is not ready: {'; '.join(reasons)}")
    written = cards.written_digest(ctx, model, version.version)
    parts = [model.id, version.version, alias, version.digest, written, kept.digest]
    return hashlib.sha256(orjson.dumps(parts)).hexdigest(), kept


def card_lacks(ctx: Ctx, model: Obj[RegisteredModel], version: versions.Version, kept: gates.Kept) -> list[str]:
    """Sections that must be there and are not: those written as they are now, those filled as the gate saw them."""
    wanted: list[policies.Section] = [s for s in policies.of(ctx, model).card_sections if s in cards.WRITTEN]
    return cards.missing(cards.written(ctx, model, version.version), wanted) + kept.unfilled


def asked(
    ctx: Ctx, model: Obj[RegisteredModel], number: int, alias: str, comment: str, behind: list[tuple[str, str]]
) -> Obj[Approval]:
    """Asking again for the same thing answers the request that is open already: a retried task asks once."""
    version = versions.ready(ctx, model, number)
    about, kept = subject(ctx, model, version, alias)
    for open_one in of_version(ctx, model, number, alias):
        same = (open_one.spec.requested_by, open_one.spec.behind) == (ctx.principal.id, behind)
        if same and standing(ctx, open_one) in ("PENDING", "APPROVED"):
            return open_one
    policy, now = policies.of(ctx, model), ctx.now()
    spec = Approval(
        model=model.full_name, version=number, alias=alias, files=version.digest, verdict_id=kept.id, subject=about,
        comment=comment[:5000], requested_by=ctx.principal.id, behind=behind, needed=policy.approvals,
        groups=sorted(policies.groups_among(ctx, policy.approvers)) if policy.from_different_groups else [],
        expires_at=now + int(policy.expire_after_hours * HOUR_MS),
    )  # fmt: skip
    # The platform owns it: an owner could grant others the right to manage, and so to approve, their own request.
    made = objects.create(ctx, APPROVAL, f"{alias} v{number}", spec, under=model, owner=SYSTEM.id)
    ctx.tx.many(
        "INSERT INTO registry_approvers (approval_id, principal) VALUES (?, ?)",
        [(made.id, p) for p in policy.approvers],
    )
    ctx.emit("approval", made.id, {"state": "PENDING", "model": model.full_name, "version": number})
    return made


def _voted(ctx: Ctx, approval: Obj[Approval], ask: Answer, decision: Literal["approve", "reject"]) -> list[Vote]:
    now_is = standing(ctx, approval)
    if now_is != "PENDING":
        raise BadState(f"this approval is {now_is} and cannot be answered")
    if ask.subject is not None and ask.subject != approval.spec.subject:
        raise BadState("what you saw is not what this approval is about; read it again")
    if any(v.principal == ctx.principal.id for v in approval.spec.votes):
        raise BadState("you have answered already; another approver has to")
    vote = Vote(principal=ctx.principal.id, decision=decision, comment=ask.comment[:5000], at=ctx.now())
    return [*approval.spec.votes, vote]


def _settled(ctx: Ctx, approval: Obj[Approval], votes: list[Vote], state: State) -> Obj[Approval]:
    settled = objects.update(ctx, approval, votes=votes, state=state)
    spec = approval.spec
    ctx.emit("approval", approval.id, {"state": state, "model": spec.model, "version": spec.version})
    return settled


def _refuse_own_work(ctx: Ctx, approval: Obj[Approval]) -> None:
    me = ctx.principal
    why = separation.refusal(Actor(me.id, me.name, me.kind, me.ids), parts(ctx, approval))
    if why:
        raise Denied(why)


def parts(ctx: Ctx, approval: Obj[Approval]) -> list[Part]:
    """Everybody who had a hand in what is to be approved."""
    spec, model = approval.spec, objects.parent(ctx, approval)
    row = ctx.tx.one(
        "SELECT created_by, run_by FROM registry_versions WHERE model_id = ? AND version = ?", model.id, spec.version
    )
    if row is None:
        raise NotFound(f"version {spec.version} of '{model.full_name}' does not exist")
    did = [(row["created_by"], f"registered version {spec.version}"), (row["run_by"], "logged its run")]
    did += [(spec.requested_by, "asked for this approval"), *spec.behind]
    return [Part(actor(ctx, who), what) for who, what in did if who]


def actor(ctx: Ctx, principal_id: str) -> Actor:
    kind = str(ctx.tx.scalar("SELECT kind FROM principals WHERE id = ?", principal_id) or "user")
    hands = _hands(ctx, principal_id) if kind == "service_principal" else frozenset[str]()
    return Actor(
        principal_id, ctx.name_of(principal_id), kind, ctx.platform.policy.closure(ctx.tx, principal_id), hands
    )


def _hands(ctx: Ctx, service_principal_id: str) -> frozenset[str]:
    """Who made it, manages it or may run things as it: what it did may be their doing."""
    try:
        it = objects.by_id(ctx, SERVICE_PRINCIPAL, service_principal_id)
    except NotFound:
        return frozenset()
    return frozenset({it.created_by, *grants.held(ctx, it)})


def _groups(ctx: Ctx, principal_id: str) -> frozenset[str]:
    return ctx.platform.policy.closure(ctx.tx, principal_id)


def standing(ctx: Ctx, approval: Obj[Approval]) -> Standing:
    """What the approval is worth now: it expires by the clock, and any change to what it names voids it."""
    spec = approval.spec
    if spec.state not in ("PENDING", "APPROVED"):
        return spec.state
    if ctx.now() >= spec.expires_at:
        return "EXPIRED"
    model = objects.parent(ctx, approval)
    try:
        about, _ = subject(ctx, model, versions.ready(ctx, model, spec.version), spec.alias)
    except (BadState, NotFound):
        return "VOID"
    return spec.state if about == spec.subject else "VOID"


def of_version(ctx: Ctx, model: Obj[Any], number: int, alias: str | None = None) -> list[Obj[Approval]]:
    """Approvals of a version, newest first."""
    rows = ctx.tx.all(
        f"SELECT {objects.COLUMNS} FROM objects WHERE parent_id = ? AND kind = ? AND deleted_at IS NULL"
        " ORDER BY created_at DESC, id",
        model.id, APPROVAL.name,
    )  # fmt: skip
    found = [objects.loaded(APPROVAL, row) for row in rows]
    return [a for a in found if a.spec.version == number and alias in (None, a.spec.alias)]


def show(ctx: Ctx, approval: Obj[Approval]) -> Reply:
    spec = approval.spec
    named = [ctx.name_of(r["principal"]) for r in ctx.tx.all(f"{NAMED} WHERE approval_id = ?", approval.id)]
    return {
        "approval_id": approval.id, "model": spec.model, "version": spec.version, "alias": spec.alias,
        "state": standing(ctx, approval), "subject": spec.subject, "files_digest": spec.files,
        "verdict_id": spec.verdict_id, "comment": spec.comment, "requested_by": ctx.name_of(spec.requested_by),
        "requested_at": approval.created_at, "expires_at": spec.expires_at, "approvals_needed": spec.needed,
        "approvers": sorted(named),
        "answers": [v.model_dump() | {"principal": ctx.name_of(v.principal)} for v in spec.votes],
    }  # fmt: skip
