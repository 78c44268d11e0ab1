"""Definers: views and functions read and call as their owner, so nobody makes somebody else answer for what they wrote.

Giving one away would be borrowing the new owner's rights: it is for those who have these rights already (the new owner,
members of the group that is), and for administrators. Writing another body into one makes it the writer's own.
"""

from typing import Any, TypeVar

from pydantic import BaseModel

from lakewright.kernel import objects
from lakewright.kernel.context import SYSTEM, Ctx
from lakewright.kernel.faults import Denied
from lakewright.kernel.objects import Obj
from lakewright.kernel.rules import ADMIN

S = TypeVar("S", bound=BaseModel)


def check_transfer(ctx: Ctx, obj: Obj[Any], owner: str) -> None:
    """As a kind's `before_transfer`."""
    me = ctx.principal
    if owner in me.ids or me.id == SYSTEM.id or ADMIN.judge(ctx, obj.id):
        return
    raise Denied(
        f"'{obj.full_name}' acts with the rights of its owner: {me.name} may give it to themselves and to groups they are"
        " in; an administrator may give it to anybody"
    )


def rewritten(ctx: Ctx, obj: Obj[S], spec: S) -> Obj[S]:
    """Another body, which is the caller's from now on; its grants stay."""
    changed = objects.replace_spec(ctx, obj, spec)
    return changed if changed.owner in ctx.principal.ids else objects.set_owner(ctx, changed, ctx.principal.id)
