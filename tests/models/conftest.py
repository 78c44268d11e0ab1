"""A schema with a model in it, and people around it: who trains, who approves, who only looks on."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle
import orjson
import pytest
from sklearn.linear_model import LogisticRegression

from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Denied, NotFound
from lakewright.models import files, versions
from lakewright.models.registered import REGISTERED_MODEL
from lakewright.models.sources import Run, Runs

MODEL = "main.ml.flights"
MLMODEL = """\
flavors:
  python_function: {loader_module: mlflow.sklearn, model_path: model.pkl}
  sklearn: {pickled_model: model.pkl, serialization_format: cloudpickle}
mlflow_version: 3.17.2
signature:
  inputs: '[{"type": "double", "name": "a", "required": true}]'
  outputs: '[{"type": "long", "required": true}]'
"""


@dataclass
class Recorded:
    """Tracked runs by hand, for decisions about runs that no client would log."""

    runs: dict[str, Run] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    artifacts: dict[tuple[str, str], bytes] = field(default_factory=dict)
    readers: dict[str, set[str]] = field(default_factory=dict)

    def read(self, ctx: Ctx, run_id: str) -> Run:
        if run_id not in self.runs:
            raise NotFound(f"run {run_id} does not exist")
        if ctx.principal.id not in self.readers.get(run_id, {ctx.principal.id}):
            raise Denied(f"{ctx.principal.name} needs CAN_READ on the experiment of run {run_id}")
        return self.runs[run_id]

    def logged_model(self, ctx: Ctx, model_id: str) -> Run | None:
        if model_id not in self.models:
            raise NotFound(f"logged model {model_id} does not exist")
        return self.read(ctx, self.models[model_id])

    def artifact(self, ctx: Ctx, run_id: str, path: str, largest: int) -> bytes | None:
        self.read(ctx, run_id)
        return self.artifacts.get((run_id, path))


@pytest.fixture
def recorded(platform) -> Recorded:
    made = Recorded()
    platform.provide(made, as_type=Runs)
    return made


@dataclass
class World:
    people: Any
    recorded: Recorded
    platform: Any

    def __post_init__(self) -> None:
        admin = self.people.admin
        admin.client.catalogs.create(name="main")
        admin.client.schemas.create(name="ml", catalog_name="main")
        self.trainer, self.ann, self.bob = (
            self.people.service_principal("trainer"), self.people.person("ann"), self.people.person("bob"),
        )  # fmt: skip
        self.eve = self.people.person("eve")
        self.grant("SCHEMA", "main.ml", self.trainer, "CREATE_MODEL")
        for who in (self.trainer, self.ann, self.bob):
            self.grant("CATALOG", "main", who, "USE_CATALOG", "USE_SCHEMA")

    def grant(self, kind: str, name: str, who: Any, *rights: str) -> None:
        body = {"changes": [{"principal": who.name, "add": list(rights)}]}
        self.people.admin.do("PATCH", f"/api/2.1/unity-catalog/permissions/{kind.lower()}/{name}", **body)

    def run(self, run_id: str, by: Any, **more: Any) -> str:
        datasets = more.pop("datasets", ({"name": "main.ml.features", "digest": "7"},))
        self.recorded.runs[run_id] = Run(run_id, "1", by.id, datasets=datasets, **more)
        self.recorded.models[f"m-{run_id}"] = run_id
        return f"models:/m-{run_id}"

    def evaluated(self, in_run: str, **evaluation: Any) -> None:
        said = {
            "run_id": in_run, "metrics": {"auc": 0.71}, "slices": [{"slice": "origin=EWR", "rows": 500, "auc": 0.7}],
            "champion": None,
        } | evaluation  # fmt: skip
        self.recorded.artifacts[in_run, "evaluation.json"] = orjson.dumps(said)

    def model(self, by: Any | None = None, name: str = "flights") -> None:
        by = by or self.trainer
        by.do("POST", "/api/2.1/unity-catalog/models", catalog_name="main", schema_name="ml", name=name)

    def version(self, by: Any | None = None, run_id: str = "r1", files: dict[str, bytes] | None = None) -> int:
        """A registered version, by the calls an MLflow client makes; its files are put where uploads go."""
        by = by or self.trainer
        source = self.run(run_id, by) if run_id not in self.recorded.runs else f"models:/m-{run_id}"
        made = by.do(
            "POST", "/api/2.0/mlflow/unity-catalog/model-versions/create", name=MODEL, source=source, run_id=run_id
        )["model_version"]
        self.put(int(made["version"]), files or good_files())
        by.do("POST", "/api/2.0/mlflow/unity-catalog/model-versions/finalize", name=MODEL, version=made["version"])
        return int(made["version"])

    def put(self, version: int, content: dict[str, bytes]) -> None:
        for path, body in content.items():
            where = files.pending(self.folder(version)) / path
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_bytes(body)

    def folder(self, version: int) -> Path:
        def find(ctx: Ctx) -> Path:
            model = objects.find(ctx, REGISTERED_MODEL, MODEL)
            return versions.folder(model, versions.of(ctx, model, version))

        return self.platform.snapshot(find)

    def card(self, by: Any | None = None) -> None:
        by = by or self.ann
        by.do(
            "PATCH",
            f"/api/2.1/lakewright/cards/{MODEL}",
            intended_use="Late flights.",
            limits="Not abroad.",
            owner="ann",
        )

    def gate(self, version: int, by: Any | None = None, **more: Any) -> dict[str, Any]:
        by = by or self.trainer
        return by.do("POST", "/api/2.1/lakewright/gates/run", model=MODEL, version=version, **more)

    def request(self, version: int, by: Any | None = None, **more: Any) -> str:
        by = by or self.trainer
        asked = by.do("POST", "/api/2.1/lakewright/approvals", model=MODEL, version=version, **more)
        return asked["approval_id"]

    def approve(self, approval: str, by: Any | None = None, **more: Any) -> dict[str, Any]:
        by = by or self.bob
        return by.do("POST", f"/api/2.1/lakewright/approvals/{approval}/approve", **more)

    def release(self, approval: str, by: Any | None = None) -> dict[str, Any]:
        by = by or self.trainer
        return by.do("POST", "/api/2.1/lakewright/releases", approval_id=approval)

    def releasable(self, run_id: str = "r1", **evaluation: Any) -> int:
        """A version with all it needs to be approved."""
        version = self.version(run_id=run_id)
        self.evaluated(run_id, **evaluation)
        self.card()
        assert self.gate(version)["passed"]
        return version

    def champion(self, run_id: str = "r1", **evaluation: Any) -> int:
        version = self.releasable(run_id, **evaluation)
        approval = self.request(version)
        self.approve(approval)
        self.release(approval)
        return version

    def alias(self, alias: str = "champion") -> int | None:
        found = self.trainer.do("GET", f"/api/2.1/unity-catalog/models/{MODEL}", include_aliases="true")
        return {a["alias_name"]: a["version_num"] for a in found["aliases"]}.get(alias)


def good_files() -> dict[str, bytes]:
    fitted = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    return {
        "MLmodel": MLMODEL.encode(), "model.pkl": cloudpickle.dumps(fitted),
        "requirements.txt": b"scikit-learn==1.9.1\n", "python_env.yaml": b"python: 3.11.2\n",
    }  # fmt: skip


@pytest.fixture
def world(people, recorded, platform) -> World:
    """A schema, a model of the trainer's in it, and bob among whose duties it is to approve."""
    made = World(people, recorded, platform)
    made.model()
    made.grant("SCHEMA", "main.ml", made.ann, "CREATE_MODEL_VERSION")
    made.grant("SCHEMA", "main.ml", made.bob, "MANAGE", "EXECUTE")
    return made
