"""Entitlements: which parts of a workspace those who may enter it may use at all.

An entitlement is a right on the workspace itself, so that it is granted, inherited through groups, reviewed, explained
and taken back as every other right is, and is found in the same sets. The workspace's administrators own it and hold
all of them; everybody else holds what `BY_DEFAULT` was granted to the group of all users, until somebody takes it back.
"""

from typing import Any

from lakewright.kernel.context import SYSTEM, Ctx
from lakewright.kernel.faults import Denied
from lakewright.kernel.kinds import Kind
from lakewright.kernel.roots import ENTITLEMENTS, METASTORE, WORKSPACE
from lakewright.kernel.rules import Right

WORKSPACE_ACCESS, SQL_ACCESS = WORKSPACE.privileges(*ENTITLEMENTS)

Needed = tuple[Right, ...]
"""Any one of these is enough. None: no entitlement is needed."""

OWN_AFFAIRS = frozenset({"accounts", "access", "console"})
"""Services of who one is, how one signs in, and what one may do: they remain to whoever may enter."""
SQL = frozenset({"databrickssql"})


def needed(service: str, kind: Kind[Any]) -> Needed:
    """What an operation of this service on this kind takes. The metastore is everybody's who may use anything here: SQL
    and notebooks both read it, and what may be read is decided by its own privileges."""
    if service in OWN_AFFAIRS:
        return ()
    if service in SQL:
        return (SQL_ACCESS,)
    if kind.root is WORKSPACE:
        return (WORKSPACE_ACCESS,)
    return (WORKSPACE_ACCESS, SQL_ACCESS) if kind.root is METASTORE else ()


def missing(ctx: Ctx, needed: Needed) -> str:
    """What the caller lacks to use this part of the workspace; empty: nothing."""
    if not needed or not ctx.workspace:
        return ""
    held, mine = ctx.platform.policy.held(ctx.tx, ctx.workspace), ctx.principal.ids
    for right in needed:
        for name in right.names:
            holders = held.by_right.get(name)
            if holders is not None and not mine.isdisjoint(holders):
                return ""
    if held.owner in mine:
        return ""
    return f"the entitlement {' or '.join(right.name for right in needed)} in this workspace"


def require(ctx: Ctx, needed: Needed) -> None:
    """Denied, naming the entitlement, unless the caller has one of those that are needed or is the platform itself."""
    if (lacks := missing(ctx, needed)) and ctx.principal.id != SYSTEM.id:
        raise Denied(f"{ctx.principal.name} needs {lacks}: ask one of its administrators")
