"""Client secrets of service principals: shown once, never readable again, two at a time so that they can be rotated."""

from datetime import UTC, datetime

from lakewright.identity import accounts, credentials
from lakewright.identity.service_principals import SERVICE_PRINCIPAL, ServicePrincipal
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Conflict, Invalid, NotFound
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import Api, Ask, Reply
from lakewright.kernel.rules import ADMIN
from lakewright.kernel.store import Row

AT_ONCE = 2
"""One in use and the next one: a third means that somebody forgot which is in use."""

api = Api("accounts", "/api/2.0/accounts")
OF = SERVICE_PRINCIPAL.by_id("{service_principal_id}")
PATH = "/servicePrincipals/{service_principal_id}/credentials/secrets"
IN_ACCOUNT_PATH = "/api/2.0/accounts/{account_id}" + PATH


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


@api("POST", PATH, audit="createServicePrincipalSecret", on=OF, needs=ADMIN, also=(IN_ACCOUNT_PATH,))
def create(ctx: Ctx, it: Obj[ServicePrincipal], ask: CreateSecret) -> Reply:
    """Answered once, never readable again."""
    accounts.check(ctx, ask.account_id)
    seconds = _seconds(ctx, ask.lifetime)
    if len(_living(ctx, it.id)) >= AT_ONCE:
        raise Conflict(f"a service principal has at most {AT_ONCE} secrets: delete the one no longer in use")
    made = credentials.issue(ctx, it.id, "client_secret", lifetime_seconds=seconds, home="")
    row = ctx.tx.one("SELECT * FROM tokens WHERE id = ?", made.id)
    assert row is not None
    return {**show(row), "secret": made.secret}


@api("GET", PATH, audit="listServicePrincipalSecrets", on=OF, needs=ADMIN, also=(IN_ACCOUNT_PATH,))
def list_(ctx: Ctx, it: Obj[ServicePrincipal], ask: Secrets) -> Reply:
    accounts.check(ctx, ask.account_id)
    return {"secrets": [show(row) for row in _living(ctx, it.id)]}


@api(
    "DELETE", PATH + "/{secret_id}", audit="deleteServicePrincipalSecret", on=OF, needs=ADMIN,
    also=(IN_ACCOUNT_PATH + "/{secret_id}",),
)  # fmt: skip
def delete(ctx: Ctx, it: Obj[ServicePrincipal], ask: OneSecret) -> Reply:
    """The secret ends, and every access token it brought."""
    accounts.check(ctx, ask.account_id)
    found = ctx.tx.one(
        "SELECT id FROM tokens WHERE id = ? AND principal_id = ? AND kind = 'client_secret'", ask.secret_id, it.id
    )
    if found is None or not credentials.revoke(ctx, ask.secret_id):
        raise NotFound(f"secret '{ask.secret_id}' does not exist")
    return {}


def _living(ctx: Ctx, principal_id: str) -> list[Row]:
    return ctx.tx.all(
        "SELECT * FROM tokens WHERE principal_id = ? AND kind = 'client_secret' AND revoked_at IS NULL"
        " AND expires_at > ? ORDER BY created_at, id",
        principal_id, ctx.now(),
    )  # fmt: skip


def _seconds(ctx: Ctx, lifetime: str | None) -> int:
    """A protobuf duration: "3600s"."""
    longest = int(ctx.settings.tokens.longest_days * 86400)
    if lifetime is None:
        return longest
    digits = lifetime.removesuffix("s")
    if not digits.isascii() or not digits.isdecimal() or not 0 < int(digits) <= longest:
        raise Invalid(f"lifetime must be between '1s' and '{longest}s'")
    return int(digits)


def show(row: Row) -> Reply:
    return {
        "id": row["id"], "secret_hash": str(row["hash"])[:16], "status": "ACTIVE", "create_time": _time(row["created_at"]),
        "update_time": _time(row["created_at"]), "expire_time": _time(row["expires_at"]),
    }  # fmt: skip


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
