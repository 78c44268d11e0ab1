"""Secrets: values that work may use and nobody sees lying around. Sealed at rest, absent from the audit trail."""

import base64
import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, SecretStr

from lakewright.engines.local.redact import Redactor
from lakewright.kernel import grants, objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.controllers import controller
from lakewright.kernel.faults import Invalid, NotFound, NotSupported, TooLarge
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Nothing, Reply
from lakewright.kernel.platform import Platform
from lakewright.kernel.roots import IN_WORKSPACE, USERS, WORKSPACE, Root
from lakewright.kernel.rules import EVERYONE, PER_ROW, require
from lakewright.kernel.store import Tx
from lakewright.kernel.vault import Drawer, Vault, is_in_drawer


class Scope(BaseModel):
    """Nothing of its own: what it holds is in a table, sealed."""


SCOPE = Kind("secret_scope", example=Scope(), under=WORKSPACE, also_called=("secret-scopes",), folded=True)
READ, WRITE, MANAGE = SCOPE.levels("READ", "WRITE", "MANAGE")

Permission = Literal["READ", "WRITE", "MANAGE"]
MOST_SCOPES, MOST_SECRETS, LARGEST = 1000, 1000, 128 * 1024
_NAME = re.compile(r"[\w.@-]{1,128}", re.ASCII)

api = Api("secrets", "/api/2.0/secrets")
BY_NAME = SCOPE.at("{scope}")


class CreateScope(Ask):
    scope: str
    initial_manage_principal: str | None = None
    scope_backend_type: str | None = None


class InScope(Ask):
    scope: str


class OfKey(InScope):
    key: str


class Put(OfKey):
    string_value: SecretStr | None = None
    bytes_value: SecretStr | None = None


class OfPrincipal(InScope):
    principal: str


class PutAcl(OfPrincipal):
    permission: Permission


@api("POST", "/scopes/create", audit="createScope", on=IN_WORKSPACE, needs=EVERYONE)
def create_scope(ctx: Ctx, workspace: Obj[Root], ask: CreateScope) -> Reply:
    """Open to all: a scope begins empty and is its maker's own."""
    if ask.scope_backend_type not in (None, "DATABRICKS"):
        raise NotSupported(f"createScope does not support a scope backed by {ask.scope_backend_type[:40]}")
    if _scopes(ctx) >= MOST_SCOPES:
        raise TooLarge(f"a workspace has at most {MOST_SCOPES} secret scopes")
    scope = objects.create(ctx, SCOPE, _named(ask.scope, "scope"), Scope(), under=workspace)
    if ask.initial_manage_principal is not None:
        if ask.initial_manage_principal != "users":
            raise NotSupported("createScope does not support an initial_manage_principal other than 'users'")
        grants.change(ctx, scope, USERS, add=["MANAGE"])
    return {}


@api("GET", "/scopes/list", audit="listScopes", on=IN_WORKSPACE, needs=PER_ROW)
def list_scopes(ctx: Ctx, workspace: Obj[Root], ask: Nothing) -> Reply:
    return {"scopes": [{"name": s.name, "backend_type": "DATABRICKS"} for s in objects.visible(ctx, SCOPE, READ)]}


@api("POST", "/scopes/delete", audit="deleteScope", on=BY_NAME, needs=MANAGE)
def delete_scope(ctx: Ctx, scope: Obj[Scope], ask: InScope) -> Reply:
    ctx.tx.run("DELETE FROM workspace_scope_keys WHERE scope_id = ?", scope.id)
    ctx.tx.run("DELETE FROM workspace_secrets WHERE scope_id = ?", scope.id)
    objects.delete(ctx, scope)
    return {}


@api("POST", "/put", audit="putSecret", on=BY_NAME, needs=WRITE)
def put(ctx: Ctx, scope: Obj[Scope], ask: Put) -> Reply:
    key = _named(ask.key, "key")
    sealed = _drawer(ctx, scope).seal(key, _value(ask))
    held = ctx.tx.scalar("SELECT COUNT(*) FROM workspace_secrets WHERE scope_id = ? AND name <> ?", scope.id, key)
    if held >= MOST_SECRETS:
        raise TooLarge(f"a scope has at most {MOST_SECRETS} secrets")
    ctx.tx.run(
        "INSERT INTO workspace_secrets (scope_id, name, sealed, updated_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (scope_id, name) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at",
        scope.id, key, sealed, ctx.now(),
    )  # fmt: skip
    return {}


@api("GET", "/get", audit="getSecret", on=BY_NAME, needs=READ)
def get(ctx: Ctx, scope: Obj[Scope], ask: OfKey) -> Reply:
    """What a task looks up is remembered with its token, and masked in all it leaves behind."""
    if ctx.principal.run_by:
        _remember(ctx, scope, ask.key)
    return {"key": ask.key, "value": base64.b64encode(_opened(ctx, scope, ask.key)).decode()}


@api("GET", "/list", audit="listSecrets", on=BY_NAME, needs=READ, runs=SNAPSHOT)
def list_(ctx: Ctx, scope: Obj[Scope], ask: InScope) -> Reply:
    rows = ctx.tx.all("SELECT name, updated_at FROM workspace_secrets WHERE scope_id = ? ORDER BY name", scope.id)
    return {"secrets": [{"key": r["name"], "last_updated_timestamp": r["updated_at"]} for r in rows]}


@api("POST", "/delete", audit="deleteSecret", on=BY_NAME, needs=WRITE)
def delete(ctx: Ctx, scope: Obj[Scope], ask: OfKey) -> Reply:
    if not ctx.tx.run("DELETE FROM workspace_secrets WHERE scope_id = ? AND name = ?", scope.id, ask.key):
        raise _missing(scope, ask.key)
    return {}


# ---- who may


@api("POST", "/acls/put", audit="putAcl", on=BY_NAME, needs=MANAGE)
def put_acl(ctx: Ctx, scope: Obj[Scope], ask: PutAcl) -> Reply:
    """One permission a principal: a new one takes the place of the old."""
    principal = ctx.id_of(ask.principal)
    if ask.permission != "MANAGE":
        _refuse_owner(scope, principal)
    others = [p for p in SCOPE.rights if p != ask.permission]
    grants.change(ctx, scope, principal, add=[ask.permission], remove=others)
    return {}


@api("GET", "/acls/get", audit="getAcl", on=BY_NAME, needs=MANAGE, runs=SNAPSHOT)
def get_acl(ctx: Ctx, scope: Obj[Scope], ask: OfPrincipal) -> Reply:
    held = _acls(ctx, scope).get(ctx.id_of(ask.principal))
    if held is None:
        raise _no_acl(scope, ask.principal)
    return {"principal": ask.principal, "permission": held}


@api("GET", "/acls/list", audit="listAcls", on=BY_NAME, needs=MANAGE, runs=SNAPSHOT)
def list_acls(ctx: Ctx, scope: Obj[Scope], ask: InScope) -> Reply:
    items = [{"principal": ctx.name_of(p), "permission": level} for p, level in _acls(ctx, scope).items()]
    return {"items": sorted(items, key=lambda i: i["principal"])}


@api("POST", "/acls/delete", audit="deleteAcl", on=BY_NAME, needs=MANAGE)
def delete_acl(ctx: Ctx, scope: Obj[Scope], ask: OfPrincipal) -> Reply:
    principal = ctx.id_of(ask.principal)
    _refuse_owner(scope, principal)
    if principal not in _acls(ctx, scope):
        raise _no_acl(scope, ask.principal)
    grants.change(ctx, scope, principal, remove=list(SCOPE.rights))
    return {}


# ---- what tasks have looked up


def _remember(ctx: Ctx, scope: Obj[Scope], key: str) -> None:
    """As it is sealed now: the secret may change while the task still knows the old one."""
    sealed = ctx.tx.scalar("SELECT sealed FROM workspace_secrets WHERE scope_id = ? AND name = ?", scope.id, key)
    if sealed is not None:
        ctx.tx.run(
            "INSERT INTO workspace_secrets_seen (token_id, digest, scope_id, name, sealed) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (token_id, digest) DO NOTHING",
            ctx.principal.token_id, hashlib.sha256(str(sealed).encode()).hexdigest(), scope.id, key, sealed,
        )  # fmt: skip


class Seen:
    """Redactors by token, made when a task first asks for something after it has looked up a secret."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._made: OrderedDict[str, tuple[int, Redactor]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, tx: Tx, token_id: str) -> Redactor | None:
        number = int(tx.scalar("SELECT COUNT(*) FROM workspace_secrets_seen WHERE token_id = ?", token_id))
        if not number:
            return None
        with self._lock:
            known = self._made.get(token_id)
            if known is None or known[0] != number:
                known = self._made[token_id] = (number, Redactor(self._texts(tx, token_id)))
                while len(self._made) > 64:
                    self._made.popitem(last=False)
            return known[1]

    def _texts(self, tx: Tx, token_id: str) -> Iterator[str]:
        for row in tx.all(
            "SELECT s.scope_id, s.name, s.sealed, k.wrapped FROM workspace_secrets_seen s"
            " LEFT JOIN workspace_scope_keys k ON k.scope_id = s.scope_id WHERE s.token_id = ?", token_id
        ):  # fmt: skip
            sealed = str(row["sealed"])
            if not is_in_drawer(sealed):
                yield base64.b64decode(self._vault.open(sealed)).decode("utf-8", "replace")
            elif row["wrapped"] is not None:  # else the scope has been deleted, and its key with it
                drawer = self._vault.under(str(row["wrapped"]), str(row["scope_id"]))
                yield drawer.open(str(row["name"]), sealed).decode("utf-8", "replace")


@controller("secrets.seen", every=3600.0)
def forget(platform: Platform) -> None:
    """What tasks looked up whose tokens ended a day ago; their output has been masked by then."""
    platform.transact(
        lambda ctx: ctx.tx.run(
            "DELETE FROM workspace_secrets_seen WHERE token_id IN"
            " (SELECT id FROM tokens WHERE revoked_at < ? OR expires_at < ?)", *[ctx.now() - 86_400_000] * 2
        )
    )  # fmt: skip


def install(platform: Platform) -> None:
    platform.redacting = Seen(platform.vault)


# ---- for the rest of the platform


def reveal(ctx: Ctx, scope: str, key: str) -> str:
    """The secret's text, if the caller may read it. Whoever asks keeps it out of every log."""

    def look(ctx: Ctx) -> str:
        try:
            found = objects.find(ctx, SCOPE, scope)
        except NotFound:
            require(ctx, READ, objects.find(ctx, WORKSPACE, ""))
            raise
        require(ctx, READ, found)
        return _opened(ctx, found, key).decode("utf-8", "replace")

    return ctx.snapshot(look)


def _scopes(ctx: Ctx) -> int:
    return int(ctx.tx.scalar(
        "SELECT COUNT(*) FROM objects WHERE kind = ? AND workspace = ? AND deleted_at IS NULL", SCOPE.name, ctx.workspace
    ))  # fmt: skip


def _refuse_owner(scope: Obj[Any], principal: str) -> None:
    """Taking it back would change nothing: better to say so than to seem to."""
    if principal == scope.owner:
        raise NotSupported("the owner of a scope always has MANAGE on it; give the scope another owner first")


def _no_acl(scope: Obj[Any], principal: str) -> NotFound:
    return NotFound(f"'{principal}' has no permission of its own on scope '{scope.name}'")


def _acls(ctx: Ctx, scope: Obj[Any]) -> dict[str, str]:
    levels = list(SCOPE.rights)
    held = {
        p: max((r for r in rights if r in levels), key=levels.index) for p, rights in grants.held(ctx, scope).items()
    }
    return {scope.owner: "MANAGE", **held}


def _opened(ctx: Ctx, scope: Obj[Scope], key: str) -> bytes:
    sealed = ctx.tx.scalar("SELECT sealed FROM workspace_secrets WHERE scope_id = ? AND name = ?", scope.id, key)
    if sealed is None:
        raise _missing(scope, key)
    if not is_in_drawer(str(sealed)):  # from before scopes had keys of their own
        return base64.b64decode(ctx.the(Vault).open(str(sealed)))
    return _drawer(ctx, scope).open(key, str(sealed))


def _drawer(ctx: Ctx, scope: Obj[Any]) -> Drawer:
    """The scope's part of the vault; its key is made with its first secret and ends with the scope."""
    vault = ctx.the(Vault)
    wrapped = ctx.tx.scalar("SELECT wrapped FROM workspace_scope_keys WHERE scope_id = ?", scope.id)
    if wrapped is None:
        wrapped = vault.new_key(scope.id)
        ctx.tx.run("INSERT INTO workspace_scope_keys (scope_id, wrapped) VALUES (?, ?)", scope.id, wrapped)
    return vault.under(str(wrapped), scope.id)


def _missing(scope: Obj[Scope], key: str) -> NotFound:
    return NotFound(f"Secret does not exist with scope: {scope.name} and key: {key[:128]}")


def _value(ask: Put) -> bytes:
    if (ask.string_value is None) == (ask.bytes_value is None):
        raise Invalid("give either string_value or bytes_value")
    if ask.string_value is not None:
        value = ask.string_value.get_secret_value().encode("utf-8", "surrogatepass")
    else:
        assert ask.bytes_value is not None
        try:
            value = base64.b64decode(ask.bytes_value.get_secret_value(), validate=True)
        except ValueError as error:
            raise Invalid("bytes_value is not base64") from error
    if len(value) > LARGEST:
        raise Invalid(f"a secret has at most {LARGEST} bytes", code="MAX_SECRET_SIZE_EXCEEDED")
    return value


def _named(name: str, what: str) -> str:
    if not _NAME.fullmatch(name):
        raise Invalid(f"a {what} has 1 to 128 letters, digits, dashes, underscores, periods or @")
    return name
