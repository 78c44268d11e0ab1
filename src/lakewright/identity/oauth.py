"""OAuth 2.0: the token endpoint that host discovery names, for machines, workloads and people's applications.

    client_credentials    a service principal's secret
    authorization_code    an application a person consented to (`consent`), with PKCE
    refresh_token         the same, later: each refresh token is for one use, and using one twice ends them all
    token-exchange        a workload's own token (`federation`), or a personal token for a shorter or narrower one

The library at hand (Authlib's server half) was not taken: it tells unknown clients from wrong secrets, knows neither
token exchange nor reuse of refresh tokens, and what it would save is the comparison of six strings.
"""

from pydantic import SecretStr

from lakewright.identity import accounts, applications, consent, credentials, federation, scopes
from lakewright.identity.applications import Application
from lakewright.identity.attempts import Attempts
from lakewright.identity.oauth_errors import OAuthError, invalid_client, invalid_grant
from lakewright.identity.signed import Untrusted
from lakewright.kernel.answers import Json
from lakewright.kernel.context import Ctx
from lakewright.kernel.dialects import oauth
from lakewright.kernel.faults import Invalid, Unauthenticated
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import OUTSIDE, Api, Ask, Reply
from lakewright.kernel.roots import IN_ACCOUNT, Root
from lakewright.kernel.rules import PUBLIC
from lakewright.kernel.store import Row

JWT = "urn:ietf:params:oauth:token-type:jwt"
PERSONAL = "urn:databricks:params:oauth:token-type:personal-access-token"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"

api = Api("accounts", "/oidc", oauth)


class Client(Ask):
    client_id: str | None = None
    client_secret: SecretStr | None = None
    account_id: str = ""


class TokenRequest(Client):
    grant_type: str
    scope: str | None = None
    code: SecretStr | None = None
    code_verifier: SecretStr | None = None
    redirect_uri: str | None = None
    refresh_token: SecretStr | None = None
    subject_token: SecretStr | None = None
    subject_token_type: str | None = None


class RevokeRequest(Client):
    token: SecretStr
    token_type_hint: str | None = None


@api(
    "POST", "/v1/token", audit="oauthToken", on=IN_ACCOUNT, needs=PUBLIC, body="form", runs=OUTSIDE,
    also=("/oidc/accounts/{account_id}/v1/token",),
)  # fmt: skip
def token(ctx: Ctx, account: Obj[Root], ask: TokenRequest) -> Json:
    """Open: this is where a caller without a token gets one."""
    ctx.snapshot(lambda now: accounts.check(now, ask.account_id))
    grant = GRANTS.get(ask.grant_type)
    if grant is None:
        raise OAuthError("unsupported_grant_type", f"grant_type '{ask.grant_type[:80]}' is not supported")
    client_id, _ = _client(ctx, ask)
    attempts, source = ctx.the(Attempts), ctx.request.source
    attempts.check(source, client_id)
    try:
        answer = grant(ctx, ask)
    except OAuthError as error:
        if error.code in ("invalid_client", "invalid_grant"):
            attempts.failed(source, client_id)
        raise
    attempts.succeeded(source, client_id)
    return Json(answer, headers={"pragma": "no-cache"})


@api(
    "POST", "/v1/revoke", audit="oauthRevoke", on=IN_ACCOUNT, needs=PUBLIC, body="form", runs=OUTSIDE,
    also=("/oidc/accounts/{account_id}/v1/revoke",),
)  # fmt: skip
def revoke(ctx: Ctx, account: Obj[Root], ask: RevokeRequest) -> Reply:
    """Open: whoever holds an application's token may end it (RFC 7009); its family goes with it."""
    ctx.snapshot(lambda now: accounts.check(now, ask.account_id))
    ctx.the(Attempts).check(ctx.request.source)
    ctx.transact(lambda now: _revoke(now, ask))
    return {}


def access(
    ctx: Ctx,
    principal_id: str,
    limited: frozenset[str] | None,
    *,
    parent: str | None,
    client_id: str,
    no_later_than: int | None = None,
    minutes: float = 0,
) -> Reply:
    """An access token, as the token endpoint answers it."""
    credentials.proven(ctx, principal_id)
    seconds = int((minutes or ctx.settings.tokens.access_minutes) * 60)
    made = credentials.issue(
        ctx, principal_id, "oauth", lifetime_seconds=seconds, scopes=limited, parent=parent, client_id=client_id,
        no_later_than=no_later_than,
    )  # fmt: skip
    assert made.expires_at is not None
    return {
        "access_token": made.secret, "token_type": "Bearer", "expires_in": (made.expires_at - ctx.now()) // 1000,
        "scope": scopes.written(limited),
    }  # fmt: skip


def _client_credentials(ctx: Ctx, ask: TokenRequest) -> Reply:
    client_id, secret = _client(ctx, ask)
    limited = _scopes(ask.scope)

    def issued(ctx: Ctx) -> Reply:
        row = credentials.living(ctx, secret, "client_secret")
        if row is None or ctx.name_of(row["principal_id"]) != client_id or not _active(ctx, row):
            raise invalid_client()
        return access(ctx, row["principal_id"], limited, parent=str(row["id"]), client_id=client_id)

    return ctx.transact(issued)


def _authorization_code(ctx: Ctx, ask: TokenRequest) -> Reply:
    return _settled(ctx.transact(lambda now: _redeemed(now, ask)))


def _redeemed(ctx: Ctx, ask: TokenRequest) -> Reply | OAuthError:
    """An error is answered, not raised: what a replay ends must stay ended."""
    application = _application(ctx, ask)
    secret = ask.code.get_secret_value() if ask.code else ""
    row = ctx.tx.one("SELECT * FROM oauth_codes WHERE hash = ?", credentials.hashed(ctx.platform.keys, secret))
    if row is None or row["client_id"] != application.client_id:
        return invalid_grant()
    if row["used_at"] is not None:
        credentials.revoke(ctx, str(row["grant_id"]))
        return invalid_grant()
    ctx.tx.run("UPDATE oauth_codes SET used_at = ? WHERE hash = ?", ctx.now(), row["hash"])
    verifier = ask.code_verifier.get_secret_value() if ask.code_verifier else ""
    given = _consent(ctx, row["grant_id"])
    if (
        given is None or row["expires_at"] <= ctx.now() or ask.redirect_uri != row["redirect_uri"]
        or not consent.verified(row["challenge"], verifier)
    ):  # fmt: skip
        credentials.revoke(ctx, str(row["grant_id"]))
        return invalid_grant()
    return _given(ctx, application, given, scopes.read(given["scopes"]), offline=bool(row["offline"]))


def _refresh_token(ctx: Ctx, ask: TokenRequest) -> Reply:
    return _settled(ctx.transact(lambda now: _refreshed(now, ask)))


def _refreshed(ctx: Ctx, ask: TokenRequest) -> Reply | OAuthError:
    application = _application(ctx, ask)
    secret = ask.refresh_token.get_secret_value() if ask.refresh_token else ""
    hashed = credentials.hashed(ctx.platform.keys, secret)
    row = ctx.tx.one("SELECT * FROM tokens WHERE hash = ? AND kind = 'refresh'", hashed)
    if row is None or row["client_id"] != application.client_id:
        return invalid_grant()
    if row["used_at"] is not None:  # somebody has a copy; which of the two is honest nobody can tell
        credentials.revoke(ctx, str(row["parent_id"]))
        return invalid_grant()
    given = _consent(ctx, row["parent_id"])
    if given is None or row["revoked_at"] is not None or (row["expires_at"] or 0) <= ctx.now():
        return invalid_grant()
    held = scopes.read(given["scopes"])
    limited = held if ask.scope is None else _scopes(ask.scope.replace(scopes.REFRESH, " "))
    if not scopes.within(limited, held):
        return OAuthError("invalid_scope", "more than the person consented to")
    ctx.tx.run("UPDATE tokens SET used_at = ?, revoked_at = ? WHERE id = ?", ctx.now(), ctx.now(), row["id"])
    return _given(ctx, application, given, limited, offline=True)


def _given(ctx: Ctx, application: Application, given: Row, limited: frozenset[str] | None, *, offline: bool) -> Reply:
    """What a consent brings: an access token and, for an application that may act later, the next refresh token."""
    ends = int(given["expires_at"])
    answer = access(
        ctx, given["principal_id"], limited, parent=str(given["id"]), client_id=application.client_id,
        no_later_than=ends, minutes=application.access_minutes,
    )  # fmt: skip
    if not offline:
        return answer
    made = credentials.issue(
        ctx, given["principal_id"], "refresh", lifetime_seconds=None, no_later_than=ends, parent=str(given["id"]),
        client_id=application.client_id,
    )  # fmt: skip
    return {**answer, "refresh_token": made.secret}


def _exchange(ctx: Ctx, ask: TokenRequest) -> Reply:
    if ask.subject_token is None or ask.subject_token_type not in (JWT, PERSONAL):
        raise OAuthError(
            "invalid_request", f"subject_token is needed, with a subject_token_type of {JWT} or {PERSONAL}"
        )
    if ask.client_secret is not None:
        raise OAuthError("invalid_request", "client_secret: the subject token is the credential here")
    subject, limited = ask.subject_token.get_secret_value(), _scopes(ask.scope)
    if ask.subject_token_type == PERSONAL:
        return ctx.transact(lambda now: _narrower(now, subject, limited))
    client_id = ask.client_id or ""
    try:
        principal, until = federation.who(ctx, subject, client_id)
    except Untrusted as error:
        raise invalid_grant() from error
    if until <= ctx.now():
        raise invalid_grant()
    return ctx.transact(
        lambda now: access(now, principal.id, limited, parent=None, client_id=client_id or "federation")
    )


def _narrower(ctx: Ctx, secret: str, limited: frozenset[str] | None) -> Reply:
    """A personal token for an OAuth token that is at most as much and ends with it."""
    row = credentials.living(ctx, secret, "personal")
    if row is None or not _active(ctx, row):
        raise invalid_grant()
    held = scopes.read(row["scopes"])
    wanted = held if limited is None else limited
    if not scopes.within(wanted, held):
        raise OAuthError("invalid_scope", "more than the subject token may do")
    return access(
        ctx, row["principal_id"], wanted, parent=str(row["id"]), client_id="exchange", no_later_than=row["expires_at"]
    )


GRANTS = {
    "client_credentials": _client_credentials,
    "authorization_code": _authorization_code,
    "refresh_token": _refresh_token,
    EXCHANGE: _exchange,
}


def _revoke(ctx: Ctx, ask: RevokeRequest) -> None:
    application = _application(ctx, ask)
    hashed = credentials.hashed(ctx.platform.keys, ask.token.get_secret_value())
    row = ctx.tx.one(
        "SELECT id, kind, parent_id FROM tokens WHERE hash = ? AND client_id = ? AND kind IN ('oauth', 'refresh')",
        hashed, application.client_id,
    )  # fmt: skip
    if row is not None:
        credentials.revoke(ctx, str(row["parent_id"] or row["id"]))


def _application(ctx: Ctx, ask: Client) -> Application:
    """The application that calls, having proved that it is."""
    client_id, secret = _client(ctx, ask)
    application = applications.known(ctx, client_id)
    if application is None or not application.proves(ctx, secret):
        raise invalid_client()
    return application


def _client(ctx: Ctx, ask: Client) -> tuple[str, str]:
    """Id and secret of the calling client, from a Basic header or the form."""
    scheme, _, value = ctx.request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        return credentials.basic(value)
    return ask.client_id or "", ask.client_secret.get_secret_value() if ask.client_secret else ""


def _consent(ctx: Ctx, consent_id: str) -> Row | None:
    """A consent that neither it nor its person has ended."""
    row = ctx.tx.one("SELECT * FROM tokens WHERE id = ? AND kind = 'consent' AND revoked_at IS NULL", consent_id)
    if row is None or (row["expires_at"] or 0) <= ctx.now() or not _active(ctx, row):
        return None
    return row


def _active(ctx: Ctx, row: Row) -> bool:
    try:
        ctx.platform.principal(ctx.tx, row["principal_id"])
    except Unauthenticated:
        return False
    return True


def _scopes(asked: str | None) -> frozenset[str] | None:
    try:
        return scopes.parse(asked)
    except Invalid as error:
        raise OAuthError("invalid_scope", str(error)) from error


def _settled(outcome: Reply | OAuthError) -> Reply:
    if isinstance(outcome, OAuthError):
        raise outcome
    return outcome
