"""Real models in MLflow's own format, saved once, and their processes."""

import os
import secrets
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Unavailable
from lakewright.kernel.platform import Platform
from lakewright.kernel.rules import Verdict
from lakewright.serving.endpoints import Ledger
from lakewright.serving.fleet import free_port
from lakewright.serving.model_client import Address
from lakewright.serving.releases import Files, Releases


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directories `linear` (numbers only), `trees` (LightGBM), `mixed` (with text), `pairs` (a tensor), `custom`."""
    warnings.filterwarnings("ignore")
    import mlflow
    import numpy as np
    import pandas as pd
    from lightgbm import LGBMClassifier
    from mlflow.models import infer_signature
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    root = tmp_path_factory.mktemp("models")
    random = np.random.default_rng(7)
    numbers = pd.DataFrame({"distance": random.normal(size=200), "delay": random.normal(size=200)})
    hour = random.integers(0, 24, size=200)
    late = (numbers.distance + numbers.delay > 0).astype(int)
    light = {"pip_requirements": []}

    linear = LinearRegression().fit(numbers, 3 * numbers.distance + numbers.delay)
    mlflow.sklearn.save_model(
        linear, root / "linear", signature=infer_signature(numbers, linear.predict(numbers)),
        input_example=numbers.head(2), **light,
    )  # fmt: skip
    trees = LGBMClassifier(n_estimators=5, verbose=-1).fit(numbers, late)
    mlflow.lightgbm.save_model(
        trees, root / "trees", signature=infer_signature(numbers, trees.predict(numbers)),
        input_example=numbers.head(2), **light,
    )  # fmt: skip
    table = numbers.assign(carrier=random.choice(["AA", "UA"], 200), hour=hour)
    encode = ColumnTransformer(
        [("carrier", OneHotEncoder(handle_unknown="ignore"), ["carrier"])], remainder="passthrough"
    )
    mixed = make_pipeline(encode, LogisticRegression()).fit(table, late)
    mlflow.sklearn.save_model(
        mixed, root / "mixed", signature=infer_signature(table, mixed.predict_proba(table)),
        input_example=table.head(2), pyfunc_predict_fn="predict_proba", serialization_format="cloudpickle", **light,
    )  # fmt: skip
    pairs = numbers.to_numpy()
    tensor = LinearRegression().fit(pairs, pairs.sum(axis=1))
    mlflow.sklearn.save_model(tensor, root / "pairs", signature=infer_signature(pairs, tensor.predict(pairs)), **light)

    class Louder(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return [f"{text}{params['mark'] if params else '!'}" for text in model_input["text"]]

    words = pd.DataFrame({"text": ["a"]})
    mlflow.pyfunc.save_model(
        root / "custom", python_model=Louder(),
        signature=infer_signature(words, ["a!"], params={"mark": "!"}), **light,
    )  # fmt: skip

    class Brittle(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            if "break" in list(model_input["text"]):
                raise ValueError("Unexpected error about nothing")
            return list(model_input["text"])

    mlflow.pyfunc.save_model(
        root / "brittle", python_model=Brittle(), signature=infer_signature(words, ["a"]), **light
    )  # fmt: skip
    return root


@pytest.fixture(scope="session")
def start(models: Path) -> Iterator[Callable[[str], Address]]:
    """`start("linear")` answers the address of a warm process, the same one for every test."""
    running: list[subprocess.Popen[bytes]] = []

    @cache
    def started(name: str) -> Address:
        address = Address(free_port(), secrets.token_hex(8))
        process = subprocess.Popen(
            [sys.executable, "-m", "lakewright.engines.model_process", "--model", models / name,
             "--port", str(address.port)],
            stdout=subprocess.PIPE, env={**os.environ, "LAKEWRIGHT_MODEL_SECRET": address.secret},
        )  # fmt: skip
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return address

    yield started
    for process in running:
        process.kill()
        process.wait()


class Shelf:
    """Models by directory; what is served is decided by `released`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.released: set[tuple[str, int]] = set()
        self.places: dict[tuple[str, int], Path] = {}
        self.live: dict[str, list[tuple[str, int, float]]] = {}

    def put(self, model: str, version: int, directory: str) -> None:
        self.places[model, version] = self.root / directory
        self.released.add((model, version))

    def servable(self, ctx: Ctx, model: str, version: int) -> Verdict:
        return Verdict((model, version) in self.released, f"version {version} of {model} has not been approved")

    def goes_live(self, ctx: Ctx, endpoint: str, shares: Sequence[tuple[str, int, float]]) -> None:
        self.live[endpoint] = list(shares)

    def files(self, ctx: Ctx, model: str, version: int) -> Files:
        return Files(self.places[model, version])


class Folder:
    """Tables as Delta folders. `fails` makes the next commits fail, before or after they took place."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fails: list[str] = []
        self.writers: list[str] = []

    def append(self, ctx: Ctx, table: str, rows: Any) -> None:
        from deltalake import write_deltalake

        how = self.fails.pop(0) if self.fails else ""
        if how == "before":
            raise Unavailable("the table cannot be written")
        write_deltalake(self.root / table, rows, mode="append")
        self.writers.append(ctx.principal.name)
        if how == "after":
            raise OSError("the power went off")

    def known(self, ctx: Ctx, table: str, ids: set[str], since_ms: int) -> set[str]:
        return {row["databricks_request_id"] for row in self.rows(table)} & ids

    def rows(self, table: str) -> list[dict[str, Any]]:
        from deltalake import DeltaTable

        path = self.root / table
        return DeltaTable(path).to_pyarrow_table().to_pylist() if any(path.glob("_delta_log/*.json")) else []


@pytest.fixture
def shelf(platform: Platform, models: Path) -> Shelf:
    made = Shelf(models)
    platform.provide(made, as_type=Releases)
    made.put("main.ml.delay", 1, "linear")
    made.put("main.ml.delay", 2, "trees")
    return made


@pytest.fixture
def ledger(platform: Platform, tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "tables")
    platform.provide(made, as_type=Ledger)
    return made


def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Real processes take real time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"it did not happen within {seconds:g} s: {what}")
