"""Aliases: names that point at one version. A protected one moves only with a release that somebody else approved."""

from typing import Any

from lakewright.catalog.people import People
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Denied, NotFound, NotSupported
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.models import names, release, versions
from lakewright.models.names import Alias, ModelName
from lakewright.models.registered import BASE, CHANGE, REGISTERED_MODEL, SEE, TAG, RegisteredModel, Tag

api = Api("unityCatalog", BASE)
securable_tags = Api("unityCatalog", "/api/2.1/unity-catalog/securable-tags")
subentity_tags = Api("unityCatalog", "/api/2.1/unity-catalog/subentity-tags")
BY_NAME = REGISTERED_MODEL.at("{full_name}")
TAGGED = REGISTERED_MODEL.at("{securable_full_name}")


class OneAlias(Ask):
    full_name: ModelName
    alias: Alias


class ReadAlias(OneAlias):
    include_aliases: bool = False


class SetAlias(OneAlias):
    version_num: int


class TagChanges(Ask):
    add_tags: list[Tag] = []
    remove: list[str] = []


class TagModel(Ask):
    securable_type: str
    securable_full_name: ModelName
    changes: TagChanges


class TagVersion(TagModel):
    subentity_name: int


@api("GET", "/{full_name}/aliases/{alias}", audit="getModelVersionByAlias", on=BY_NAME, needs=SEE, runs=SNAPSHOT)
def get(ctx: Ctx, model: Obj[RegisteredModel], ask: ReadAlias) -> Reply:
    version = versions.of(ctx, model, pointed(ctx, model, ask.alias))
    return versions.show(ctx, model, version, People(ctx), aliases=ask.include_aliases)


@api("PUT", "/{full_name}/aliases/{alias}", audit="setRegisteredModelAlias", on=BY_NAME, needs=CHANGE)
def set_(ctx: Ctx, model: Obj[RegisteredModel], ask: SetAlias) -> Reply:
    """A protected alias moves here too, if a release to this very version is approved; nobody moves it otherwise."""
    move(ctx, model, ask.alias, ask.version_num)
    catalog_name, schema_name, name = model.full_name.split(".")
    return {
        "alias_name": ask.alias, "version_num": ask.version_num, "model_name": name, "catalog_name": catalog_name,
        "schema_name": schema_name,
    }  # fmt: skip


@api("DELETE", "/{full_name}/aliases/{alias}", audit="deleteRegisteredModelAlias", on=BY_NAME, needs=CHANGE)
def delete(ctx: Ctx, model: Obj[RegisteredModel], ask: OneAlias) -> Reply:
    unset(ctx, model, ask.alias)
    return {}


@securable_tags("PATCH", "/{securable_type}/{securable_full_name}", audit="updateSecurableTags", on=TAGGED, needs=TAG)
def tag_model(ctx: Ctx, model: Obj[RegisteredModel], ask: TagModel) -> Reply:
    _only_models(ask.securable_type)
    objects.update(ctx, model, tags=changed_tags(model.spec.tags, ask.changes))
    return {}


@subentity_tags(
    "PATCH",
    "/{securable_type}/{securable_full_name}/{subentity_name}",
    audit="updateSubentityTags",
    on=TAGGED,
    needs=TAG,
)
def tag_version(ctx: Ctx, model: Obj[RegisteredModel], ask: TagVersion) -> Reply:
    _only_models(ask.securable_type)
    tag(ctx, model, ask.subentity_name, ask.changes)
    return {}


def pointed(ctx: Ctx, model: Obj[Any], alias: str) -> int:
    found = ctx.tx.scalar("SELECT version FROM registry_aliases WHERE model_id = ? AND alias = ?", model.id, alias)
    if found is None:
        raise NotFound(f"alias '{alias}' of registered model '{model.full_name}' does not exist")
    return int(found)


def move(ctx: Ctx, model: Obj[RegisteredModel], alias: str, number: int) -> None:
    versions.ready(ctx, model, number)
    if release.is_protected(ctx, model, alias):
        release.by_alias(ctx, model, alias, number)
    else:
        release.point(ctx, model, alias, number)


def unset(ctx: Ctx, model: Obj[RegisteredModel], alias: str) -> None:
    pointed(ctx, model, alias)
    if release.is_protected(ctx, model, alias):
        raise Denied(
            f"alias '{alias}' of '{model.full_name}' is protected: it moves to another approved version, nobody removes it"
        )
    ctx.tx.run("DELETE FROM registry_aliases WHERE model_id = ? AND alias = ?", model.id, alias)


def tag(ctx: Ctx, model: Obj[RegisteredModel], number: int, changes: TagChanges) -> None:
    """Tags say what people think of a version. No decision believes one: `approved=true` approves nothing."""
    version = versions.of(ctx, model, number)
    versions.changed(ctx, model, number, tags=versions.json_text(changed_tags(version.tags, changes)))


def changed_tags(tags: dict[str, str], changes: TagChanges) -> dict[str, str]:
    kept = {k: v for k, v in tags.items() if k not in changes.remove}
    return names.checked_tags(kept | {t.key: t.value for t in changes.add_tags})


def _only_models(securable_type: str) -> None:
    # Unity Catalog keeps models among functions; its clients say FUNCTION for both.
    if securable_type.upper() not in ("FUNCTION", "REGISTERED_MODEL"):
        raise NotSupported(f"updateTags does not support the securable type '{securable_type}'")
