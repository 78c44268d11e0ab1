"""Groups: principals that hold others, and each other.

A group may have ten thousand members, so they never pass through the SCIM models: what a PATCH says about members is
carried out on the table of members, and only the rest is applied to the resource.
"""

from typing import Any

from pydantic import BaseModel

from lakewright.identity import credentials, principals, resources, scim
from lakewright.identity.scim import ById, Listing, Patch, Search, Sent, SentById
from lakewright.identity.workspace_access import SEE
from lakewright.kernel import objects
from lakewright.kernel.answers import Json, Raw
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT
from lakewright.kernel.roots import ACCOUNT, ADMINS, IN_ACCOUNT, USERS, Root
from lakewright.kernel.rules import ADMIN, PER_ROW
from lakewright.kernel.store import Row

SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Group"


class Group(BaseModel):
    external_id: str | None = None


GROUP = Kind("group", example=Group(), under=ACCOUNT, ids="number")
api = scim.api("Groups")
BY_ID = GROUP.by_id("{id}")


@api("POST", audit="createGroup", on=IN_ACCOUNT, needs=ADMIN, also=scim.both("Groups"))
@scim.in_account
def create(ctx: Ctx, account: Obj[Root], ask: Sent) -> Json:
    from lakewright.identity import scim_schemas

    payload, member_ids = _without_members(ask.resource)
    resources.refuse_unassignable(payload)
    data = scim_schemas.stored(scim_schemas.created(scim_schemas.Group, payload))
    name, spec = str(data["displayName"]), Group(external_id=data.get("externalId"))
    texts = list(scim_schemas.texts(scim_schemas.Group, data))
    made = principals.create(ctx, GROUP, "group", name, name, spec, texts=texts)
    principals.add_members(ctx, made.id, member_ids or [])
    resources.assign(ctx, made.id, {}, data)
    return scim.answer(ctx, resources.show(ctx, objects.again(ctx, made), ask), ask, status=201)


@api("GET", audit="listGroups", on=IN_ACCOUNT, needs=PER_ROW, also=scim.both("Groups"))
@scim.in_account
def list_(ctx: Ctx, account: Obj[Root], ask: Listing) -> Json:
    return resources.listing(ctx, ["group"], ask)


@api(
    "POST", "/.search", audit="searchGroups", on=IN_ACCOUNT, needs=PER_ROW, runs=SNAPSHOT,
    also=scim.both("Groups", "/.search"),
)  # fmt: skip
@scim.in_account
def search(ctx: Ctx, account: Obj[Root], ask: Search) -> Json:
    return resources.listing(ctx, ["group"], ask)


@api("GET", "/{id}", audit="getGroup", on=BY_ID, needs=SEE, also=scim.both("Groups", "/{id}"))
@scim.in_account
def get(ctx: Ctx, group: Obj[Group], ask: ById) -> Json | Raw:
    if scim.unchanged(ctx, group):
        return scim.not_modified(group)
    return scim.answer(ctx, resources.read(ctx, group, ask), ask)


@api("PUT", "/{id}", audit="replaceGroup", on=BY_ID, needs=ADMIN, also=scim.both("Groups", "/{id}"))
@scim.in_account
def replace(ctx: Ctx, group: Obj[Group], ask: SentById) -> Json:
    from lakewright.identity import scim_schemas

    scim.check_version(ctx, group)
    payload, member_ids = _without_members(ask.resource)
    resources.refuse_unassignable(payload)
    before = _alone(ctx, group)
    after = scim_schemas.stored(scim_schemas.replaced(scim_schemas.Group, payload, before))
    group = _save(ctx, group, before, after)
    _set_members(ctx, group, member_ids or [])
    return scim.answer(ctx, resources.show(ctx, objects.again(ctx, group), ask), ask)


@api("PATCH", "/{id}", audit="updateGroup", on=BY_ID, needs=ADMIN, also=scim.both("Groups", "/{id}"))
@scim.in_account
def patch(ctx: Ctx, group: Obj[Group], ask: Patch) -> Json:
    from lakewright.identity import group_members, scim_schemas

    scim.check_version(ctx, group)
    rest, changes = group_members.told_apart(ask.operations_sent())
    before = _alone(ctx, group)
    if rest:
        after = scim_schemas.stored(scim_schemas.patched(scim_schemas.Group, rest, before))
        group = _save(ctx, group, before, after)
    for change in changes:
        removed = group_members.removed_by(ctx, group.id, change, scim.base_url(ctx, ask))
        _hold_together(group, removed)
        principals.remove_members(ctx, group.id, removed)
        principals.add_members(ctx, group.id, change.added)
    return scim.answer(ctx, resources.show(ctx, objects.again(ctx, group), ask), ask)


@api("DELETE", "/{id}", audit="deleteGroup", on=BY_ID, needs=ADMIN, also=scim.both("Groups", "/{id}"))
@scim.in_account
def delete(ctx: Ctx, group: Obj[Group], ask: ById) -> Raw:
    scim.check_version(ctx, group)
    if group.id in (ADMINS, USERS):
        raise Invalid(f"the group '{group.name}' cannot be deleted")
    credentials.end_principal(ctx, group.id)
    objects.delete(ctx, group)
    principals.keep_an_administrator(ctx)
    return scim.gone()


def _save(ctx: Ctx, group: Obj[Group], before: dict[str, Any], after: dict[str, Any]) -> Obj[Group]:
    from lakewright.identity import scim_schemas

    name, spec = str(after["displayName"]), Group(external_id=after.get("externalId"))
    texts = list(scim_schemas.texts(scim_schemas.Group, after))
    if name != group.name:
        if group.id in (ADMINS, USERS):
            raise Invalid(f"the group '{group.name}' cannot be renamed")
        group = principals.rename(ctx, group, "group", name)
    if spec != group.spec:
        group = objects.replace_spec(ctx, group, spec)
    principals.set_display_name(ctx, group.id, group.name)
    principals.set_texts(ctx, group.id, texts)
    resources.assign(ctx, group.id, before, after)
    return objects.again(ctx, group)


def _set_members(ctx: Ctx, group: Obj[Group], wanted: list[str]) -> None:
    now = principals.member_ids_of(ctx, group.id)
    _hold_together(group, [each for each in now if each not in set(wanted)])
    principals.set_members(ctx, group.id, wanted)


def _hold_together(group: Obj[Group], removed: list[str]) -> None:
    """Everybody is in the group of all users for as long as they exist."""
    if removed and group.id == USERS:
        raise Invalid(f"members: nobody can be taken out of '{group.name}'; deactivate or delete the principal")


def _alone(ctx: Ctx, group: Obj[Group]) -> dict[str, Any]:
    """The group as a resource, without its members."""
    return resources.show(ctx, group, ById.model_validate({"id": group.id, "excludedAttributes": "members"}))


def _without_members(payload: dict[str, Any]) -> tuple[dict[str, Any], list[str] | None]:
    from lakewright.identity import group_members

    rest = {name: value for name, value in payload.items() if name.lower() != "members"}
    given = [value for name, value in payload.items() if name.lower() == "members"]
    if not given or given[0] is None:
        return rest, None
    return rest, group_members.ids(given[0])


def _body(group: Obj[Group], row: Row) -> dict[str, Any]:
    shown: dict[str, Any] = {"schemas": [SCHEMA], "id": group.id, "displayName": group.name}
    if group.spec.external_id is not None:
        shown["externalId"] = group.spec.external_id
    return shown


resources.BODIES["group"] = ("Groups", _body)
