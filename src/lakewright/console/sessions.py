"""Console sessions: signing in with a token, and out again."""

from pydantic import SecretStr

from lakewright.identity import credentials
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Denied
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import Api, Ask, Nothing, Reply
from lakewright.kernel.roots import IN_WORKSPACE, Root
from lakewright.kernel.rules import EVERYONE, PUBLIC

LIFETIME = 8 * 3600
"""Seconds; a working day."""

api = Api("console", "/api/2.1/lakewright/console/sessions")


class SignIn(Ask):
    token: SecretStr


@api("POST", audit="signIn", on=IN_WORKSPACE, needs=PUBLIC)
def sign_in(ctx: Ctx, workspace: Obj[Root], ask: SignIn) -> Reply:
    """Open: this is where a person who holds a token becomes a session. The session ends with the token's rights."""
    who = credentials.authenticate(ctx.platform, ctx.tx, f"Bearer {ask.token.get_secret_value().strip()}")
    kind = ctx.tx.scalar("SELECT kind FROM tokens WHERE id = ?", who.token_id)
    if kind in ("task", "session"):
        raise Denied("a task's or another session's token does not open the console")
    made = credentials.issue(ctx, who.id, "session", lifetime_seconds=LIFETIME, comment="console")
    return {"session": made.secret, "expires_at": made.expires_at, "user_name": who.name}


@api("DELETE", audit="signOut", on=IN_WORKSPACE, needs=EVERYONE)
def sign_out(ctx: Ctx, workspace: Obj[Root], ask: Nothing) -> Reply:
    """Open to all: it ends the caller's own session and nothing else."""
    kind = ctx.tx.scalar("SELECT kind FROM tokens WHERE id = ?", ctx.principal.token_id)
    if kind != "session":
        raise Denied("only a console session can be signed out of")
    credentials.revoke(ctx, ctx.principal.token_id)
    return {}
