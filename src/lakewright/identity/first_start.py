"""The first start: the built-in groups, one administrator, and their one-time token. There is no default password."""

import logging
from dataclasses import dataclass

from lakewright.identity import credentials, principals
from lakewright.identity.groups import GROUP, Group
from lakewright.identity.people import USER, User
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.platform import Platform
from lakewright.kernel.roots import ACCOUNT, ADMINS, USERS

log = logging.getLogger(__name__)

ADMINISTRATOR = "admin"


@dataclass
class FirstToken:
    """The token made at the very first start; empty at every later one."""

    secret: str


def install(platform: Platform) -> None:
    platform.authenticator = credentials.authenticate
    platform.provide(FirstToken(platform.transact(_administrator)))


def _administrator(ctx: Ctx) -> str:
    if ctx.tx.scalar("SELECT COUNT(*) FROM objects WHERE kind = 'group'"):
        return ""
    account = objects.find(ctx, ACCOUNT, "")
    for group in (ADMINS, USERS):
        objects.create(ctx, GROUP, group, Group(), under=account, owner=ADMINS, id=group)
        principals.set_texts(ctx, group, principals.basic_texts("group", group, group, None))
    made = principals.create(ctx, USER, "user", ADMINISTRATOR, "Administrator", User())
    principals.add_member(ctx, ADMINS, made.id)
    given = ctx.settings.admin_token
    secret = given.get_secret_value() if given else None
    return credentials.issue(ctx, made.id, "first", lifetime_seconds=None, comment="first start", secret=secret).secret
