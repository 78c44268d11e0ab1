"""Signing in with an outside OpenID provider: the code flow with PKCE, and who the person it vouches for is here.

The way out leaves a sealed note with the browser (state, nonce, verifier); the way back must bring the same browser,
the same state and, where the provider says so, its own name. The person is found by the provider's subject, which never
changes hands, and by user name only the first time. Groups from the claim are given and taken away at every sign-in;
groups somebody was put in here are not touched.
"""

import base64
import hashlib
import json
import secrets
from dataclasses import asdict, dataclass
from typing import Any, cast
from urllib.parse import quote, urlencode

from cryptography.exceptions import InvalidTag

from lakewright.identity import fetching, principals
from lakewright.identity.fetching import Unreachable
from lakewright.identity.groups import GROUP, Group
from lakewright.identity.issuers import Issuers
from lakewright.identity.people import USER, User
from lakewright.identity.signed import Expected, Untrusted
from lakewright.kernel.config import SignInSettings
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Denied, NotFound, Unauthenticated, Unavailable
from lakewright.kernel.roots import ADMINS, USERS
from lakewright.kernel.vault import Vault

UNDER_WAY_MS = 600_000
MOST_GROUPS = 500
RESERVED = frozenset({"admin", "system"})
"""Names no provider vouches for: the first administrator's and the platform's own."""

Claims = dict[str, Any]


@dataclass(frozen=True)
class UnderWay:
    """What the browser keeps between leaving for the provider and coming back; sealed, so that it cannot be read."""

    state: str
    nonce: str
    verifier: str
    issuer: str
    after: str
    at: int


@dataclass(frozen=True)
class Left:
    """Where the browser goes, and the note it takes along."""

    location: str
    note: str


def leave(ctx: Ctx, after: str, redirect_uri: str) -> Left:
    """Send a browser to the provider."""
    settings = _configured(ctx)
    metadata = _published(ctx, settings)
    random = secrets.token_urlsafe
    note = UnderWay(random(32), random(32), random(48), settings.issuer, after, ctx.now())
    challenge = base64.urlsafe_b64encode(hashlib.sha256(note.verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code", "client_id": settings.client_id, "redirect_uri": redirect_uri,
        "scope": settings.scopes, "state": note.state, "nonce": note.nonce, "code_challenge": challenge,
        "code_challenge_method": "S256",
    }  # fmt: skip
    endpoint = str(metadata.get("authorization_endpoint", ""))
    if not endpoint.startswith("https://") and not (settings.internal_provider and endpoint.startswith("http://")):
        raise Unavailable("the provider names no https address to sign in at")
    location = f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"
    return Left(location, ctx.the(Vault).seal(json.dumps(asdict(note))))


def come_back(ctx: Ctx, note: str, *, code: str, state: str, iss: str, redirect_uri: str) -> tuple[str, str]:
    """Who came back, as the id of a principal, and where they wanted to go. Unauthenticated for anything amiss."""
    settings, kept = _configured(ctx), _note(ctx, note)
    if not secrets.compare_digest(kept.state.encode(), state.encode()) or kept.issuer != settings.issuer:
        raise Unauthenticated("this sign-in was not begun in this browser: begin again")
    if ctx.now() - kept.at > UNDER_WAY_MS:
        raise Unauthenticated("this sign-in took too long: begin again")
    metadata = _published(ctx, settings)
    named = bool(metadata.get("authorization_response_iss_parameter_supported"))
    if (iss or named) and iss != settings.issuer:
        raise Unauthenticated("another provider answered than the one that was asked")
    try:
        claims = _vouched(ctx, settings, metadata, kept, code, redirect_uri)
    except Untrusted as error:
        raise Unauthenticated(f"the provider's answer cannot be believed: {error}") from error
    except Unreachable as error:
        raise Unauthenticated(f"the provider did not confirm this sign-in: {error}") from error
    return ctx.platform.transact(lambda now: admitted(now, settings, claims)), kept.after


def _vouched(
    ctx: Ctx, settings: SignInSettings, metadata: Claims, kept: UnderWay, code: str, redirect_uri: str
) -> Claims:
    """The claims of the id token that the code brings, with those of the userinfo endpoint where it lacks some."""
    internal, secret = settings.internal_provider, settings.client_secret.get_secret_value()
    form = {
        "grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": kept.verifier,
        "client_id": settings.client_id,
    }  # fmt: skip
    auth = (quote(settings.client_id, safe=""), quote(secret, safe="")) if secret else None
    answer = _object(fetching.post(str(metadata.get("token_endpoint", "")), form, internal=internal, auth=auth))
    token = answer.get("id_token")
    if not isinstance(token, str):
        raise Untrusted("it brought no id token")
    expected = Expected(settings.issuer, frozenset({settings.client_id}))
    jwks_uri = str(metadata.get("jwks_uri", ""))
    claims = ctx.the(Issuers).claims(token, expected, jwks_uri=jwks_uri, internal=internal)
    check(claims, kept.nonce, settings.client_id)
    wanted = {settings.name_claim, settings.groups_claim, "name"} - {"", *claims}
    userinfo, bearer = str(metadata.get("userinfo_endpoint", "")), answer.get("access_token")
    if not wanted or not userinfo or not isinstance(bearer, str):
        return claims
    said = _object(fetching.get(userinfo, internal=internal, headers={"authorization": f"Bearer {bearer}"}))
    if said.get("sub") != claims["sub"]:
        raise Untrusted("userinfo is about somebody else")
    return {**said, **claims}


def check(claims: Claims, nonce: str, client_id: str) -> None:
    """That an id token, good as it may be, answers this sign-in and is for us alone."""
    given = claims.get("nonce")
    if not isinstance(given, str) or not secrets.compare_digest(given.encode(), nonce.encode()):
        raise Untrusted("it answers another sign-in")
    if not isinstance(claims.get("sub"), str) or not 0 < len(claims["sub"]) <= 255:
        raise Untrusted("it names no subject")
    if "iat" not in claims:
        raise Untrusted("it does not say when it was made")
    if isinstance(claims.get("aud"), list) and len(claims["aud"]) > 1 and "azp" not in claims:
        raise Untrusted("it is for several parties and does not say which one asked")
    if claims.get("azp", client_id) != client_id:
        raise Untrusted("another party asked for it")


def admitted(ctx: Ctx, settings: SignInSettings, claims: Claims) -> str:
    """The principal of these claims: known, linked by name, or made now. Denied for who may not come in."""
    name = user_name(settings, claims)
    subject = str(claims["sub"])
    linked = ctx.tx.scalar(
        "SELECT o.principal_id FROM outside_accounts o JOIN principals p ON p.id = o.principal_id"
        " WHERE o.issuer = ? AND o.subject = ? AND p.deleted_at IS NULL",
        settings.issuer, subject,
    )  # fmt: skip
    principal_id = str(linked) if linked else _linked(ctx, settings, subject, name, claims)
    try:
        ctx.platform.principal(ctx.tx, principal_id)
    except Unauthenticated as error:
        raise Denied("this account has been deactivated here") from error
    if settings.groups_claim:
        _join(ctx, settings, principal_id, _claimed(settings, claims))
    return principal_id


def user_name(settings: SignInSettings, claims: Claims) -> str:
    """What the person is called here; Denied for a name that the provider does not vouch for."""
    given = claims.get(settings.name_claim)
    if not isinstance(given, str) or not given.strip():
        raise Denied(f"the provider says no {settings.name_claim} of this account")
    name = given.strip().lower()
    if settings.name_claim == "email" and settings.verified_email and claims.get("email_verified") is not True:
        raise Denied("the provider has not verified this account's e-mail address")
    domains = [domain.lower().removeprefix("@") for domain in settings.allowed_domains]
    if domains and (name.count("@") != 1 or name.partition("@")[2] not in domains):
        raise Denied("accounts of this domain do not sign in here")
    if name in RESERVED:
        raise Denied(f"'{name}' is not a name a provider vouches for")
    return name


def _linked(ctx: Ctx, settings: SignInSettings, subject: str, name: str, claims: Claims) -> str:
    """The first time of this subject: the user of that name, or a new one."""
    found = principals.find(ctx, "user", name)
    if found is not None and ctx.tx.scalar(
        "SELECT COUNT(*) FROM outside_accounts WHERE issuer = ? AND principal_id = ?", settings.issuer, found
    ):
        raise Denied("the account of that name belongs to somebody else at the provider")
    if found is None:
        if not settings.create_users:
            raise Denied(f"{name} has no account here: an administrator makes one")
        display = claims.get("name")
        shown = display if isinstance(display, str) and display.strip() else name
        found = principals.create(ctx, USER, "user", name, shown[:255], User()).id
    ctx.tx.run("DELETE FROM outside_accounts WHERE issuer = ? AND subject = ?", settings.issuer, subject)
    ctx.tx.run(
        "INSERT INTO outside_accounts (issuer, subject, principal_id, linked_at) VALUES (?, ?, ?, ?)",
        settings.issuer, subject, found, ctx.now(),
    )  # fmt: skip
    return found


def _claimed(settings: SignInSettings, claims: Claims) -> list[str]:
    given = claims.get(settings.groups_claim, [])
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list) or len(cast("list[Any]", listed)) > MOST_GROUPS:
        raise Denied(f"the claim {settings.groups_claim} is not a list of at most {MOST_GROUPS} groups")
    return [each.strip() for each in cast("list[Any]", listed) if isinstance(each, str) and each.strip()]


def _join(ctx: Ctx, settings: SignInSettings, principal_id: str, names: list[str]) -> None:
    """In the claimed groups, and out of those that an earlier claim brought and this one does not."""
    wanted = {group for name in names if (group := _group(ctx, settings, name))}
    before = {
        str(row["group_id"])
        for row in ctx.tx.all(
            "SELECT group_id FROM claimed_members WHERE member_id = ? AND issuer = ?", principal_id, settings.issuer
        )
    }
    direct = {
        str(row["group_id"]) for row in ctx.tx.all("SELECT group_id FROM members WHERE member_id = ?", principal_id)
    }
    for group in sorted(before - wanted):
        ctx.tx.run("DELETE FROM claimed_members WHERE group_id = ? AND member_id = ?", group, principal_id)
    for group in sorted(wanted - direct):
        ctx.tx.run(
            "INSERT INTO claimed_members (group_id, member_id, issuer) VALUES (?, ?, ?)"
            " ON CONFLICT (group_id, member_id) DO UPDATE SET issuer = excluded.issuer",
            group, principal_id, settings.issuer,
        )  # fmt: skip
    principals.set_groups(ctx, principal_id, wanted, among=before)


def _group(ctx: Ctx, settings: SignInSettings, name: str) -> str:
    """The group of a claimed name; empty for none. The administrators' group has its own setting, whatever is claimed."""
    if settings.admin_group and name == settings.admin_group:
        return ADMINS
    if principals.fold(name) in (ADMINS, USERS) or len(name) > 255:
        return ""
    found = principals.find(ctx, "group", name)
    if found in (ADMINS, USERS):
        return ""
    if found is None and settings.create_groups:
        return principals.create(ctx, GROUP, "group", name, name, Group()).id
    return found or ""


def _configured(ctx: Ctx) -> SignInSettings:
    settings = ctx.settings.signin
    if not settings.issuer:
        raise NotFound("no provider is set up to sign in with")
    return settings


def _published(ctx: Ctx, settings: SignInSettings) -> Claims:
    try:
        return ctx.the(Issuers).metadata(settings.issuer, internal=settings.internal_provider)
    except (Unreachable, Untrusted) as error:
        raise Unavailable(f"the provider cannot be asked: {error}") from error


def _note(ctx: Ctx, sealed: str) -> UnderWay:
    try:
        return UnderWay(**json.loads(ctx.the(Vault).open(sealed)))
    except (ValueError, TypeError, InvalidTag, IndexError) as error:
        raise Unauthenticated("this sign-in was not begun in this browser: begin again") from error


def _object(answer: Any) -> Claims:
    if not isinstance(answer, dict):
        raise Untrusted("it is not an object")
    return cast("Claims", answer)
