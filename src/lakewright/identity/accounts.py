"""Account addresses: an account id in a path is this installation's, or there is no such account."""

from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import NotFound
from lakewright.kernel.roots import ACCOUNT


def this(ctx: Ctx) -> str:
    return objects.find(ctx, ACCOUNT, "").id


def check(ctx: Ctx, account_id: str) -> None:
    """Empty: the address named none."""
    if account_id and account_id != this(ctx):
        raise NotFound(f"account '{account_id}' does not exist")
