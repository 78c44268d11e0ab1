"""Me: who the caller is, with direct and inherited groups."""

from lakewright.identity import people, principals, scim, service_principals
from lakewright.kernel import objects
from lakewright.kernel.answers import Json
from lakewright.kernel.context import Ctx
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import Api, Ask
from lakewright.kernel.roots import IN_ACCOUNT, Root
from lakewright.kernel.rules import EVERYONE

api = Api("accounts", f"{scim.WORKSPACE}/Me", scim.scim)


class Me(Ask):
    attributes: str | None = None


@api("GET", audit="currentUser", on=IN_ACCOUNT, needs=EVERYONE, also=(f"{scim.ACCOUNT}/Me",))
def me(ctx: Ctx, account: Obj[Root], ask: Me) -> Json:
    """Open to every signed-in caller: it tells them only about themselves."""
    if ctx.principal.kind == "service_principal":
        machine = objects.by_id(ctx, service_principals.SERVICE_PRINCIPAL, ctx.principal.id)
        shown = {**service_principals.show(ctx, machine), "userName": machine.spec.application_id}
    else:
        shown = people.show(ctx, objects.by_id(ctx, people.USER, ctx.principal.id))
    shown["displayName"] = principals.display_name(ctx, ctx.principal.id)
    return Json(shown, headers={"x-databricks-org-id": ctx.workspace})
