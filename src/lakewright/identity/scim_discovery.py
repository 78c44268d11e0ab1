"""SCIM's own description: what this service supports, its schemas and resource types; and what is not there."""

from typing import Any

from pydantic import ConfigDict

from lakewright.identity import principals, resources, scim
from lakewright.identity.scim import Addressed, Refused, Search
from lakewright.kernel.answers import Json
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import NotFound, NotSupported
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Operation
from lakewright.kernel.roots import IN_ACCOUNT, Root
from lakewright.kernel.rules import EVERYONE, PER_ROW

api = Api("accounts", scim.WORKSPACE, scim.scim)


def both(path: str) -> tuple[str, ...]:
    return (f"{scim.ACCOUNTS}{path}", f"{scim.CURRENT_ACCOUNT}{path}")


class Described(Addressed):
    """RFC 7644 §4: a filter is refused here, so that nobody believes that it was applied; paging is ignored."""

    model_config = ConfigDict(extra="ignore")
    filter: str | None = None


class Named(Addressed):
    id: str


class Anything(Addressed):
    model_config = ConfigDict(extra="ignore")
    rest: str


@api("GET", "/ServiceProviderConfig", audit="scimConfig", on=IN_ACCOUNT, needs=EVERYONE, runs=SNAPSHOT,
     also=both("/ServiceProviderConfig"))  # fmt: skip
@scim.in_account
def config(ctx: Ctx, account: Obj[Root], ask: Described) -> Json:
    """Open to all signed in: it describes the service, not what is in it."""
    from lakewright.identity import scim_schemas

    shown = scim_schemas.provider().config
    assert shown is not None
    return _described(ctx, ask, shown.model_dump(), "ServiceProviderConfig", "")


@api("GET", "/Schemas", audit="scimSchemas", on=IN_ACCOUNT, needs=EVERYONE, runs=SNAPSHOT, also=both("/Schemas"))
@scim.in_account
def schemas(ctx: Ctx, account: Obj[Root], ask: Described) -> Json:
    """Open to all signed in: it describes the service, not what is in it."""

    return _listed(ctx, ask, _schemas(ctx), "Schema", "Schemas")


@api("GET", "/ResourceTypes", audit="scimResourceTypes", on=IN_ACCOUNT, needs=EVERYONE, runs=SNAPSHOT,
     also=both("/ResourceTypes"))  # fmt: skip
@scim.in_account
def resource_types(ctx: Ctx, account: Obj[Root], ask: Described) -> Json:
    """Open to all signed in: it describes the service, not what is in it."""

    return _listed(ctx, ask, _resource_types(), "ResourceType", "ResourceTypes")


@api(
    "GET", "/Schemas/{id}", audit="scimSchema", on=IN_ACCOUNT, needs=EVERYONE, runs=SNAPSHOT, also=both("/Schemas/{id}")
)
@scim.in_account
def schema(ctx: Ctx, account: Obj[Root], ask: Named) -> Json:
    """Open to all signed in: it describes the service, not what is in it."""

    return _one(ctx, ask, _schemas(ctx), "Schema", "Schemas")


@api("GET", "/ResourceTypes/{id}", audit="scimResourceType", on=IN_ACCOUNT, needs=EVERYONE, runs=SNAPSHOT,
     also=both("/ResourceTypes/{id}"))  # fmt: skip
@scim.in_account
def resource_type(ctx: Ctx, account: Obj[Root], ask: Named) -> Json:
    """Open to all signed in: it describes the service, not what is in it."""

    return _one(ctx, ask, _resource_types(), "ResourceType", "ResourceTypes")


@api("POST", "/.search", audit="searchPrincipals", on=IN_ACCOUNT, needs=PER_ROW, runs=SNAPSHOT, also=both("/.search"))
@scim.in_account
def search(ctx: Ctx, account: Obj[Root], ask: Search) -> Json:
    return resources.listing(ctx, ["user", "group", "servicePrincipal"], ask)


def _resource_types() -> list[dict[str, Any]]:
    from lakewright.identity import scim_schemas

    return [each.model_dump() for each in scim_schemas.provider().resource_types]


def _schemas(ctx: Ctx) -> list[dict[str, Any]]:
    """The schemas as they are at this address: what is given in a workspace is only read at the account's."""
    from lakewright.identity import scim_schemas

    found = [each.model_dump() for each in scim_schemas.provider().schemas]
    if not ctx.workspace:
        for attribute in (attribute for each in found for attribute in each["attributes"]):
            if attribute["name"] in principals.ASSIGNMENTS:
                attribute["mutability"] = "readOnly"
    return found


def _described(ctx: Ctx, ask: Addressed, body: dict[str, Any], kind: str, name: str) -> Json:
    where = f"{scim.base_url(ctx, ask)}/{kind if not name else f'{kind}s/{name}'}"
    meta = {"resourceType": kind, "location": where}
    return Json({**body, "meta": meta}, headers=scim.media_type(ctx))


def _listed(ctx: Ctx, ask: Described, found: list[dict[str, Any]], kind: str, endpoint: str) -> Json:
    if ask.filter is not None:
        raise Refused(f"{endpoint} cannot be filtered", status=403)
    base = scim.base_url(ctx, ask)
    shown = [{**each, "meta": {"resourceType": kind, "location": f"{base}/{endpoint}/{each['id']}"}} for each in found]
    body = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"], "totalResults": len(shown),
        "startIndex": 1, "itemsPerPage": len(shown), "Resources": shown,
    }  # fmt: skip
    return Json(body, headers=scim.media_type(ctx))


def _one(ctx: Ctx, ask: Named, found: list[dict[str, Any]], kind: str, endpoint: str) -> Json:
    for each in found:
        if str(each["id"]).lower() == ask.id.lower():
            return _described(ctx, ask, each, kind, str(each["id"]))
    raise NotFound(f"{endpoint} has no '{ask.id}'")


def _elsewhere(verb: str) -> Operation[Root, Any]:
    """Whatever else is asked below the SCIM addresses is refused in SCIM's own words."""

    @api(verb, "/{rest:rest}", audit=f"scimUnknown{verb.capitalize()}", on=IN_ACCOUNT, needs=EVERYONE, runs=SNAPSHOT,
         also=both("/{rest:rest}"))  # fmt: skip
    @scim.in_account
    def refuse(ctx: Ctx, account: Obj[Root], ask: Anything) -> Json:
        """Open to all signed in: it always refuses."""
        endpoint = ask.rest.partition("/")[0]
        if endpoint == "Bulk":
            raise NotSupported("SCIM Bulk is not supported; send the operations one by one")
        if endpoint in _ENDPOINTS and verb != "GET":
            raise Refused(f"{verb} is not possible on {ask.rest}", status=405)
        raise NotFound(f"there is no SCIM resource '{ask.rest}'")

    return refuse


_ENDPOINTS = ("Users", "Groups", "ServicePrincipals", "Me", "ServiceProviderConfig", "Schemas", "ResourceTypes")
UNKNOWN = [_elsewhere(verb) for verb in ("GET", "POST", "PUT", "PATCH", "DELETE")]
