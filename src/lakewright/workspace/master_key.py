"""The installation's master key: which one is in use, and putting another in its place."""

from lakewright.kernel import keys
from lakewright.kernel.context import Ctx
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import OUTSIDE, SNAPSHOT, Api, Nothing, Reply
from lakewright.kernel.roots import IN_ACCOUNT, Root
from lakewright.kernel.rules import ADMIN

api = Api("accounts", "/api/2.1/lakewright/keys")


@api("GET", "", audit="getMasterKey", on=IN_ACCOUNT, needs=ADMIN, runs=SNAPSHOT)
def get(ctx: Ctx, account: Obj[Root], ask: Nothing) -> Reply:
    """Its number and where it lies; never the key."""
    master = keys.current(ctx.settings, ctx.tx)
    return {"master_key_id": master.id, "source": master.source}


@api("POST", "/rotate", audit="rotateMasterKey", on=IN_ACCOUNT, needs=ADMIN, runs=OUTSIDE)
def rotate(ctx: Ctx, account: Obj[Root], ask: Nothing) -> Reply:
    """Wraps the root key with a new master key. What it protects stays as it is and stays readable throughout."""
    rotating = keys.Rotating(ctx.settings)
    with rotating.alone():
        before = ctx.snapshot(lambda c: keys.current(c.settings, c.tx))
        after = rotating.prepare(before)
        wrapped = after.wrap(ctx.platform.keys.root)  # a command may take its time: not in the writer's transaction
        ctx.transact(lambda c: keys.swap(c.tx, before, after, wrapped))
        rotating.settle(after)
    return {"master_key_id": after.id, "previous_master_key_id": before.id, "source": after.source}
