"""The OpenAPI document of this server, for whoever generates clients from it or tests against it."""

from __future__ import annotations

from lakewright.kernel import openapi
from lakewright.kernel.answers import Raw
from lakewright.kernel.context import Ctx
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import OUTSIDE, Api, Nothing
from lakewright.kernel.roots import IN_ACCOUNT, Root
from lakewright.kernel.rules import EVERYONE

api = Api("lakewright", "/api/2.1/lakewright/openapi.json")


@api("GET", audit="getOpenApi", on=IN_ACCOUNT, needs=EVERYONE, runs=OUTSIDE)
def show(ctx: Ctx, account: Obj[Root], ask: Nothing) -> Raw:
    """Which operations there are and what they take: the same in every installation of this version, and public with
    the source. It says nothing of what is stored here."""
    return Raw(openapi.written(), "application/json")
