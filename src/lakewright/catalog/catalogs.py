"""Catalogs: the first level of the three-part name."""

from typing import Literal

from pydantic import BaseModel, Field

from lakewright.catalog import dropped, names, places, renames
from lakewright.catalog.people import People
from lakewright.catalog.reach import At, Mainly
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import NotSupported
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.roots import IN_METASTORE, METASTORE, Root
from lakewright.kernel.rules import MANAGE, PER_ROW, require


class Catalog(BaseModel):
    comment: str | None = None
    properties: dict[str, str] = {}
    storage_root: str | None = None


CATALOG = Kind("catalog", example=Catalog(comment="Sales"), under=METASTORE, folded=True, also_called=("catalogs",))
(CREATE_CATALOG,) = METASTORE.privileges("CREATE_CATALOG")
USE_CATALOG, CREATE_SCHEMA, BROWSE = CATALOG.privileges("USE_CATALOG", "CREATE_SCHEMA", "BROWSE")

IN_CATALOG = At("catalog", 1, USE_CATALOG | MANAGE, "USE_CATALOG on catalog")
"""What every operation below a catalog needs first."""
BROWSING = At("catalog", 1, BROWSE, "BROWSE on catalog")
"""Knowing what a catalog holds without touching it. Asked of the catalog: owning a table in it does not give it."""

KNOW = Mainly(USE_CATALOG, MANAGE)
"""Without BROWSE: what lists and reads show that do not say `include_browse`. Every kind below has the same two."""
SEE = Mainly(KNOW, BROWSE)

api = Api("unityCatalog", "/api/2.1/unity-catalog/catalogs")
BY_NAME = CATALOG.at("{name}")


class CreateCatalog(Ask):
    name: str
    comment: str | None = None
    properties: dict[str, str] = Field(default_factory=dict[str, str])
    storage_root: str | None = None


class Listing(Ask):
    include_browse: bool = False
    include_unbound: bool = False
    max_results: int | None = None
    page_token: str | None = None


class Named(Ask):
    name: str


class ReadCatalog(Named):
    include_browse: bool = False


class UpdateCatalog(Named):
    new_name: str | None = None
    owner: str | None = None
    comment: str | None = None
    properties: dict[str, str] | None = None
    isolation_mode: Literal["OPEN"] | None = None


class DeleteCatalog(Named):
    force: bool = False


@api("POST", audit="createCatalog", on=IN_METASTORE, needs=CREATE_CATALOG)
def create(ctx: Ctx, metastore: Obj[Root], ask: CreateCatalog) -> Reply:
    root = places.managed_root(ctx, ask.storage_root)
    spec = Catalog(comment=ask.comment, properties=ask.properties, storage_root=root)
    return shown(ctx, objects.create(ctx, CATALOG, names.checked(ask.name, "catalog name"), spec, under=metastore))


@api("GET", audit="listCatalogs", on=IN_METASTORE, needs=PER_ROW)
def list_(ctx: Ctx, metastore: Obj[Root], ask: Listing) -> Reply:
    found, following = objects.page(
        ctx, CATALOG, SEE if ask.include_browse else KNOW, size=ask.max_results, token=ask.page_token
    )
    people = People(ctx)
    return {"catalogs": [show(ctx, c, people) for c in found], "next_page_token": following}


@api("GET", "/{name}", audit="getCatalog", on=BY_NAME, needs=SEE, runs=SNAPSHOT)
def get(ctx: Ctx, catalog: Obj[Catalog], ask: ReadCatalog) -> Reply:
    if not ask.include_browse:
        require(ctx, KNOW, catalog)
    return shown(ctx, catalog)


@api("PATCH", "/{name}", audit="updateCatalog", on=BY_NAME, needs=MANAGE)
def update(ctx: Ctx, catalog: Obj[Catalog], ask: UpdateCatalog) -> Reply:
    changed = {k: v for k in ("comment", "properties") if (v := getattr(ask, k)) is not None}
    if changed:
        catalog = objects.update(ctx, catalog, **changed)
    if ask.new_name is not None and (name := names.checked(ask.new_name, "new_name")) != catalog.name:
        # Whoever may name a catalog may make one: a rename must not be a way around CREATE_CATALOG.
        require(ctx, CREATE_CATALOG, objects.parent(ctx, catalog))
        catalog = renames.rename(ctx, catalog, name)
    if ask.owner is not None:
        catalog = objects.set_owner(ctx, catalog, ctx.id_of(ask.owner))
    return shown(ctx, catalog)


@api("DELETE", "/{name}", audit="deleteCatalog", on=BY_NAME, needs=MANAGE)
def delete(ctx: Ctx, catalog: Obj[Catalog], ask: DeleteCatalog) -> Reply:
    if catalog.name == "system":
        raise NotSupported("deleteCatalog does not support the catalog 'system'")
    dropped.drop(ctx, catalog, cascade=ask.force)
    return {}


def shown(ctx: Ctx, catalog: Obj[Catalog]) -> Reply:
    return show(ctx, catalog, People(ctx))


def show(ctx: Ctx, catalog: Obj[Catalog], people: People) -> Reply:
    return {
        "name": catalog.name, "full_name": catalog.full_name, "id": catalog.id, "owner": people[catalog.owner],
        "comment": catalog.spec.comment, "properties": catalog.spec.properties,
        "storage_root": catalog.spec.storage_root, "metastore_id": people.metastore_id,
        "catalog_type": "MANAGED_CATALOG", "securable_type": "CATALOG", "isolation_mode": "OPEN",
        "created_at": catalog.created_at, "created_by": people[catalog.created_by],
        "updated_at": catalog.updated_at, "updated_by": people[catalog.updated_by],
    }  # fmt: skip
