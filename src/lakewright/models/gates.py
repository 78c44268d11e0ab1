"""Gates: the server judges a version's recorded evidence by the release policy, and keeps the verdict."""

from dataclasses import asdict, dataclass
from typing import Any
from uuid import uuid4

import orjson

from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import NotFound
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import OUTSIDE, SNAPSHOT, Api, Ask, Reply
from lakewright.models import cards, evidence, files, policies, registered, verdicts, versions
from lakewright.models.evidence import Gathered
from lakewright.models.names import Alias, ModelName
from lakewright.models.registered import REGISTERED_MODEL, SEE, RegisteredModel
from lakewright.models.scan import Finding
from lakewright.models.verdicts import Evidence

api = Api("lakewright", "/api/2.1/lakewright/gates")
BY_NAME = REGISTERED_MODEL.at("{model}")


class RunGate(Ask):
    model: ModelName
    version: int
    evaluation_run_id: str | None = None
    alias: Alias = "champion"


class OneVersion(Ask):
    model: ModelName
    version: int


@dataclass(frozen=True)
class Kept:
    """A verdict as it was given."""

    id: str
    version: int
    files: str
    """Digest of the files it judged."""
    digest: str
    passed: bool
    champion: int | None
    unfilled: list[str]
    """Sections of the card that had nothing to fill themselves from."""
    verdict: dict[str, Any]
    at: int
    by: str


@api("POST", "/run", audit="runGate", on=BY_NAME, needs=SEE, runs=OUTSIDE)
def run(ctx: Ctx, model: Obj[RegisteredModel], ask: RunGate) -> Reply:
    """Whoever may see a version may have it judged: the verdict is the server's, whoever asked for it."""
    gathered = evidence.gather(ctx, model, ask.version, ask.evaluation_run_id)
    version = ctx.snapshot(lambda ctx: versions.ready(ctx, model, ask.version))
    findings = looked_at(model, version)
    return ctx.transact(lambda ctx: show(ctx, model, _judge(ctx, model, ask, gathered, findings)))


@api("GET", "/{model}/{version}", audit="getGateVerdict", on=BY_NAME, needs=SEE, runs=SNAPSHOT)
def get(ctx: Ctx, model: Obj[RegisteredModel], ask: OneVersion) -> Reply:
    kept = newest(ctx, model, versions.of(ctx, model, ask.version))
    if kept is None:
        raise NotFound(f"no gate has judged version {ask.version} of '{model.full_name}' yet")
    return show(ctx, model, kept)


def looked_at(model: Obj[RegisteredModel], version: versions.Version) -> tuple[Finding, ...]:
    """The files as they are now. That they are those that were registered is part of their being safe."""
    if not versions.intact(model, version):
        return (Finding("*", "the files are not those that were registered"),)
    return tuple(files.scan(versions.folder(model, version)))


def _judge(
    ctx: Ctx, model: Obj[RegisteredModel], ask: RunGate, gathered: Gathered, findings: tuple[Finding, ...]
) -> Kept:
    version, policy = versions.ready(ctx, model, ask.version), policies.of(ctx, model)
    sections = cards.filled(version, gathered)
    champion = dict(registered.aliases_of(ctx, model.id)).get(ask.alias)
    run = gathered.run
    given = Evidence(
        signature=version.signature is not None,
        findings=findings,
        missing=tuple(cards.missing(sections | cards.written(ctx, model, ask.version), policy.card_sections)),
        run_id=run.run_id if run else None,
        datasets=tuple(sorted(str(d.get("name", "")) for d in run.datasets)) if run else (),
        metrics=run.metrics if run else {},
        evaluation=gathered.evaluation,
        evaluation_run_id=gathered.evaluation_run_id,
        champion=champion if champion != ask.version else None,
    )
    decision = verdicts.decide(policy.gates, given)
    kept = Kept(
        str(uuid4()), ask.version, version.digest, decision.digest(), decision.passed, given.champion,
        [s for s in cards.missing(sections, policy.card_sections) if s not in cards.WRITTEN],
        {
            "outcomes": [asdict(o) for o in decision.outcomes], "reasons": decision.reasons, "run_id": given.run_id,
            "evaluation_run_id": given.evaluation_run_id, "rules": [r.model_dump() for r in policy.gates],
        },
        ctx.now(), ctx.principal.id,
    )  # fmt: skip
    _store(ctx, model, kept, sections)
    return kept


def _store(ctx: Ctx, model: Obj[RegisteredModel], kept: Kept, sections: dict[str, Any]) -> None:
    verdict = kept.verdict | {"champion": kept.champion, "unfilled": kept.unfilled, "sections": sections}
    ctx.tx.run(
        'INSERT INTO registry_verdicts (id, model_id, version, nth, files, digest, passed, verdict, at, "by")'
        " SELECT ?, ?, ?, COALESCE(MAX(nth), 0) + 1, ?, ?, ?, ?, ?, ? FROM registry_verdicts WHERE model_id = ? AND version = ?",
        kept.id, model.id, kept.version, kept.files, kept.digest, int(kept.passed), orjson.dumps(verdict).decode(),
        kept.at, kept.by, model.id, kept.version,
    )  # fmt: skip
    ctx.emit("models.judged", model.id, {"version": kept.version, "verdict_id": kept.id, "passed": kept.passed})


def newest(ctx: Ctx, model: Obj[Any], version: versions.Version) -> Kept | None:
    """The last verdict on exactly these files: an older, kinder one does not count."""
    row = ctx.tx.one(
        "SELECT * FROM registry_verdicts WHERE model_id = ? AND version = ? AND files = ? ORDER BY nth DESC LIMIT 1",
        model.id, version.version, version.digest,
    )  # fmt: skip
    if row is None:
        return None
    verdict = orjson.loads(row["verdict"])
    verdict.pop("sections", None)
    return Kept(
        row["id"], int(row["version"]), row["files"], row["digest"], bool(row["passed"]), verdict.pop("champion"),
        verdict.pop("unfilled"), verdict, row["at"], row["by"],
    )  # fmt: skip


def show(ctx: Ctx, model: Obj[RegisteredModel], kept: Kept) -> Reply:
    return {
        "verdict_id": kept.id, "model": model.full_name, "version": kept.version, "passed": kept.passed,
        "digest": kept.digest, "files_digest": kept.files, "champion": kept.champion, **kept.verdict,
        "judged_at": kept.at, "asked_by": ctx.name_of(kept.by),
    }  # fmt: skip
