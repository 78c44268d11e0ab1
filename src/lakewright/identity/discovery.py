"""Host discovery: what every client asks before it signs in."""

from lakewright.identity import accounts, oauth, scopes
from lakewright.kernel import hosts
from lakewright.kernel.context import Ctx
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import Api, Ask, Nothing, Reply
from lakewright.kernel.roots import IN_ACCOUNT, Root
from lakewright.kernel.rules import PUBLIC

api = Api("accounts", "")


class InAccount(Ask):
    account_id: str = ""


@api("GET", "/.well-known/databricks-config", audit="hostDiscovery", on=IN_ACCOUNT, needs=PUBLIC)
def config(ctx: Ctx, account: Obj[Root], ask: Nothing) -> Reply:
    """Open: it tells clients how to sign in, and they ask before each call."""
    base, account_id = ctx.request.base_url, account.id
    said: Reply = {"account_id": account_id, "cloud": "aws"}
    if not ctx.workspace:  # the account's own host
        return {**said, "oidc_endpoint": f"{base}/oidc/accounts/{account_id}", "host_type": "ACCOUNT_HOST"}
    return {
        **said, "oidc_endpoint": f"{base}/oidc", "workspace_id": ctx.workspace, "host_type": "WORKSPACE_HOST",
        "token_federation_default_oidc_audiences": [account_id],
        "account_host": hosts.url_of(hosts.ACCOUNTS, ctx.settings, hosts.port_of(ctx.request.headers.get("host", ""))),
    }  # fmt: skip


@api(
    "GET", "/oidc/.well-known/oauth-authorization-server", audit="oauthDiscovery", on=IN_ACCOUNT, needs=PUBLIC,
    also=("/oidc/accounts/{account_id}/.well-known/oauth-authorization-server",),
)  # fmt: skip
def authorization_server(ctx: Ctx, account: Obj[Root], ask: InAccount) -> Reply:
    """Open: RFC 8414 metadata. No `jwks_uri`: our tokens are opaque, only we can say whether one is good."""
    accounts.check(ctx, ask.account_id)
    base = f"{ctx.request.base_url}/oidc"
    here = f"{base}/accounts/{ask.account_id}" if ask.account_id else base
    return {
        "issuer": base, "authorization_endpoint": f"{here}/v1/authorize", "token_endpoint": f"{here}/v1/token",
        "revocation_endpoint": f"{here}/v1/revoke", "grant_types_supported": sorted(oauth.GRANTS),
        "response_types_supported": ["code"], "response_modes_supported": ["query"],
        "code_challenge_methods_supported": ["S256"], "authorization_response_iss_parameter_supported": True,
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "scopes_supported": [*sorted(scopes.KNOWN), scopes.REFRESH],
    }  # fmt: skip


@api("GET", "/health", audit="health", on=IN_ACCOUNT, needs=PUBLIC)
def health(ctx: Ctx, account: Obj[Root], ask: Nothing) -> Reply:
    """Open: says only that the process answers and its database takes a transaction."""
    return {"status": "ok"}
