"""An endpoint serves what the registry has released, to whoever may execute it, and nothing else."""

import pytest
from databricks.sdk.errors import PermissionDenied
from databricks.sdk.service.serving import EndpointCoreConfigInput, ServedEntityInput

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
