"""Personal tokens, and the administrators' view of all tokens."""

from typing import Any

from lakewright.identity import credentials
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Denied, Invalid, NotFound
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import Api, Ask, Nothing, Reply
from lakewright.kernel.roots import IN_WORKSPACE, Root
from lakewright.kernel.rules import ADMIN, EVERYONE
from lakewright.kernel.store import Row

LONGEST = 730 * 24 * 3600
"""Seconds a personal token may live; also what it lives without a lifetime of its own."""

api = Api("accounts", "/api/2.0/token")
management = Api("accounts", "/api/2.0/token-management")


class CreateToken(Ask):
    comment: str = ""
    lifetime_seconds: int | None = None


class DeleteToken(Ask):
    token_id: str


class CreateOnBehalf(Ask):
    application_id: str
    comment: str = ""
    lifetime_seconds: int | None = None


class ListTokens(Ask):
    created_by_id: str | None = None
    created_by_username: str | None = None


@api("POST", "/create", audit="generateToken", on=IN_WORKSPACE, needs=EVERYONE)
def create(ctx: Ctx, workspace: Obj[Root], ask: CreateToken) -> Reply:
    """For oneself, hence open to all; a job's or console's token cannot make one that outlives it."""
    if ctx.principal.token_id:
        kind = ctx.tx.scalar("SELECT kind FROM tokens WHERE id = ?", ctx.principal.token_id)
        if kind == "task":
            raise Denied("a task's token cannot make other tokens")
    return _created(ctx, ctx.principal.id, ask.comment, ask.lifetime_seconds)


@api("GET", "/list", audit="listTokens", on=IN_WORKSPACE, needs=EVERYONE)
def list_(ctx: Ctx, workspace: Obj[Root], ask: Nothing) -> Reply:
    """Open to all: the caller's own tokens and nobody else's."""
    return {"token_infos": [show(r) for r in _living(ctx, ctx.principal.id)]}


@api("POST", "/delete", audit="revokeToken", on=IN_WORKSPACE, needs=EVERYONE)
def delete(ctx: Ctx, workspace: Obj[Root], ask: DeleteToken) -> Reply:
    """Open to all: it finds only the caller's own tokens."""
    mine = ctx.tx.one(
        "SELECT id FROM tokens WHERE id = ? AND principal_id = ? AND kind = 'personal'", ask.token_id, ctx.principal.id
    )
    if mine is None or not credentials.revoke(ctx, ask.token_id):
        raise NotFound(f"Token with id {ask.token_id} does not exist")
    return {}


@management("POST", "/on-behalf-of/tokens", audit="createOboToken", on=IN_WORKSPACE, needs=ADMIN)
def create_on_behalf(ctx: Ctx, workspace: Obj[Root], ask: CreateOnBehalf) -> Reply:
    """A token for a service principal."""
    return _created(ctx, ctx.id_of(ask.application_id), ask.comment, ask.lifetime_seconds)


@management("GET", "/tokens", audit="listAllTokens", on=IN_WORKSPACE, needs=ADMIN)
def list_all(ctx: Ctx, workspace: Obj[Root], ask: ListTokens) -> Reply:
    rows = _living(ctx, ask.created_by_id)
    shown = [
        {**show(r), "owner_id": r["principal_id"], "created_by_username": ctx.name_of(r["created_by"])} for r in rows
    ]
    if ask.created_by_username:
        shown = [s for s in shown if s["created_by_username"] == ask.created_by_username]
    return {"token_infos": shown}


@management("GET", "/tokens/{token_id}", audit="getToken", on=IN_WORKSPACE, needs=ADMIN)
def get(ctx: Ctx, workspace: Obj[Root], ask: DeleteToken) -> Reply:
    row = ctx.tx.one("SELECT * FROM tokens WHERE id = ? AND revoked_at IS NULL", ask.token_id)
    if row is None:
        raise NotFound(f"Token with id {ask.token_id} does not exist")
    return {"token_info": {**show(row), "owner_id": row["principal_id"]}}


@management("DELETE", "/tokens/{token_id}", audit="revokeAnyToken", on=IN_WORKSPACE, needs=ADMIN)
def delete_any(ctx: Ctx, workspace: Obj[Root], ask: DeleteToken) -> Reply:
    if not credentials.revoke(ctx, ask.token_id):
        raise NotFound(f"Token with id {ask.token_id} does not exist")
    return {}


def mint(ctx: Ctx, principal_id: str, lifetime_seconds: int, comment: str, *, run_by: str = "") -> tuple[str, str]:
    """A task's token: (id, secret). For the job engine, which has checked the run-as right and says who started it."""
    made = credentials.issue(
        ctx, principal_id, "task", lifetime_seconds=lifetime_seconds, comment=comment, created_by=run_by
    )
    return made.id, made.secret


def revoke(ctx: Ctx, token_id: str) -> None:
    credentials.revoke(ctx, token_id)


def _created(ctx: Ctx, principal_id: str, comment: str, lifetime_seconds: int | None) -> Reply:
    if lifetime_seconds is not None and not 0 < lifetime_seconds <= LONGEST:
        raise Invalid(f"lifetime_seconds must be between 1 and {LONGEST}")
    made = credentials.issue(
        ctx, principal_id, "personal", lifetime_seconds=lifetime_seconds or LONGEST, comment=comment
    )
    row = ctx.tx.one("SELECT * FROM tokens WHERE id = ?", made.id)
    assert row is not None
    return {"token_value": made.secret, "token_info": show(row)}


def _living(ctx: Ctx, principal_id: str | None) -> list[Row]:
    mine, params = ("AND principal_id = ?", [principal_id]) if principal_id else ("", list[str]())
    return ctx.tx.all(
        f"SELECT * FROM tokens WHERE kind IN ('personal', 'first') AND revoked_at IS NULL {mine} ORDER BY created_at",
        *params,
    )


def show(row: Row) -> dict[str, Any]:
    return {
        "token_id": row["id"], "comment": row["comment"], "creation_time": row["created_at"],
        "expiry_time": row["expires_at"] if row["expires_at"] is not None else -1,
    }  # fmt: skip
