"""Applications that people sign in to with their account here: the Databricks command line, and those registered."""

import hmac
import json
import re
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from pydantic import Field

from lakewright.identity import accounts, credentials, scopes
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid, NotFound, NotSupported
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.roots import IN_ACCOUNT, Root
from lakewright.kernel.rules import ADMIN
from lakewright.kernel.store import Row

LOOPBACK = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?(/[\w\-/]*)?", re.ASCII)
"""RFC 8252 §7.3: an application on the person's own machine listens on a port it learns at run time."""


@dataclass(frozen=True)
class Application:
    """`secret_hash` is empty for a public application: one that cannot keep a secret."""

    client_id: str
    name: str
    redirect_urls: tuple[str, ...]
    scopes: frozenset[str] | None = None
    secret_hash: str = ""
    access_minutes: int = 0
    refresh_minutes: int = 0

    def returns_to(self, redirect_uri: str) -> bool:
        """Whether a code may be sent there: character by character, save the port of a loopback address."""
        return any(_same(registered, redirect_uri) for registered in self.redirect_urls)

    def proves(self, ctx: Ctx, secret: str) -> bool:
        """Whether the secret is its own; a public application has none and may not claim one."""
        if not self.secret_hash:
            return not secret
        return hmac.compare_digest(self.secret_hash, credentials.hashed(ctx.platform.keys, secret))


COMMAND_LINE = Application(
    "databricks-cli", "Databricks command line and SDKs", ("http://localhost", "http://127.0.0.1", "http://[::1]")
)
"""The public client that the SDK's browser login and `databricks auth login` are."""

api = Api("accounts", "/api/2.0/accounts/{account_id}/oauth2/custom-app-integrations")


class AccessPolicy(Ask):
    access_token_ttl_in_minutes: int | None = Field(None, ge=5, le=1440)
    refresh_token_ttl_in_minutes: int | None = Field(None, ge=5, le=129_600)
    enable_single_use_refresh_tokens: bool = True


class CreateApplication(Ask):
    account_id: str
    name: str = Field(min_length=1, max_length=255)
    redirect_urls: list[str]
    confidential: bool = False
    scopes: list[str] = [scopes.ALL]
    token_access_policy: AccessPolicy | None = None


class OneApplication(Ask):
    account_id: str
    integration_id: str


class UpdateApplication(OneApplication):
    redirect_urls: list[str] | None = None
    scopes: list[str] | None = None
    token_access_policy: AccessPolicy | None = None


class ListApplications(Ask):
    account_id: str
    include_creator_username: bool = False
    page_size: int = Field(1000, ge=1, le=1000)
    page_token: str | None = None


@api("POST", audit="createCustomAppIntegration", on=IN_ACCOUNT, needs=ADMIN)
def create(ctx: Ctx, account: Obj[Root], ask: CreateApplication) -> Reply:
    """Its secret, if it can keep one, is shown once."""
    accounts.check(ctx, ask.account_id)
    integration_id, client_id = str(uuid4()), str(uuid4())
    secret = "lws_" + secrets.token_urlsafe(32) if ask.confidential else ""
    lives = _lifetimes(ask.token_access_policy)
    ctx.tx.run(
        "INSERT INTO oauth_apps (id, client_id, name, redirect_urls, scopes, secret_hash, access_minutes,"
        " refresh_minutes, created_at, created_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        integration_id, client_id, ask.name, json.dumps(_urls(ask.redirect_urls)), _scopes(ask.scopes),
        credentials.hashed(ctx.platform.keys, secret) if secret else "", *lives, ctx.now(), ctx.principal.id,
    )  # fmt: skip
    made: Reply = {"integration_id": integration_id, "client_id": client_id}
    return {**made, "client_secret": secret} if secret else made


@api("GET", audit="listCustomAppIntegrations", on=IN_ACCOUNT, needs=ADMIN, runs=SNAPSHOT)
def list_(ctx: Ctx, account: Obj[Root], ask: ListApplications) -> Reply:
    accounts.check(ctx, ask.account_id)
    if ask.page_token:
        raise Invalid("page_token: there is only one page")
    return {"apps": [show(ctx, row) for row in ctx.tx.all("SELECT * FROM oauth_apps ORDER BY name, id")]}


@api("GET", "/{integration_id}", audit="getCustomAppIntegration", on=IN_ACCOUNT, needs=ADMIN, runs=SNAPSHOT)
def get(ctx: Ctx, account: Obj[Root], ask: OneApplication) -> Reply:
    accounts.check(ctx, ask.account_id)
    return show(ctx, _row(ctx, ask.integration_id))


@api("PATCH", "/{integration_id}", audit="updateCustomAppIntegration", on=IN_ACCOUNT, needs=ADMIN)
def update(ctx: Ctx, account: Obj[Root], ask: UpdateApplication) -> Reply:
    accounts.check(ctx, ask.account_id)
    row = _row(ctx, ask.integration_id)
    changes: dict[str, Any] = {}
    if ask.redirect_urls is not None:
        changes["redirect_urls"] = json.dumps(_urls(ask.redirect_urls))
    if ask.scopes is not None:
        changes["scopes"] = _scopes(ask.scopes)
    if ask.token_access_policy is not None:
        changes["access_minutes"], changes["refresh_minutes"] = _lifetimes(ask.token_access_policy)
    for column, value in changes.items():
        ctx.tx.run(f"UPDATE oauth_apps SET {column} = ? WHERE id = ?", value, row["id"])
    return {}


@api("DELETE", "/{integration_id}", audit="deleteCustomAppIntegration", on=IN_ACCOUNT, needs=ADMIN)
def delete(ctx: Ctx, account: Obj[Root], ask: OneApplication) -> Reply:
    """Whoever is signed in to it is no longer."""
    accounts.check(ctx, ask.account_id)
    row = _row(ctx, ask.integration_id)
    for consent in ctx.tx.all(
        "SELECT id FROM tokens WHERE kind = 'consent' AND client_id = ? AND revoked_at IS NULL", row["client_id"]
    ):
        credentials.revoke(ctx, str(consent["id"]))
    ctx.tx.run("DELETE FROM oauth_codes WHERE client_id = ?", row["client_id"])
    ctx.tx.run("DELETE FROM oauth_apps WHERE id = ?", row["id"])
    return {}


def known(ctx: Ctx, client_id: str) -> Application | None:
    """The application of this client id."""
    if client_id == COMMAND_LINE.client_id:
        return COMMAND_LINE
    row = ctx.tx.one("SELECT * FROM oauth_apps WHERE client_id = ?", client_id)
    if row is None:
        return None
    return Application(
        client_id, str(row["name"]), tuple(json.loads(row["redirect_urls"])), scopes.parse(str(row["scopes"])),
        str(row["secret_hash"]), int(row["access_minutes"]), int(row["refresh_minutes"]),
    )  # fmt: skip


def _same(registered: str, asked: str) -> bool:
    if registered == asked:
        return True
    ours, theirs = LOOPBACK.fullmatch(registered), LOOPBACK.fullmatch(asked)
    return bool(ours and theirs) and ours[1] == theirs[1] and (ours[2] or "/") == (theirs[2] or "/")  # type: ignore[index]


def _urls(urls: list[str]) -> list[str]:
    """Addresses a code may be sent to: https, or the person's own machine."""
    if not urls:
        raise Invalid("redirect_urls: at least one is needed")
    for url in urls:
        parts = urlsplit(url)
        proper = parts.scheme == "https" and parts.hostname and not (parts.username or parts.fragment or "#" in url)
        if not (proper or LOOPBACK.fullmatch(url)) or not url.isprintable() or any(c in url for c in " \\*"):
            raise Invalid(f"redirect_urls: '{url}' is neither an https address nor one of this machine")
    return urls


def _scopes(names: list[str]) -> str:
    if "offline_access" in names:
        names = [name for name in names if name != scopes.REFRESH]
    return scopes.written(scopes.parse(names))


def _lifetimes(policy: AccessPolicy | None) -> tuple[int, int]:
    """Minutes of access and of refresh; 0: what the installation says."""
    if policy is None:
        return 0, 0
    if not policy.enable_single_use_refresh_tokens:
        raise NotSupported("enable_single_use_refresh_tokens: refresh tokens are always for one use")
    return policy.access_token_ttl_in_minutes or 0, policy.refresh_token_ttl_in_minutes or 0


def _row(ctx: Ctx, integration_id: str) -> Row:
    row = ctx.tx.one("SELECT * FROM oauth_apps WHERE id = ?", integration_id)
    if row is None:
        raise NotFound(f"custom app integration '{integration_id}' does not exist")
    return row


def show(ctx: Ctx, row: Row) -> Reply:
    shown: Reply = {
        "integration_id": row["id"], "client_id": row["client_id"], "name": row["name"],
        "confidential": bool(row["secret_hash"]), "redirect_urls": json.loads(row["redirect_urls"]),
        "scopes": str(row["scopes"]).split(), "creator_username": ctx.name_of(row["created_by"]),
    }  # fmt: skip
    policy = {
        "access_token_ttl_in_minutes": row["access_minutes"] or None,
        "refresh_token_ttl_in_minutes": row["refresh_minutes"] or None,
    }
    if any(policy.values()):
        shown["token_access_policy"] = {k: v for k, v in policy.items() if v}
    return shown
