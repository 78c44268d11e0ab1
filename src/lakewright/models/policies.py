"""Release policies: what a catalog or a schema asks of a model before it may go live, and who says that it did."""

from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from lakewright.catalog.catalogs import CATALOG, IN_CATALOG, Catalog
from lakewright.catalog.schemas import REACH, SCHEMA, Schema
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.rules import MANAGE, require
from lakewright.models.names import Alias
from lakewright.models.verdicts import STANDARD, GateRule

Section = Literal["intended_use", "limits", "owner", "data", "metrics", "slices", "environment", "lineage"]
Need = Literal["card", "gate", "approval"]


class ReleasePolicy(BaseModel):
    """The standard one, which holds where nobody set another, is the strict one."""

    model_config = ConfigDict(extra="forbid")

    protected_aliases: list[Alias] = ["champion"]
    needs: list[Need] = ["card", "gate", "approval"]
    """What serving a version needs."""
    gates: list[GateRule] = list(STANDARD)
    card_sections: list[Section] = [
        "intended_use", "limits", "owner", "data", "metrics", "slices", "environment", "lineage",
    ]  # fmt: skip
    approvers: list[str] = []
    """Users and groups that may approve; empty: whoever manages the model. Its authors never."""
    approvals: int = Field(default=1, ge=1, le=10)
    from_different_groups: bool = False
    """Each approval must come from another one of the groups in `approvers`."""
    expire_after_hours: float = Field(default=72, gt=0, le=24 * 90)


api = Api("lakewright", "/api/2.1/lakewright/release-policies")
OF_CATALOG = CATALOG.at("{name}")
OF_SCHEMA = SCHEMA.at("{full_name}")


class CatalogNamed(Ask):
    name: str


class SchemaNamed(Ask):
    full_name: str


class SetForCatalog(CatalogNamed):
    policy: ReleasePolicy


class SetForSchema(SchemaNamed):
    policy: ReleasePolicy


@api("GET", "/catalogs/{name}", audit="getCatalogReleasePolicy", on=OF_CATALOG, needs=IN_CATALOG, runs=SNAPSHOT)
def get_for_catalog(ctx: Ctx, catalog: Obj[Catalog], ask: CatalogNamed) -> Reply:
    return show(ctx, catalog, *effective(ctx, (catalog.id,)))


@api("PUT", "/catalogs/{name}", audit="setCatalogReleasePolicy", on=OF_CATALOG, needs=MANAGE)
def set_for_catalog(ctx: Ctx, catalog: Obj[Catalog], ask: SetForCatalog) -> Reply:
    return show(ctx, catalog, store(ctx, catalog, ask.policy), catalog.id)


@api("DELETE", "/catalogs/{name}", audit="deleteCatalogReleasePolicy", on=OF_CATALOG, needs=MANAGE)
def delete_for_catalog(ctx: Ctx, catalog: Obj[Catalog], ask: CatalogNamed) -> Reply:
    ctx.tx.run("DELETE FROM registry_policies WHERE scope_id = ?", catalog.id)
    return {}


@api("GET", "/schemas/{full_name}", audit="getSchemaReleasePolicy", on=OF_SCHEMA, needs=REACH, runs=SNAPSHOT)
def get_for_schema(ctx: Ctx, schema: Obj[Schema], ask: SchemaNamed) -> Reply:
    return show(ctx, schema, *effective(ctx, ctx.platform.policy.chain(ctx.tx, schema.id)))


@api("PUT", "/schemas/{full_name}", audit="setSchemaReleasePolicy", on=OF_SCHEMA, needs=IN_CATALOG & MANAGE)
def set_for_schema(ctx: Ctx, schema: Obj[Schema], ask: SetForSchema) -> Reply:
    _respect_catalog(ctx, schema)
    return show(ctx, schema, store(ctx, schema, ask.policy), schema.id)


@api("DELETE", "/schemas/{full_name}", audit="deleteSchemaReleasePolicy", on=OF_SCHEMA, needs=IN_CATALOG & MANAGE)
def delete_for_schema(ctx: Ctx, schema: Obj[Schema], ask: SchemaNamed) -> Reply:
    _respect_catalog(ctx, schema)
    ctx.tx.run("DELETE FROM registry_policies WHERE scope_id = ?", schema.id)
    return {}


def of(ctx: Ctx, model: Obj[Any]) -> ReleasePolicy:
    """The nearest policy above a model. A model has none of its own: whoever owns it would be asking themselves."""
    return effective(ctx, ctx.platform.policy.chain(ctx.tx, model.id)[1:])[0]


def effective(ctx: Ctx, scopes: tuple[str, ...]) -> tuple[ReleasePolicy, str]:
    """The first policy along the scopes and whose it is; the standard one, of nobody, if there is none."""
    for scope in scopes:
        found = ctx.tx.scalar("SELECT policy FROM registry_policies WHERE scope_id = ?", scope)
        if found is not None:
            return ReleasePolicy.model_validate(orjson.loads(found)), scope
    return ReleasePolicy(), ""


def store(ctx: Ctx, scope: Obj[Any], policy: ReleasePolicy) -> ReleasePolicy:
    """Approvers are kept by id: a new principal of an old name inherits nothing."""
    ids = [ctx.id_of(name) for name in policy.approvers]
    groups = [i for i in ids if ctx.tx.scalar("SELECT kind FROM principals WHERE id = ?", i) == "group"]
    if policy.from_different_groups and len(groups) < policy.approvals:
        raise Invalid(f"{policy.approvals} approvals from different groups need as many groups among the approvers")
    kept = policy.model_copy(update={"approvers": ids})
    ctx.tx.run(
        "INSERT INTO registry_policies (scope_id, policy, updated_at, updated_by) VALUES (?, ?, ?, ?) ON CONFLICT (scope_id)"
        " DO UPDATE SET policy = excluded.policy, updated_at = excluded.updated_at, updated_by = excluded.updated_by",
        scope.id, kept.model_dump_json(), ctx.now(), ctx.principal.id,
    )  # fmt: skip
    return kept


def _respect_catalog(ctx: Ctx, schema: Obj[Schema]) -> None:
    """Where the catalog has a policy, who manages only a schema does not set a laxer one beside it."""
    catalog = objects.parent(ctx, schema)
    if effective(ctx, (catalog.id,))[1]:
        require(ctx, MANAGE, catalog)


def groups_among(ctx: Ctx, approvers: list[str]) -> frozenset[str]:
    return frozenset(i for i in approvers if ctx.tx.scalar("SELECT kind FROM principals WHERE id = ?", i) == "group")


def show(ctx: Ctx, asked: Obj[Any], policy: ReleasePolicy, scope: str) -> Reply:
    shown = policy.model_dump(mode="json")
    shown["approvers"] = [ctx.name_of(i) for i in policy.approvers]
    where = "standard"
    if scope:
        where = str(ctx.tx.scalar("SELECT full_name FROM objects WHERE id = ?", scope))
    return {"securable": asked.full_name, "policy": shown, "set_on": where}
