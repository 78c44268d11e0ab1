"""The registry as MLflow's own client asks for it (`databricks-uc`): other paths and shapes, the same operations."""

import re
from typing import Any

import orjson

from lakewright.catalog.people import People
from lakewright.catalog.schemas import REACH, SCHEMA, Schema
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid, NotSupported
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import OUTSIDE, SNAPSHOT, Api, Ask, Nothing, Reply
from lakewright.kernel.roots import IN_METASTORE, Root
from lakewright.kernel.rules import EVERYONE, PER_ROW
from lakewright.models import aliases, names, registered, versions
from lakewright.models.aliases import TagChanges
from lakewright.models.names import Alias, ModelName
from lakewright.models.registered import ADD, CHANGE, REGISTERED_MODEL, SEE, TAG, USE, RegisteredModel, Tag
from lakewright.models.versions import New, Version

api = Api("mlflowUnityCatalog", "/api/2.0/mlflow/unity-catalog")
BY_NAME = REGISTERED_MODEL.at("{name}")


class Named(Ask):
    name: ModelName


class CreateModel(Named):
    description: str | None = None
    tags: list[Tag] = []
    deployment_job_id: str | None = None


class UpdateModel(Named):
    new_name: str | None = None
    description: str | None = None
    deployment_job_id: str | None = None


class Search(Ask):
    filter: str = ""
    max_results: int | None = None
    page_token: str | None = None


class SearchModels(Ask):
    max_results: int | None = None
    page_token: str | None = None


class OneAlias(Named):
    alias: Alias


class SetAlias(OneAlias):
    version: int


class ModelTag(Named):
    key: str


class SetModelTag(ModelTag):
    value: str = ""


class OneVersion(Named):
    version: int


class VersionTag(OneVersion):
    key: str


class SetVersionTag(VersionTag):
    value: str = ""


class Dependency(Ask):
    type: str
    name: str


class CreateVersion(Named):
    source: str
    run_id: str | None = None
    description: str | None = None
    run_tracking_server_id: str = ""
    feature_deps: str = ""
    tags: list[Tag] = []
    model_version_dependencies: list[Dependency] = []
    model_id: str | None = None


class UpdateVersion(OneVersion):
    description: str | None = None


class Credentials(OneVersion):
    operation: str = ""


class Lineage(Ask):
    entities: list[dict[str, dict[str, str]]] = []
    direction: str = ""


class EmitLineage(OneVersion):
    model_version_lineage_info: Lineage = Lineage()
    securable: dict[str, Any] | None = None


# ---- models


@api("POST", "/registered-models/create", audit="createRegisteredModel", on=SCHEMA.at("{name.schema}"), needs=REACH)
def create_model(ctx: Ctx, schema: Obj[Schema], ask: CreateModel) -> Reply:
    _no_deployment_job("createRegisteredModel", ask.deployment_job_id)
    tags = {t.key: t.value for t in ask.tags}
    made = registered.made(ctx, schema, names.checked(ask.name).model, ask.description, tags)
    return {"registered_model": show_model(ctx, made, People(ctx))}


@api("GET", "/registered-models/get", audit="getRegisteredModel", on=BY_NAME, needs=SEE, runs=SNAPSHOT)
def get_model(ctx: Ctx, model: Obj[RegisteredModel], ask: Named) -> Reply:
    return {"registered_model": show_model(ctx, model, People(ctx))}


@api("GET", "/registered-models/search", audit="listRegisteredModels", on=IN_METASTORE, needs=PER_ROW)
def search_models(ctx: Ctx, metastore: Obj[Root], ask: SearchModels) -> Reply:
    found, following = registered.listed(ctx, None, None, ask.max_results, ask.page_token)
    people = People(ctx)
    return _paged("registered_models", [show_model(ctx, m, people) for m in found], following)


@api("PATCH", "/registered-models/update", audit="updateRegisteredModel", on=BY_NAME, needs=CHANGE)
def update_model(ctx: Ctx, model: Obj[RegisteredModel], ask: UpdateModel) -> Reply:
    _no_deployment_job("updateRegisteredModel", ask.deployment_job_id)
    if ask.description is not None:
        model = objects.update(ctx, model, comment=ask.description)
    if ask.new_name is not None:
        model = registered.renamed(ctx, model, ask.new_name)
    return {"registered_model": show_model(ctx, model, People(ctx))}


@api("DELETE", "/registered-models/delete", audit="deleteRegisteredModel", on=BY_NAME, needs=CHANGE)
def delete_model(ctx: Ctx, model: Obj[RegisteredModel], ask: Named) -> Reply:
    registered.removed(ctx, model)
    return {}


@api("POST", "/registered-models/set-tag", audit="setRegisteredModelTag", on=BY_NAME, needs=TAG)
def set_model_tag(ctx: Ctx, model: Obj[RegisteredModel], ask: SetModelTag) -> Reply:
    changes = TagChanges(add_tags=[Tag(key=ask.key, value=ask.value)])
    objects.update(ctx, model, tags=aliases.changed_tags(model.spec.tags, changes))
    return {}


@api("DELETE", "/registered-models/delete-tag", audit="deleteRegisteredModelTag", on=BY_NAME, needs=TAG)
def delete_model_tag(ctx: Ctx, model: Obj[RegisteredModel], ask: ModelTag) -> Reply:
    objects.update(ctx, model, tags=aliases.changed_tags(model.spec.tags, TagChanges(remove=[ask.key])))
    return {}


@api("POST", "/registered-models/alias", audit="setRegisteredModelAlias", on=BY_NAME, needs=CHANGE)
def set_alias(ctx: Ctx, model: Obj[RegisteredModel], ask: SetAlias) -> Reply:
    aliases.move(ctx, model, ask.alias, ask.version)
    return {}


@api("GET", "/registered-models/alias", audit="getModelVersionByAlias", on=BY_NAME, needs=SEE, runs=SNAPSHOT)
def get_by_alias(ctx: Ctx, model: Obj[RegisteredModel], ask: OneAlias) -> Reply:
    return _one(ctx, model, versions.of(ctx, model, aliases.pointed(ctx, model, ask.alias)))


@api("DELETE", "/registered-models/alias", audit="deleteRegisteredModelAlias", on=BY_NAME, needs=CHANGE)
def delete_alias(ctx: Ctx, model: Obj[RegisteredModel], ask: OneAlias) -> Reply:
    aliases.unset(ctx, model, ask.alias)
    return {}


@api(
    "GET", "/registered-models:is-databricks-sdk-models-artifact-repository-enabled", audit="getModelsArtifactRepository",
    on=IN_METASTORE, needs=EVERYONE, runs=SNAPSHOT,
)  # fmt: skip
def uses_files_api(ctx: Ctx, metastore: Obj[Root], ask: Nothing) -> Reply:
    """Open to all: clients ask before each transfer how versions travel, and the answer is the same for everybody."""
    return {"is_databricks_sdk_models_artifact_repository_enabled": True}


# ---- versions


@api("POST", "/model-versions/create", audit="createModelVersion", on=BY_NAME, needs=ADD, runs=OUTSIDE)
def create_version(ctx: Ctx, model: Obj[RegisteredModel], ask: CreateVersion) -> Reply:
    new = New(
        ask.source, ask.run_id, ask.model_id, ask.description or "", {t.key: t.value for t in ask.tags},
        [d.model_dump() for d in ask.model_version_dependencies], ask.run_tracking_server_id, ask.feature_deps,
    )  # fmt: skip
    made = versions.created(ctx, model, new)
    return ctx.snapshot(lambda ctx: _one(ctx, model, made))


@api("POST", "/model-versions/finalize", audit="finalizeModelVersion", on=BY_NAME, needs=ADD, runs=OUTSIDE)
def finalize(ctx: Ctx, model: Obj[RegisteredModel], ask: OneVersion) -> Reply:
    version = versions.finalized(ctx, model, ask.version)
    return ctx.snapshot(lambda ctx: _one(ctx, model, version))


@api("GET", "/model-versions/get", audit="getModelVersion", on=BY_NAME, needs=SEE, runs=SNAPSHOT)
def get_version(ctx: Ctx, model: Obj[RegisteredModel], ask: OneVersion) -> Reply:
    return _one(ctx, model, versions.of(ctx, model, ask.version))


@api("GET", "/model-versions/search", audit="searchModelVersions", on=IN_METASTORE, needs=PER_ROW)
def search_versions(ctx: Ctx, metastore: Obj[Root], ask: Search) -> Reply:
    found, following = versions.search(ctx, conditions(ask.filter), ask.max_results, ask.page_token)
    people = People(ctx)
    return _paged("model_versions", [show_version(ctx, m, v, people) for m, v in found], following)


@api("PATCH", "/model-versions/update", audit="updateModelVersion", on=BY_NAME, needs=CHANGE)
def update_version(ctx: Ctx, model: Obj[RegisteredModel], ask: UpdateVersion) -> Reply:
    version = versions.of(ctx, model, ask.version)
    if ask.description is not None:
        version = versions.changed(ctx, model, ask.version, comment=ask.description)
    return _one(ctx, model, version)


@api("DELETE", "/model-versions/delete", audit="deleteModelVersion", on=BY_NAME, needs=CHANGE)
def delete_version(ctx: Ctx, model: Obj[RegisteredModel], ask: OneVersion) -> Reply:
    versions.removed(ctx, model, ask.version)
    return {}


@api("POST", "/model-versions/set-tag", audit="setModelVersionTag", on=BY_NAME, needs=TAG)
def set_version_tag(ctx: Ctx, model: Obj[RegisteredModel], ask: SetVersionTag) -> Reply:
    aliases.tag(ctx, model, ask.version, TagChanges(add_tags=[Tag(key=ask.key, value=ask.value)]))
    return {}


@api("DELETE", "/model-versions/delete-tag", audit="deleteModelVersionTag", on=BY_NAME, needs=TAG)
def delete_version_tag(ctx: Ctx, model: Obj[RegisteredModel], ask: VersionTag) -> Reply:
    aliases.tag(ctx, model, ask.version, TagChanges(remove=[ask.key]))
    return {}


@api(
    "GET", "/model-versions/get-download-uri", audit="getModelVersionDownloadUri", on=BY_NAME, needs=USE, runs=SNAPSHOT
)
def get_download_uri(ctx: Ctx, model: Obj[RegisteredModel], ask: OneVersion) -> Reply:
    return {"artifact_uri": f"dbfs:{versions.path(model, versions.of(ctx, model, ask.version).version)}"}


@api(
    "POST", "/model-versions/generate-temporary-credentials", audit="generateTemporaryModelVersionCredential", on=BY_NAME,
    needs=USE,
)  # fmt: skip
def generate_credentials(ctx: Ctx, model: Obj[RegisteredModel], ask: Credentials) -> Reply:
    raise NotSupported("generateTemporaryModelVersionCredential: use the Files API below /Models")


@api("POST", "/model-versions/emit-lineage", audit="emitModelVersionLineage", on=BY_NAME, needs=USE)
def emit_lineage(ctx: Ctx, model: Obj[RegisteredModel], ask: EmitLineage) -> Reply:
    """The client says that it is about to load the version, and in which job or notebook."""
    versions.of(ctx, model, ask.version)
    info = ask.model_version_lineage_info
    ctx.tx.many(
        'INSERT INTO registry_uses (model_id, version, direction, entity, at, "by") VALUES (?, ?, ?, ?, ?, ?)',
        [
            (model.id, ask.version, info.direction, orjson.dumps(e).decode(), ctx.now(), ctx.principal.id)
            for e in (info.entities or [{}])
        ],
    )
    return {}


CONDITION = re.compile(r"""\s*(name|run_id)\s*=\s*(?:'([^'"]*)'|"([^'"]*)")\s*""")


def conditions(filter_string: str) -> list[tuple[str, str]]:
    """`name = 'c.s.m'` and `run_id = '…'`, joined by AND: what Unity Catalog's registry can be searched by."""
    found: list[tuple[str, str]] = []
    for part in re.split(r"\s+and\s+", filter_string.strip(), flags=re.IGNORECASE) if filter_string.strip() else []:
        match = CONDITION.fullmatch(part)
        if match is None:
            raise Invalid(f"filter '{filter_string}' is not supported: use name = '…' or run_id = '…', joined by AND")
        value = match[2] if match[2] is not None else match[3]
        found.append((match[1], REGISTERED_MODEL.fold(value) if match[1] == "name" else value))
    return found


def _no_deployment_job(operation: str, job_id: str | None) -> None:
    if job_id:
        raise NotSupported(f"{operation} does not support the field 'deployment_job_id'")


def _paged(name: str, shown: list[Reply], following: str | None) -> Reply:
    return {name: shown} | ({"next_page_token": following} if following else {})


def _one(ctx: Ctx, model: Obj[RegisteredModel], version: Version) -> Reply:
    return {"model_version": show_version(ctx, model, version, People(ctx), held=True)}


def show_model(ctx: Ctx, model: Obj[RegisteredModel], people: People) -> Reply:
    return {
        "name": model.full_name, "creation_timestamp": model.created_at, "last_updated_timestamp": model.updated_at,
        "user_id": people[model.created_by], "description": model.spec.comment or "",
        "aliases": [{"alias": a, "version": str(v)} for a, v in registered.aliases_of(ctx, model.id)],
        "tags": [{"key": k, "value": v} for k, v in sorted(model.spec.tags.items())],
    }  # fmt: skip


def show_version(
    ctx: Ctx, model: Obj[RegisteredModel], version: Version, people: People, *, held: bool = False
) -> Reply:
    shown: Reply = {
        "name": model.full_name, "version": str(version.version), "creation_timestamp": version.created_at,
        "last_updated_timestamp": version.updated_at, "user_id": people[version.created_by],
        "description": version.comment, "source": version.source, "run_id": version.run_id,
        "model_id": version.logged_model_id, "run_tracking_server_id": version.run_workspace or None,
        "status": version.status, "status_message": version.status_message or None,
        "storage_location": f"dbfs:{versions.path(model, version.version)}",
        "tags": [{"key": k, "value": v} for k, v in sorted(version.tags.items())],
    }  # fmt: skip
    if held:
        of_version = registered.aliases_of(ctx, model.id, version.version)
        shown["aliases"] = [{"alias": a, "version": str(v)} for a, v in of_version]
    return {k: v for k, v in shown.items() if v is not None}
