"""Registered models: governed names under which a model's versions, aliases and approvals live."""

from pydantic import BaseModel

from lakewright.catalog import names as catalog_names
from lakewright.catalog import places
from lakewright.catalog.functions import FUNCTION
from lakewright.catalog.metastore import metastore_id
from lakewright.catalog.people import People
from lakewright.catalog.schemas import REACH, SCHEMA, Schema
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import AlreadyExists, NotFound, NotSupported
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.roots import IN_METASTORE, Root
from lakewright.kernel.rules import MANAGE, PER_ROW, require
from lakewright.models import history, names
from lakewright.models.names import FullName, ModelName


class RegisteredModel(BaseModel):
    comment: str | None = None
    tags: dict[str, str] = {}
    storage_location: str


REGISTERED_MODEL = Kind(
    "registered_model", example=RegisteredModel(storage_location="file:///m"), under=SCHEMA, folded=True,
    also_called=("registered-models", "model", "models"),
)  # fmt: skip
FUNCTION.includes.append(REGISTERED_MODEL)
EXECUTE, CREATE_MODEL_VERSION, APPLY_TAG = REGISTERED_MODEL.privileges("EXECUTE", "CREATE_MODEL_VERSION", "APPLY_TAG")
(CREATE_MODEL,) = SCHEMA.privileges("CREATE_MODEL")

USE = REACH & EXECUTE
"""What loading a version needs."""
SEE = REACH & (EXECUTE | CREATE_MODEL_VERSION | MANAGE)
ADD = REACH & (CREATE_MODEL_VERSION | MANAGE)
CHANGE = REACH & MANAGE
TAG = REACH & (APPLY_TAG | MANAGE)

BASE = "/api/2.1/unity-catalog/models"
api = Api("unityCatalog", BASE)
BY_NAME = REGISTERED_MODEL.at("{full_name}")


class AliasGiven(Ask):
    """Aliases are set one by one, each by an operation of its own that checks it."""

    alias_name: str | None = None
    version_num: int | None = None


class Tag(Ask):
    key: str
    value: str = ""


class CreateModel(Ask):
    name: str
    catalog_name: str
    schema_name: str
    comment: str | None = None
    tags: list[Tag] = []


class Listing(Ask):
    catalog_name: str | None = None
    schema_name: str | None = None
    include_browse: bool = False
    max_results: int | None = None
    page_token: str | None = None


class Named(Ask):
    full_name: ModelName


class ReadModel(Named):
    include_aliases: bool = False
    include_browse: bool = False


class UpdateModel(Named):
    new_name: str | None = None
    comment: str | None = None
    owner: str | None = None


@api("POST", audit="createRegisteredModel", on=SCHEMA.at("{catalog_name}.{schema_name}"), needs=REACH)
def create(ctx: Ctx, schema: Obj[Schema], ask: CreateModel) -> Reply:
    return show(ctx, made(ctx, schema, ask.name, ask.comment, {t.key: t.value for t in ask.tags}), People(ctx))


@api("GET", audit="listRegisteredModels", on=IN_METASTORE, needs=PER_ROW)
def list_(ctx: Ctx, metastore: Obj[Root], ask: Listing) -> Reply:
    found, following = listed(ctx, ask.catalog_name, ask.schema_name, ask.max_results, ask.page_token)
    people = People(ctx)
    return {"registered_models": [show(ctx, m, people) for m in found], "next_page_token": following}


@api("GET", "/{full_name}", audit="getRegisteredModel", on=BY_NAME, needs=SEE, runs=SNAPSHOT)
def get(ctx: Ctx, model: Obj[RegisteredModel], ask: ReadModel) -> Reply:
    return show(ctx, model, People(ctx), aliases=ask.include_aliases)


@api("PATCH", "/{full_name}", audit="updateRegisteredModel", on=BY_NAME, needs=CHANGE)
def update(ctx: Ctx, model: Obj[RegisteredModel], ask: UpdateModel) -> Reply:
    if ask.comment is not None:
        model = objects.update(ctx, model, comment=ask.comment)
    if ask.new_name is not None:
        model = renamed(ctx, model, ask.new_name)
    if ask.owner is not None:
        model = objects.set_owner(ctx, model, ctx.id_of(ask.owner))
    return show(ctx, model, People(ctx), aliases=True)


@api("DELETE", "/{full_name}", audit="deleteRegisteredModel", on=BY_NAME, needs=CHANGE)
def delete(ctx: Ctx, model: Obj[RegisteredModel], ask: Named) -> Reply:
    removed(ctx, model)
    return {}


def made(ctx: Ctx, schema: Obj[Schema], name: str, comment: str | None, tags: dict[str, str]) -> Obj[RegisteredModel]:
    name = catalog_names.checked(name, "model name")
    _refuse_taken(ctx, FullName(f"{schema.full_name}.{name}"))
    require(ctx, CREATE_MODEL, schema)
    model_id = objects.new_id(REGISTERED_MODEL)
    location = places.managed(ctx, schema, "models", model_id)
    spec = RegisteredModel(comment=comment, tags=names.checked_tags(tags), storage_location=location)
    return objects.create(ctx, REGISTERED_MODEL, name, spec, under=schema, id=model_id)


def _refuse_taken(ctx: Ctx, full_name: FullName) -> None:
    """MLflow's client always creates first and goes on when the name is taken: whoever may see the model is told so."""
    try:
        model = objects.find(ctx, REGISTERED_MODEL, full_name)
    except NotFound:
        return
    if SEE.judge(ctx, model.id):
        raise AlreadyExists(f"registered model '{full_name}' already exists")


def listed(
    ctx: Ctx, catalog: str | None, schema: str | None, size: int | None, token: str | None
) -> tuple[list[Obj[RegisteredModel]], str | None]:
    if (catalog is None) != (schema is None):
        raise NotSupported("listRegisteredModels needs catalog_name and schema_name together, or neither")
    try:
        under = objects.find(ctx, SCHEMA, SCHEMA.fold(f"{catalog}.{schema}")) if catalog and schema else None
    except NotFound:
        return [], None  # as for a schema that is none of the caller's business
    return objects.page(ctx, REGISTERED_MODEL, SEE, under=under, size=size or 100, token=token)


def renamed(ctx: Ctx, model: Obj[RegisteredModel], new_name: str) -> Obj[RegisteredModel]:
    """Under the same schema only. What is live is asked for by name, so a live model keeps its name."""
    name = FullName(new_name).model if "." in new_name else new_name
    if "." in new_name and names.checked(new_name).schema != model.full_name.rpartition(".")[0]:
        raise NotSupported("updateRegisteredModel does not support moving a model to another schema; copy its versions")
    name = catalog_names.checked(name, "new_name")
    if name == model.name:
        return model
    history.refuse_if_live(ctx, model, "be renamed")
    require(ctx, CREATE_MODEL, objects.parent(ctx, model))
    return objects.rename(ctx, model, name)


def removed(ctx: Ctx, model: Obj[RegisteredModel]) -> None:
    objects.delete(ctx, model, cascade=True)
    ctx.emit("models.deleted", model.id, {"full_name": model.full_name})


def _end(ctx: Ctx, model: Obj[RegisteredModel]) -> None:
    """Whatever is deleted, the model or the catalog around it: a model that is or lately was live stays."""
    history.refuse_if_was_live(ctx, model, "be deleted")
    ctx.tx.run(
        "UPDATE registry_versions SET deleted_at = ?, updated_at = ?, updated_by = ? WHERE model_id = ? AND deleted_at IS NULL",
        ctx.now(), ctx.now(), ctx.principal.id, model.id,
    )  # fmt: skip
    ctx.tx.run("DELETE FROM registry_aliases WHERE model_id = ?", model.id)


REGISTERED_MODEL.before_delete = _end


def aliases_of(ctx: Ctx, model_id: str, version: int | None = None) -> list[tuple[str, int]]:
    rows = ctx.tx.all("SELECT alias, version FROM registry_aliases WHERE model_id = ? ORDER BY alias", model_id)
    return [(str(r["alias"]), int(r["version"])) for r in rows if version is None or int(r["version"]) == version]


def show(ctx: Ctx, model: Obj[RegisteredModel], people: People, *, aliases: bool = False) -> Reply:
    catalog_name, schema_name, name = model.full_name.split(".")
    shown: Reply = {
        "name": name, "catalog_name": catalog_name, "schema_name": schema_name, "full_name": model.full_name,
        "id": model.id, "owner": people[model.owner], "comment": model.spec.comment, "metastore_id": metastore_id(ctx),
        "tags": [{"key": k, "value": v} for k, v in sorted(model.spec.tags.items())],
        "created_at": model.created_at, "created_by": people[model.created_by],
        "updated_at": model.updated_at, "updated_by": people[model.updated_by],
    }  # fmt: skip
    if aliases:
        shown["aliases"] = [{"alias_name": alias, "version_num": at} for alias, at in aliases_of(ctx, model.id)]
    return {k: v for k, v in shown.items() if v is not None}
