"""The registry through the unmodified SDK and by the calls of MLflow's client."""

import pytest
from databricks.sdk.errors import (
    BadRequest,
    InvalidParameterValue,
    InvalidState,
    NotFound,
    NotImplemented,
    PermissionDenied,
    ResourceAlreadyExists,
)
from databricks.sdk.service.catalog import PermissionsChange, Privilege

from .conftest import MODEL, good_files

LEGACY = "/api/2.0/mlflow/unity-catalog"


def test_a_model_lives_through_the_sdk(world):
    models = world.trainer.client.registered_models
    made = models.create(catalog_name="main", schema_name="ml", name="Sales", comment="c")
    assert (made.full_name, made.owner, made.comment) == ("main.ml.sales", world.trainer.name, "c")
    assert {m.full_name for m in models.list(catalog_name="main", schema_name="ml")} == {MODEL, "main.ml.sales"}
    assert models.update("main.ml.sales", new_name="sold", comment="d").full_name == "main.ml.sold"
    assert models.get("main.ml.sold").comment == "d"
    models.delete("main.ml.sold")
    with pytest.raises(NotFound):
        models.get("main.ml.sold")


def test_a_version_is_sealed_and_readable_by_number_and_alias(world):
    version = world.version()
    client = world.trainer.client
    client.registered_models.set_alias(MODEL, "candidate", version)
    got = client.model_versions.get(MODEL, version, include_aliases=True)
    assert (got.status.value, got.run_id, got.source) == ("READY", "r1", "models:/m-r1")
    assert [a.alias_name for a in got.aliases] == ["candidate"]
    assert client.model_versions.get_by_alias(MODEL, "Candidate").version == version, "aliases have no case"
    assert [v.version for v in client.model_versions.list(MODEL)] == [version]
    assert client.model_versions.update(MODEL, version, comment="best").comment == "best"
    client.registered_models.delete_alias(MODEL, "candidate")
    with pytest.raises(NotFound):
        client.model_versions.get_by_alias(MODEL, "candidate")


def test_the_place_on_disk_is_told_to_nobody(world):
    version = world.version()
    told = str(world.trainer.do("GET", f"/api/2.1/unity-catalog/models/{MODEL}/versions/{version}"))
    told += str(world.trainer.do("GET", f"/api/2.1/unity-catalog/models/{MODEL}"))
    told += str(world.trainer.do("GET", f"{LEGACY}/model-versions/get", name=MODEL, version=version))
    assert str(world.folder(version).parent.parent) not in told and "file:" not in told


def test_a_stranger_sees_nothing_of_a_model_and_of_a_missing_one_the_same(world):
    world.version()
    for path in ("", "/versions", "/versions/1", "/aliases/champion"):
        for name in (MODEL, "main.ml.nothing"):
            with pytest.raises(PermissionDenied) as refused:
                world.eve.do("GET", f"/api/2.1/unity-catalog/models/{name}{path}")
            assert f"eve needs USE_CATALOG on catalog for registered_model '{name}'" in str(refused.value)
    assert list(world.eve.client.registered_models.list()) == []
    assert world.eve.do("GET", f"{LEGACY}/model-versions/search", filter=f"name='{MODEL}'") == {"model_versions": []}


def test_execute_reads_and_changes_nothing(world):
    version = world.version()
    world.grant("CATALOG", "main", world.eve, "USE_CATALOG", "USE_SCHEMA")
    world.grant("SCHEMA", "main.ml", world.eve, "EXECUTE")
    eve = world.eve.client
    assert eve.model_versions.get(MODEL, version).version == version
    for refused in (
        lambda: eve.registered_models.set_alias(MODEL, "a", version),
        lambda: eve.registered_models.update(MODEL, comment="x"),
        lambda: eve.registered_models.delete(MODEL),
        lambda: eve.model_versions.update(MODEL, version, comment="x"),
        lambda: eve.model_versions.delete(MODEL, version),
        lambda: world.eve.do("POST", f"{LEGACY}/model-versions/create", name=MODEL, source="models:/m-r1"),
        lambda: world.eve.do("POST", f"{LEGACY}/model-versions/finalize", name=MODEL, version=version),
        lambda: world.eve.do(
            "POST", f"{LEGACY}/model-versions/set-tag", name=MODEL, version=version, key="k", value="v"
        ),
    ):
        with pytest.raises(PermissionDenied):
            refused()


def test_create_model_is_needed_and_a_taken_name_is_told_to_who_may_see_it(world):
    with pytest.raises(ResourceAlreadyExists):
        world.bob.client.registered_models.create(catalog_name="main", schema_name="ml", name="flights")
    world.grant("SCHEMA", "main.ml", world.eve, "USE_SCHEMA")
    world.grant("CATALOG", "main", world.eve, "USE_CATALOG")
    for name in ("flights", "other"):
        with pytest.raises(PermissionDenied, match="CREATE_MODEL"):
            world.eve.client.registered_models.create(catalog_name="main", schema_name="ml", name=name)


def test_a_version_without_a_signature_is_refused_and_stays_unusable(world):
    world.run("r9", world.trainer)
    made = world.trainer.do("POST", f"{LEGACY}/model-versions/create", name=MODEL, source="models:/m-r9")[
        "model_version"
    ]
    number = int(made["version"])
    world.put(number, good_files() | {"MLmodel": b"flavors: {}\n"})
    with pytest.raises(InvalidParameterValue, match="signature with both inputs and outputs"):
        world.trainer.do("POST", f"{LEGACY}/model-versions/finalize", name=MODEL, version=number)
    with pytest.raises(InvalidState, match="FAILED_REGISTRATION"):
        world.trainer.client.registered_models.set_alias(MODEL, "candidate", number)
    with pytest.raises(InvalidState, match="not PENDING_REGISTRATION"):
        world.trainer.do("POST", f"{LEGACY}/model-versions/finalize", name=MODEL, version=number)


def test_only_who_registered_it_finalizes_it(world):
    world.run("r9", world.trainer)
    world.trainer.do("POST", f"{LEGACY}/model-versions/create", name=MODEL, source="models:/m-r9")
    world.put(1, good_files())
    with pytest.raises(PermissionDenied, match="only who registered"):
        world.ann.do("POST", f"{LEGACY}/model-versions/finalize", name=MODEL, version=1)


def test_a_number_is_never_given_twice(world):
    first = world.version()
    world.trainer.client.model_versions.delete(MODEL, first)
    assert world.version() == first + 1


@pytest.mark.parametrize(
    "source",
    [
        "file:///etc", "/etc/passwd", "../../etc", "http://127.0.0.1/x", "s3://bucket/x", "dbfs:/etc/passwd",
        "models:/m-r1/../m-r2", "runs:/r1/%2e%2e/x", "runs:/r1/model#/../..", "models:/m-r1?x=y", "",
        "dbfs:/databricks/mlflow-tracking/1/r1/artifacts/../../2", "ftp://h/x", "mlflow-artifacts:/1/x",
    ],
)  # fmt: skip
def test_a_source_outside_the_platform_is_refused(world, source):
    """GHSA-5cvj-7rg6-jggj, CVE-2026-2614 and their kin: a version's source as a way to any file."""
    world.run("r1", world.trainer)
    with pytest.raises((InvalidParameterValue, BadRequest)):
        world.trainer.do("POST", f"{LEGACY}/model-versions/create", name=MODEL, source=source)


def test_a_run_the_registrar_may_not_read_is_no_source(world):
    """CVE-2026-69148: a version made from somebody else's run."""
    world.run("r2", world.ann)
    world.recorded.readers["r2"] = {world.ann.id}
    for ask in (
        {"source": "models:/m-r2"}, {"source": "runs:/r2/model"}, {"source": "models:/m-r2", "run_id": "r2"},
    ):  # fmt: skip
        with pytest.raises(PermissionDenied, match="CAN_READ"):
            world.trainer.do("POST", f"{LEGACY}/model-versions/create", name=MODEL, **ask)


def test_source_run_and_model_must_agree(world):
    world.run("r1", world.trainer)
    world.run("r2", world.trainer)
    for ask in (
        {"source": "models:/m-r1", "run_id": "r2"}, {"source": "runs:/r1/model", "run_id": "r2"},
        {"source": "models:/m-r1", "model_id": "m-r2"},
    ):  # fmt: skip
        with pytest.raises((InvalidParameterValue, BadRequest)):
            world.trainer.do("POST", f"{LEGACY}/model-versions/create", name=MODEL, **ask)


def test_copying_a_version_needs_execute_on_it_and_keeps_its_run(world):
    version = world.version()
    world.grant("SCHEMA", "main.ml", world.eve, "CREATE_MODEL")
    world.grant("CATALOG", "main", world.eve, "USE_CATALOG", "USE_SCHEMA")
    world.model(world.eve, "mine")
    ask = {"name": "main.ml.mine", "source": f"models:/{MODEL}/{version}"}
    with pytest.raises(PermissionDenied, match="EXECUTE"):
        world.eve.do("POST", f"{LEGACY}/model-versions/create", **ask)
    world.grant("SCHEMA", "main.ml", world.eve, "EXECUTE")
    copied = world.eve.do("POST", f"{LEGACY}/model-versions/create", **ask)["model_version"]
    assert (copied["run_id"], copied["user_id"]) == ("r1", "eve")


def test_search_by_name_and_run_pages_and_refuses_other_filters(world):
    numbers = [world.version(run_id=f"r{i}") for i in (1, 2, 3)]
    path = f"{LEGACY}/model-versions/search"
    first = world.trainer.do("GET", path, filter=f"name='{MODEL}'", max_results=2)
    second = world.trainer.do("GET", path, filter=f"name='{MODEL}'", max_results=2, page_token=first["next_page_token"])
    assert sorted(int(v["version"]) for p in (first, second) for v in p["model_versions"]) == numbers
    found = world.trainer.do("GET", path, filter=f"name = '{MODEL}' AND run_id = 'r2'")["model_versions"]
    assert [v["version"] for v in found] == ["2"]
    for refused in ("name LIKE 'x%'", "name = 'a' OR name = 'b'", "1=1", "name='a'; drop table x"):
        with pytest.raises(InvalidParameterValue, match="not supported"):
            world.trainer.do("GET", path, filter=refused)
    with pytest.raises(InvalidParameterValue, match="page_token"):
        world.bob.do("GET", path, filter=f"name='{MODEL}'", page_token=first["next_page_token"])


def test_tags_both_ways(world):
    version = world.version()
    tags = "/api/2.1/unity-catalog"
    world.trainer.do(
        "PATCH", f"{tags}/securable-tags/FUNCTION/{MODEL}", changes={"add_tags": [{"key": "a", "value": "1"}]}
    )
    world.trainer.do("POST", f"{LEGACY}/registered-models/set-tag", name=MODEL, key="b", value="2")
    world.trainer.do(
        "PATCH", f"{tags}/subentity-tags/FUNCTION/{MODEL}/{version}", changes={"add_tags": [{"key": "c", "value": "3"}]}
    )
    world.trainer.do("DELETE", f"{LEGACY}/registered-models/delete-tag", name=MODEL, key="a")
    got = world.trainer.do("GET", f"{LEGACY}/registered-models/get", name=MODEL)["registered_model"]
    assert got["tags"] == [{"key": "b", "value": "2"}]
    got = world.trainer.do("GET", f"{LEGACY}/model-versions/get", name=MODEL, version=version)["model_version"]
    assert got["tags"] == [{"key": "c", "value": "3"}]


@pytest.mark.parametrize("alias", ["latest", "v3", "a b", "ä", "a/b", "x" * 300])
def test_an_alias_that_means_something_else_is_refused(world, alias):
    world.version()
    with pytest.raises((InvalidParameterValue, BadRequest)):
        world.trainer.do("POST", f"{LEGACY}/registered-models/alias", name=MODEL, alias=alias, version=1)


def test_what_is_not_enforced_is_not_accepted(world):
    for ask in ({"deployment_job_id": "7"}, {"storage_location": "s3://x"}):
        with pytest.raises((NotImplemented, InvalidParameterValue)):
            world.trainer.do("POST", f"{LEGACY}/registered-models/create", name="main.ml.other", **ask)
    world.run("r1", world.trainer)
    with pytest.raises(NotImplemented, match="feature_deps"):
        world.trainer.do(
            "POST", f"{LEGACY}/model-versions/create", name=MODEL, source="models:/m-r1", feature_deps="- a"
        )


def test_loading_is_on_record_with_the_job_it_happened_in(world):
    version = world.version()
    world.trainer.do(
        "POST", f"{LEGACY}/model-versions/emit-lineage", name=MODEL, version=version,
        model_version_lineage_info={"entities": [{"job": {"id": "7"}}], "direction": "DOWNSTREAM"},
    )  # fmt: skip
    rows = world.platform.snapshot(lambda ctx: ctx.tx.all("SELECT direction, entity FROM registry_uses"))
    assert [(r["direction"], r["entity"]) for r in rows] == [("DOWNSTREAM", '{"job":{"id":"7"}}')]


def test_the_sdk_grants_on_a_model_as_on_a_function(world):
    """Unity Catalog's clients have no other word for a model."""
    grants = world.people.admin.client.grants
    for word in ("FUNCTION", "registered_model"):
        told = grants.update(word, MODEL, changes=[PermissionsChange(principal="eve", add=[Privilege.EXECUTE])])
        assert ("eve", [Privilege.EXECUTE]) in [(a.principal, a.privileges) for a in told.privilege_assignments]
    with pytest.raises(PermissionDenied):
        world.eve.client.grants.get("FUNCTION", MODEL)
    with pytest.raises(NotFound):
        world.people.admin.client.functions.get(MODEL)
