"""An endpoint serves what the registry has released, to whoever may execute it, and nothing else."""

from dataclasses import replace

import pytest
from databricks.sdk.errors import PermissionDenied
from databricks.sdk.service.serving import (
    AutoCaptureConfigInput,
    EndpointCoreConfigInput,
    ServedEntityInput,
    ServingEndpointAccessControlRequest,
    ServingEndpointPermissionLevel,
)

from lakewright.kernel.faults import Denied
from lakewright.serving.request_log import RequestLog
from lakewright.sql import governed

MODEL = "main.ml.flights"


def create(person, version, name="late"):
    config = EndpointCoreConfigInput(name=name, served_entities=[ServedEntityInput(entity_name=MODEL, entity_version=str(version))])  # fmt: skip
    return person.client.serving_endpoints.create_and_wait(name, config=config)


def test_an_approved_version_answers(world):
    version = world.champion()
    create(world.trainer, version)
    answer = world.trainer.client.serving_endpoints.query("late", dataframe_records=[{"a": 1.0}])
    assert answer.predictions == [1]
    assert answer.served_model_name == f"flights-{version}"


def test_without_an_approval_by_somebody_else_there_is_no_serving(world):
    version = world.releasable()
    with pytest.raises(PermissionDenied, match="nobody but its authors has approved it"):
        create(world.trainer, version)
    approval = world.request(version)
    with pytest.raises(PermissionDenied):
        world.approve(approval, world.trainer)
    with pytest.raises(PermissionDenied, match="nobody but its authors"):
        create(world.trainer, version)
    world.approve(approval)
    create(world.trainer, version)


def test_who_may_not_execute_a_model_may_not_serve_it_and_learns_nothing_of_it(world):
    world.champion()
    for version in (1, 99):
        with pytest.raises(PermissionDenied, match="EXECUTE on registered_model"):
            create(world.eve, version)


def test_who_manages_an_endpoint_does_not_point_its_owners_hand_elsewhere(world):
    version = world.champion()
    create(world.trainer, version)
    world.people.admin.client.schemas.create("hr", "main")
    world.grant("CATALOG", "main", world.eve, "USE_CATALOG")
    world.grant("SCHEMA", "main.ml", world.eve, "USE_SCHEMA", "EXECUTE")
    world.grant("SCHEMA", "main.hr", world.trainer, "USE_SCHEMA", "CREATE_TABLE")
    endpoint = world.trainer.client.serving_endpoints.get("late")
    manage = ServingEndpointAccessControlRequest(
        user_name=world.eve.name, permission_level=ServingEndpointPermissionLevel.CAN_MANAGE
    )
    world.trainer.client.serving_endpoints.update_permissions(endpoint.id, access_control_list=[manage])
    entities = [ServedEntityInput(entity_name=MODEL, entity_version=str(version))]
    elsewhere = {"catalog_name": "main", "schema_name": "hr", "table_name_prefix": "salaries"}

    def configure(person, **capture):
        auto = AutoCaptureConfigInput(**capture) if capture else None
        return person.client.serving_endpoints.update_config_and_wait(
            "late", served_entities=entities, auto_capture_config=auto
        )

    with pytest.raises(PermissionDenied, match=r"neither write to table 'main\.hr\.salaries_payload' nor make it"):
        configure(world.eve, **elsewhere)
    assert configure(world.eve).config.auto_capture_config.schema_name == "ml"
    assert configure(world.trainer, **elsewhere).config.auto_capture_config.schema_name == "hr"


def logged(world, table):
    who = world.platform.snapshot(lambda ctx: world.platform.principal(ctx.tx, world.trainer.id))
    return governed.scan(replace(world.platform.system(), principal=who), table).read_all().to_pylist()


def test_requests_land_in_governed_tables_once_the_owner_may_make_them(world):
    version = world.champion()
    create(world.trainer, version)
    client, log = world.trainer.client, world.platform.the(RequestLog)
    client.serving_endpoints.query("late", dataframe_records=[{"a": 1.0}, {"a": -3.0}])
    log.flush()
    state = client.serving_endpoints.get("late").config.auto_capture_config.state.payload_table
    assert state.status == "FAILED"
    assert "CREATE_TABLE" in state.status_message
    world.grant("SCHEMA", "main.ml", world.trainer, "CREATE_TABLE")
    client.serving_endpoints.query("late", inputs={"a": [5]})
    log.flush()
    payloads, scored = logged(world, "main.ml.late_payload"), logged(world, "main.ml.late_scored")
    assert len(payloads) == 2
    assert sorted((row["a"], row["prediction"]) for row in scored) == [(-3.0, 0.0), (1.0, 1.0), (5.0, 1.0)]
    assert {row["model_id"] for row in scored} == {f"{MODEL}/{version}"}
    state = client.serving_endpoints.get("late").config.auto_capture_config.state.payload_table
    assert (state.name, state.status) == ("main.ml.late_payload", "READY")
    with pytest.raises(Denied):
        governed.scan(world.platform.system(), "main.ml.late_payload")


def test_a_commit_that_may_have_happened_is_compared_with_the_table(world):
    create(world.trainer, world.champion())
    world.grant("SCHEMA", "main.ml", world.trainer, "CREATE_TABLE")
    log = world.platform.the(RequestLog)
    world.trainer.client.serving_endpoints.query("late", dataframe_records=[{"a": 1.0}])
    with log._lock:
        [segment] = log._open.values()
        lines = segment._path.read_bytes()
    log.flush()
    segment._path.with_suffix(".writing").write_bytes(lines)  # as if the server had died after the commit
    log.flush()
    assert len(logged(world, "main.ml.late_payload")) == len(logged(world, "main.ml.late_scored")) == 1
