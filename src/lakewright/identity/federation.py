"""Federation: a workload proves who it is with the token its own platform gave it, and keeps no secret of ours.

A policy of a service principal names the issuer, subject and audience whose tokens are that service principal. A policy
of the account lets everybody of an issuer in as the user or service principal of that name. The keys are the issuer's
own, from its metadata or from where the policy says, or are written into the policy.
"""

import json
import logging
import re
import secrets
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from lakewright.identity import accounts, signed
from lakewright.identity.fetching import Unreachable
from lakewright.identity.issuers import Issuers
from lakewright.identity.provider import RESERVED
from lakewright.identity.service_principals import SERVICE_PRINCIPAL, ServicePrincipal
from lakewright.identity.signed import Expected, Untrusted
from lakewright.kernel.context import Ctx, Principal
from lakewright.kernel.faults import AlreadyExists, Invalid, NotFound, NotSupported, Unauthenticated
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.roots import IN_ACCOUNT, Root
from lakewright.kernel.rules import ADMIN
from lakewright.kernel.store import Row

log = logging.getLogger(__name__)

PER_PRINCIPAL = 20
_NAME = re.compile(r"[a-z0-9-]{1,64}", re.ASCII)

api = Api("accounts", "/api/2.0/accounts/{account_id}")
OF = SERVICE_PRINCIPAL.by_id("{service_principal_id}")
MACHINE = "/servicePrincipals/{service_principal_id}/federationPolicies"
ACCOUNT_WIDE = "/federationPolicies"


class OidcPolicy(BaseModel):
    """Whose tokens count."""

    model_config = ConfigDict(extra="forbid")

    issuer: str = Field(min_length=1, max_length=500)
    audiences: list[str] = []
    subject: str = ""
    subject_claim: str = "sub"
    jwks_json: str = ""
    jwks_uri: str = ""


class Write(Ask):
    account_id: str
    policy_id: str = ""
    description: str = ""
    name: str | None = None
    oidc_policy: OidcPolicy
    update_mask: str | None = None


class WriteOfMachine(Write):
    service_principal_id: str


class Find(Ask):
    account_id: str
    policy_id: str


class FindOfMachine(Find):
    service_principal_id: str


class Page(Ask):
    account_id: str
    page_size: int = Field(100, ge=1, le=1000)
    page_token: str | None = None


class PageOfMachine(Page):
    service_principal_id: str


@api("POST", ACCOUNT_WIDE, audit="createAccountFederationPolicy", on=IN_ACCOUNT, needs=ADMIN)
def create(ctx: Ctx, account: Obj[Root], ask: Write) -> Reply:
    return _create(ctx, "", ask)


@api("GET", ACCOUNT_WIDE, audit="listAccountFederationPolicies", on=IN_ACCOUNT, needs=ADMIN, runs=SNAPSHOT)
def list_(ctx: Ctx, account: Obj[Root], ask: Page) -> Reply:
    return _list(ctx, "", ask)


@api("GET", ACCOUNT_WIDE + "/{policy_id}", audit="getAccountFederationPolicy", on=IN_ACCOUNT, needs=ADMIN)
def get(ctx: Ctx, account: Obj[Root], ask: Find) -> Reply:
    return show(ctx, _row(ctx, "", ask))


@api("PATCH", ACCOUNT_WIDE + "/{policy_id}", audit="updateAccountFederationPolicy", on=IN_ACCOUNT, needs=ADMIN)
def update(ctx: Ctx, account: Obj[Root], ask: Write) -> Reply:
    return _update(ctx, "", ask)


@api("DELETE", ACCOUNT_WIDE + "/{policy_id}", audit="deleteAccountFederationPolicy", on=IN_ACCOUNT, needs=ADMIN)
def delete(ctx: Ctx, account: Obj[Root], ask: Find) -> Reply:
    return _delete(ctx, "", ask)


@api("POST", MACHINE, audit="createServicePrincipalFederationPolicy", on=OF, needs=ADMIN)
def create_of_machine(ctx: Ctx, it: Obj[ServicePrincipal], ask: WriteOfMachine) -> Reply:
    return _create(ctx, it.id, ask)


@api("GET", MACHINE, audit="listServicePrincipalFederationPolicies", on=OF, needs=ADMIN, runs=SNAPSHOT)
def list_of_machine(ctx: Ctx, it: Obj[ServicePrincipal], ask: PageOfMachine) -> Reply:
    return _list(ctx, it.id, ask)


@api("GET", MACHINE + "/{policy_id}", audit="getServicePrincipalFederationPolicy", on=OF, needs=ADMIN)
def get_of_machine(ctx: Ctx, it: Obj[ServicePrincipal], ask: FindOfMachine) -> Reply:
    return show(ctx, _row(ctx, it.id, ask))


@api("PATCH", MACHINE + "/{policy_id}", audit="updateServicePrincipalFederationPolicy", on=OF, needs=ADMIN)
def update_of_machine(ctx: Ctx, it: Obj[ServicePrincipal], ask: WriteOfMachine) -> Reply:
    return _update(ctx, it.id, ask)


@api("DELETE", MACHINE + "/{policy_id}", audit="deleteServicePrincipalFederationPolicy", on=OF, needs=ADMIN)
def delete_of_machine(ctx: Ctx, it: Obj[ServicePrincipal], ask: FindOfMachine) -> Reply:
    return _delete(ctx, it.id, ask)


def who(ctx: Ctx, token: str, client_id: str) -> tuple[Principal, int]:
    """Who a subject token proves its bearer to be, and until when (ms). Untrusted when nobody. No transaction here."""
    issuer = signed.issuer(token)
    policies = ctx.snapshot(lambda now: _candidates(now, issuer, client_id))
    for policy, principal_id in policies:
        try:
            claims = _claims(ctx, token, policy)
            return ctx.snapshot(lambda now, p=policy, i=principal_id, c=claims: _named(now, p, i, c))
        except (Untrusted, Unreachable) as error:
            log.info("a subject token of %s was not believed: %s", issuer, error)
    raise Untrusted("no policy lets it in")


def _claims(ctx: Ctx, token: str, policy: OidcPolicy) -> dict[str, Any]:
    audiences = policy.audiences or [ctx.snapshot(accounts.this)]
    expected = Expected(policy.issuer, frozenset(audiences))
    if policy.jwks_json:
        return signed.claims(token, signed.key_set(json.loads(policy.jwks_json)), expected, now=ctx.now())
    internal = ctx.settings.tokens.internal_issuers
    return ctx.the(Issuers).claims(token, expected, jwks_uri=policy.jwks_uri, internal=internal)


def _named(ctx: Ctx, policy: OidcPolicy, principal_id: str, claims: dict[str, Any]) -> tuple[Principal, int]:
    subject = claims.get(policy.subject_claim)
    if not isinstance(subject, str) or not subject:
        raise Untrusted(f"it has no {policy.subject_claim}")
    if principal_id and subject != policy.subject:
        raise Untrusted("it is another subject's")
    if not principal_id:
        if subject.lower() in RESERVED:
            raise Untrusted(f"'{subject}' is not a name an issuer vouches for")
        found = ctx.tx.scalar(
            "SELECT id FROM principals WHERE name IN (?, ?) AND kind IN ('user', 'service_principal')"
            " AND deleted_at IS NULL",
            subject, subject.lower(),
        )  # fmt: skip
        principal_id = str(found or "")
    try:
        return ctx.platform.principal(ctx.tx, principal_id), int(float(claims["exp"]) * 1000)
    except Unauthenticated as error:
        raise Untrusted("nobody of that name is active here") from error


def _candidates(ctx: Ctx, issuer: str, client_id: str) -> list[tuple[OidcPolicy, str]]:
    """Policies for tokens of this issuer: of the service principal that is named, else of the account."""
    rows = ctx.tx.all(
        "SELECT f.policy, f.principal_id FROM federation_policies f LEFT JOIN principals p ON p.id = f.principal_id"
        " WHERE f.issuer = ? AND COALESCE(p.name, '') = ? AND p.deleted_at IS NULL ORDER BY f.created_at, f.uid LIMIT ?",
        issuer, client_id, PER_PRINCIPAL,
    )  # fmt: skip
    return [(OidcPolicy.model_validate_json(row["policy"]), str(row["principal_id"])) for row in rows]


def _create(ctx: Ctx, principal_id: str, ask: Write) -> Reply:
    accounts.check(ctx, ask.account_id)
    policy_id = ask.policy_id or secrets.token_hex(16)
    if not _NAME.fullmatch(policy_id):
        raise Invalid("policy_id has 1 to 64 lower-case letters, digits and hyphens")
    _check(ask, principal_id)
    count = ctx.tx.scalar("SELECT COUNT(*) FROM federation_policies WHERE principal_id = ?", principal_id)
    if count >= PER_PRINCIPAL:
        raise Invalid(f"there are {PER_PRINCIPAL} federation policies already")
    if _found(ctx, principal_id, policy_id) is not None:
        raise AlreadyExists(f"federation policy '{policy_id}' already exists")
    ctx.tx.run(
        "INSERT INTO federation_policies (uid, principal_id, policy_id, description, issuer, policy, created_at,"
        " updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        str(uuid4()), principal_id, policy_id, ask.description, ask.oidc_policy.issuer,
        ask.oidc_policy.model_dump_json(), ctx.now(), ctx.now(),
    )  # fmt: skip
    row = _found(ctx, principal_id, policy_id)
    assert row is not None
    return show(ctx, row)


def _list(ctx: Ctx, principal_id: str, ask: Page) -> Reply:
    accounts.check(ctx, ask.account_id)
    if ask.page_token:
        raise Invalid("page_token: there is only one page")
    rows = ctx.tx.all("SELECT * FROM federation_policies WHERE principal_id = ? ORDER BY created_at, uid", principal_id)
    return {"policies": [show(ctx, row) for row in rows]}


def _update(ctx: Ctx, principal_id: str, ask: Write) -> Reply:
    """The whole policy is given: what may sign in is never a mixture of old and new."""
    row = _row(ctx, principal_id, ask)
    if ask.update_mask not in (None, "*", "description", "oidc_policy", "description,oidc_policy"):
        raise NotSupported("update_mask: description and oidc_policy can be replaced, as a whole", field="update_mask")
    _check(ask, principal_id)
    mask = ask.update_mask or "*"
    if "oidc_policy" in mask or mask == "*":
        ctx.tx.run(
            "UPDATE federation_policies SET issuer = ?, policy = ?, updated_at = ? WHERE uid = ?",
            ask.oidc_policy.issuer, ask.oidc_policy.model_dump_json(), ctx.now(), row["uid"],
        )  # fmt: skip
    if "description" in mask or mask == "*":
        ctx.tx.run("UPDATE federation_policies SET description = ? WHERE uid = ?", ask.description, row["uid"])
    return show(ctx, _row(ctx, principal_id, ask))


def _delete(ctx: Ctx, principal_id: str, ask: Find) -> Reply:
    ctx.tx.run("DELETE FROM federation_policies WHERE uid = ?", _row(ctx, principal_id, ask)["uid"])
    return {}


def _check(ask: Write, principal_id: str) -> None:
    policy = ask.oidc_policy
    if principal_id and not policy.subject:
        raise Invalid("oidc_policy.subject is required: else every workload of the issuer would be this one")
    if not principal_id and policy.subject:
        raise Invalid("oidc_policy.subject is for policies of a service principal")
    if policy.jwks_json and policy.jwks_uri:
        raise Invalid("oidc_policy: either jwks_json or jwks_uri")
    if any(not audience for audience in policy.audiences):
        raise Invalid("oidc_policy.audiences: an audience is not empty")
    if policy.jwks_json:
        try:
            signed.key_set(json.loads(policy.jwks_json))
        except (ValueError, Untrusted) as error:
            raise Invalid(f"oidc_policy.jwks_json: {error}") from error


def _row(ctx: Ctx, principal_id: str, ask: Find | Write) -> Row:
    accounts.check(ctx, ask.account_id)
    row = _found(ctx, principal_id, ask.policy_id)
    if row is None:
        raise NotFound(f"federation policy '{ask.policy_id}' does not exist")
    return row


def _found(ctx: Ctx, principal_id: str, policy_id: str) -> Row | None:
    return ctx.tx.one(
        "SELECT * FROM federation_policies WHERE principal_id = ? AND policy_id = ?", principal_id, policy_id
    )


def show(ctx: Ctx, row: Row) -> Reply:
    of = f"/servicePrincipals/{row['principal_id']}" if row["principal_id"] else ""
    policy = {name: value for name, value in json.loads(row["policy"]).items() if value}
    shown: Reply = {
        "uid": row["uid"], "policy_id": row["policy_id"], "description": row["description"], "oidc_policy": policy,
        "name": f"accounts/{accounts.this(ctx)}{of}/federationPolicies/{row['policy_id']}",
        "create_time": _time(row["created_at"]), "update_time": _time(row["updated_at"]),
    }  # fmt: skip
    return {**shown, "service_principal_id": int(row["principal_id"])} if row["principal_id"] else shown


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
