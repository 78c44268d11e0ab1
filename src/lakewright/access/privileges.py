"""Privileges on catalog objects: who was granted what, by whom it is inherited, and changing it.

One set of endpoints for every kind below the metastore, present and future: the kind is named by the request.
"""

from typing import Any

from pydantic import Field

from lakewright.catalog.people import People
from lakewright.catalog.reach import At
from lakewright.catalog.schemas import EXTERNAL_USE_SCHEMA, REACH
from lakewright.kernel import grants, objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid
from lakewright.kernel.kinds import KINDS, Target
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.roots import METASTORE, USERS
from lakewright.kernel.rules import ADMIN, MANAGE, OWNER, require

api = Api("unityCatalog", "/api/2.1/unity-catalog")

SECURABLE: Target[Any] = Target("{full_name}", kind_named="{securable_type}")
ADMINISTER = REACH & MANAGE
LETTING_OUT = At("catalog", 1, OWNER | ADMIN, "to own the catalog")
"""Who may grant EXTERNAL_USE_SCHEMA. Managing is not enough: it lets data leave the governed paths."""

Held = dict[str, list[str]]


class OfSecurable(Ask):
    securable_type: str
    full_name: str


class ReadGrants(OfSecurable):
    principal: str | None = None
    max_results: int | None = None
    page_token: str | None = None


class Change(Ask):
    principal: str
    add: list[str] = Field(default_factory=list[str])
    remove: list[str] = Field(default_factory=list[str])


class UpdateGrants(OfSecurable):
    changes: list[Change] = Field(default_factory=list[Change])
    omit_permissions_in_response: bool = False


@api(
    "GET", "/permissions/{securable_type}/{full_name}", audit="getPermissions", on=SECURABLE, needs=ADMINISTER,
    runs=SNAPSHOT,
)  # fmt: skip
def get(ctx: Ctx, securable: Obj[Any], ask: ReadGrants) -> Reply:
    _governed(securable)
    held = grants.held(ctx, securable)
    if ask.principal is not None:
        who = _named(ctx, ask.principal)
        held = {p: rights for p, rights in held.items() if p == who}
    return _page(ctx, shown(ctx, held), ask, securable)


@api(
    "PATCH", "/permissions/{securable_type}/{full_name}", audit="updatePermissions", on=SECURABLE, needs=ADMINISTER
)  # fmt: skip
def update(ctx: Ctx, securable: Obj[Any], ask: UpdateGrants) -> Reply:
    """Only what a change names is touched: two people granting on one object do not undo each other."""
    _governed(securable)
    for change in ask.changes:
        add = spelled(change.add)
        if EXTERNAL_USE_SCHEMA.name in add:
            require(ctx, LETTING_OUT, securable)
        grants.change(ctx, securable, _named(ctx, change.principal), add=add, remove=spelled(change.remove))
    if ask.omit_permissions_in_response:
        return {}
    return {"privilege_assignments": shown(ctx, grants.held(ctx, securable))}


@api(
    "GET", "/effective-permissions/{securable_type}/{full_name}", audit="getEffectivePermissions", on=SECURABLE,
    needs=ADMINISTER, runs=SNAPSHOT,
)  # fmt: skip
def get_effective(ctx: Ctx, securable: Obj[Any], ask: ReadGrants) -> Reply:
    """What holds here and why: granted here, inherited from above, or owned. For a principal, also through its groups."""
    _governed(securable)
    found = effective(ctx, securable)
    if ask.principal is not None:
        mine = ctx.platform.policy.closure(ctx.tx, _named(ctx, ask.principal))
        found = {p: rights for p, rights in found.items() if p in mine}
    people = People(ctx)
    assignments = [{"principal": people[p], "privileges": rights} for p, rights in found.items()]
    return _page(ctx, sorted(assignments, key=lambda a: str(a["principal"])), ask, securable)


def effective(ctx: Ctx, securable: Obj[Any]) -> dict[str, list[dict[str, str]]]:
    """By principal id: each privilege that applies to this kind, with the object above that it comes from."""
    kind = KINDS[securable.kind]
    found: dict[str, list[dict[str, str]]] = {}

    def add(principal: str, privilege: str, **source: str) -> None:
        found.setdefault(principal, []).append({"privilege": privilege, **source})

    for privilege in ("ALL_PRIVILEGES", "MANAGE"):
        add(securable.owner, privilege)
    for principal, rights in grants.held(ctx, securable).items():
        for right in rights:
            add(principal, right)
    for above_id, above_kind, above_name, held in grants.inherited(ctx, securable):
        source = {"inherited_from_type": above_kind.upper(), "inherited_from_name": above_name or above_id}
        add(ctx.platform.policy.held(ctx.tx, above_id).owner, "MANAGE", **source)
        for principal, rights in held.items():
            for right in rights:
                if right in kind.grantable():
                    add(principal, right, **source)
    return found


def spelled(privileges: list[str]) -> list[str]:
    """`USE CATALOG`, as SQL writes it, is USE_CATALOG."""
    return [p.strip().upper().replace(" ", "_") for p in privileges]


def _named(ctx: Ctx, principal: str) -> str:
    """By name; `account users`, as clients write it, is the group that everybody is in."""
    return USERS if principal == "account users" else ctx.id_of(principal)


def _governed(securable: Obj[Any]) -> None:
    if KINDS[securable.kind].root is not METASTORE:
        raise Invalid(f"a {securable.kind} has permission levels, not privileges: use /api/2.0/permissions")


def answered(ctx: Ctx, privilege: str) -> str:
    """The open-source Unity Catalog's client knows `USE CATALOG` where Databricks' knows USE_CATALOG, on the same route."""
    if ctx.request.user_agent.startswith("OpenAPI-Generator/"):
        return privilege.replace("_", " ")
    return privilege


def shown(ctx: Ctx, held: Held) -> list[dict[str, Any]]:
    people = People(ctx)
    assignments = [
        {"principal": people[p], "privileges": sorted(answered(ctx, r) for r in rights)} for p, rights in held.items()
    ]
    return sorted(assignments, key=lambda a: str(a["principal"]))


def _page(ctx: Ctx, assignments: list[dict[str, Any]], ask: ReadGrants, securable: Obj[Any]) -> Reply:
    bound = f"{ctx.principal.id}:grants:{securable.id}:{ask.principal}"
    start = int(objects.open_token(ctx, ask.page_token, bound)) if ask.page_token else 0
    size = ask.max_results if ask.max_results and ask.max_results > 0 else len(assignments)
    end = start + size
    following = objects.seal_token(ctx, str(end), bound) if end < len(assignments) else None
    return {"privilege_assignments": assignments[start:end], "next_page_token": following}
