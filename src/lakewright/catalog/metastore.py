"""The metastore: the one namespace above all catalogs."""

from lakewright.catalog.people import People
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Nothing, Reply
from lakewright.kernel.roots import IN_METASTORE, METASTORE, Root
from lakewright.kernel.rules import EVERYONE, MANAGE

api = Api("unityCatalog", "/api/2.1/unity-catalog")

CLOUD = "local"
REGION = "local"


class ById(Ask):
    id: str


class Paged(Ask):
    max_results: int | None = None
    page_token: str | None = None


@api("GET", "/metastore_summary", audit="getMetastoreSummary", on=IN_METASTORE, needs=EVERYONE, runs=SNAPSHOT)
def summary(ctx: Ctx, metastore: Obj[Root], ask: Nothing) -> Reply:
    """Open to all: clients ask first which metastore they talk to; it says nothing about what is in it."""
    return show(ctx, metastore)


@api(
    "GET", "/current-metastore-assignment", audit="getCurrentMetastoreAssignment", on=IN_METASTORE, needs=EVERYONE,
    runs=SNAPSHOT,
)  # fmt: skip
def current(ctx: Ctx, metastore: Obj[Root], ask: Nothing) -> Reply:
    """Open to all: it only says which metastore this workspace has, and every workspace has the account's one."""
    return {"metastore_id": metastore.id, "workspace_id": int(ctx.workspace)}


@api("GET", "/metastores/{id}", audit="getMetastore", on=METASTORE.at("{id}"), needs=MANAGE, runs=SNAPSHOT)
def get(ctx: Ctx, metastore: Obj[Root], ask: ById) -> Reply:
    return show(ctx, metastore)


@api("GET", "/metastores", audit="listMetastores", on=IN_METASTORE, needs=MANAGE, runs=SNAPSHOT)
def list_(ctx: Ctx, metastore: Obj[Root], ask: Paged) -> Reply:
    return {"metastores": [show(ctx, metastore)]}


def show(ctx: Ctx, metastore: Obj[Root]) -> Reply:
    people = People(ctx)
    return {
        "metastore_id": metastore.id, "name": metastore.name, "owner": people[metastore.owner],
        "cloud": CLOUD, "region": REGION, "global_metastore_id": f"{CLOUD}:{REGION}:{metastore.id}",
        "privilege_model_version": "1.0", "external_access_enabled": True, "delta_sharing_scope": "INTERNAL",
        "created_at": metastore.created_at, "created_by": people[metastore.created_by],
        "updated_at": metastore.updated_at, "updated_by": people[metastore.updated_by],
    }  # fmt: skip


def metastore_id(ctx: Ctx) -> str:
    return objects.find(ctx, METASTORE, "").id
