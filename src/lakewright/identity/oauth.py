"""OAuth for machines: client credentials at the token endpoint that host discovery names."""

from pydantic import SecretStr

from lakewright.identity import credentials
from lakewright.kernel.context import Ctx
from lakewright.kernel.dialects import oauth
from lakewright.kernel.faults import Fault, Unauthenticated
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import Api, Ask, Reply
from lakewright.kernel.roots import IN_ACCOUNT, Root
from lakewright.kernel.rules import PUBLIC

LIFETIME = 3600
api = Api("accounts", "/oidc", oauth)


class TokenRequest(Ask):
    grant_type: str
    scope: str = "all-apis"
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
    also=("/oidc/accounts/{account_id}/v1/token",),
)
def token(ctx: Ctx, account: Obj[Root], ask: TokenRequest) -> Reply:
    """Open: this is where a caller without a token gets one."""
    if ask.grant_type != "client_credentials":
        raise OAuthError("unsupported_grant_type", f"grant_type '{ask.grant_type}' is not supported")
    if ask.scope != "all-apis":
        raise OAuthError("invalid_scope", "the only scope is all-apis")
    client_id, secret = _client(ctx, ask)
    row = ctx.tx.one(
        "SELECT t.principal_id, t.expires_at, t.revoked_at FROM tokens t JOIN principals p ON p.id = t.principal_id"
        " WHERE t.hash = ? AND t.kind = 'client_secret' AND p.name = ?",
        credentials.hashed(ctx.platform.keys, secret), client_id,
    )  # fmt: skip
    if row is None or row["revoked_at"] is not None or (row["expires_at"] or ctx.now() + 1) <= ctx.now():
        raise OAuthError("invalid_client", "Client authentication failed", status=401)
    try:
        ctx.platform.principal(ctx.tx, row["principal_id"])
    except Unauthenticated as error:
        raise OAuthError("invalid_client", "Client authentication failed", status=401) from error
    made = credentials.issue(ctx, row["principal_id"], "oauth", lifetime_seconds=LIFETIME)
    return {"access_token": made.secret, "token_type": "Bearer", "expires_in": LIFETIME, "scope": ask.scope}


class OAuthError(Fault):
    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message, code=code)
        self.status = status


def _client(ctx: Ctx, ask: TokenRequest) -> tuple[str, str]:
    scheme, _, value = ctx.request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        return credentials.basic(value)
    return ask.client_id or "", ask.client_secret.get_secret_value() if ask.client_secret else ""
