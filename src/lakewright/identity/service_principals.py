"""Service principals: identities that jobs, pipelines and endpoints run as."""

from typing import Any
from uuid import uuid4

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
from lakewright.kernel.roots import ACCOUNT, IN_ACCOUNT, Root
from lakewright.kernel.rules import ADMIN, PER_ROW
from lakewright.kernel.store import Row

SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:ServicePrincipal"


class ServicePrincipal(BaseModel):
    application_id: str
    external_id: str | None = None


SERVICE_PRINCIPAL = Kind(
    "servicePrincipal", example=ServicePrincipal(application_id="00000000-0000-0000-0000-000000000000"), under=ACCOUNT,
    ids="number",
)  # fmt: skip
(USE,) = SERVICE_PRINCIPAL.levels("CAN_USE")
"""The user role: may run jobs as this service principal. Shown by the SDK as `servicePrincipal/user`."""

api = scim.api("ServicePrincipals")
BY_ID = SERVICE_PRINCIPAL.by_id("{id}")


@api("POST", audit="createServicePrincipal", on=IN_ACCOUNT, needs=ADMIN, also=scim.both("ServicePrincipals"))
@scim.in_account
def create(ctx: Ctx, account: Obj[Root], ask: Sent) -> Json:
    from lakewright.identity import scim_schemas

    payload = ask.resource_with(applicationId=str(uuid4()), active=True)
    resources.refuse_unassignable(payload)
    data = scim_schemas.stored(scim_schemas.created(scim_schemas.ServicePrincipal, payload))
    name = str(data["applicationId"])
    data.setdefault("displayName", name)
    spec = ServicePrincipal(application_id=name, external_id=data.get("externalId"))
    texts = list(scim_schemas.texts(scim_schemas.ServicePrincipal, data))
    made = principals.create(ctx, SERVICE_PRINCIPAL, "service_principal", name, data["displayName"], spec, texts=texts)
    if data.get("active") is False:
        principals.set_active(ctx, made.id, False)
    resources.assign(ctx, made.id, {}, data)
    return scim.answer(ctx, resources.show(ctx, objects.again(ctx, made), ask), ask, status=201)


@api("GET", audit="listServicePrincipals", on=IN_ACCOUNT, needs=PER_ROW, also=scim.both("ServicePrincipals"))
@scim.in_account
def list_(ctx: Ctx, account: Obj[Root], ask: Listing) -> Json:
    return resources.listing(ctx, ["servicePrincipal"], ask)


@api(
    "POST", "/.search", audit="searchServicePrincipals", on=IN_ACCOUNT, needs=PER_ROW, runs=SNAPSHOT,
    also=scim.both("ServicePrincipals", "/.search"),
)  # fmt: skip
@scim.in_account
def search(ctx: Ctx, account: Obj[Root], ask: Search) -> Json:
    return resources.listing(ctx, ["servicePrincipal"], ask)


@api("GET", "/{id}", audit="getServicePrincipal", on=BY_ID, needs=SEE, also=scim.both("ServicePrincipals", "/{id}"))
@scim.in_account
def get(ctx: Ctx, it: Obj[ServicePrincipal], ask: ById) -> Json | Raw:
    return scim.not_modified(it) if scim.unchanged(ctx, it) else scim.answer(ctx, resources.read(ctx, it, ask), ask)


@api(
    "PUT", "/{id}", audit="replaceServicePrincipal", on=BY_ID, needs=ADMIN,
    also=scim.both("ServicePrincipals", "/{id}"),
)  # fmt: skip
@scim.in_account
def replace(ctx: Ctx, it: Obj[ServicePrincipal], ask: SentById) -> Json:
    from lakewright.identity import scim_schemas

    scim.check_version(ctx, it)
    before = resources.show(ctx, it)
    payload = ask.resource_with(applicationId=it.spec.application_id, active=before["active"])
    resources.refuse_unassignable(payload)
    after = scim_schemas.stored(scim_schemas.replaced(scim_schemas.ServicePrincipal, payload, before))
    return scim.answer(ctx, resources.show(ctx, _save(ctx, it, before, after), ask), ask)


@api(
    "PATCH", "/{id}", audit="updateServicePrincipal", on=BY_ID, needs=ADMIN,
    also=scim.both("ServicePrincipals", "/{id}"),
)  # fmt: skip
@scim.in_account
def patch(ctx: Ctx, it: Obj[ServicePrincipal], ask: Patch) -> Json:
    from lakewright.identity import scim_schemas

    scim.check_version(ctx, it)
    before = resources.show(ctx, it)
    after = scim_schemas.patched(scim_schemas.ServicePrincipal, ask.operations_sent(), before)
    it = _save(ctx, it, before, scim_schemas.stored(after))
    return scim.answer(ctx, resources.show(ctx, it, ask), ask)


@api(
    "DELETE", "/{id}", audit="deleteServicePrincipal", on=BY_ID, needs=ADMIN,
    also=scim.both("ServicePrincipals", "/{id}"),
)  # fmt: skip
@scim.in_account
def delete(ctx: Ctx, it: Obj[ServicePrincipal], ask: ById) -> Raw:
    scim.check_version(ctx, it)
    if it.id == ctx.principal.id:
        raise Invalid("you cannot delete yourself")
    credentials.end_principal(ctx, it.id)
    objects.delete(ctx, it)
    return scim.gone()


def _save(ctx: Ctx, it: Obj[ServicePrincipal], before: dict[str, Any], after: dict[str, Any]) -> Obj[ServicePrincipal]:
    from lakewright.identity import scim_schemas

    texts = list(scim_schemas.texts(scim_schemas.ServicePrincipal, after))
    spec = it.spec.model_copy(update={"external_id": after.get("externalId")})
    if spec != it.spec:
        it = objects.replace_spec(ctx, it, spec)
    principals.set_display_name(ctx, it.id, str(after.get("displayName") or it.name))
    principals.set_texts(ctx, it.id, texts)
    principals.set_active(ctx, it.id, after.get("active") is not False)
    resources.assign(ctx, it.id, before, after)
    return objects.again(ctx, it)


def _body(it: Obj[ServicePrincipal], row: Row) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "schemas": [SCHEMA], "id": it.id, "applicationId": it.spec.application_id, "active": bool(row["active"]),
    }  # fmt: skip
    if row["display_name"] != it.name:  # which stands in where there is none
        shown["displayName"] = row["display_name"]
    if it.spec.external_id is not None:
        shown["externalId"] = it.spec.external_id
    return shown


resources.BODIES["servicePrincipal"] = ("ServicePrincipals", _body)
