"""The unmodified MLflow client against Unity Catalog's registry: `MLFLOW_REGISTRY_URI=databricks-uc` and a token."""

import textwrap
from pathlib import Path
from typing import Any

import pytest

MODEL = "main.ml.flights"


@pytest.fixture
def settings(settings: Any) -> Any:
    """Everybody may make things in /Shared, as an installation may set it."""
    settings.access.shared_folder = "CAN_MANAGE"
    return settings


TRAIN = """
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression
data = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0]})
fitted = LogisticRegression().fit(data, [0, 0, 1, 1])
def log(run_name="train", **more):
    mlflow.set_experiment(f"/Shared/{arguments.get('experiment', 'flights')}")
    with mlflow.start_run(run_name=run_name) as run:
        mlflow.log_input(mlflow.data.from_pandas(data, name="main.ml.features"), context="training")
        logged = mlflow.sklearn.log_model(
            fitted, name="model", serialization_format="cloudpickle", signature=infer_signature(data, fitted.predict(data)),
            pip_requirements=["scikit-learn"], **more)
        mlflow.log_metric("auc", 0.75)
        mlflow.log_dict({
            "model_id": logged.model_id, "metrics": {"auc": 0.75}, "champion": None,
            "slices": [{"slice": "x>1", "rows": 400, "auc": 0.7}]}, "evaluation.json")
    return run.info.run_id, logged.model_id
"""


@pytest.fixture
def schema(people: Any) -> Any:
    """A schema in which ann may make models, bob sees to releases and eve may only run them."""
    admin = people.admin
    admin.client.catalogs.create(name="main")
    admin.client.schemas.create(name="ml", catalog_name="main")

    def grant(who: str, *rights: str) -> None:
        people.person(who)
        body = {"changes": [{"principal": who, "add": list(rights)}]}
        admin.do("PATCH", "/api/2.1/unity-catalog/permissions/schema/main.ml", **body)
        body = {"changes": [{"principal": who, "add": ["USE_CATALOG"]}]}
        admin.do("PATCH", "/api/2.1/unity-catalog/permissions/catalog/main", **body)

    grant("ann", "USE_SCHEMA", "CREATE_MODEL")
    grant("bob", "USE_SCHEMA", "EXECUTE", "MANAGE")
    grant("eve", "USE_SCHEMA")
    return grant


def test_a_model_is_registered_aliased_searched_and_loaded(mlflow_as: Any, people: Any, schema: Any) -> None:
    seen = mlflow_as(
        people.person("ann"),
        TRAIN
        + textwrap.dedent("""
        run_id, model_id = log()
        made = mlflow.register_model(f"models:/{model_id}", "main.ml.flights", tags={"team": "ops"})
        again = mlflow.register_model(f"runs:/{run_id}/model", "main.ml.flights")
        client.set_registered_model_alias("main.ml.flights", "candidate", made.version)
        client.update_registered_model("main.ml.flights", description="Late flights")
        client.update_model_version("main.ml.flights", made.version, description="first")
        client.set_registered_model_tag("main.ml.flights", "area", "ops")
        client.set_model_version_tag("main.ml.flights", made.version, "seen", "yes")
        client.delete_model_version_tag("main.ml.flights", made.version, "team")
        got = client.get_model_version("main.ml.flights", made.version)
        model = client.get_registered_model("main.ml.flights")
        by_alias = client.get_model_version_by_alias("main.ml.flights", "candidate")
        loaded = mlflow.pyfunc.load_model("models:/main.ml.flights@candidate")
        answer({
            "versions": [str(made.version), str(again.version)], "status": got.status, "run": got.run_id == run_id,
            "model_id": got.model_id == model_id, "description": got.description, "tags": got.tags,
            "aliases": model.aliases, "model": [model.name, model.description, model.tags],
            "by_alias": str(by_alias.version), "predicted": loaded.predict(data).tolist(),
            "found": sorted(str(v.version) for v in client.search_model_versions("name='main.ml.flights'")),
            "of_run": len(client.search_model_versions(f"run_id='{run_id}'")),
            "models": [m.name for m in client.search_registered_models()],
        })
        """),
    )
    assert seen == {
        "versions": ["1", "2"], "status": "READY", "run": True, "model_id": True, "description": "first",
        "tags": {"seen": "yes"}, "aliases": {"candidate": 1}, "model": [MODEL, "Late flights", {"area": "ops"}],
        "by_alias": "1", "predicted": [0, 0, 1, 1], "found": ["1", "2"], "of_run": 2, "models": [MODEL],
    } or seen["aliases"] == {"candidate": "1"}  # fmt: skip


def test_logging_and_registering_in_one_call_and_copying(mlflow_as: Any, people: Any, schema: Any) -> None:
    seen = mlflow_as(
        people.person("ann"),
        TRAIN
        + textwrap.dedent("""
        run_id, model_id = log(registered_model_name="main.ml.flights")
        copied = client.copy_model_version("models:/main.ml.flights/1", "main.ml.copied")
        client.rename_registered_model("main.ml.copied", "main.ml.renamed")
        loaded = mlflow.sklearn.load_model("models:/main.ml.renamed/1")
        refused = refusal(client.get_model_version, "main.ml.copied", "1")
        client.delete_model_version("main.ml.renamed", "1")
        client.delete_registered_model("main.ml.renamed")
        answer({
            "copy": [copied.name, str(copied.version), copied.run_id == run_id], "loaded": type(loaded).__name__,
            "old_name": refused, "left": [m.name for m in client.search_registered_models()],
        })
        """),
    )
    assert seen == {
        "copy": ["main.ml.copied", "1", True], "loaded": "LogisticRegression", "old_name": "PERMISSION_DENIED",
        "left": [MODEL],
    }  # fmt: skip


def test_who_may_not_is_refused_in_the_clients_own_words(mlflow_as: Any, people: Any, schema: Any) -> None:
    mlflow_as(people.person("ann"), TRAIN + "log(registered_model_name='main.ml.flights')")
    eve = """
        from databricks.sdk.errors import PermissionDenied
        from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
        def download_artifacts(uri):
            try:
                mlflow.artifacts.download_artifacts(uri)
            except PermissionDenied:
                raise MlflowException("", error_code=PERMISSION_DENIED) from None
        answer([
            refusal(client.get_registered_model, "main.ml.flights"),
            refusal(client.get_model_version, "main.ml.flights", "1"),
            refusal(download_artifacts, "models:/main.ml.flights/1"),
            refusal(client.set_registered_model_alias, "main.ml.flights", "x", "1"),
            refusal(client.create_registered_model, "main.ml.mine"),
            refusal(client.delete_model_version, "main.ml.flights", "1"),
            [m.name for m in client.search_registered_models()],
        ])
    """
    refused = mlflow_as(people.person("eve"), eve)
    assert refused == ["PERMISSION_DENIED"] * 6 + [[]]
    schema("eve", "EXECUTE")
    allowed = mlflow_as(people.person("eve"), eve)
    assert allowed[:3] == ["allowed"] * 3 and allowed[-1] == [MODEL]
    assert allowed[3:6] == ["PERMISSION_DENIED"] * 3


def test_files_of_a_version_do_not_change_and_are_not_reached_sideways(
    people: Any, mlflow_as: Any, schema: Any
) -> None:
    ann, eve = people.person("ann"), people.person("eve")
    mlflow_as(ann, TRAIN + "log(registered_model_name='main.ml.flights')")
    files = "/api/2.0/fs/files/Models/main/ml/flights/1"
    for method, path in (
        ("PUT", f"{files}/MLmodel"), ("PUT", f"{files}/extra.pkl"), ("DELETE", f"{files}/model.pkl"),
        ("PUT", "/api/2.0/fs/directories/Models/main/ml/flights/1/new"),
    ):  # fmt: skip
        assert _status(ann, method, path) == 403, f"{method} {path}"
        assert _status(people.admin, method, path) == 403, f"{method} {path} by an administrator"
    assert _status(ann, "GET", f"{files}/MLmodel") == 200
    assert _status(eve, "GET", f"{files}/MLmodel") == 403
    for path in (
        f"{files}/../../../../../lakewright.db", f"{files}/..%2f..%2flakewright.db", f"{files}/%2e%2e/2/MLmodel",
        "/api/2.0/fs/files/Models/main/ml/flights/1.pending/MLmodel", "/api/2.0/fs/files/Models/main/ml/flights/9/MLmodel",
        "/api/2.0/fs/files/Models/main/ml/flights/-1/MLmodel", "/api/2.0/fs/files/Models/main/ml",
    ):  # fmt: skip
        assert _status(ann, "GET", path) in (400, 403, 404), path


def _status(person: Any, method: str, path: str) -> int:
    """By raw HTTP: a client library would tidy the path first."""
    import http.client
    from urllib.parse import urlsplit

    connection = http.client.HTTPConnection(urlsplit(person.url).netloc, timeout=30)
    connection.request(
        method,
        path,
        body=b"x" if method == "PUT" and "/files/" in path else None,
        headers={"authorization": f"Bearer {person.token}"},
    )
    return connection.getresponse().status


def test_the_whole_way_to_production_with_the_ordinary_client(mlflow_as: Any, people: Any, schema: Any) -> None:
    ann, bob = people.person("ann"), people.person("bob")
    mlflow_as(ann, TRAIN + "log(registered_model_name='main.ml.flights')")
    champion = "answer(refusal(client.set_registered_model_alias, 'main.ml.flights', 'champion', '1'))"
    assert mlflow_as(ann, champion) == "PERMISSION_DENIED"
    assert mlflow_as(people.admin, champion) == "PERMISSION_DENIED"

    lakewright = "/api/2.1/lakewright"
    ann.do(
        "PATCH", f"{lakewright}/cards/{MODEL}", intended_use="Tell who waits.", limits="Not for planning.", owner="ann"
    )
    judged = ann.do("POST", f"{lakewright}/gates/run", model=MODEL, version=1)
    assert judged["passed"], judged["reasons"]
    asked = ann.do("POST", f"{lakewright}/approvals", model=MODEL, version=1)
    bob.do("POST", f"{lakewright}/approvals/{asked['approval_id']}/approve", comment="fine")

    assert mlflow_as(ann, champion) == "allowed"
    loaded = mlflow_as(
        bob, "answer(mlflow.pyfunc.load_model('models:/main.ml.flights@champion').metadata.signature is not None)"
    )
    assert loaded is True
    assert (
        mlflow_as(people.admin, "answer(refusal(client.delete_registered_model, 'main.ml.flights'))") == "INVALID_STATE"
    )


def test_the_native_registry_of_the_client_answers_the_same(
    mlflow_as: Any, people: Any, schema: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_UC_NATIVE_MODEL_REGISTRY", "true")
    seen = mlflow_as(
        people.person("ann"),
        TRAIN
        + textwrap.dedent("""
        run_id, model_id = log(registered_model_name="main.ml.flights")
        client.set_registered_model_alias("main.ml.flights", "candidate", 1)
        client.set_registered_model_tag("main.ml.flights", "area", "ops")
        client.set_model_version_tag("main.ml.flights", 1, "seen", "yes")
        client.update_model_version("main.ml.flights", 1, description="first")
        got = client.get_model_version_by_alias("main.ml.flights", "candidate")
        loaded = mlflow.pyfunc.load_model("models:/main.ml.flights@candidate")
        answer({
            "status": got.status, "run": got.run_id == run_id, "tags": got.tags, "aliases": got.aliases,
            "description": got.description, "predicted": loaded.predict(data).tolist(),
            "found": [str(v.version) for v in client.search_model_versions("name='main.ml.flights'")],
            "models": [m.name for m in client.search_registered_models()],
        })
        """),
    )
    assert seen == {
        "status": "READY", "run": True, "tags": {"seen": "yes"}, "aliases": ["candidate"], "description": "first",
        "predicted": [0, 0, 1, 1], "found": ["1"], "models": [MODEL],
    }  # fmt: skip


def test_models_of_a_schema_with_a_place_of_its_own_lie_there(
    mlflow_as: Any, people: Any, schema: Any, settings: Any, tmp_path: Path
) -> None:
    (tmp_path / "own").mkdir()
    settings.storage.external_roots = [tmp_path]
    admin = people.admin
    credentials = "/api/2.1/unity-catalog/storage-credentials"
    admin.do("POST", credentials, name="own", databricks_gcp_service_account={})
    admin.client.external_locations.create("own", f"file://{tmp_path}/own", "own")
    admin.client.schemas.create("apart", "main", storage_root=f"file://{tmp_path}/own/apart")
    body = {"changes": [{"principal": "ann", "add": ["USE_SCHEMA", "CREATE_MODEL"]}]}
    admin.do("PATCH", "/api/2.1/unity-catalog/permissions/schema/main.apart", **body)
    seen = mlflow_as(
        people.person("ann"),
        TRAIN
        + textwrap.dedent("""
        log(registered_model_name="main.apart.flights")
        loaded = mlflow.pyfunc.load_model("models:/main.apart.flights/1")
        answer({"predicted": [int(p) for p in loaded.predict(data)]})
    """),
    )
    assert seen["predicted"] == [0, 0, 1, 1]
    assert list((tmp_path / "own" / "apart").rglob("MLmodel"))
