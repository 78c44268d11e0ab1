"""Consent: a person lets an application act for them, and it gets a code to fetch its tokens with (RFC 6749, 7636).

The application's browser window comes to `authorize`, which checks what is asked and hands over to the console's
consent page; there a signed-in person agrees, and the browser goes back to the application with a code. A code is good
for a minute and one use, only with the verifier whose hash came first. An error is reported to the application only
once its address is known to be its own; before that, to the person.
"""

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from urllib.parse import urlencode

from pydantic import Field

from lakewright.identity import accounts, applications, credentials, scopes
from lakewright.identity.applications import Application
from lakewright.identity.oauth_errors import OAuthError
from lakewright.kernel.answers import Raw
from lakewright.kernel.context import Ctx
from lakewright.kernel.dialects import oauth
from lakewright.kernel.faults import Denied, Invalid
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.roots import IN_ACCOUNT, Root
from lakewright.kernel.rules import EVERYONE, PUBLIC

CODE_SECONDS = 60
S256 = re.compile(r"[A-Za-z0-9_-]{43}")
VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
PAGE = "/console/authorize"

api = Api("accounts", "/oidc", oauth)
console = Api("console", "/api/2.1/lakewright/console/consents", oauth)


class Request(Ask):
    client_id: str = Field("", max_length=255)
    redirect_uri: str = Field("", max_length=2000)
    response_type: str = Field("", max_length=50)
    scope: str = Field(scopes.ALL, max_length=2000)
    state: str = Field("", max_length=2000)
    code_challenge: str = Field("", max_length=200)
    code_challenge_method: str = Field("", max_length=20)


class AuthorizeRequest(Request):
    account_id: str = ""


class Answer(Request):
    agreed: bool


@dataclass(frozen=True)
class Asked:
    """A request that may be put before a person."""

    application: Application
    scopes: frozenset[str] | None
    offline: bool


class Returned(Exception):
    """An error the application itself is told."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@api(
    "GET", "/v1/authorize", audit="oauthAuthorize", on=IN_ACCOUNT, needs=PUBLIC, runs=SNAPSHOT,
    also=("/oidc/accounts/{account_id}/v1/authorize",),
)  # fmt: skip
def authorize(ctx: Ctx, account: Obj[Root], ask: AuthorizeRequest) -> Raw:
    """Open: here a browser comes from an application; who is in front of it is found out on the consent page."""
    accounts.check(ctx, ask.account_id)
    application = _application(ctx, ask)
    try:
        _asked(application, ask)
    except Returned as error:
        return _to(_back(ctx, ask, error=error.code, error_description=str(error)))
    return _to(f"{PAGE}?{urlencode(ask.model_dump(exclude={'account_id'}, exclude_unset=True))}")


@console("GET", audit="oauthConsentPage", on=IN_ACCOUNT, needs=EVERYONE, runs=SNAPSHOT)
def describe(ctx: Ctx, account: Obj[Root], ask: Request) -> Reply:
    """Open to all: what an application asks of the caller themselves, for the page that asks them."""
    application = _application(ctx, ask)
    try:
        asked = _asked(application, ask)
    except Returned as error:
        raise OAuthError(error.code, str(error)) from error
    return {"name": application.name, "scopes": scopes.written(asked.scopes), "offline": asked.offline}


@console("POST", audit="oauthConsent", on=IN_ACCOUNT, needs=EVERYONE)
def answer(ctx: Ctx, account: Obj[Root], ask: Answer) -> Reply:
    """Open to all people at the console: they consent for themselves. Where the browser goes from here."""
    row = credentials.of_caller(ctx)
    if row is None or row["kind"] != "session":
        raise Denied("only a person who is signed in to the console can consent")
    application = _application(ctx, ask)
    try:
        asked = _asked(application, ask)
    except Returned as error:
        return {"location": _back(ctx, ask, error=error.code, error_description=str(error))}
    if not ask.agreed:
        return {"location": _back(ctx, ask, error="access_denied", error_description="the person did not agree")}
    return {"location": _back(ctx, ask, code=_code(ctx, ask, asked, row["parent_id"]))}


def _application(ctx: Ctx, ask: Request) -> Application:
    """Nobody is sent to an address that is not known to be the application's."""
    application = applications.known(ctx, ask.client_id)
    if application is None:
        raise OAuthError("invalid_client", "there is no application of this client_id")
    if not application.returns_to(ask.redirect_uri):
        raise OAuthError("invalid_request", "redirect_uri is not one of the application's addresses")
    return application


def _asked(application: Application, ask: Request) -> Asked:
    if ask.response_type != "code":
        raise Returned("unsupported_response_type", "the only response_type is code")
    if ask.code_challenge_method != "S256" or not S256.fullmatch(ask.code_challenge):
        raise Returned("invalid_request", "a code_challenge is required, with the method S256")
    if not ask.state:
        raise Returned("invalid_request", "state is required")
    names = ask.scope.split()
    try:
        wanted = scopes.parse([name for name in names if name != scopes.REFRESH])
    except Invalid as error:
        raise Returned("invalid_scope", str(error)) from error
    if not scopes.within(wanted, application.scopes):
        raise Returned("invalid_scope", "the application is not registered for these scopes")
    return Asked(application, wanted, scopes.REFRESH in names)


def _code(ctx: Ctx, ask: Request, asked: Asked, parent: str | None) -> str:
    """The person's consent on record, and the code that its first tokens are fetched with."""
    settings, application = ctx.settings.tokens, asked.application
    minutes = application.access_minutes or settings.access_minutes
    if asked.offline:
        minutes = application.refresh_minutes or settings.refresh_days * 24 * 60
    ends = ctx.tx.scalar("SELECT expires_at FROM tokens WHERE id = ?", parent) if parent else None
    consent = credentials.issue(
        ctx, ctx.principal.id, "consent", lifetime_seconds=int(minutes * 60) + CODE_SECONDS, scopes=asked.scopes,
        comment=application.name, client_id=application.client_id, parent=parent, no_later_than=ends,
    )  # fmt: skip
    code = "lwk_" + secrets.token_urlsafe(32)
    ctx.tx.run("DELETE FROM oauth_codes WHERE expires_at < ?", ctx.now() - 24 * 3600_000)
    ctx.tx.run(
        "INSERT INTO oauth_codes (hash, grant_id, client_id, redirect_uri, challenge, offline, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        credentials.hashed(ctx.platform.keys, code), consent.id, application.client_id, ask.redirect_uri,
        ask.code_challenge, int(asked.offline), ctx.now() + CODE_SECONDS * 1000,
    )  # fmt: skip
    return code


def verified(challenge: str, verifier: str) -> bool:
    """PKCE: whether the verifier is the one whose hash came with the request for the code."""
    if not VERIFIER.fullmatch(verifier):
        return False
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return secrets.compare_digest(digest, challenge)


def _back(ctx: Ctx, ask: Request, **fields: str) -> str:
    """The application's address with the answer; `iss` says whose it is (RFC 9207)."""
    given = {**fields, **({"state": ask.state} if ask.state else {}), "iss": issuer(ctx)}
    return f"{ask.redirect_uri}{'&' if '?' in ask.redirect_uri else '?'}{urlencode(given)}"


def issuer(ctx: Ctx) -> str:
    return f"{ctx.request.base_url}/oidc"


def _to(location: str) -> Raw:
    return Raw(
        b"", "text/plain", 303, {"location": location, "cache-control": "no-store", "referrer-policy": "no-referrer"}
    )
