"""Personal tokens, and the administrators' view of all tokens.

Who may have personal tokens is a permission like any other, on the one object `authorization/tokens`: CAN_USE, held by
all users until an administrator decides otherwise.
"""

from typing import Any

from pydantic import BaseModel

from lakewright.identity import credentials, minting, principals, scopes, service_principals
from lakewright.kernel import grants, objects, policy
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid, NotFound, NotSupported
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Nothing, Reply
from lakewright.kernel.roots import ACCOUNT, ADMINS, IN_ACCOUNT, IN_WORKSPACE, USERS, Root
from lakewright.kernel.rules import ADMIN, EVERYONE, require
from lakewright.kernel.store import Row


class Authorization(BaseModel):
    """Nothing of its own: only who may use it counts."""


AUTHORIZATION = Kind("authorization", example=Authorization(), under=ACCOUNT)
(USE,) = AUTHORIZATION.levels("CAN_USE")
TOKENS = "tokens"

api = Api("accounts", "/api/2.0/token")
management = Api("accounts", "/api/2.0/token-management")
everything = Api("accounts", "/api/2.1/lakewright/credentials")


class CreateToken(Ask):
    comment: str = ""
    lifetime_seconds: int | None = None
    scopes: list[str] | None = None


class ById(Ask):
    token_id: str


class CreateOnBehalf(CreateToken):
    application_id: str


class Change(Ask):
    comment: str | None = None
    scopes: list[str] | None = None
    token_id: str | None = None


class UpdateToken(Ask):
    token_id: str
    token: Change
    update_mask: str


class ListTokens(Ask):
    created_by_id: str | None = None
    created_by_username: str | None = None


class ListCredentials(Ask):
    principal: str | None = None
    kind: str | None = None


@api("POST", "/create", audit="generateToken", on=IN_WORKSPACE, needs=EVERYONE)
def create(ctx: Ctx, workspace: Obj[Root], ask: CreateToken) -> Reply:
    """For oneself, hence open to all who hold CAN_USE on authorization/tokens; see `minting` for what it may be."""
    require(ctx, USE, objects.by_id(ctx, AUTHORIZATION, TOKENS))
    made = minting.personal(
        ctx, ctx.principal.id, comment=ask.comment, lifetime_seconds=ask.lifetime_seconds, scopes_asked=ask.scopes
    )
    return _created(ctx, made)


@api("GET", "/list", audit="listTokens", on=IN_WORKSPACE, needs=EVERYONE)
def list_(ctx: Ctx, workspace: Obj[Root], ask: Nothing) -> Reply:
    """Open to all: the caller's own tokens and nobody else's."""
    return {"token_infos": [show(r) for r in _living(ctx) if r["principal_id"] == ctx.principal.id]}


@api("PATCH", "/{token_id}", audit="updateToken", on=IN_WORKSPACE, needs=EVERYONE)
def update(ctx: Ctx, workspace: Obj[Root], ask: UpdateToken) -> Reply:
    """Open to all: it finds only the caller's own tokens."""
    return {"token": show(_changed(ctx, _mine(ctx, ask.token_id), ask))}


@api("POST", "/delete", audit="revokeToken", on=IN_WORKSPACE, needs=EVERYONE)
def delete(ctx: Ctx, workspace: Obj[Root], ask: ById) -> Reply:
    """Open to all: it finds only the caller's own tokens."""
    credentials.revoke(ctx, str(_mine(ctx, ask.token_id)["id"]))
    return {}


@management("POST", "/on-behalf-of/tokens", audit="createOboToken", on=IN_WORKSPACE, needs=ADMIN)
def create_on_behalf(ctx: Ctx, workspace: Obj[Root], ask: CreateOnBehalf) -> Reply:
    """A token for a service principal, by whoever may act as it: administering a workspace is not enough. Nobody gets
    one of a person's: who acts with it would be on record as them."""
    machine = principals.find(ctx, "service_principal", ask.application_id)
    if machine is None:
        raise Invalid(f"there is no service principal with application id '{ask.application_id}'")
    require(ctx, service_principals.USE, objects.by_id(ctx, service_principals.SERVICE_PRINCIPAL, machine))
    made = minting.personal(
        ctx, machine, comment=ask.comment, lifetime_seconds=ask.lifetime_seconds,
        scopes_asked=ask.scopes,
    )  # fmt: skip
    return _created(ctx, made)


@management("GET", "/tokens", audit="listAllTokens", on=IN_WORKSPACE, needs=ADMIN)
def list_all(ctx: Ctx, workspace: Obj[Root], ask: ListTokens) -> Reply:
    """Every living personal token, whoever's: of the principals themselves and made for them."""
    shown = [_shown_to_admins(ctx, row) for row in _living(ctx)]
    return {
        "token_infos": [
            s for s in shown
            if ask.created_by_id in (None, str(s.get("created_by_id")))
            and ask.created_by_username in (None, s["created_by_username"])
        ]
    }  # fmt: skip


@management("GET", "/tokens/{token_id}", audit="getToken", on=IN_WORKSPACE, needs=ADMIN)
def get(ctx: Ctx, workspace: Obj[Root], ask: ById) -> Reply:
    return {"token_info": _shown_to_admins(ctx, _any(ctx, ask.token_id))}


@management("PATCH", "/tokens/{token_id}", audit="updateAnyToken", on=IN_WORKSPACE, needs=ADMIN)
def update_any(ctx: Ctx, workspace: Obj[Root], ask: UpdateToken) -> Reply:
    return _shown_to_admins(ctx, _changed(ctx, _any(ctx, ask.token_id), ask))


@management("DELETE", "/tokens/{token_id}", audit="revokeAnyToken", on=IN_WORKSPACE, needs=ADMIN)
def delete_any(ctx: Ctx, workspace: Obj[Root], ask: ById) -> Reply:
    """Any credential by its id: personal tokens, client secrets, sessions, signed-in applications."""
    here = ctx.tx.one(f"SELECT id FROM tokens WHERE id = ? AND {_HERE}", ask.token_id, ctx.workspace)
    if here is None or not credentials.revoke(ctx, ask.token_id):
        raise _unknown(ask.token_id)
    return {}


@everything("GET", audit="listCredentials", on=IN_ACCOUNT, needs=ADMIN, runs=SNAPSHOT)
def list_credentials(ctx: Ctx, account: Obj[Root], ask: ListCredentials) -> Reply:
    """Every living credential of every sort: sessions, secrets, signed-in applications and tasks' tokens too."""
    rows = ctx.tx.all(
        "SELECT t.*, p.name AS owner FROM tokens t JOIN principals p ON p.id = t.principal_id WHERE t.revoked_at IS NULL"
        " AND (t.expires_at IS NULL OR t.expires_at > ?) ORDER BY t.created_at DESC, t.id LIMIT 10000",
        ctx.now(),
    )
    return {
        "credentials": [
            {**_shown_to_admins(ctx, r), "kind": r["kind"], "principal": r["owner"], "client_id": r["client_id"]}
            for r in rows
            if ask.principal in (None, r["owner"], r["principal_id"]) and ask.kind in (None, r["kind"])
        ]
    }


def plant(ctx: Ctx) -> None:
    """The object that says who may have personal tokens, made at the first start that has it."""
    if ctx.tx.scalar("SELECT COUNT(*) FROM objects WHERE id = ?", TOKENS):
        return
    account = objects.find(ctx, ACCOUNT, "")
    made = objects.create(ctx, AUTHORIZATION, TOKENS, Authorization(), under=account, owner=ADMINS, id=TOKENS)
    grants.change(ctx, made, USERS, add=["CAN_USE"])


def mint(ctx: Ctx, principal_id: str, lifetime_seconds: int, comment: str, *, run_by: str = "") -> tuple[str, str]:
    """A task's token: (id, secret). For the job engine, which has checked the run-as right and says who started it."""
    made = credentials.issue(
        ctx, principal_id, "task", lifetime_seconds=lifetime_seconds, comment=comment, created_by=run_by
    )
    return made.id, made.secret


def revoke(ctx: Ctx, token_id: str) -> None:
    credentials.revoke(ctx, token_id)


def _created(ctx: Ctx, made: credentials.Issued) -> Reply:
    return {"token_value": made.secret, "token_info": show(_any(ctx, made.id))}


_HERE = "home IN ('', ?)"
"""Made in this workspace, or good in all of them. Those of another are not even there."""


def _living(ctx: Ctx) -> list[Row]:
    return ctx.tx.all(
        f"SELECT * FROM tokens WHERE kind IN ('personal', 'first') AND revoked_at IS NULL AND {_HERE}"
        " AND (expires_at IS NULL OR expires_at > ?) ORDER BY created_at, id",
        ctx.workspace, ctx.now(),
    )  # fmt: skip


def _mine(ctx: Ctx, token_id: str) -> Row:
    row = _any(ctx, token_id)
    if row["principal_id"] != ctx.principal.id:
        raise _unknown(token_id)
    return row


def _any(ctx: Ctx, token_id: str) -> Row:
    row = ctx.tx.one(
        f"SELECT * FROM tokens WHERE id = ? AND kind IN ('personal', 'first') AND revoked_at IS NULL AND {_HERE}",
        token_id, ctx.workspace,
    )  # fmt: skip
    if row is None:
        raise _unknown(token_id)
    return row


def _unknown(token_id: str) -> NotFound:
    return NotFound(f"Token with id {token_id} does not exist")


def _changed(ctx: Ctx, row: Row, ask: UpdateToken) -> Row:
    for field in ask.update_mask.split(","):
        if field == "comment":
            ctx.tx.run("UPDATE tokens SET comment = ? WHERE id = ?", ask.token.comment or "", row["id"])
        elif field == "scopes":
            wanted = minting.narrowed(ask.token.scopes, minting.bounds(ctx))
            stored = None if wanted is None else " ".join(sorted(wanted))
            ctx.tx.run("UPDATE tokens SET scopes = ? WHERE id = ?", stored, row["id"])
        else:
            raise NotSupported(f"updateToken does not support the field '{field}'", field=field)
    policy.bump(ctx.tx)
    return _any(ctx, str(row["id"]))


def show(row: Row) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "token_id": row["id"], "comment": row["comment"], "creation_time": row["created_at"],
        "expiry_time": row["expires_at"] if row["expires_at"] is not None else -1,
    }  # fmt: skip
    limited = scopes.read(row["scopes"])
    return shown if limited is None else {**shown, "scopes": sorted(limited)}


def _shown_to_admins(ctx: Ctx, row: Row) -> dict[str, Any]:
    shown = {**show(row), "created_by_username": ctx.name_of(row["created_by"])}
    for field, principal_id in (("owner_id", row["principal_id"]), ("created_by_id", row["created_by"])):
        if str(principal_id).isdecimal():  # the platform itself has no number
            shown[field] = int(principal_id)
    return shown
