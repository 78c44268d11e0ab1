"""Endpoints through the unmodified SDK: who may see, ask and change them, and what stands behind an answer."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from databricks.sdk.errors import BadRequest, InvalidParameterValue, NotFound, PermissionDenied, ResourceAlreadyExists
from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.service.serving import (
    DataframeSplitInput,
    EndpointCoreConfigInput,
    EndpointStateConfigUpdate,
    EndpointStateReady,
    Route,
    ServedEntityInput,
    ServingEndpointAccessControlRequest,
    ServingEndpointPermissionLevel,
    TrafficConfig,
)

from lakewright.kernel import objects
from lakewright.serving.endpoints import ENDPOINT
from lakewright.serving.fleet import Fleet
from lakewright.serving.request_log import RequestLog

from .conftest import until

ROW = {"distance": 1.0, "delay": 2.0}
PAYLOAD = "main.ml.delays_payload"


def entity(version, model="main.ml.delay", **more):
    return ServedEntityInput(entity_name=model, entity_version=str(version), **more)


def config(*versions, shares=None):
    entities = [entity(version) for version in versions]
    shares = shares or [100]
    routes = [
        Route(served_entity_name=f"delay-{v}", traffic_percentage=p) for v, p in zip(versions, shares, strict=True)
    ]
    return {"served_entities": entities, "traffic_config": TrafficConfig(routes=routes)}


def create(client, name="delays", *versions):
    return client.serving_endpoints.create_and_wait(
        name, config=EndpointCoreConfigInput(name=name, **config(*(versions or (1,))))
    )


def ask(client, name="delays", **payload):
    return client.serving_endpoints.query(name, **(payload or {"dataframe_records": [ROW]}))


def allow(platform, name, person, level):
    from lakewright.kernel import grants

    platform.transact(lambda ctx: grants.change(ctx, objects.find(ctx, ENDPOINT, name), person.id, add=[level]))


def test_an_endpoint_answers_in_every_shape_and_says_which_version_did(server, people, shelf, ledger):
    client = people.person("ann").client
    made = create(client)
    assert made.state.ready == EndpointStateReady.READY
    assert made.config.served_entities[0].entity_version == "1"
    assert ask(client).predictions == pytest.approx([5.0])
    assert ask(client).served_model_name == "delay-1"
    split = DataframeSplitInput(columns=["delay", "distance"], data=[[2.0, 1.0], [0.0, 1.0]])
    assert ask(client, dataframe_split=split).predictions == pytest.approx([5.0, 3.0])
    assert ask(client, inputs={"distance": [1.0], "delay": [2.0]}).predictions == pytest.approx([5.0])
    assert ask(client, instances=[[1.0, 2.0]]).predictions == pytest.approx([5.0])
    with pytest.raises(InvalidParameterValue, match="column 'delay' \\(double\\) is missing"):
        ask(client, dataframe_records=[{"distance": 1.0}])


def test_a_custom_python_model_runs_confined_with_its_parameters(server, people, shelf, ledger):
    shelf.put("main.ml.delay", 4, "custom")
    ann = people.person("ann")
    create(ann.client, "delays", 4)
    body = {"dataframe_records": [{"text": "hey"}], "params": {"mark": "?"}}
    headers = {"authorization": f"Bearer {ann.token}"}
    answer = httpx.post(f"{server.url}/serving-endpoints/delays/invocations", json=body, headers=headers, timeout=60)
    assert answer.json() == {"predictions": ["hey?"]}


def test_what_a_model_raises_is_told_and_is_the_only_thing_that_fails(server, people, shelf, ledger):
    shelf.put("main.ml.delay", 5, "brittle")
    ann = people.person("ann")
    create(ann.client, "delays", 5)
    with pytest.raises(BadRequest, match="ValueError: An error about nothing"):
        ask(ann.client, dataframe_records=[{"text": "break"}])
    assert ask(ann.client, dataframe_records=[{"text": "ok"}]).predictions == ["ok"]


def test_mlflows_deployments_client_asks_it(server, people, shelf, ledger, monkeypatch):
    from mlflow.deployments import get_deploy_client

    ann = people.person("ann")
    create(ann.client)
    monkeypatch.setenv("DATABRICKS_HOST", server.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", ann.token)
    client = get_deploy_client("databricks")
    assert client.predict(endpoint="delays", inputs={"dataframe_records": [ROW]})["predictions"] == pytest.approx([5.0])
    assert [endpoint["name"] for endpoint in client.list_endpoints()] == ["delays"]


def test_view_query_and_manage_are_three_things(server, people, shelf, ledger):
    ann, viewer, asker, robot = (
        people.person("ann"), people.person("viewer"), people.person("asker"), people.service_principal("robot"),
    )  # fmt: skip
    made = create(ann.client)
    rights = [("viewer", "CAN_VIEW"), ("asker", "CAN_QUERY")]
    ann.client.serving_endpoints.update_permissions(made.id, access_control_list=[
        *(ServingEndpointAccessControlRequest(user_name=who, permission_level=ServingEndpointPermissionLevel(level))
          for who, level in rights),
        ServingEndpointAccessControlRequest(
            service_principal_name=robot.name, permission_level=ServingEndpointPermissionLevel.CAN_QUERY),
    ])  # fmt: skip
    assert viewer.client.serving_endpoints.get("delays").permission_level.value == "CAN_VIEW"
    with pytest.raises(PermissionDenied):
        ask(viewer.client)
    for person in (asker, robot):
        assert ask(person.client).predictions == pytest.approx([5.0])
        with pytest.raises(PermissionDenied):
            person.client.serving_endpoints.update_config("delays", **config(2))
        with pytest.raises(PermissionDenied):
            person.client.serving_endpoints.logs("delays", "delay-1")
        with pytest.raises(PermissionDenied):
            person.client.serving_endpoints.delete("delays")
    assert "ready" in ann.client.serving_endpoints.logs("delays", "delay-1").logs
    stranger = people.person("stranger").client
    assert list(stranger.serving_endpoints.list()) == []
    for attempt in (lambda: stranger.serving_endpoints.get("delays"), lambda: ask(stranger)):
        with pytest.raises(PermissionDenied):
            attempt()


def test_only_released_versions_are_served(server, people, shelf, ledger):
    client = people.person("ann").client
    shelf.released.discard(("main.ml.delay", 2))
    with pytest.raises(PermissionDenied, match="has not been approved"):
        create(client, "delays", 2)
    with pytest.raises(NotFound):
        people.admin.client.serving_endpoints.get("delays")
    create(client)
    with pytest.raises(PermissionDenied, match="has not been approved"):
        client.serving_endpoints.update_config("delays", **config(1, 2, shares=[50, 50]))


def test_a_release_withdrawn_while_the_model_warms_up_never_takes_traffic(server, people, shelf, ledger):
    client = people.person("ann").client
    create(client)
    servable, shelf.answers = shelf.servable, 0

    def once(ctx, model, version):
        shelf.answers += version == 2
        if shelf.answers > 2:  # at the request and before loading; not when it is to go live
            shelf.released.discard((model, version))
        return servable(ctx, model, version)

    shelf.servable = once
    client.serving_endpoints.update_config("delays", **config(2))
    failed = until(lambda: updated(client) if updated(client).pending_config else None, "the update fails")
    failed = until(
        lambda: f if (f := updated(client)).state.config_update.value == "UPDATE_FAILED" else None, "failure"
    )
    assert "has not been approved" in failed.pending_config.served_entities[0].state.deployment_state_message
    assert ask(client).served_model_name == "delay-1"


def updated(client):
    return client.serving_endpoints.get("delays")


def test_a_new_version_takes_over_without_a_refused_request(server, people, shelf, ledger):
    ann = people.person("ann")
    create(ann.client)
    stop, answers = [], []

    def keep_asking():
        with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {ann.token}"}, timeout=30) as http:
            while not stop:
                answer = http.post("/serving-endpoints/delays/invocations", json={"dataframe_records": [ROW]})
                answers.append((answer.status_code, answer.headers.get("served-model-name")))

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(keep_asking)
        ann.client.serving_endpoints.update_config("delays", **config(2))
        until(lambda: answers and answers[-1][1] == "delay-2", "the new version answers")
        stop.append(True)
    assert {status for status, _ in answers} == {200}
    assert {name for _, name in answers} == {"delay-1", "delay-2"}
    assert updated(ann.client).state.config_update == EndpointStateConfigUpdate.NOT_UPDATING


def test_a_model_that_does_not_load_leaves_the_old_one_in_place(server, people, shelf, ledger):
    client = people.person("ann").client
    create(client)
    shelf.put("main.ml.delay", 3, "nowhere")
    client.serving_endpoints.update_config("delays", **config(3))
    failed = until(
        lambda: f if (f := updated(client)).state.config_update.value == "UPDATE_FAILED" else None, "failure"
    )
    assert failed.pending_config.served_entities[0].state.deployment.value == "DEPLOYMENT_FAILED"
    assert "MLmodel" in failed.pending_config.served_entities[0].state.deployment_state_message
    assert ask(client).predictions == pytest.approx([5.0])


def test_a_model_process_that_dies_is_replaced(server, people, shelf, ledger):
    client = people.person("ann").client
    create(client)
    for attempt in server.platform.the(Fleet)._launcher.live():
        os.kill(attempt.pid, signal.SIGKILL)
    server.platform.clock.advance(3)
    until(lambda: answers(client), "the replacement answers")


def answers(client):
    try:
        return ask(client).predictions == pytest.approx([5.0])
    except DatabricksError:
        client_clock_step(client)
        return False


def client_clock_step(client):
    """The platform's clock stands still in tests; back-off is measured by it."""
    STEP[0].advance(2)


STEP = []


@pytest.fixture(autouse=True)
def _clock(clock):
    STEP[:] = [clock]


def test_traffic_is_shared_by_percent_and_a_key_always_goes_the_same_way(server, people, shelf, ledger):
    ann = people.person("ann")
    ann.client.serving_endpoints.create_and_wait(
        "delays", config=EndpointCoreConfigInput(name="delays", **config(1, 2, shares=[75, 25]))
    )
    with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {ann.token}"}, timeout=30) as http:

        def served(key=""):
            headers = {"x-lakewright-route-key": key} if key else {}
            body = {"dataframe_records": [ROW]}
            return http.post("/serving-endpoints/delays/invocations", json=body, headers=headers).headers[
                "served-model-name"
            ]

        drawn = [served() for _ in range(200)]
        assert 120 < drawn.count("delay-1") < 180
        assert len({served("customer-7") for _ in range(10)}) == 1
        assert {served(f"customer-{n}") for n in range(30)} == {"delay-1", "delay-2"}


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ({"served_entities": []}, "at least one entity"),
        ({"served_entities": [entity(1), entity(2)]}, "traffic_config is required"),
        ({"served_entities": [entity(1)], "traffic_config": TrafficConfig([Route(50, "delay-1")])}, "add up to 100"),
        ({"served_entities": [entity(1)], "traffic_config": TrafficConfig([Route(100, "other")])}, "no served entity"),
        ({"served_entities": [entity("one")]}, "no version number"),
        ({"served_entities": [entity(1, workload_type=None, scale_to_zero_enabled=True)]}, "scale_to_zero"),
        ({"served_entities": [entity(1, environment_vars={"A": "b"})]}, "environment_vars"),
    ],
)
def test_what_is_not_enforced_is_not_accepted(server, people, shelf, ledger, wanted, complaint):
    with pytest.raises(DatabricksError, match=complaint):
        people.person("ann").client.serving_endpoints.create(
            "delays", config=EndpointCoreConfigInput(name="delays", **wanted)
        )


def test_names_are_taken_once_and_deleted_endpoints_answer_no_more(server, people, shelf, ledger):
    client = people.person("ann").client
    create(client)
    with pytest.raises(ResourceAlreadyExists):
        client.serving_endpoints.create("delays")
    with pytest.raises(BadRequest):
        client.serving_endpoints.create("no/slash")
    client.serving_endpoints.delete("delays")
    with pytest.raises(NotFound):
        ask(client)
    until(lambda: not server.platform.the(Fleet)._launcher.live(), "the process ends")


def test_every_call_is_in_the_table_once_with_who_what_and_which_version(server, people, shelf, ledger):
    ann, bob = people.person("ann"), people.person("bob")
    create(ann.client)
    allow(server.platform, "delays", bob, "CAN_QUERY")
    http = httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {bob.token}"}, timeout=30)
    for number in range(20):
        body = {"dataframe_records": [ROW], "client_request_id": f"mine-{number}"}
        assert http.post("/serving-endpoints/delays/invocations", json=body).status_code == 200
    assert http.post("/serving-endpoints/delays/invocations", json={"inputs": {}}).status_code == 400
    server.platform.the(RequestLog).flush()
    rows = ledger.rows(PAYLOAD)
    assert len(rows) == len({row["databricks_request_id"] for row in rows}) == 21
    assert {row["requester"] for row in rows} == {"bob"}
    assert max(row["status_code"] for row in rows) == 400
    one = next(row for row in rows if row["client_request_id"] == "mine-3")
    assert (one["model_name"], one["model_version"], one["served_entity_name"]) == ("main.ml.delay", "1", "delay-1")
    assert json.loads(one["response"])["predictions"] == pytest.approx([5.0])
    assert set(ledger.writers) == {"ann"}


def test_the_rows_that_were_scored_are_a_table_of_their_own(server, people, shelf, ledger):
    shelf.put("main.ml.delay", 2, "mixed")
    client = people.person("ann").client
    create(client, "delays", 2)
    row = ROW | {"carrier": "AA", "hour": 7}
    ask(client, dataframe_records=[row, row | {"carrier": "UA"}])
    with pytest.raises(BadRequest):
        ask(client, dataframe_records=[row | {"hour": "late"}])
    server.platform.the(RequestLog).flush()
    first, second = ledger.rows("main.ml.delays_scored")
    assert (first["carrier"], second["carrier"], first["hour"], first["distance"]) == ("AA", "UA", 7, 1.0)
    assert (first["row"], second["row"], first["model_id"]) == (0, 1, "main.ml.delay/2")
    assert first["databricks_request_id"] == second["databricks_request_id"]
    assert json.loads(first["prediction_json"])[1] == pytest.approx(first["prediction"])


def test_a_failed_commit_loses_nothing_and_doubles_nothing(server, people, shelf, ledger):
    client = people.person("ann").client
    create(client)
    log = server.platform.the(RequestLog)
    ledger.fails = ["before", "after", "", "before", "", "after"]
    for _ in range(6):
        ask(client)
        log.flush()
    problem = client.serving_endpoints.get("delays").config.auto_capture_config.state.payload_table
    log.flush()
    for table in (PAYLOAD, "main.ml.delays_scored"):
        rows = ledger.rows(table)
        assert len(rows) == len({row["databricks_request_id"] for row in rows}) == 6
    assert problem.name == PAYLOAD


def test_a_log_that_cannot_be_written_does_not_fill_the_disk(server, people, shelf, ledger):
    client = people.person("ann").client
    create(client)
    server.platform.settings.serving.log_spool_mb = 0
    ledger.fails = ["before"]
    ask(client)
    server.platform.the(RequestLog).flush()
    told = client.serving_endpoints.get("delays").config.auto_capture_config.state.payload_table
    assert told.status == "FAILED"
    assert "the table cannot be written (the oldest calls were dropped)" in told.status_message
    ask(client)
    server.platform.the(RequestLog).flush()
    assert len(ledger.rows(PAYLOAD)) == 1


def test_the_audit_trail_says_who_asked_but_not_what(server, people, shelf, ledger):
    client = people.person("ann").client
    create(client)
    ask(client, dataframe_records=[{"distance": 123.456, "delay": 0.0}])
    rows = server.platform.snapshot(lambda ctx: ctx.tx.all("SELECT * FROM audit WHERE action = 'queryServingEndpoint'"))
    assert len(rows) == 1
    assert rows[0]["status"] == 200
    assert "123.456" not in json.dumps([str(value) for value in dict(rows[0]).values()])
