"""OAuth: the token endpoint that host discovery names, for machines and for applications that people signed in to."""

from pydantic import SecretStr

from lakewright.identity import accounts, credentials, scopes
from lakewright.identity.attempts import Attempts
from lakewright.kernel.context import Ctx
from lakewright.kernel.dialects import oauth
from lakewright.kernel.faults import Fault, Invalid, Unauthenticated
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import OUTSIDE, Api, Ask, Reply
from lakewright.kernel.roots import IN_ACCOUNT, Root
from lakewright.kernel.rules import PUBLIC

api = Api("accounts", "/oidc", oauth)


class TokenRequest(Ask):
    grant_type: str
    scope: str = scopes.ALL
    client_id: str | None = None
    client_secret: SecretStr | None = None
    account_id: str = ""


@api(
    "POST",
    "/v1/token",
    audit="oauthToken",
    on=IN_ACCOUNT,
    needs=PUBLIC,
    body="form",
    runs=OUTSIDE,
    also=("/oidc/accounts/{account_id}/v1/token",),
)
def token(ctx: Ctx, account: Obj[Root], ask: TokenRequest) -> Reply:
    """Open: this is where a caller without a token gets one."""
    ctx.snapshot(lambda now: accounts.check(now, ask.account_id))
    if ask.grant_type != "client_credentials":
        raise OAuthError("unsupported_grant_type", f"grant_type '{ask.grant_type}' is not supported")
    client_id, secret = client(ctx, ask)
    attempts, source = ctx.the(Attempts), ctx.request.source
    attempts.check(source, client_id)
    try:
        made = ctx.transact(lambda now: _client_credentials(now, client_id, secret, ask.scope))
    except OAuthError as error:
        if error.code == "invalid_client":
            attempts.failed(source, client_id)
        raise
    attempts.succeeded(source, client_id)
    return made


class OAuthError(Fault):
    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message, code=code)
        self.status = status


def client(ctx: Ctx, ask: TokenRequest) -> tuple[str, str]:
    """Id and secret of the calling client, from a Basic header or the form."""
    scheme, _, value = ctx.request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        return credentials.basic(value)
    return ask.client_id or "", ask.client_secret.get_secret_value() if ask.client_secret else ""


def requested(scope: str) -> frozenset[str] | None:
    try:
        return scopes.parse(scope)
    except Invalid as error:
        raise OAuthError("invalid_scope", str(error)) from error


def _client_credentials(ctx: Ctx, client_id: str, secret: str, scope: str) -> Reply:
    """One answer for an unknown client, a wrong secret and a deactivated machine."""
    row = credentials.living(ctx, secret, "client_secret")
    try:
        if row is None:
            raise Unauthenticated("")
        machine = ctx.platform.principal(ctx.tx, row["principal_id"])
    except Unauthenticated as error:
        raise OAuthError("invalid_client", "Client authentication failed", status=401) from error
    if machine.name != client_id:
        raise OAuthError("invalid_client", "Client authentication failed", status=401)
    return access(ctx, machine.id, requested(scope), parent=str(row["id"]), client_id=client_id)


def access(
    ctx: Ctx,
    principal_id: str,
    limited: frozenset[str] | None,
    *,
    parent: str | None,
    client_id: str,
    no_later_than: int | None = None,
    seconds: int | None = None,
) -> Reply:
    """An access token, as the token endpoint answers it."""
    made = credentials.issue(
        ctx, principal_id, "oauth", lifetime_seconds=seconds or int(ctx.settings.tokens.access_minutes * 60),
        scopes=limited, parent=parent, client_id=client_id, no_later_than=no_later_than,
    )  # fmt: skip
    assert made.expires_at is not None
    return {
        "access_token": made.secret, "token_type": "Bearer", "expires_in": (made.expires_at - ctx.now()) // 1000,
        "scope": scopes.written(limited),
    }  # fmt: skip
