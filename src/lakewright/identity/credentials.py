"""Credentials: from an Authorization header to a principal.

A secret is 32 random bytes; the database keeps a keyed hash of it, looked up by index. A password hash per request
would cost a hundred times the request, and a random secret has nothing for a dictionary to find.
"""

import base64
import binascii
import hmac
import secrets
from dataclasses import dataclass
from typing import Literal

from lakewright.kernel import policy
from lakewright.kernel.context import Ctx, Principal
from lakewright.kernel.faults import Unauthenticated
from lakewright.kernel.keys import Keys
from lakewright.kernel.platform import Platform
from lakewright.kernel.store import Tx

TokenKind = Literal["personal", "oauth", "task", "client_secret", "session", "first"]

PREFIX = {
    "personal": "lwp_",
    "oauth": "lwo_",
    "task": "lwt_",
    "client_secret": "lws_",
    "session": "lwc_",
    "first": "lwa_",
}
"""Public prefixes let secret scanners find a leaked token and say what it was."""


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
    created_by: str = "",
) -> Issued:
    """Make a token of the principal; `lifetime_seconds` None: until revoked. `created_by`: whoever caused it, when not
    the caller."""
    token_id = secrets.token_hex(16)
    secret = secret or PREFIX[kind] + secrets.token_urlsafe(32)
    expires = ctx.now() + lifetime_seconds * 1000 if lifetime_seconds is not None else None
    ctx.tx.run(
        "INSERT INTO tokens (id, hash, principal_id, kind, comment, created_at, created_by, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        token_id, hashed(ctx.platform.keys, secret), principal_id, kind, comment, ctx.now(), created_by or ctx.principal.id,
        expires,
    )  # fmt: skip
    return Issued(token_id, secret, expires)


def revoke(ctx: Ctx, token_id: str) -> bool:
    """End a token now; it fails on the very next request, on every node."""
    ended = ctx.tx.run("UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", ctx.now(), token_id)
    policy.bump(ctx.tx)
    return bool(ended)


def revoke_all(ctx: Ctx, principal_id: str) -> None:
    ctx.tx.run(
        "UPDATE tokens SET revoked_at = ? WHERE principal_id = ? AND revoked_at IS NULL", ctx.now(), principal_id
    )
    policy.bump(ctx.tx)


def end_principal(ctx: Ctx, principal_id: str) -> None:
    """Delete a principal for good: its tokens end, its id never comes back, so its grants cannot revive."""
    revoke_all(ctx, principal_id)
    ctx.tx.run("DELETE FROM members WHERE member_id = ? OR group_id = ?", principal_id, principal_id)
    ctx.tx.run("DELETE FROM grants WHERE principal = ?", principal_id)
    ctx.tx.run("UPDATE principals SET deleted_at = ?, active = 0 WHERE id = ?", ctx.now(), principal_id)
    policy.bump(ctx.tx)


def hashed(keys: Keys, secret: str) -> str:
    return hmac.digest(keys.tokens, secret.encode(), "sha256").hex()


def authenticate(platform: Platform, tx: Tx, credential: str) -> Principal:
    """The principal behind an Authorization header. Unauthenticated when it is nobody's, or no longer."""
    secret = _secret(credential)
    row = platform.policy.token(tx, hashed(platform.keys, secret))
    if row is None or row["revoked_at"] is not None or row["kind"] == "client_secret":
        raise Unauthenticated("Invalid access token.")
    if row["expires_at"] is not None and row["expires_at"] <= platform.clock.now():
        raise Unauthenticated("Invalid access token: it has expired.")
    run_by = _starter(platform, tx, row["created_by"]) if row["kind"] == "task" else ""
    return platform.principal(tx, row["principal_id"], token_id=row["id"], run_by=run_by)


def _starter(platform: Platform, tx: Tx, principal_id: str) -> str:
    known = platform.policy.principal(tx, principal_id)
    return known.name if known is not None else principal_id


def _secret(credential: str) -> str:
    scheme, _, value = credential.partition(" ")
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
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, password
