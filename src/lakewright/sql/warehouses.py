"""SQL warehouses: compute that only answers SQL, by slots."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.controllers import controller
from lakewright.kernel.faults import Invalid
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import Api, Ask, Reply
from lakewright.kernel.platform import Platform
from lakewright.kernel.roots import ADMINS, FURNISHES, IN_WORKSPACE, WORKSPACE, Root
from lakewright.kernel.rules import PER_ROW
from lakewright.sql.pool import Pool

SIZES = ("2X-Small", "X-Small", "Small", "Medium", "Large", "X-Large", "2X-Large", "3X-Large", "4X-Large")
Size = Literal["2X-Small", "X-Small", "Small", "Medium", "Large", "X-Large", "2X-Large", "3X-Large", "4X-Large"]
SLOTS_PER_CLUSTER = 10
STARTER = "Starter Warehouse"


class Tag(BaseModel):
    key: str
    value: str


class Tags(BaseModel):
    custom_tags: list[Tag] = []


class Warehouse(BaseModel):
    cluster_size: Size = "2X-Small"
    auto_stop_mins: int = 45
    min_num_clusters: int = 1
    max_num_clusters: int = 1
    warehouse_type: Literal["PRO", "CLASSIC"] = "PRO"
    tags: Tags = Tags()
    state: Literal["RUNNING", "STOPPED"] = "STOPPED"
    used_at: int = 0
    """When it was started or answered last, as far as stopping it needs to know."""

    @property
    def slots(self) -> int:
        return SLOTS_PER_CLUSTER * self.max_num_clusters


WAREHOUSE = Kind("warehouse", example=Warehouse(), under=WORKSPACE, also_called=("warehouses",))
CAN_VIEW, CAN_USE, CAN_MONITOR, CAN_MANAGE = WAREHOUSE.levels("CAN_VIEW", "CAN_USE", "CAN_MONITOR", "CAN_MANAGE")
(CREATE_WAREHOUSE,) = WORKSPACE.privileges("CREATE_WAREHOUSE")

api = Api("databrickssql", "/api/2.0/sql/warehouses")
BY_ID = WAREHOUSE.by_id("{id}")


class Described(Ask):
    """What makes a warehouse. Fields of the public API that would change nothing here are refused."""

    cluster_size: Size | None = None
    auto_stop_mins: int | None = Field(None, ge=0)
    min_num_clusters: int | None = Field(None, ge=1, le=40)
    max_num_clusters: int | None = Field(None, ge=1, le=40)
    warehouse_type: Literal["PRO", "CLASSIC"] | None = None
    tags: Tags | None = None

    def given(self) -> dict[str, Any]:
        return {k: v for k, v in self if v is not None and k not in ("id", "name")}


class Create(Described):
    name: str = Field(min_length=1, max_length=100)


class Edit(Described):
    id: str
    name: str | None = Field(None, min_length=1, max_length=100)


class ById(Ask):
    id: str


class Listing(Ask):
    page_size: int | None = None
    page_token: str | None = None


@api("POST", audit="createWarehouse", on=IN_WORKSPACE, needs=CREATE_WAREHOUSE)
def create(ctx: Ctx, workspace: Obj[Root], ask: Create) -> Reply:
    """It runs at once: there is nothing to wait for."""
    spec = Warehouse.model_validate({**ask.given(), "state": "RUNNING", "used_at": ctx.now()})
    _sensible(spec)
    return {"id": objects.create(ctx, WAREHOUSE, ask.name, spec, under=workspace).id}


@api("GET", audit="listWarehouses", on=IN_WORKSPACE, needs=PER_ROW)
def list_(ctx: Ctx, workspace: Obj[Root], ask: Listing) -> Reply:
    found, following = objects.page(ctx, WAREHOUSE, CAN_VIEW, size=ask.page_size, token=ask.page_token)
    return {"warehouses": [show(ctx, w) for w in found], "next_page_token": following}


@api("GET", "/{id}", audit="getWarehouse", on=BY_ID, needs=CAN_VIEW)
def get(ctx: Ctx, warehouse: Obj[Warehouse], ask: ById) -> Reply:
    return show(ctx, warehouse)


@api("POST", "/{id}/edit", audit="editWarehouse", on=BY_ID, needs=CAN_MANAGE)
def edit(ctx: Ctx, warehouse: Obj[Warehouse], ask: Edit) -> Reply:
    changed = Warehouse.model_validate({**dict(warehouse.spec), **ask.given()})
    _sensible(changed)
    warehouse = objects.replace_spec(ctx, warehouse, changed)
    if ask.name is not None and ask.name != warehouse.name:
        warehouse = objects.rename(ctx, warehouse, ask.name)
    return {"id": warehouse.id}


@api("POST", "/{id}/start", audit="startWarehouse", on=BY_ID, needs=CAN_USE)
def start(ctx: Ctx, warehouse: Obj[Warehouse], ask: ById) -> Reply:
    use(ctx, warehouse)
    return {}


@api("POST", "/{id}/stop", audit="stopWarehouse", on=BY_ID, needs=CAN_MANAGE)
def stop(ctx: Ctx, warehouse: Obj[Warehouse], ask: ById) -> Reply:
    """What runs on it still ends; the next statement starts it again."""
    objects.update(ctx, warehouse, state="STOPPED")
    return {}


@api("DELETE", "/{id}", audit="deleteWarehouse", on=BY_ID, needs=CAN_MANAGE)
def delete(ctx: Ctx, warehouse: Obj[Warehouse], ask: ById) -> Reply:
    objects.delete(ctx, warehouse)
    return {}


@controller("sql.auto_stop", every=30.0)
def auto_stop(platform: Platform) -> None:
    """Stop what nobody has used for its time. A warehouse that is working is in use."""
    pool = platform.the(Pool)

    def tick(ctx: Ctx) -> None:
        for row in ctx.tx.all("SELECT id, workspace FROM objects WHERE kind = 'warehouse' AND deleted_at IS NULL"):
            warehouse = objects.by_id(ctx.in_workspace(row["workspace"]), WAREHOUSE, str(row["id"]))
            spec = warehouse.spec
            if spec.state != "RUNNING" or not spec.auto_stop_mins or pool.busy(warehouse.id):
                continue
            if ctx.now() - max(spec.used_at, _last_used(ctx, warehouse.id)) >= spec.auto_stop_mins * 60_000:
                objects.update(ctx, warehouse, state="STOPPED")

    platform.transact(tick)


def _last_used(ctx: Ctx, warehouse_id: str) -> int:
    found = ctx.tx.scalar(
        "SELECT max(coalesce(ended_at, submitted_at)) FROM sql_statements WHERE warehouse_id = ?", warehouse_id
    )
    return int(found or 0)


def use(ctx: Ctx, warehouse: Obj[Warehouse]) -> Obj[Warehouse]:
    """Make sure that it runs."""
    if warehouse.spec.state == "RUNNING":
        return warehouse
    return objects.update(ctx, warehouse, state="RUNNING", used_at=ctx.now())


def plant(ctx: Ctx) -> None:
    """One to begin with, of the administrators: they say who else may use it."""
    if ctx.tx.scalar("SELECT count(*) FROM objects WHERE kind = 'warehouse' AND workspace = ?", ctx.workspace):
        return
    workspace = objects.find(ctx, WORKSPACE, "")
    objects.create(ctx, WAREHOUSE, STARTER, Warehouse(), under=workspace, owner=ADMINS)


FURNISHES.append(plant)


def _sensible(spec: Warehouse) -> None:
    if spec.min_num_clusters > spec.max_num_clusters:
        raise Invalid("min_num_clusters is more than max_num_clusters")


def show(ctx: Ctx, warehouse: Obj[Warehouse]) -> Reply:
    spec = warehouse.spec
    return {
        "id": warehouse.id, "name": warehouse.name, "creator_name": ctx.name_of(warehouse.created_by),
        "cluster_size": spec.cluster_size, "auto_stop_mins": spec.auto_stop_mins,
        "min_num_clusters": spec.min_num_clusters, "max_num_clusters": spec.max_num_clusters,
        "warehouse_type": spec.warehouse_type, "tags": spec.tags.model_dump(), "state": spec.state,
        "num_clusters": 1 if spec.state == "RUNNING" else 0, "num_active_sessions": ctx.the(Pool).busy(warehouse.id),
        "health": {"status": "HEALTHY"}, "enable_serverless_compute": False,
    }  # fmt: skip
