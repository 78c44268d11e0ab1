"""Users: people who sign in. Provisioned over SCIM by an identity provider, or made one by one."""

from typing import Any

from pydantic import BaseModel, model_validator

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
from lakewright.kernel.roots import ACCOUNT, IN_ACCOUNT, Root
from lakewright.kernel.rules import ADMIN, PER_ROW
from lakewright.kernel.store import Row

SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


class User(BaseModel):
    """`profile` is what the directory says of the person, by SCIM names: stored, shown, filtered by, nothing more."""

    external_id: str | None = None
    profile: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _of_the_first_schema(cls, given: Any) -> Any:
        if isinstance(given, dict) and ("given_name" in given or "family_name" in given):
            names = {"givenName": given.pop("given_name", None), "familyName": given.pop("family_name", None)}  # type: ignore[reportUnknownMemberType, reportUnknownVariableType]
            if any(names.values()):  # type: ignore[reportUnknownArgumentType]
                return {**given, "profile": {"name": {k: v for k, v in names.items() if v}}}  # type: ignore[reportUnknownVariableType]
        return given  # type: ignore[reportUnknownVariableType]


USER = Kind("user", example=User(), under=ACCOUNT, ids="number", folded=True)
api = scim.api("Users")
BY_ID = USER.by_id("{id}")
ELSEWHERE = frozenset({"schemas", "id", "externalId", "userName", "active", "groups", "entitlements", "roles", "meta"})
"""Attributes of the resource that are not part of its profile."""


@api("POST", audit="createUser", on=IN_ACCOUNT, needs=ADMIN, also=scim.both("Users"))
@scim.in_account
def create(ctx: Ctx, account: Obj[Root], ask: Sent) -> Json:
    from lakewright.identity import scim_schemas

    payload = ask.resource_with(active=True)
    resources.refuse_unassignable(payload)
    data = scim_schemas.stored(scim_schemas.created(scim_schemas.Person, payload))
    _with_an_address(data)
    name, display = str(data["userName"]), data.get("displayName")
    texts = list(scim_schemas.texts(scim_schemas.Person, data))
    made = principals.create(ctx, USER, "user", name, str(display or name.strip().lower()), _spec(data), texts=texts)
    if data.get("active") is False:
        principals.set_active(ctx, made.id, False)
    resources.assign(ctx, made.id, {}, data)
    return scim.answer(ctx, resources.show(ctx, objects.again(ctx, made), ask), ask, status=201)


@api("GET", audit="listUsers", on=IN_ACCOUNT, needs=PER_ROW, also=scim.both("Users"))
@scim.in_account
def list_(ctx: Ctx, account: Obj[Root], ask: Listing) -> Json:
    return resources.listing(ctx, ["user"], ask)


@api(
    "POST", "/.search", audit="searchUsers", on=IN_ACCOUNT, needs=PER_ROW, runs=SNAPSHOT,
    also=scim.both("Users", "/.search"),
)  # fmt: skip
@scim.in_account
def search(ctx: Ctx, account: Obj[Root], ask: Search) -> Json:
    return resources.listing(ctx, ["user"], ask)


@api("GET", "/{id}", audit="getUser", on=BY_ID, needs=SEE, also=scim.both("Users", "/{id}"))
@scim.in_account
def get(ctx: Ctx, user: Obj[User], ask: ById) -> Json | Raw:
    return (
        scim.not_modified(user) if scim.unchanged(ctx, user) else scim.answer(ctx, resources.read(ctx, user, ask), ask)
    )


@api("PUT", "/{id}", audit="replaceUser", on=BY_ID, needs=ADMIN, also=scim.both("Users", "/{id}"))
@scim.in_account
def replace(ctx: Ctx, user: Obj[User], ask: SentById) -> Json:
    from lakewright.identity import scim_schemas

    scim.check_version(ctx, user)
    before = resources.show(ctx, user)
    # Whoever leaves `active` out does not mean to let a deactivated person in again.
    payload = ask.resource_with(active=before["active"])
    resources.refuse_unassignable(payload)
    after = scim_schemas.stored(scim_schemas.replaced(scim_schemas.Person, payload, before))
    return scim.answer(ctx, resources.show(ctx, _save(ctx, user, before, after), ask), ask)


@api("PATCH", "/{id}", audit="updateUser", on=BY_ID, needs=ADMIN, also=scim.both("Users", "/{id}"))
@scim.in_account
def patch(ctx: Ctx, user: Obj[User], ask: Patch) -> Json:
    from lakewright.identity import scim_schemas

    scim.check_version(ctx, user)
    before = resources.show(ctx, user)
    if operations := ask.operations_sent():
        after = scim_schemas.stored(scim_schemas.patched(scim_schemas.Person, operations, before))
        user = _save(ctx, user, before, after)
    return scim.answer(ctx, resources.show(ctx, user, ask), ask)


@api("DELETE", "/{id}", audit="deleteUser", on=BY_ID, needs=ADMIN, also=scim.both("Users", "/{id}"))
@scim.in_account
def delete(ctx: Ctx, user: Obj[User], ask: ById) -> Raw:
    scim.check_version(ctx, user)
    if user.id == ctx.principal.id:
        raise Invalid("you cannot delete yourself")
    credentials.end_principal(ctx, user.id)
    objects.delete(ctx, user)
    return scim.gone()


def _save(ctx: Ctx, user: Obj[User], before: dict[str, Any], after: dict[str, Any]) -> Obj[User]:
    """Bring the person to what the resource says now."""
    from lakewright.identity import scim_schemas

    name = str(after["userName"]).strip().lower()
    texts = list(scim_schemas.texts(scim_schemas.Person, after))
    if name != user.name:
        user = principals.rename(ctx, user, "user", name)
    if (spec := _spec(after)) != user.spec:
        user = objects.replace_spec(ctx, user, spec)
    principals.set_display_name(ctx, user.id, str(after.get("displayName") or name))
    principals.set_texts(ctx, user.id, texts)
    principals.set_active(ctx, user.id, after.get("active") is not False)
    resources.assign(ctx, user.id, before, after)
    return objects.again(ctx, user)


def _spec(data: dict[str, Any]) -> User:
    profile = {name: value for name, value in data.items() if name not in ELSEWHERE}
    return User(external_id=data.get("externalId"), profile=profile)


def _with_an_address(data: dict[str, Any]) -> None:
    """A user name that is a mail address is the mail address of whoever names no other."""
    data.setdefault(
        "displayName", (scim.names(data.get("name")) or {}).get("formatted") or str(data["userName"]).strip()
    )
    if "@" in data["userName"] and not data.get("emails"):
        data["emails"] = [{"value": data["userName"].strip(), "type": "work", "primary": True}]


def _body(user: Obj[User], row: Row) -> dict[str, Any]:
    profile = user.spec.profile
    shown = {
        "schemas": [SCHEMA, *([ENTERPRISE] if ENTERPRISE in profile else [])], "id": user.id, "userName": user.name,
        **profile, "active": bool(row["active"]),
    }  # fmt: skip
    if row["display_name"] != user.name:  # which stands in where there is none
        shown.setdefault("displayName", row["display_name"])
    if user.spec.external_id is not None:
        shown["externalId"] = user.spec.external_id
    return shown


resources.BODIES["user"] = ("Users", _body)
