"""Service principals: identities that jobs, pipelines and endpoints run as."""

from typing import Any
from uuid import uuid4

from pydantic import BaseModel, Field

from lakewright.identity import credentials, principals, scim
from lakewright.identity.scim import Listing, PatchOperation, Value
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import NotFound, NotSupported
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import Api, Ask, Reply
from lakewright.kernel.roots import ACCOUNT, IN_ACCOUNT, Root
from lakewright.kernel.rules import ADMIN, PER_ROW

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
secrets_api = Api("accounts", "/api/2.0/accounts")
BY_ID = SERVICE_PRINCIPAL.by_id("{id}")
OF_SECRET = SERVICE_PRINCIPAL.by_id("{service_principal_id}")


class CreateServicePrincipal(Ask):
    display_name: str | None = Field(None, alias="displayName")
    application_id: str | None = Field(None, alias="applicationId")
    external_id: str | None = Field(None, alias="externalId")
    active: bool = True
    schemas: list[str] = []
    groups: list[Value] = []


class ById(Ask):
    id: str


class Patch(Ask):
    id: str
    schemas: list[str] = []
    operations: list[PatchOperation] = Field(alias="Operations")


class CreateSecret(Ask):
    service_principal_id: str
    account_id: str = ""
    lifetime: str | None = None


class OneSecret(Ask):
    service_principal_id: str
    secret_id: str
    account_id: str = ""


class Secrets(Ask):
    service_principal_id: str
    account_id: str = ""
    page_token: str | None = None


@api("POST", audit="createServicePrincipal", on=IN_ACCOUNT, needs=ADMIN, also=scim.both("ServicePrincipals"))
def create(ctx: Ctx, account: Obj[Root], ask: CreateServicePrincipal) -> Reply:
    if ask.groups:
        raise NotSupported("groups: put a service principal into a group through the group")
    application_id = ask.application_id or str(uuid4())
    spec = ServicePrincipal(application_id=application_id, external_id=ask.external_id)
    display = ask.display_name or application_id
    made = principals.create(ctx, SERVICE_PRINCIPAL, "service_principal", application_id, display, spec)
    if not ask.active:
        principals.set_active(ctx, made.id, False)
    return show(ctx, made)


@api("GET", audit="listServicePrincipals", on=IN_ACCOUNT, needs=PER_ROW, also=scim.both("ServicePrincipals"))
def list_(ctx: Ctx, account: Obj[Root], ask: Listing) -> Reply:
    wanted = scim.equals(ask.filter, {"displayname": "displayName", "applicationid": "applicationId", "id": "id"})
    found = [show(ctx, s) for s in objects.visible(ctx, SERVICE_PRINCIPAL, ADMIN)]
    return scim.envelope([s for s in found if wanted is None or s[wanted[0]] == wanted[1]], ask)


@api("GET", "/{id}", audit="getServicePrincipal", on=BY_ID, needs=ADMIN, also=scim.both("ServicePrincipals", "/{id}"))
def get(ctx: Ctx, it: Obj[ServicePrincipal], ask: ById) -> Reply:
    return show(ctx, it)


@api(
    "PATCH",
    "/{id}",
    audit="updateServicePrincipal",
    on=BY_ID,
    needs=ADMIN,
    also=scim.both("ServicePrincipals", "/{id}"),
)
def patch(ctx: Ctx, it: Obj[ServicePrincipal], ask: Patch) -> Reply:
    for each in ask.operations:
        values: dict[str, Any] = {each.path: each.value} if each.path else dict(each.value or {})
        for path, value in values.items():
            if each.op.lower() not in ("add", "replace") or path not in ("active", "displayName"):
                raise NotSupported(f"updateServicePrincipal does not support op '{each.op}' on '{path}'")
            if path == "active":
                principals.set_active(ctx, it.id, scim.boolean(value))
            else:
                principals.set_display_name(ctx, it.id, str(value))
    return show(ctx, it)


@api(
    "DELETE",
    "/{id}",
    audit="deleteServicePrincipal",
    on=BY_ID,
    needs=ADMIN,
    also=scim.both("ServicePrincipals", "/{id}"),
)
def delete(ctx: Ctx, it: Obj[ServicePrincipal], ask: ById) -> Reply:
    credentials.end_principal(ctx, it.id)
    objects.delete(ctx, it)
    return {}


@secrets_api(
    "POST", "/servicePrincipals/{service_principal_id}/credentials/secrets", audit="createServicePrincipalSecret",
    on=OF_SECRET, needs=ADMIN,
    also=("/api/2.0/accounts/{account_id}/servicePrincipals/{service_principal_id}/credentials/secrets",),
)  # fmt: skip
def create_secret(ctx: Ctx, it: Obj[ServicePrincipal], ask: CreateSecret) -> Reply:
    """Answered once, never readable again."""
    lifetime = int(ask.lifetime.rstrip("s")) if ask.lifetime else 2 * 365 * 24 * 3600
    made = credentials.issue(ctx, it.id, "client_secret", lifetime_seconds=lifetime)
    return {"id": made.id, "secret": made.secret, "status": "ACTIVE", "secret_hash": made.id}


@secrets_api(
    "GET", "/servicePrincipals/{service_principal_id}/credentials/secrets", audit="listServicePrincipalSecrets",
    on=OF_SECRET, needs=ADMIN,
    also=("/api/2.0/accounts/{account_id}/servicePrincipals/{service_principal_id}/credentials/secrets",),
)  # fmt: skip
def list_secrets(ctx: Ctx, it: Obj[ServicePrincipal], ask: Secrets) -> Reply:
    rows = ctx.tx.all(
        "SELECT id FROM tokens WHERE principal_id = ? AND kind = 'client_secret' AND revoked_at IS NULL ORDER BY created_at",
        it.id,
    )
    return {"secrets": [{"id": r["id"], "status": "ACTIVE", "secret_hash": r["id"]} for r in rows]}


@secrets_api(
    "DELETE", "/servicePrincipals/{service_principal_id}/credentials/secrets/{secret_id}",
    audit="deleteServicePrincipalSecret", on=OF_SECRET, needs=ADMIN,
    also=("/api/2.0/accounts/{account_id}/servicePrincipals/{service_principal_id}/credentials/secrets/{secret_id}",),
)  # fmt: skip
def delete_secret(ctx: Ctx, it: Obj[ServicePrincipal], ask: OneSecret) -> Reply:
    found = ctx.tx.one("SELECT id FROM tokens WHERE id = ? AND principal_id = ?", ask.secret_id, it.id)
    if found is None or not credentials.revoke(ctx, ask.secret_id):
        raise NotFound(f"secret '{ask.secret_id}' does not exist")
    return {}


def show(ctx: Ctx, it: Obj[ServicePrincipal]) -> Reply:
    shown: Reply = {
        "schemas": [SCHEMA], "id": it.id, "applicationId": it.spec.application_id,
        "displayName": principals.display_name(ctx, it.id), "active": principals.is_active(ctx, it.id),
        "groups": principals.groups_of(ctx, it.id),
    }  # fmt: skip
    if it.spec.external_id:
        shown["externalId"] = it.spec.external_id
    return shown
