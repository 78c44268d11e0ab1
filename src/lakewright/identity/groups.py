"""Groups: principals that hold others, and each other."""

from typing import Any

from pydantic import BaseModel, Field

from lakewright.identity import credentials, principals, scim
from lakewright.identity.scim import Listing, PatchOperation, Value
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid, NotSupported
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import Ask, Reply
from lakewright.kernel.roots import ACCOUNT, ADMINS, IN_ACCOUNT, USERS, Root
from lakewright.kernel.rules import ADMIN, PER_ROW

SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Group"


class Group(BaseModel):
    external_id: str | None = None


GROUP = Kind("group", example=Group(), under=ACCOUNT, ids="number")
api = scim.api("Groups")
BY_ID = GROUP.by_id("{id}")


class CreateGroup(Ask):
    display_name: str = Field(alias="displayName")
    external_id: str | None = Field(None, alias="externalId")
    members: list[Value] = []
    schemas: list[str] = []


class ById(Ask):
    id: str


class PatchGroup(Ask):
    id: str
    schemas: list[str] = []
    operations: list[PatchOperation] = Field(alias="Operations")


@api("POST", audit="createGroup", on=IN_ACCOUNT, needs=ADMIN, also=scim.both("Groups"))
def create(ctx: Ctx, account: Obj[Root], ask: CreateGroup) -> Reply:
    made = principals.create(
        ctx, GROUP, "group", ask.display_name, ask.display_name, Group(external_id=ask.external_id)
    )
    for member in ask.members:
        principals.add_member(ctx, made.id, member.value)
    return show(ctx, made)


@api("GET", audit="listGroups", on=IN_ACCOUNT, needs=PER_ROW, also=scim.both("Groups"))
def list_(ctx: Ctx, account: Obj[Root], ask: Listing) -> Reply:
    wanted = scim.equals(ask.filter, {"displayname": "name", "id": "id"})
    found = [g for g in objects.visible(ctx, GROUP, ADMIN) if wanted is None or getattr(g, wanted[0]) == wanted[1]]
    return scim.envelope([show(ctx, g) for g in found], ask)


@api("GET", "/{id}", audit="getGroup", on=BY_ID, needs=ADMIN, also=scim.both("Groups", "/{id}"))
def get(ctx: Ctx, group: Obj[Group], ask: ById) -> Reply:
    return show(ctx, group)


@api("PATCH", "/{id}", audit="updateGroup", on=BY_ID, needs=ADMIN, also=scim.both("Groups", "/{id}"))
def patch(ctx: Ctx, group: Obj[Group], ask: PatchGroup) -> Reply:
    for each in ask.operations:
        _apply(ctx, group, each)
    return show(ctx, objects.again(ctx, group))


@api("DELETE", "/{id}", audit="deleteGroup", on=BY_ID, needs=ADMIN, also=scim.both("Groups", "/{id}"))
def delete(ctx: Ctx, group: Obj[Group], ask: ById) -> Reply:
    if group.id in (ADMINS, USERS):
        raise Invalid(f"the group '{group.name}' cannot be deleted")
    credentials.end_principal(ctx, group.id)
    objects.delete(ctx, group)
    return {}


def _apply(ctx: Ctx, group: Obj[Group], change: PatchOperation) -> None:
    op, path = change.op.lower(), change.path or ""
    one = scim.member_of_path(path)
    if op == "remove" and one is not None:
        _remove(ctx, group.id, one)
    elif op == "remove" and path == "members":
        gone = scim.ids(change.value) if change.value else [m["value"] for m in principals.members(ctx, group.id)]
        for member in gone:
            _remove(ctx, group.id, member)
    elif op in ("add", "replace") and (path == "members" or (not path and _only(change.value, "members"))):
        value = change.value if path else change.value["members"]
        wanted = scim.ids(value) if value else []
        if op == "replace":
            for member in principals.members(ctx, group.id):
                if member["value"] not in wanted:
                    _remove(ctx, group.id, member["value"])
        for member in wanted:
            principals.add_member(ctx, group.id, member)
    else:
        raise NotSupported(f"updateGroup does not support op '{change.op}' on '{path or 'the whole group'}'")


def _only(value: Any, name: str) -> bool:
    return isinstance(value, dict) and set(value) == {name}  # type: ignore[reportUnknownArgumentType]


def _remove(ctx: Ctx, group_id: str, member_id: str) -> None:
    if group_id == ADMINS and len(principals.members(ctx, ADMINS)) <= 1:
        raise Invalid("members: the last administrator cannot be removed")
    principals.remove_member(ctx, group_id, member_id)


def show(ctx: Ctx, group: Obj[Group]) -> Reply:
    shown: Reply = {
        "schemas": [SCHEMA], "id": group.id, "displayName": group.name, "members": principals.members(ctx, group.id),
        "groups": principals.groups_of(ctx, group.id), "meta": {"resourceType": "Group"},
    }  # fmt: skip
    if group.spec.external_id:
        shown["externalId"] = group.spec.external_id
    return shown
