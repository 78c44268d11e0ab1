"""Schemas: the second level of the three-part name."""

from pydantic import BaseModel, Field

from lakewright.catalog import dropped, names, places, renames
from lakewright.catalog.catalogs import BROWSING, CATALOG, CREATE_SCHEMA, IN_CATALOG, Catalog
from lakewright.catalog.catalogs import SEE as SEE_CATALOG
from lakewright.catalog.people import People
from lakewright.catalog.reach import At, Mainly
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.rules import MANAGE, Right, require


class Schema(BaseModel):
    comment: str | None = None
    properties: dict[str, str] = {}
    storage_root: str | None = None


SCHEMA = Kind("schema", example=Schema(), under=CATALOG, folded=True, also_called=("schemas",))
(USE_SCHEMA,) = SCHEMA.privileges("USE_SCHEMA")
EXTERNAL_USE_SCHEMA = SCHEMA.rights["EXTERNAL_USE_SCHEMA"] = Right("EXTERNAL_USE_SCHEMA", "schema")
"""Reading its tables with another engine. Not part of ALL_PRIVILEGES: it lets data leave the governed paths."""
EXTERNAL_USE = At("schema", 2, EXTERNAL_USE_SCHEMA, "EXTERNAL_USE_SCHEMA on schema")

REACH = IN_CATALOG & At("schema", 2, USE_SCHEMA | MANAGE, "USE_SCHEMA on schema")
"""What every operation below a schema needs first."""
SCHEMA.inside = REACH

KNOW = IN_CATALOG & Mainly(USE_SCHEMA, MANAGE)
SEE = Mainly(KNOW, BROWSING)

api = Api("unityCatalog", "/api/2.1/unity-catalog/schemas")
BY_NAME = SCHEMA.at("{full_name}")
IN_ITS_CATALOG = CATALOG.at("{catalog_name}")


class CreateSchema(Ask):
    name: str
    catalog_name: str
    comment: str | None = None
    properties: dict[str, str] = Field(default_factory=dict[str, str])
    storage_root: str | None = None


class Listing(Ask):
    catalog_name: str
    include_browse: bool = False
    max_results: int | None = None
    page_token: str | None = None


class Named(Ask):
    full_name: str


class ReadSchema(Named):
    include_browse: bool = False


class UpdateSchema(Named):
    new_name: str | None = None
    owner: str | None = None
    comment: str | None = None
    properties: dict[str, str] | None = None


class DeleteSchema(Named):
    force: bool = False


@api("POST", audit="createSchema", on=IN_ITS_CATALOG, needs=IN_CATALOG & CREATE_SCHEMA)
def create(ctx: Ctx, catalog: Obj[Catalog], ask: CreateSchema) -> Reply:
    root = places.managed_root(ctx, ask.storage_root)
    spec = Schema(comment=ask.comment, properties=ask.properties, storage_root=root)
    return shown(ctx, objects.create(ctx, SCHEMA, names.checked(ask.name, "schema name"), spec, under=catalog))


@api("GET", audit="listSchemas", on=IN_ITS_CATALOG, needs=SEE_CATALOG, runs=SNAPSHOT)
def list_(ctx: Ctx, catalog: Obj[Catalog], ask: Listing) -> Reply:
    found, following = objects.page(
        ctx, SCHEMA, SEE if ask.include_browse else KNOW, under=catalog, size=ask.max_results, token=ask.page_token
    )
    people = People(ctx)
    return {"schemas": [show(ctx, s, people) for s in found], "next_page_token": following}


@api("GET", "/{full_name}", audit="getSchema", on=BY_NAME, needs=SEE, runs=SNAPSHOT)
def get(ctx: Ctx, schema: Obj[Schema], ask: ReadSchema) -> Reply:
    if not ask.include_browse:
        require(ctx, KNOW, schema)
    return shown(ctx, schema)


@api("PATCH", "/{full_name}", audit="updateSchema", on=BY_NAME, needs=IN_CATALOG & MANAGE)
def update(ctx: Ctx, schema: Obj[Schema], ask: UpdateSchema) -> Reply:
    changed = {k: v for k in ("comment", "properties") if (v := getattr(ask, k)) is not None}
    if changed:
        schema = objects.update(ctx, schema, **changed)
    if ask.new_name is not None and (name := names.checked(ask.new_name, "new_name")) != schema.name:
        require(ctx, CREATE_SCHEMA, objects.parent(ctx, schema))
        schema = renames.rename(ctx, schema, name)
    if ask.owner is not None:
        schema = objects.set_owner(ctx, schema, ctx.id_of(ask.owner))
    return shown(ctx, schema)


@api("DELETE", "/{full_name}", audit="deleteSchema", on=BY_NAME, needs=IN_CATALOG & MANAGE)
def delete(ctx: Ctx, schema: Obj[Schema], ask: DeleteSchema) -> Reply:
    dropped.drop(ctx, schema, cascade=ask.force)
    return {}


def shown(ctx: Ctx, schema: Obj[Schema]) -> Reply:
    return show(ctx, schema, People(ctx))


def show(ctx: Ctx, schema: Obj[Schema], people: People) -> Reply:
    return {
        "name": schema.name, "catalog_name": schema.full_name.split(".")[0], "full_name": schema.full_name,
        "schema_id": schema.id, "owner": people[schema.owner], "comment": schema.spec.comment,
        "properties": schema.spec.properties, "storage_root": schema.spec.storage_root,
        "metastore_id": people.metastore_id, "catalog_type": "MANAGED_CATALOG",
        "created_at": schema.created_at, "created_by": people[schema.created_by],
        "updated_at": schema.updated_at, "updated_by": people[schema.updated_by],
    }  # fmt: skip
