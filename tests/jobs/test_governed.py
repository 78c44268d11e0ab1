"""Jobs over governed data: the rights that count are those of whom the job runs as."""

import io
from typing import Any

import pytest
from databricks.sdk.service.jobs import JobRunAs
from databricks.sdk.service.workspace import ImportFormat

from lakewright.jobs.sources import KeptSources, Sources

from .conftest import ended, results
from .test_definitions import let_use
from .test_runs import python, start

READ = "import sys\nfrom lakewright.runtime import tables\nprint(tables.read(sys.argv[1]).num_rows)\n"


@pytest.fixture
def sql(served: Any, people: Any) -> Any:
    served.platform.provide(KeptSources(), as_type=Sources)
    admin = people.admin
    warehouse = admin.client.warehouses.create(name="w").result().id

    def run(statement: str) -> Any:
        done = admin.do(
            "POST", "/api/2.0/sql/statements", statement=statement, warehouse_id=warehouse, wait_timeout="50s"
        )
        assert done["status"]["state"] == "SUCCEEDED", done
        return done["result"].get("data_array")

    return run


def test_a_job_reads_what_its_executor_may_and_not_what_its_owner_may(served: Any, people: Any, sql: Any) -> None:
    alice, sp = people.person("alice"), people.service_principal("sp_train")
    let_use(served.platform, sp.id, alice.id)
    for statement in (
        "CREATE CATALOG main",
        "CREATE SCHEMA main.air",
        "CREATE TABLE main.air.of_alice (id BIGINT)",
        "CREATE TABLE main.air.of_sp (id BIGINT)",
        "INSERT INTO main.air.of_sp VALUES (1), (2)",
        f"GRANT USE CATALOG ON CATALOG main TO `{sp.name}`",
        f"GRANT USE SCHEMA ON SCHEMA main.air TO `{sp.name}`",
        f"GRANT SELECT ON TABLE main.air.of_sp TO `{sp.name}`",
        "GRANT USE CATALOG ON CATALOG main TO alice",
        "GRANT USE SCHEMA ON SCHEMA main.air TO alice",
        "GRANT SELECT ON TABLE main.air.of_alice TO alice",
    ):
        sql(statement)
    client = alice.client
    client.workspace.mkdirs("/Users/alice/p")
    client.workspace.upload("/Users/alice/p/read.py", io.BytesIO(READ.encode()), format=ImportFormat.RAW)
    served.platform.transact(lambda ctx: _share(ctx, "Users/alice/p", sp.id))
    tasks = [python(name, "/Users/alice/p/read.py", f"main.air.{name}") for name in ("of_alice", "of_sp")]
    run = ended(client, start(client, *tasks, run_as=JobRunAs(service_principal_name=sp.name)), 120)
    outputs = {t.task_key: client.jobs.get_run_output(t.run_id) for t in run.tasks}
    assert results(run) == {"of_alice": "FAILED", "of_sp": "SUCCESS"}, outputs
    assert outputs["of_sp"].logs == "2\n"
    assert "PERMISSION_DENIED" in outputs["of_alice"].error_trace or "needs" in outputs["of_alice"].error

    who = sql(
        "SELECT DISTINCT action_name, user_name, identity_metadata.run_as FROM system.access.audit"
        " WHERE service_name = 'jobs' AND action_name = 'runStart'"
    )
    assert who == [["runStart", "alice", sp.name]]
    told = sql(
        "SELECT task_key, result_state, termination_code FROM system.lakeflow.job_task_run_timeline ORDER BY task_key"
    )
    assert told == [["of_alice", "FAILED", "RUN_EXECUTION_ERROR"], ["of_sp", "SUCCESS", "SUCCESS"]]
    assert sql("SELECT result_state, run_as_user_name FROM system.lakeflow.job_run_timeline") == [["FAILED", sp.name]]
    assert sql("SELECT name, creator_user_name FROM system.lakeflow.jobs") == [["job", "alice"]]


def _share(ctx: Any, path: str, principal: str) -> None:
    from lakewright.kernel import grants, objects
    from lakewright.workspace.folders import ITEM

    grants.change(ctx, objects.find(ctx, ITEM, path), principal, add=["CAN_READ"])
