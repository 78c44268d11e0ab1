"""Model versions: numbered, sealed copies of a model's files, with where they came from."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from lakewright.catalog import places
from lakewright.catalog.metastore import metastore_id
from lakewright.catalog.people import People
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import BadState, Conflict, Denied, Invalid, NotFound, NotSupported
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import OUTSIDE, SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.rules import MANAGE, Rule
from lakewright.kernel.store import Duplicate, Row
from lakewright.models import files, history, names, sources
from lakewright.models.names import ModelName
from lakewright.models.registered import ADD, BASE, CHANGE, REGISTERED_MODEL, SEE, RegisteredModel, Tag, aliases_of

PENDING, READY, FAILED = "PENDING_REGISTRATION", "READY", "FAILED_REGISTRATION"


@dataclass(frozen=True)
class Version:
    model_id: str
    version: int
    id: str
    status: str
    status_message: str
    source: str
    run_id: str | None
    logged_model_id: str | None
    run_workspace: str
    run_by: str
    """Who logged the run, by id; empty when there is none."""
    comment: str
    tags: dict[str, str]
    dependencies: list[dict[str, Any]]
    facts: dict[str, Any]
    """What the files say: signature, flavors, environment."""
    digest: str
    created_at: int
    created_by: str
    updated_at: int
    updated_by: str

    @property
    def signature(self) -> dict[str, Any] | None:
        return self.facts.get("signature")


api = Api("unityCatalog", BASE)
credentials_api = Api("unityCatalog", "/api/2.1/unity-catalog/temporary-model-version-credentials")
BY_NAME = REGISTERED_MODEL.at("{full_name}")
BY_PARTS = REGISTERED_MODEL.at("{catalog_name}.{schema_name}.{model_name}")


class TableDependency(Ask):
    table_full_name: str


class FunctionDependency(Ask):
    function_full_name: str


class ConnectionDependency(Ask):
    connection_name: str


class Dependency(Ask):
    table: TableDependency | None = None
    function: FunctionDependency | None = None
    connection: ConnectionDependency | None = None


class Dependencies(Ask):
    dependencies: list[Dependency] = []


class CreateVersion(Ask):
    catalog_name: str
    schema_name: str
    model_name: str
    source: str
    run_id: str | None = None
    model_id: str | None = None
    comment: str | None = None
    tags: list[Tag] = []
    model_version_dependencies: Dependencies = Dependencies()
    feature_deps: str = ""
    run_tracking_server_id: str = ""


class Named(Ask):
    full_name: ModelName


class OneVersion(Named):
    version: int


class ReadVersion(OneVersion):
    include_aliases: bool = False
    include_browse: bool = False


class UpdateVersion(OneVersion):
    comment: str | None = None


class Listing(Named):
    include_browse: bool = False
    max_results: int | None = None
    page_token: str | None = None


class Credentials(Ask):
    catalog_name: str
    schema_name: str
    model_name: str
    version: int
    operation: str = ""


@api("POST", "/versions", audit="createModelVersion", on=BY_PARTS, needs=ADD, runs=OUTSIDE)
def create(ctx: Ctx, model: Obj[RegisteredModel], ask: CreateVersion) -> Reply:
    new = New(
        ask.source, ask.run_id, ask.model_id, ask.comment or "", {t.key: t.value for t in ask.tags},
        [d.model_dump(exclude_none=True) for d in ask.model_version_dependencies.dependencies],
        ask.run_tracking_server_id, ask.feature_deps,
    )  # fmt: skip
    version = created(ctx, model, new)
    return ctx.snapshot(lambda ctx: show(ctx, model, version, People(ctx)))


@api("GET", "/{full_name}/versions", audit="listModelVersions", on=BY_NAME, needs=SEE, runs=SNAPSHOT)
def list_(ctx: Ctx, model: Obj[RegisteredModel], ask: Listing) -> Reply:
    found, following = search(ctx, [("model", model.id)], ask.max_results, ask.page_token)
    people = People(ctx)
    return {"model_versions": [show(ctx, m, v, people) for m, v in found], "next_page_token": following}


@api("GET", "/{full_name}/versions/{version}", audit="getModelVersion", on=BY_NAME, needs=SEE, runs=SNAPSHOT)
def get_(ctx: Ctx, model: Obj[RegisteredModel], ask: ReadVersion) -> Reply:
    return show(ctx, model, of(ctx, model, ask.version), People(ctx), aliases=ask.include_aliases)


@api("PATCH", "/{full_name}/versions/{version}", audit="updateModelVersion", on=BY_NAME, needs=CHANGE)
def update(ctx: Ctx, model: Obj[RegisteredModel], ask: UpdateVersion) -> Reply:
    version = of(ctx, model, ask.version)
    if ask.comment is not None:
        version = changed(ctx, model, ask.version, comment=ask.comment)
    return show(ctx, model, version, People(ctx), aliases=True)


@api("DELETE", "/{full_name}/versions/{version}", audit="deleteModelVersion", on=BY_NAME, needs=CHANGE)
def delete(ctx: Ctx, model: Obj[RegisteredModel], ask: OneVersion) -> Reply:
    removed(ctx, model, ask.version)
    return {}


@api(
    "PATCH",
    "/{full_name}/versions/{version}/finalize",
    audit="finalizeModelVersion",
    on=BY_NAME,
    needs=ADD,
    runs=OUTSIDE,
)
def finalize(ctx: Ctx, model: Obj[RegisteredModel], ask: OneVersion) -> Reply:
    version = finalized(ctx, model, ask.version)
    return ctx.snapshot(lambda ctx: show(ctx, model, version, People(ctx), aliases=True))


@credentials_api("POST", audit="generateTemporaryModelVersionCredential", on=BY_PARTS, needs=SEE)
def credentials(ctx: Ctx, model: Obj[RegisteredModel], ask: Credentials) -> Reply:
    """A version's files are read through the Files API, below /Models, where each read is judged and recorded."""
    raise NotSupported("generateTemporaryModelVersionCredential: use the Files API below /Models")


@dataclass(frozen=True)
class New:
    """A version as its registrar describes it."""

    source: str
    run_id: str | None
    logged_model_id: str | None
    comment: str
    tags: dict[str, str]
    dependencies: list[dict[str, Any]]
    run_workspace: str = ""
    feature_deps: str = ""


def created(ctx: Ctx, model: Obj[RegisteredModel], new: New) -> Version:
    """A version that waits for its files. Its source must be something the caller may read."""
    if new.feature_deps:
        raise NotSupported("createModelVersion does not support the field 'feature_deps'")
    origin = sources.checked(ctx, new.source, new.run_id, new.logged_model_id)
    version = ctx.transact(lambda ctx: _insert(ctx, model, new, origin))
    files.prepare(folder(model, version))
    return version


def _insert(ctx: Ctx, model: Obj[RegisteredModel], new: New, origin: sources.Origin) -> Version:
    now, who = ctx.now(), ctx.principal.id
    # Numbers of deleted versions are never given out again: an approval or an audit row names one version for ever.
    number = (
        int(ctx.tx.scalar("SELECT COALESCE(MAX(version), 0) FROM registry_versions WHERE model_id = ?", model.id)) + 1
    )
    made = Version(
        model.id, number, str(uuid4()), PENDING, "", new.source, origin.run_id, new.logged_model_id, new.run_workspace,
        origin.by, new.comment, names.checked_tags(new.tags), new.dependencies, {}, "", now, who, now, who,
    )  # fmt: skip
    try:
        ctx.tx.run(
            "INSERT INTO registry_versions (model_id, version, id, status, status_message, source, run_id, logged_model_id,"
            " run_workspace, run_by, comment, tags, dependencies, facts, digest, created_at, created_by, updated_at,"
            " updated_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            made.model_id, made.version, made.id, made.status, "", made.source, made.run_id, made.logged_model_id,
            made.run_workspace, made.run_by, made.comment, json_text(made.tags), json_text(made.dependencies), "{}", "", now, who,
            now, who,
        )  # fmt: skip
    except Duplicate as error:
        raise Conflict("another version was registered at the same time; repeat the request") from error
    return made


def finalized(ctx: Ctx, model: Obj[RegisteredModel], number: int) -> Version:
    """Seal the files: from now on nobody changes them, and their digest says which they are."""
    version = ctx.snapshot(lambda ctx: _finalizable(ctx, model, number))
    place = folder(model, version)
    try:
        facts = files.seal(place)
    except Invalid as refused:
        message = str(refused)
        ctx.transact(lambda ctx: changed(ctx, model, number, status=FAILED, status_message=message))
        raise
    return ctx.transact(
        lambda ctx: changed(
            ctx, model, number, only_if=PENDING, status=READY, digest=facts.digest, facts=json_text(facts.described)
        )
    )


def _finalizable(ctx: Ctx, model: Obj[RegisteredModel], number: int) -> Version:
    version = of(ctx, model, number)
    if version.status != PENDING:
        raise BadState(f"version {number} of '{model.full_name}' is {version.status}, not {PENDING}")
    if version.created_by != ctx.principal.id and not MANAGE.judge(ctx, model.id):
        raise Denied(f"only who registered version {number} of '{model.full_name}' can finalize it")
    return version


def removed(ctx: Ctx, model: Obj[RegisteredModel], number: int) -> None:
    version = of(ctx, model, number)
    history.refuse_if_was_live(ctx, model, "be deleted", number)
    ctx.tx.run("DELETE FROM registry_aliases WHERE model_id = ? AND version = ?", model.id, number)
    changed(ctx, model, number, deleted_at=ctx.now())
    ctx.emit("models.deleted", version.id, {"full_name": model.full_name, "version": number})


def changed(ctx: Ctx, model: Obj[Any], number: int, *, only_if: str | None = None, **columns: Any) -> Version:
    assignments = ", ".join(f"{name} = ?" for name in columns)
    guard, params = (" AND status = ?", [only_if]) if only_if else ("", [])
    done = ctx.tx.run(
        f"UPDATE registry_versions SET {assignments}, updated_at = ?, updated_by = ?"
        f" WHERE model_id = ? AND version = ? AND deleted_at IS NULL{guard}",
        *columns.values(), ctx.now(), ctx.principal.id, model.id, number, *params,
    )  # fmt: skip
    if not done:
        raise Conflict(f"version {number} of '{model.full_name}' changed at the same time; read it and repeat")
    return _loaded(
        ctx.tx.one("SELECT * FROM registry_versions WHERE model_id = ? AND version = ?", model.id, number) or {}
    )


def of(ctx: Ctx, model: Obj[Any], number: int) -> Version:
    row = ctx.tx.one(
        "SELECT * FROM registry_versions WHERE model_id = ? AND version = ? AND deleted_at IS NULL", model.id, number
    )
    if row is None:
        raise NotFound(f"version {number} of registered model '{model.full_name}' does not exist")
    return _loaded(row)


def ready(ctx: Ctx, model: Obj[Any], number: int) -> Version:
    version = of(ctx, model, number)
    if version.status != READY:
        raise BadState(f"version {number} of '{model.full_name}' is {version.status}, not {READY}")
    return version


def get(ctx: Ctx, full_name: str, number: int) -> Version:
    """A version by its model's name, for capabilities that have checked (or will) what the caller may do with it."""
    return of(ctx, objects.find(ctx, REGISTERED_MODEL, names.checked(full_name)), number)


def intact(model: Obj[RegisteredModel], version: Version) -> bool:
    """Whether the files are those that were registered. Reads all of them: ask outside a writing transaction."""
    place = folder(model, version)
    return place.is_dir() and files.digest(place) == version.digest


def folder(model: Obj[RegisteredModel], version: Version) -> Path:
    """Where a version's files lie once sealed; while pending, beside it."""
    return places.local(model.spec.storage_location) / version.id


def search(
    ctx: Ctx, wanted: Iterable[tuple[str, str]], size: int | None, token: str | None, needs: Rule = SEE
) -> tuple[list[tuple[Obj[RegisteredModel], Version]], str | None]:
    """Versions of models the caller may see, newest first. `wanted` are conditions that all must hold."""
    columns = {"model": "v.model_id = ?", "name": "o.full_name = ?", "run_id": "v.run_id = ?"}
    wanted = list(wanted)
    allowed = needs.condition(ctx)
    where = ["o.kind || '' = ?", "o.deleted_at IS NULL", "v.deleted_at IS NULL", allowed.sql]
    params: list[Any] = [REGISTERED_MODEL.name, *allowed.params]
    bound = f"{ctx.principal.id}:model_versions:{wanted}"
    for key, value in wanted:
        where.append(columns[key])
        params.append(value)
    if token:
        created_at, _, version_id = objects.open_token(ctx, token, bound).partition(":")
        where.append("(v.created_at < ? OR (v.created_at = ? AND v.id < ?))")
        params += [int(created_at), int(created_at), version_id]
    limit = min(size or 100, 1000)
    rows = ctx.tx.all(
        f"SELECT v.* FROM registry_versions v JOIN objects o ON o.id = v.model_id WHERE {' AND '.join(where)}"
        f" ORDER BY v.created_at DESC, v.id DESC LIMIT {limit + 1}",
        *params,
    )
    models: dict[str, Obj[RegisteredModel]] = {}
    found: list[tuple[Obj[RegisteredModel], Version]] = []
    for row in rows[:limit]:
        version = _loaded(row)
        if version.model_id not in models:
            models[version.model_id] = objects.by_id(ctx, REGISTERED_MODEL, version.model_id)
        found.append((models[version.model_id], version))
    more = len(rows) > limit
    last = found[-1][1] if found else None
    return found, objects.seal_token(ctx, f"{last.created_at}:{last.id}", bound) if more and last else None


def _loaded(row: Row) -> Version:
    return Version(
        row["model_id"], int(row["version"]), row["id"], row["status"], row["status_message"], row["source"],
        row["run_id"], row["logged_model_id"], row["run_workspace"], row["run_by"], row["comment"],
        orjson.loads(row["tags"]), orjson.loads(row["dependencies"]), orjson.loads(row["facts"]), row["digest"],
        row["created_at"], row["created_by"], row["updated_at"], row["updated_by"],
    )  # fmt: skip


def json_text(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def show(ctx: Ctx, model: Obj[RegisteredModel], version: Version, people: People, *, aliases: bool = False) -> Reply:
    catalog_name, schema_name, name = model.full_name.split(".")
    shown: Reply = {
        "model_name": name, "catalog_name": catalog_name, "schema_name": schema_name, "version": version.version,
        "id": version.id, "status": version.status, "source": version.source, "run_id": version.run_id,
        "model_id": version.logged_model_id, "comment": version.comment or None,
        "storage_location": path(model, version.version), "metastore_id": metastore_id(ctx),
        "run_workspace_id": int(version.run_workspace) if version.run_workspace.isdigit() else None,
        "tags": [{"key": k, "value": v} for k, v in sorted(version.tags.items())],
        "created_at": version.created_at, "created_by": people[version.created_by],
        "updated_at": version.updated_at, "updated_by": people[version.updated_by],
    }  # fmt: skip
    if version.dependencies:
        shown["model_version_dependencies"] = {"dependencies": version.dependencies}
    if aliases:
        held = aliases_of(ctx, model.id, version.version)
        shown["aliases"] = [{"alias_name": alias, "version_num": at} for alias, at in held]
    return {k: v for k, v in shown.items() if v is not None}


def path(model: Obj[RegisteredModel], number: int) -> str:
    """Where its files are in the Files API. The place on disk is nobody's business: on one machine it would be the key."""
    return f"/Models/{model.full_name.replace('.', '/')}/{number}"
