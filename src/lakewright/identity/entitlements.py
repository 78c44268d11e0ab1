"""Entitlements in SCIM: those of a workspace, given and shown at its own address.

They are grants on the workspace. What a principal has through groups is shown with the groups. At the account's address
there is no workspace to have them in: none are shown there, and none are given.
"""

from lakewright.identity import principals
from lakewright.kernel import grants, objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid
from lakewright.kernel.roots import ENTITLEMENTS, WORKSPACE
from lakewright.kernel.rules import Condition


def rows(ctx: Ctx) -> Condition:
    marks = ", ".join("?" * len(ENTITLEMENTS))
    return Condition(
        'SELECT g.principal AS principal_id, g."right" AS value FROM grants g WHERE g.object_id = ?'
        f' AND g."right" IN ({marks}) AND (g.expires_at IS NULL OR g.expires_at > ?)',
        (ctx.workspace, *ENTITLEMENTS, ctx.now()),
    )


def write(ctx: Ctx, principal_id: str, values: frozenset[str]) -> None:
    if not ctx.workspace:
        raise Invalid("entitlements are held in a workspace: give them at its address, not at the account's")
    workspace = objects.find(ctx, WORKSPACE, "")
    taken = [each for each in ENTITLEMENTS if each not in values]
    grants.change(ctx, workspace, principal_id, add=sorted(values), remove=taken)


principals.ASSIGNMENTS["entitlements"] = principals.Assignment(ENTITLEMENTS, rows, write)
