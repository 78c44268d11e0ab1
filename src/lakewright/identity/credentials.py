"""Credentials: from an Authorization header to a principal.

A secret is 32 random bytes; the database keeps a keyed hash of it, looked up by index. A password hash per request
would cost a hundred times the request, and a random secret has nothing for a dictionary to find. The answer to a wrong
one takes the same path and time whether its owner exists or not, for nobody's name is part of the question.

A credential that was made with another ends with it: deleting a client secret ends the tokens that it brought.
"""

import base64
import hmac
import secrets
from dataclasses import dataclass
from typing import Literal

from lakewright.kernel import policy
from lakewright.kernel.context import ACCOUNT_HOME, Ctx, Principal
from lakewright.kernel.faults import Unauthenticated
from lakewright.kernel.keys import Keys
from lakewright.kernel.platform import Platform
from lakewright.kernel.store import Row, Tx

TokenKind = Literal["personal", "oauth", "task", "client_secret", "session", "first", "consent", "refresh"]

PREFIX: dict[TokenKind, str] = {
    "personal": "lwp_",
    "oauth": "lwo_",
    "task": "lwt_",
    "client_secret": "lws_",
    "session": "lwc_",
    "first": "lwa_",
    "consent": "lwg_",
    "refresh": "lwr_",
}
"""Public prefixes let secret scanners find a leaked token and say what it was."""

BEARERS = frozenset({"personal", "oauth", "task", "first"})
"""What the API takes. A session is for the console's cookie, a secret or refresh token for the token endpoint."""

_SESSIONS = frozenset({"session"})
_COOKIE = "\0session"
"""A scheme that no Authorization header can carry: what the console says on behalf of a cookie it has checked."""


@dataclass(frozen=True)
class Issued:
    """The only time the secret is known."""

    id: str
    secret: str
    expires_at: int | None


def issue(
    ctx: Ctx,
    principal_id: str,
    kind: TokenKind,
    *,
    lifetime_seconds: int | None,
    comment: str = "",
    secret: str | None = None,
    scopes: frozenset[str] | None = None,
    parent: str | None = None,
    client_id: str = "",
    no_later_than: int | None = None,
    created_by: str = "",
    home: str | None = None,
) -> Issued:
    """Make a token of the principal; `lifetime_seconds` None: until revoked. It ends with its `parent`.
    `created_by`: whoever caused it, when not the caller. `home` (see `Principal.home`): where it is good; None: where its
    parent is, else in the workspace it is made in, or for the account."""
    if home is None and parent is not None:  # what is made with a token of one workspace is never good in another
        home = ctx.tx.scalar("SELECT home FROM tokens WHERE id = ?", parent) or None
    token_id = secrets.token_hex(16)
    secret = secret or PREFIX[kind] + secrets.token_urlsafe(32)
    ends = [ctx.now() + lifetime_seconds * 1000] if lifetime_seconds is not None else []
    ends += [no_later_than] if no_later_than is not None else []
    expires = min(ends, default=None)
    ctx.tx.run(
        "INSERT INTO tokens (id, hash, principal_id, kind, comment, created_at, created_by, expires_at, scopes,"
        " parent_id, client_id, home) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        token_id, hashed(ctx.platform.keys, secret), principal_id, kind, comment, ctx.now(), created_by or ctx.principal.id,
        expires, None if scopes is None else " ".join(sorted(scopes)), parent, client_id,
        (ctx.workspace or ACCOUNT_HOME) if home is None else home,
    )  # fmt: skip
    return Issued(token_id, secret, expires)


def revoke(ctx: Ctx, token_id: str) -> bool:
    """End a token and whatever came from it now; it fails on the very next request, on every node."""
    ended = ctx.tx.run("UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", ctx.now(), token_id)
    ctx.tx.run(
        "UPDATE tokens SET revoked_at = ? WHERE revoked_at IS NULL AND id IN (WITH RECURSIVE below(id) AS"
        " (SELECT CAST(? AS TEXT) UNION SELECT t.id FROM tokens t JOIN below ON t.parent_id = below.id)"
        " SELECT id FROM below)",
        ctx.now(), token_id,
    )  # fmt: skip
    policy.bump(ctx.tx)
    return bool(ended)


def revoke_all(ctx: Ctx, principal_id: str) -> None:
    ctx.tx.run(
        "UPDATE tokens SET revoked_at = ? WHERE principal_id = ? AND revoked_at IS NULL", ctx.now(), principal_id
    )
    policy.bump(ctx.tx)


def revoke_everything(ctx: Ctx) -> int:
    """End every token, session, refresh token, client secret and sign-in under way, of everybody; how many there were."""
    ended = ctx.tx.run("UPDATE tokens SET revoked_at = ? WHERE revoked_at IS NULL", ctx.now())
    ctx.tx.run("DELETE FROM oauth_codes")
    policy.bump(ctx.tx)
    return ended


def end_principal(ctx: Ctx, principal_id: str) -> None:
    """Delete a principal for good: its tokens end, its id never comes back, so its grants cannot revive."""
    revoke_all(ctx, principal_id)
    ctx.tx.run("DELETE FROM members WHERE member_id = ? OR group_id = ?", principal_id, principal_id)
    ctx.tx.run("DELETE FROM claimed_members WHERE member_id = ? OR group_id = ?", principal_id, principal_id)
    ctx.tx.run("DELETE FROM outside_accounts WHERE principal_id = ?", principal_id)
    ctx.tx.run("DELETE FROM federation_policies WHERE principal_id = ?", principal_id)
    ctx.tx.run("DELETE FROM grants WHERE principal = ?", principal_id)
    ctx.tx.run("UPDATE principals SET deleted_at = ?, active = 0 WHERE id = ?", ctx.now(), principal_id)
    policy.bump(ctx.tx)


def hashed(keys: Keys, secret: str) -> str:
    return hmac.digest(keys.tokens, secret.encode(), "sha256").hex()


def authenticate(platform: Platform, tx: Tx, credential: str) -> Principal:
    """The principal behind an Authorization header. Unauthenticated when it is nobody's, or no longer."""
    scheme, _, value = credential.partition(" ")
    if scheme == _COOKIE:
        return _principal(platform, tx, value, _SESSIONS)
    return _principal(platform, tx, _secret(scheme, value), BEARERS)


def of_session(secret: str) -> str:
    """The credential of a console session, for calls that the console makes for its person."""
    return f"{_COOKIE} {secret}"


def _principal(platform: Platform, tx: Tx, secret: str, kinds: frozenset[str]) -> Principal:
    row = platform.policy.token(tx, hashed(platform.keys, secret))
    if row is None or row["revoked_at"] is not None or row["kind"] not in kinds:
        raise Unauthenticated("Invalid access token.")
    if row["expires_at"] is not None and row["expires_at"] <= platform.clock.now():
        raise Unauthenticated("Invalid access token: it has expired.")
    limited = row["scopes"]
    scopes = None if limited is None else frozenset(str(limited).split())
    run_by = _starter(platform, tx, row["created_by"]) if row["kind"] == "task" else ""
    return platform.principal(
        tx, row["principal_id"], scopes=scopes, token_id=row["id"], run_by=run_by, home=row["home"]
    )


def _starter(platform: Platform, tx: Tx, principal_id: str) -> str:
    known = platform.policy.principal(tx, principal_id)
    return known.name if known is not None else principal_id


def living(ctx: Ctx, secret: str, kind: TokenKind) -> Row | None:
    """The row of a secret of this kind that has neither ended nor run out."""
    row = ctx.tx.one("SELECT * FROM tokens WHERE hash = ? AND kind = ?", hashed(ctx.platform.keys, secret), kind)
    if row is None or row["revoked_at"] is not None:
        return None
    return None if row["expires_at"] is not None and row["expires_at"] <= ctx.now() else row


def of_caller(ctx: Ctx) -> Row | None:
    """The credential this call came with; None for calls from inside the process."""
    return ctx.tx.one("SELECT * FROM tokens WHERE id = ?", ctx.principal.token_id) if ctx.principal.token_id else None


def proven(ctx: Ctx, principal_id: str) -> None:
    """Say in the audit trail who a caller without a token has turned out to be."""
    if ctx.entry is not None:
        ctx.entry.who, ctx.entry.who_name = principal_id, ctx.name_of(principal_id)


def _secret(scheme: str, value: str) -> str:
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    if scheme.lower() == "basic":
        name, secret = basic(value)
        if name == "token" and secret:
            return secret
    raise Unauthenticated("a bearer token is required")


def basic(value: str) -> tuple[str, str]:
    """User and password of a Basic header; empty when it is not one."""
    try:
        name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return name, password
