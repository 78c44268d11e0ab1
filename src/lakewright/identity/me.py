"""Me: who the caller is, with direct and inherited groups."""

from lakewright.identity import people, principals, resources, scim, service_principals
from lakewright.identity.scim import Projected
from lakewright.kernel import objects
from lakewright.kernel.answers import Json
from lakewright.kernel.context import Ctx
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import Api
from lakewright.kernel.roots import IN_ACCOUNT, Root
from lakewright.kernel.rules import EVERYONE

api = Api("accounts", f"{scim.WORKSPACE}/Me", scim.scim)


@api("GET", audit="currentUser", on=IN_ACCOUNT, needs=EVERYONE, also=scim.both("Me"))
@scim.in_account
def me(ctx: Ctx, account: Obj[Root], ask: Projected) -> Json:
    """Open to every signed-in caller: it tells them only about themselves."""
    if ctx.principal.kind == "service_principal":
        machine = objects.by_id(ctx, service_principals.SERVICE_PRINCIPAL, ctx.principal.id)
        shown = {**resources.show(ctx, machine, ask), "userName": machine.spec.application_id}
    else:
        shown = resources.show(ctx, objects.by_id(ctx, people.USER, ctx.principal.id), ask)
    shown["displayName"] = principals.display_name(ctx, ctx.principal.id)
    return Json(scim.projected(shown, ask), headers={"x-databricks-org-id": ctx.workspace, **scim.media_type(ctx)})
