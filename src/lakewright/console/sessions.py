"""Console sessions: signing in with a token or with the organisation's provider, and out again.

A session ends with the token it was opened with, after `signin.session_hours`, after `signin.idle_minutes` without
use, and when its person signs out; the cookie then names nothing.
"""

from pydantic import Field, SecretStr

from lakewright.identity import credentials, provider
from lakewright.identity.attempts import Attempts
from lakewright.kernel.context import ACCOUNT_HOME, Ctx
from lakewright.kernel.faults import Denied, Unauthenticated
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import OUTSIDE, Api, Ask, Nothing, Reply
from lakewright.kernel.roots import IN_WORKSPACE, Root
from lakewright.kernel.rules import EVERYONE, PUBLIC

api = Api("console", "/api/2.1/lakewright/console/sessions")
RETURN = "/console/signed-in"
"""Where the provider sends the browser back to; registered with it as the redirect URI."""


class SignIn(Ask):
    token: SecretStr


class Leave(Ask):
    after: str = Field("", max_length=4000)


class ComeBack(Ask):
    note: SecretStr
    code: SecretStr
    state: SecretStr
    iss: str = ""


@api("POST", audit="signIn", on=IN_WORKSPACE, needs=PUBLIC, runs=OUTSIDE)
def sign_in(ctx: Ctx, workspace: Obj[Root], ask: SignIn) -> Reply:
    """Open: this is where a person who holds a token becomes a session."""
    attempts, source = ctx.the(Attempts), ctx.request.source
    attempts.check(source)
    try:
        return ctx.transact(lambda now: _with_token(now, ask.token.get_secret_value().strip()))
    except Unauthenticated:
        attempts.failed(source)
        raise


@api("POST", "/provider/leave", audit="signInAtProvider", on=IN_WORKSPACE, needs=PUBLIC, runs=OUTSIDE)
def leave(ctx: Ctx, workspace: Obj[Root], ask: Leave) -> Reply:
    """Open: it tells a browser where its person signs in."""
    ctx.the(Attempts).check(ctx.request.source)
    left = provider.leave(ctx, ask.after, ctx.request.base_url + RETURN)
    return {"location": left.location, "note": left.note}


@api("POST", "/provider/return", audit="signInFromProvider", on=IN_WORKSPACE, needs=PUBLIC, runs=OUTSIDE)
def come_back(ctx: Ctx, workspace: Obj[Root], ask: ComeBack) -> Reply:
    """Open: this is where a person whom the provider vouches for becomes a session."""
    attempts, source = ctx.the(Attempts), ctx.request.source
    attempts.check(source)
    try:
        principal_id, after = provider.come_back(
            ctx, ask.note.get_secret_value(), code=ask.code.get_secret_value(), state=ask.state.get_secret_value(),
            iss=ask.iss, redirect_uri=ctx.request.base_url + RETURN,
        )  # fmt: skip
    except (Unauthenticated, Denied):
        attempts.failed(source)
        raise
    return {**ctx.transact(lambda now: opened(now, principal_id)), "after": after}


@api("DELETE", audit="signOut", on=IN_WORKSPACE, needs=EVERYONE)
def sign_out(ctx: Ctx, workspace: Obj[Root], ask: Nothing) -> Reply:
    """Open to all: it ends the caller's own session and nothing else."""
    kind = ctx.tx.scalar("SELECT kind FROM tokens WHERE id = ?", ctx.principal.token_id)
    if kind != "session":
        raise Denied("only a console session can be signed out of")
    credentials.revoke(ctx, ctx.principal.token_id)
    return {}


def opened(
    ctx: Ctx, principal_id: str, *, parent: str | None = None, no_later_than: int | None = None, home: str = ""
) -> Reply:
    """A new session: never one that the browser brought, so that none can be fixed in advance."""
    credentials.proven(ctx, principal_id)
    made = credentials.issue(
        ctx, principal_id, "session", lifetime_seconds=int(ctx.settings.signin.session_hours * 3600),
        comment="console", parent=parent, no_later_than=no_later_than, home=home or ctx.workspace,
    )  # fmt: skip
    return {"session": made.secret, "expires_at": made.expires_at, "user_name": ctx.name_of(principal_id)}


def _with_token(ctx: Ctx, secret: str) -> Reply:
    who = credentials.authenticate(ctx.platform, ctx.tx, f"Bearer {secret}")
    row = ctx.tx.one("SELECT * FROM tokens WHERE id = ?", who.token_id)
    if row is None or row["kind"] == "task":
        raise Denied("a task's token does not open the console")
    if who.scopes is not None:
        raise Denied("a token that is limited to scopes does not open the console")
    if workspace := ctx.workspace if who.home == ACCOUNT_HOME else who.home or ctx.workspace:
        ctx.platform.require_inside(who, workspace)
    if row["kind"] == "first":
        credentials.revoke(ctx, who.token_id)
        return opened(ctx, who.id)
    return opened(ctx, who.id, parent=who.token_id, no_later_than=row["expires_at"], home=who.home)
