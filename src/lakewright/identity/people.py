"""Users: people who sign in."""

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
from lakewright.kernel.roots import ACCOUNT, IN_ACCOUNT, Root
from lakewright.kernel.rules import ADMIN, PER_ROW

SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:User"


class User(BaseModel):
    external_id: str | None = None
    given_name: str | None = None
    family_name: str | None = None


USER = Kind("user", example=User(), under=ACCOUNT, ids="number", folded=True)
api = scim.api("Users")
BY_ID = USER.by_id("{id}")


class Name(Ask):
    given_name: str | None = Field(None, alias="givenName")
    family_name: str | None = Field(None, alias="familyName")


class CreateUser(Ask):
    user_name: str = Field(alias="userName")
    display_name: str | None = Field(None, alias="displayName")
    external_id: str | None = Field(None, alias="externalId")
    name: Name | None = None
    emails: list[Value] = []
    active: bool = True
    schemas: list[str] = []
    groups: list[Value] = []


class ById(Ask):
    id: str
    attributes: str | None = None
    excluded_attributes: str | None = Field(None, alias="excludedAttributes")


class PatchUser(Ask):
    id: str
    schemas: list[str] = []
    operations: list[PatchOperation] = Field(alias="Operations")


@api("POST", audit="createUser", on=IN_ACCOUNT, needs=ADMIN, also=scim.both("Users"))
def create(ctx: Ctx, account: Obj[Root], ask: CreateUser) -> Reply:
    if ask.groups:
        raise NotSupported("groups: put a user into a group through the group")
    names = ask.name or Name.model_validate({})
    spec = User(external_id=ask.external_id, given_name=names.given_name, family_name=names.family_name)
    user_name = ask.user_name.lower()
    made = principals.create(ctx, USER, "user", user_name, ask.display_name or user_name, spec)
    if not ask.active:
        principals.set_active(ctx, made.id, False)
    return show(ctx, made)


@api("GET", audit="listUsers", on=IN_ACCOUNT, needs=PER_ROW, also=scim.both("Users"))
def list_(ctx: Ctx, account: Obj[Root], ask: Listing) -> Reply:
    wanted = scim.equals(
        ask.filter, {"username": "name", "id": "id", "displayname": "display", "externalid": "external"}
    )
    found = [u for u in objects.visible(ctx, USER, ADMIN) if _matches(ctx, u, wanted)]
    return scim.envelope([show(ctx, u) for u in found], ask)


@api("GET", "/{id}", audit="getUser", on=BY_ID, needs=ADMIN, also=scim.both("Users", "/{id}"))
def get(ctx: Ctx, user: Obj[User], ask: ById) -> Reply:
    return show(ctx, user)


@api("PATCH", "/{id}", audit="updateUser", on=BY_ID, needs=ADMIN, also=scim.both("Users", "/{id}"))
def patch(ctx: Ctx, user: Obj[User], ask: PatchUser) -> Reply:
    for each in ask.operations:
        user = _apply(ctx, user, each)
    return show(ctx, user)


@api("DELETE", "/{id}", audit="deleteUser", on=BY_ID, needs=ADMIN, also=scim.both("Users", "/{id}"))
def delete(ctx: Ctx, user: Obj[User], ask: ById) -> Reply:
    if user.id == ctx.principal.id:
        raise Invalid("you cannot delete yourself")
    credentials.end_principal(ctx, user.id)
    objects.delete(ctx, user)
    return {}


def _apply(ctx: Ctx, user: Obj[User], change: PatchOperation) -> Obj[User]:
    if change.op.lower() not in ("add", "replace"):
        raise NotSupported(f"updateUser does not support op '{change.op}'")
    values: dict[str, Any] = {change.path: change.value} if change.path else dict(change.value or {})
    for path, value in values.items():
        if path == "active":
            principals.set_active(ctx, user.id, scim.boolean(value))
        elif path == "displayName":
            principals.set_display_name(ctx, user.id, str(value))
        elif path == "externalId":
            user = objects.update(ctx, user, external_id=str(value))
        elif path in ("name.givenName", "name.familyName"):
            user = objects.update(ctx, user, **{"given_name" if "given" in path else "family_name": str(value)})
        else:
            raise NotSupported(f"updateUser does not support the path '{path}'")
    return user


def _matches(ctx: Ctx, user: Obj[User], wanted: tuple[str, str] | None) -> bool:
    if wanted is None:
        return True
    attribute, value = wanted
    has = {
        "name": user.name, "id": user.id, "display": principals.display_name(ctx, user.id),
        "external": user.spec.external_id or "",
    }[attribute]  # fmt: skip
    return has.lower() == value.lower()


def show(ctx: Ctx, user: Obj[User]) -> Reply:
    spec = user.spec
    names = {"givenName": spec.given_name, "familyName": spec.family_name}
    shown: Reply = {
        "schemas": [SCHEMA], "id": user.id, "userName": user.name, "displayName": principals.display_name(ctx, user.id),
        "active": principals.is_active(ctx, user.id), "emails": [{"value": user.name, "type": "work", "primary": True}],
        "groups": principals.groups_of(ctx, user.id),
    }  # fmt: skip
    if spec.external_id:
        shown["externalId"] = spec.external_id
    if any(names.values()):
        shown["name"] = {k: v for k, v in names.items() if v}
    return shown
