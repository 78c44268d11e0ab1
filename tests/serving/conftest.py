"""Real models in MLflow's own format, saved once, and their processes."""

import os
import secrets
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from lakewright.serving.fleet import free_port
from lakewright.serving.model_client import Address


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
