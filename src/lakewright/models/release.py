"""Releases: an approved version goes live, and what may be served is decided in one place."""

from collections.abc import Sequence
from typing import Any

from lakewright.catalog.schemas import REACH
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import BadState, Denied, Invalid
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.rules import MANAGE, Verdict
from lakewright.models import approvals, gates, history, names, policies, registered, versions
from lakewright.models.approvals import APPROVAL, Approval
from lakewright.models.names import Alias, ModelName
from lakewright.models.registered import CHANGE, REGISTERED_MODEL, SEE, RegisteredModel

api = Api("lakewright", "/api/2.1/lakewright/releases")
BY_NAME = REGISTERED_MODEL.at("{model}")


class Release(Ask):
    approval_id: str
    reason: str = ""


class RollBack(Ask):
    model: ModelName
    alias: Alias = "champion"
    reason: str


class OfModel(Ask):
    model: ModelName


class OneVersion(OfModel):
    version: int


@api("POST", audit="release", on=APPROVAL.by_id("{approval_id}"), needs=REACH & MANAGE)
def release(ctx: Ctx, approval: Obj[Approval], ask: Release) -> Reply:
    """Point the alias to the approved version. Repeated, it answers the same."""
    model: Obj[RegisteredModel] = objects.by_id(ctx, REGISTERED_MODEL, str(approval.parent_id))
    if approval.spec.state != "RELEASED":
        _carry_out(ctx, model, approval, ask.reason)
    return {
        "model": model.full_name,
        "alias": approval.spec.alias,
        "version": approval.spec.version,
        "state": "RELEASED",
    }


@api("POST", "/rollback", audit="rollBackRelease", on=BY_NAME, needs=CHANGE)
def roll_back(ctx: Ctx, model: Obj[RegisteredModel], ask: RollBack) -> Reply:
    """Back to the version that was live before, at once: it was approved once, and its files have not changed."""
    if not ask.reason.strip():
        raise Invalid("rollBackRelease needs a reason")
    current = dict(registered.aliases_of(ctx, model.id)).get(ask.alias)
    before = history.previous(ctx, model.id, f"alias:{ask.alias}", current) if current is not None else None
    if before is None:
        raise BadState(f"no other version of '{model.full_name}' was live as '{ask.alias}' before")
    versions.ready(ctx, model, before)
    point(ctx, model, ask.alias, before)
    history.went_live(ctx, model, before, f"alias:{ask.alias}", reason=f"rolled back: {ask.reason}")
    return {"model": model.full_name, "alias": ask.alias, "version": before, "rolled_back_from": current}


@api("GET", "/{model}/history", audit="getDeploymentHistory", on=BY_NAME, needs=SEE, runs=SNAPSHOT)
def get_history(ctx: Ctx, model: Obj[RegisteredModel], ask: OfModel) -> Reply:
    return {"history": history.of_model(ctx, model.id)}


@api("GET", "/{model}/versions/{version}/servable", audit="getServable", on=BY_NAME, needs=SEE, runs=SNAPSHOT)
def get_servable(ctx: Ctx, model: Obj[RegisteredModel], ask: OneVersion) -> Reply:
    verdict = servable(ctx, model.full_name, ask.version)
    return {"model": model.full_name, "version": ask.version, "servable": verdict.allowed, "because": verdict.because}


def servable(ctx: Ctx, full_name: str, number: int) -> Verdict:
    """Whether this version may answer requests. Asked when an endpoint is configured and again before a model is loaded."""
    model = objects.find(ctx, REGISTERED_MODEL, names.checked(full_name))
    version = versions.of(ctx, model, number)
    if version.status != versions.READY:
        return Verdict(False, f"version {number} of '{full_name}' is {version.status}, not {versions.READY}")
    needs, kept = policies.of(ctx, model).needs, gates.newest(ctx, model, version)
    lacking: list[str] = []
    if "gate" in needs and kept is None:
        lacking.append("no gate has judged it")
    if "gate" in needs and kept is not None and not kept.passed:
        lacking += [f"the gate refused it ({reason})" for reason in kept.verdict["reasons"]]
    if "card" in needs and (empty := _card_lacks(ctx, model, version, kept)):
        lacking.append(f"its model card lacks {', '.join(empty)}")
    if "approval" in needs and not _is_approved(ctx, model, version):
        lacking.append("nobody but its authors has approved it")
    if lacking:
        return Verdict(False, f"version {number} of '{full_name}' may not be served: {'; '.join(lacking)}")
    return Verdict(True, f"version {number} of '{full_name}' has {', '.join(needs) or 'nothing to show'}")


def _card_lacks(ctx: Ctx, model: Obj[Any], version: versions.Version, kept: gates.Kept | None) -> list[str]:
    return ["a gate run that filled it"] if kept is None else approvals.card_lacks(ctx, model, version, kept)


def goes_live(ctx: Ctx, target: str, shares: Sequence[tuple[str, int, float]], reason: str = "") -> None:
    """For the history: from now on the target is answered by these versions (name, number, share of the traffic)."""
    parts: list[history.Part] = []
    for full_name, number, share in shares:
        model = objects.find(ctx, REGISTERED_MODEL, names.checked(full_name))
        by = _approval_of(ctx, model, versions.of(ctx, model, number))
        voters = tuple(v.principal for v in by.spec.votes if v.decision == "approve") if by else ()
        parts.append(history.Part(model, number, share, by.id if by else None, voters))
    history.traffic(ctx, target, parts, reason)


def _is_approved(ctx: Ctx, model: Obj[Any], version: versions.Version) -> bool:
    return _approval_of(ctx, model, version) is not None


def _approval_of(ctx: Ctx, model: Obj[Any], version: versions.Version) -> Obj[Approval] | None:
    """Approved and still about this, or released already: then only other files would make it another version."""
    for approval in approvals.of_version(ctx, model, version.version):
        if approval.spec.files == version.digest and approvals.standing(ctx, approval) in ("APPROVED", "RELEASED"):
            return approval
    return None


def is_protected(ctx: Ctx, model: Obj[Any], alias: str) -> bool:
    return alias in policies.of(ctx, model).protected_aliases


def by_alias(ctx: Ctx, model: Obj[RegisteredModel], alias: str, number: int) -> None:
    """A protected alias is set the ordinary way: only as the carrying out of an approved release to this very version."""
    if dict(registered.aliases_of(ctx, model.id)).get(alias) == number:
        return
    for approval in approvals.of_version(ctx, model, number, alias):
        if approvals.standing(ctx, approval) == "APPROVED":
            _carry_out(ctx, model, approval, "alias set")
            return
    raise Denied(
        f"alias '{alias}' of '{model.full_name}' is protected: nobody, administrators included, moves it to version"
        f" {number} without an approved release (POST /api/2.1/lakewright/approvals)"
    )


def _carry_out(ctx: Ctx, model: Obj[RegisteredModel], approval: Obj[Approval], reason: str) -> None:
    spec = approval.spec
    now_is = approvals.standing(ctx, approval)
    if now_is != "APPROVED":
        raise Denied(
            f"this approval is {now_is}: version {spec.version} of '{model.full_name}' is not approved for release"
        )
    version = versions.ready(ctx, model, spec.version)
    _refuse_stale(ctx, model, version, spec.alias)
    point(ctx, model, spec.alias, spec.version)
    objects.update(ctx, approval, state="RELEASED")
    history.went_live(
        ctx, model, spec.version, f"alias:{spec.alias}", approval_id=approval.id,
        approved_by=[v.principal for v in spec.votes if v.decision == "approve"], reason=reason or spec.comment,
    )  # fmt: skip
    ctx.emit("approval", approval.id, {"state": "RELEASED", "model": model.full_name, "version": spec.version})


def _refuse_stale(ctx: Ctx, model: Obj[Any], version: versions.Version, alias: str) -> None:
    """Of two approved versions the second was compared with a champion that the first has replaced."""
    kept, current = gates.newest(ctx, model, version), dict(registered.aliases_of(ctx, model.id)).get(alias)
    if kept is not None and current not in (kept.champion, version.version):
        raise BadState(
            f"version {version.version} was judged against version {kept.champion}, but '{alias}' is version {current} now;"
            " run the gate again"
        )


def point(ctx: Ctx, model: Obj[Any], alias: str, number: int) -> None:
    ctx.tx.run(
        "INSERT INTO registry_aliases (model_id, alias, version, moved_at, moved_by) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (model_id, alias) DO UPDATE SET version = excluded.version, moved_at = excluded.moved_at,"
        " moved_by = excluded.moved_by",
        model.id, alias, number, ctx.now(), ctx.principal.id,
    )  # fmt: skip
