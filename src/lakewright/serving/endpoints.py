"""Serving endpoints: named addresses that answer with the predictions of released model versions.

An endpoint declares which versions it serves and how the traffic is shared. A new configuration waits as `pending`
until every model in it is warm; only then does it take the traffic over, and if it cannot, the old one goes on.
"""

import re
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import AfterValidator, BaseModel, Field

from lakewright.catalog import definers
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import BadState, Denied, Invalid, NotFound, NotSupported
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Nothing, Reply
from lakewright.kernel.roots import IN_WORKSPACE, WORKSPACE, Root
from lakewright.kernel.rules import EVERYONE, PER_ROW
from lakewright.serving import scored
from lakewright.serving.releases import Releases

Size = Literal["Small", "Medium", "Large"]
ENTITY_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,127}")
ENDPOINT_NAME = re.compile(r"[A-Za-z0-9]([\w-]{0,61}[A-Za-z0-9])?")


class Entity(BaseModel):
    """One model version on an endpoint."""

    name: str
    model: str
    version: int
    workload_size: Size = "Small"
    created_at: int = 0
    created_by: str = ""


class Share(BaseModel):
    entity: str
    percent: int


class Capture(BaseModel):
    """Where every request is written down."""

    catalog_name: str
    schema_name: str
    table_name_prefix: str
    enabled: bool = True

    @property
    def table(self) -> str:
        return f"{self.catalog_name}.{self.schema_name}.{self.table_name_prefix}_payload"


class Config(BaseModel):
    version: int
    entities: list[Entity]
    shares: list[Share]
    capture: Capture
    author: str = ""
    """Who asked for it, by id: they must be allowed to serve these models when it takes effect, too."""
    asked_at: int = 0

    def traffic(self) -> list[tuple[str, int, float]]:
        """Each version and its share; one without any is only kept warm."""
        percent = {share.entity: share.percent for share in self.shares}
        return [(e.model, e.version, percent.get(e.name, 0) / 100) for e in self.entities]


class Endpoint(BaseModel):
    config: Config | None = None
    pending: Config | None = None
    failed: Config | None = None
    failure: str = ""
    description: str = ""
    tags: dict[str, str] = {}
    versions: int = 0
    """How many configurations it has had."""


@runtime_checkable
class Ledger(Protocol):
    """The governed tables, as far as endpoints need them. Each append commits wholly or not at all."""

    def check(self, ctx: Ctx, table: str) -> None:
        """Refused if the caller may neither append to the table nor make it."""
        ...

    def append(self, ctx: Ctx, table: str, rows: Any) -> None:
        """A pyarrow Table."""
        ...

    def known(self, ctx: Ctx, table: str, ids: set[str], since_ms: int) -> set[str]:
        """Which of these request ids the table has. Empty where there is no such table."""
        ...


ENDPOINT = Kind("serving_endpoint", example=Endpoint(), under=WORKSPACE, also_called=("serving-endpoints",))
ENDPOINT.before_transfer = definers.check_transfer  # requests are written as the owner
CAN_VIEW, CAN_QUERY, CAN_MANAGE = ENDPOINT.levels("CAN_VIEW", "CAN_QUERY", "CAN_MANAGE")
CHANGED = "serving_endpoint"

api = Api("serverlessRealTimeInference", "/api/2.0/serving-endpoints")
BY_NAME = ENDPOINT.at("{name}")
AS_MLFLOW_SAYS_IT = ("/api/2.0/serving-endpoints/",)


def _endpoint_name(name: str) -> str:
    if not ENDPOINT_NAME.fullmatch(name):
        raise ValueError(
            "an endpoint's name has at most 63 letters, digits, '-' and '_', with no '-' or '_' at the ends"
        )
    return name


def _entity_name(name: str) -> str:
    if not ENTITY_NAME.fullmatch(name):
        raise ValueError("a served entity's name consists of letters, digits, '.', '-' and '_'")
    return name


EntityName = Annotated[str, AfterValidator(_entity_name)]


class ServedEntity(Ask):
    entity_name: str
    entity_version: str
    name: EntityName | None = None
    workload_size: Size = "Small"
    workload_type: Literal["CPU"] = "CPU"
    scale_to_zero_enabled: Literal[False] = False


class ServedModel(Ask):
    """The older spelling of the same."""

    model_name: str
    model_version: str
    name: EntityName | None = None
    workload_size: Size = "Small"
    workload_type: Literal["CPU"] = "CPU"
    scale_to_zero_enabled: Literal[False] = False

    def as_entity(self) -> ServedEntity:
        same = self.model_dump(exclude={"model_name", "model_version"})
        return ServedEntity(entity_name=self.model_name, entity_version=self.model_version, **same)


class Route(Ask):
    traffic_percentage: int = Field(ge=0, le=100)
    served_entity_name: str | None = None
    served_model_name: str | None = None

    @property
    def entity(self) -> str:
        return self.served_entity_name or self.served_model_name or ""


class Traffic(Ask):
    routes: list[Route]


class AutoCapture(Ask):
    catalog_name: str | None = None
    schema_name: str | None = None
    table_name_prefix: str | None = None
    enabled: bool = True


class Wanted(Ask):
    """A configuration as it is asked for."""

    served_entities: list[ServedEntity] = []
    served_models: list[ServedModel] = []
    traffic_config: Traffic | None = None
    auto_capture_config: AutoCapture | None = None
    name: str | None = None


class Tag(Ask):
    key: str
    value: str = ""


class CreateEndpoint(Ask):
    name: Annotated[str, AfterValidator(_endpoint_name)]
    config: Wanted | None = None
    tags: list[Tag] = []
    description: str = ""
    route_optimized: Literal[False] = False


class Named(Ask):
    name: str


class UpdateConfig(Wanted):
    name: str  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]


class PatchTags(Named):
    add_tags: list[Tag] = []
    delete_tags: list[str] = []


@api("POST", audit="createServingEndpoint", on=IN_WORKSPACE, needs=EVERYONE, also=AS_MLFLOW_SAYS_IT)
def create(ctx: Ctx, workspace: Obj[Root], ask: CreateEndpoint) -> Reply:
    """Anybody may: what matters is checked model by model, that each version is released and the caller's to execute."""
    made = objects.create(
        ctx, ENDPOINT, ask.name, Endpoint(description=ask.description, tags={t.key: t.value for t in ask.tags}),
        under=workspace,
    )  # fmt: skip
    if ask.config is not None:
        if ask.config.name not in (None, ask.name):
            raise Invalid(f"config.name '{ask.config.name}' is not the endpoint's name")
        made = _declare(ctx, made, ask.config)
    return show(ctx, made)


@api("GET", audit="listServingEndpoints", on=IN_WORKSPACE, needs=PER_ROW, also=AS_MLFLOW_SAYS_IT)
def list_(ctx: Ctx, workspace: Obj[Root], ask: Nothing) -> Reply:
    return {"endpoints": [show(ctx, endpoint) for endpoint in objects.visible(ctx, ENDPOINT, CAN_VIEW)]}


@api("GET", "/{name}", audit="getServingEndpoint", on=BY_NAME, needs=CAN_VIEW, runs=SNAPSHOT)
def get(ctx: Ctx, endpoint: Obj[Endpoint], ask: Named) -> Reply:
    return show(ctx, endpoint) | {"permission_level": _level(ctx, endpoint)}


@api("PUT", "/{name}/config", audit="updateServingEndpoint", on=BY_NAME, needs=CAN_MANAGE)
def update_config(ctx: Ctx, endpoint: Obj[Endpoint], ask: UpdateConfig) -> Reply:
    return show(ctx, _declare(ctx, endpoint, ask))


@api("PATCH", "/{name}/tags", audit="updateServingEndpointTags", on=BY_NAME, needs=CAN_MANAGE)
def patch_tags(ctx: Ctx, endpoint: Obj[Endpoint], ask: PatchTags) -> Reply:
    tags = endpoint.spec.tags | {tag.key: tag.value for tag in ask.add_tags}
    kept = {key: value for key, value in tags.items() if key not in ask.delete_tags}
    return {"tags": _tags(objects.update(ctx, endpoint, tags=kept).spec.tags)}


@api("DELETE", "/{name}", audit="deleteServingEndpoint", on=BY_NAME, needs=CAN_MANAGE)
def delete(ctx: Ctx, endpoint: Obj[Endpoint], ask: Named) -> Reply:
    objects.delete(ctx, endpoint)
    ctx.the(Releases).goes_live(ctx, endpoint.name, [])
    ctx.emit(CHANGED, endpoint.id, {"name": endpoint.name, "deleted": True})
    return {}


# ------------------------------------------------------------------ decisions


def _declare(ctx: Ctx, endpoint: Obj[Endpoint], wanted: Wanted) -> Obj[Endpoint]:
    """Record what is wanted; the fleet brings it about."""
    if endpoint.spec.pending is not None:
        raise BadState(f"endpoint '{endpoint.name}' is being updated; wait until that has ended")
    number = endpoint.spec.versions + 1
    config = configured(ctx, endpoint, wanted, number)
    for entity in config.entities:
        check_servable(ctx, entity)
    _check_capture(ctx, endpoint, config.capture)
    changed = objects.update(ctx, endpoint, pending=config, failed=None, failure="", versions=number)
    ctx.emit(CHANGED, endpoint.id, {"name": endpoint.name, "config_version": number})
    return changed


def check_servable(ctx: Ctx, entity: Entity) -> None:
    verdict = ctx.the(Releases).servable(ctx, entity.model, entity.version)
    if not verdict:
        raise Denied(f"{ctx.principal.name} may not serve {entity.model} version {entity.version}: {verdict.because}")


def configured(ctx: Ctx, endpoint: Obj[Endpoint], wanted: Wanted, number: int) -> Config:
    asked = [*wanted.served_entities, *(model.as_entity() for model in wanted.served_models)]
    if not asked:
        raise Invalid("a configuration serves at least one entity")
    entities = [_entity(ctx, served) for served in asked]
    if len({entity.name for entity in entities}) != len(entities):
        raise Invalid("two served entities have the same name")
    return Config(
        version=number, entities=entities, shares=_shares(entities, wanted.traffic_config),
        capture=_capture(endpoint, entities, wanted.auto_capture_config), author=ctx.principal.id, asked_at=ctx.now(),
    )  # fmt: skip


def _entity(ctx: Ctx, served: ServedEntity) -> Entity:
    if not served.entity_version.isdigit():
        raise Invalid(f"served_entities.entity_version: '{served.entity_version}' is no version number")
    if served.entity_name.count(".") != 2:
        raise NotSupported(
            f"only models of the catalog (catalog.schema.model) can be served, not '{served.entity_name}'"
        )
    default = f"{served.entity_name.rpartition('.')[2]}-{served.entity_version}"
    return Entity(
        name=served.name or default, model=served.entity_name.lower(), version=int(served.entity_version),
        workload_size=served.workload_size, created_at=ctx.now(), created_by=ctx.principal.id,
    )  # fmt: skip


def _shares(entities: list[Entity], traffic: Traffic | None) -> list[Share]:
    if traffic is None:
        if len(entities) > 1:
            raise Invalid("traffic_config is required when more than one entity is served")
        return [Share(entity=entities[0].name, percent=100)]
    names = {entity.name for entity in entities}
    for route in traffic.routes:
        if route.entity not in names:
            raise Invalid(f"traffic_config.routes: no served entity is called '{route.entity}'")
    if sum(route.traffic_percentage for route in traffic.routes) != 100:
        raise Invalid("traffic_config.routes: the percentages must add up to 100")
    return [Share(entity=route.entity, percent=route.traffic_percentage) for route in traffic.routes]


def _capture(endpoint: Obj[Endpoint], entities: list[Entity], asked: AutoCapture | None) -> Capture:
    """Without a word about it, requests are written beside the model."""
    current = endpoint.spec.config.capture if endpoint.spec.config else None
    if asked is None and current is not None:
        return current
    asked = asked or AutoCapture()
    catalog, schema, _ = entities[0].model.split(".")
    return Capture(
        catalog_name=asked.catalog_name or catalog, schema_name=asked.schema_name or schema,
        table_name_prefix=asked.table_name_prefix or endpoint.name.replace("-", "_").lower(), enabled=asked.enabled,
    )  # fmt: skip


def _check_capture(ctx: Ctx, endpoint: Obj[Endpoint], capture: Capture) -> None:
    """Requests are written as the endpoint's owner: whoever else manages it does not point the owner's hand elsewhere."""
    current = endpoint.spec.config.capture if endpoint.spec.config else None
    if capture == current or not capture.enabled or endpoint.owner in ctx.principal.ids:
        return
    for table in (capture.table, scored.table_of(capture.table)):
        ctx.the(Ledger).check(ctx, table)


def served(endpoint: Obj[Endpoint], name: str) -> Entity:
    for config in (endpoint.spec.config, endpoint.spec.pending, endpoint.spec.failed):
        for entity in config.entities if config else []:
            if entity.name == name:
                return entity
    raise NotFound(f"endpoint '{endpoint.name}' serves nothing called '{name}'")


# ------------------------------------------------------------------ show


def show(ctx: Ctx, endpoint: Obj[Endpoint]) -> Reply:
    spec, ready = endpoint.spec, _ready(ctx, endpoint)
    shown: Reply = {
        "id": endpoint.id,
        "name": endpoint.name,
        "creator": ctx.name_of(endpoint.created_by),
        "creation_timestamp": endpoint.created_at,
        "last_updated_timestamp": endpoint.updated_at,
        "description": spec.description,
        "tags": _tags(spec.tags),
        "route_optimized": False,
        "state": {"ready": _readiness(spec, ready), "config_update": _progress(spec)},
    }
    if spec.config is not None:
        shown["config"] = _config(ctx, endpoint, spec.config, ready, "DEPLOYMENT_RECOVERING")
    if spec.pending is not None:
        shown["pending_config"] = _config(ctx, endpoint, spec.pending, ready, "DEPLOYMENT_CREATING")
    elif spec.failed is not None:
        shown["pending_config"] = _config(ctx, endpoint, spec.failed, set(), "DEPLOYMENT_FAILED")
    return shown


def _readiness(spec: Endpoint, ready: set[tuple[str, int]]) -> str:
    entities = spec.config.entities if spec.config else []
    return "READY" if entities and all((e.model, e.version) in ready for e in entities) else "NOT_READY"


def _progress(spec: Endpoint) -> str:
    if spec.pending is not None:
        return "IN_PROGRESS"
    return "UPDATE_FAILED" if spec.failed is not None else "NOT_UPDATING"


def _ready(ctx: Ctx, endpoint: Obj[Endpoint]) -> set[tuple[str, int]]:
    rows = ctx.tx.all(
        "SELECT model, version FROM serving_processes WHERE endpoint_id = ? AND state = 'READY'", endpoint.id
    )
    return {(str(row["model"]), int(row["version"])) for row in rows}


def _config(ctx: Ctx, endpoint: Obj[Endpoint], config: Config, ready: set[tuple[str, int]], otherwise: str) -> Reply:
    entities = [_shown_entity(ctx, endpoint, entity, ready, otherwise) for entity in config.entities]
    return {
        "config_version": config.version,
        "served_entities": entities,
        "served_models": [_as_model(entity) for entity in entities],
        "traffic_config": {
            "routes": [
                {"served_entity_name": s.entity, "served_model_name": s.entity, "traffic_percentage": s.percent}
                for s in config.shares
            ]
        },
        "auto_capture_config": config.capture.model_dump() | _captured(ctx, endpoint, config.capture),
        "start_time": config.asked_at,
    }


def _shown_entity(
    ctx: Ctx, endpoint: Obj[Endpoint], entity: Entity, ready: set[tuple[str, int]], otherwise: str
) -> dict[str, Any]:
    is_ready = (entity.model, entity.version) in ready
    return {
        "name": entity.name,
        "entity_name": entity.model,
        "entity_version": str(entity.version),
        "workload_size": entity.workload_size,
        "workload_type": "CPU",
        "scale_to_zero_enabled": False,
        "creation_timestamp": entity.created_at,
        "creator": ctx.name_of(entity.created_by),
        "state": {
            "deployment": "DEPLOYMENT_READY" if is_ready else otherwise,
            "deployment_state_message": "" if is_ready else endpoint.spec.failure,
        },
    }


def _as_model(entity: dict[str, Any]) -> dict[str, Any]:
    same = {name: value for name, value in entity.items() if not name.startswith("entity_")}
    return same | {"model_name": entity["entity_name"], "model_version": entity["entity_version"]}


def _captured(ctx: Ctx, endpoint: Obj[Endpoint], capture: Capture) -> dict[str, Any]:
    row = ctx.tx.one("SELECT problem FROM serving_logs WHERE endpoint_id = ?", endpoint.id)
    problem = str(row["problem"]) if row is not None else ""
    status = "FAILED" if problem else "READY"
    return {"state": {"payload_table": {"name": capture.table, "status": status, "status_message": problem}}}


def _tags(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in sorted(tags.items())]


def _level(ctx: Ctx, endpoint: Obj[Endpoint]) -> str:
    return next(level.name for level in (CAN_MANAGE, CAN_QUERY, CAN_VIEW) if level.judge(ctx, endpoint.id))
