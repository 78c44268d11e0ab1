"""The first start: the built-in groups, one administrator, and their first token. There is no default password.

A token that is made here is good for one day and one exchange: the first personal token, session or application that
its holder signs in with spends it. Should it be lost, the next start makes another, as long as no administrator holds
a living credential. A token the operator gives (`admin_token`) is theirs to look after, and is planted only once.
"""

import logging
from dataclasses import dataclass

from lakewright.identity import credentials, principals, scopes, tokens
from lakewright.identity.attempts import Attempts
from lakewright.identity.groups import GROUP, Group
from lakewright.identity.issuers import Issuers
from lakewright.identity.people import USER, User
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.platform import Platform
from lakewright.kernel.roots import ACCOUNT, ADMINS, USERS

log = logging.getLogger(__name__)

ADMINISTRATOR = "admin"
DAY = 24 * 3600


@dataclass
class FirstToken:
    """The token made at this start; empty at nearly every one."""

    secret: str


def install(platform: Platform) -> None:
    signin = platform.settings.signin
    platform.authenticator = credentials.authenticate
    platform.limit = scopes.require
    platform.provide(
        Attempts(
            platform.clock, per_source=signin.failures_per_source, per_account=signin.failures_per_account,
            seconds=signin.failure_seconds,
        )
    )  # fmt: skip
    platform.provide(Issuers(platform.clock))
    platform.provide(FirstToken(platform.transact(_administrator)))
    platform.transact(tokens.plant)


def _administrator(ctx: Ctx) -> str:
    if ctx.tx.scalar("SELECT COUNT(*) FROM objects WHERE kind = 'group'"):
        return _again(ctx)
    account = objects.find(ctx, ACCOUNT, "")
    for group in (ADMINS, USERS):
        objects.create(ctx, GROUP, group, Group(), under=account, owner=ADMINS, id=group)
        principals.set_texts(ctx, group, principals.basic_texts("group", group, group, None))
    made = principals.create(ctx, USER, "user", ADMINISTRATOR, "Administrator", User())
    principals.add_member(ctx, ADMINS, made.id)
    given = ctx.settings.admin_token
    if given is None:
        return _first(ctx, made.id)
    secret = given.get_secret_value()
    return credentials.issue(
        ctx, made.id, "personal", lifetime_seconds=None, comment="given at the first start", secret=secret, home=""
    ).secret


def _again(ctx: Ctx) -> str:
    """A new first token, when nobody could administer this installation any more."""
    if ctx.settings.signin.issuer or ctx.settings.admin_token is not None:
        return ""
    admins = ctx.tx.all(
        "SELECT p.id FROM principals p JOIN members m ON m.member_id = p.id WHERE m.group_id = ? AND p.active = 1"
        " AND p.kind = 'user' AND p.deleted_at IS NULL ORDER BY p.created_at, p.id",
        ADMINS,
    )
    for admin in admins:
        if ctx.tx.scalar(
            "SELECT COUNT(*) FROM tokens WHERE principal_id = ? AND kind IN ('personal', 'first', 'consent')"
            " AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)",
            admin["id"], ctx.now(),
        ):  # fmt: skip
            return ""
    return _first(ctx, str(admins[0]["id"])) if admins else ""


def _first(ctx: Ctx, admin: str) -> str:
    return credentials.issue(ctx, admin, "first", lifetime_seconds=DAY, comment="first start", home="").secret
