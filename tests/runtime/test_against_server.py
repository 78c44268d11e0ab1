"""Tasks against the real platform: confined, with nothing but its port and a token of whom they run as."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from actors import People, Person, Served
from engines.conftest import eventually

from lakewright.engines.local import LocalLauncher
from lakewright.engines.processes import Exit, Limits, TaskSpec

NUMBERS = count()


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalLauncher]:
    launcher = LocalLauncher(tmp_path_factory.mktemp("attempts"))
    yield launcher
    launcher.close()


@dataclass
class Ran:
    exit: Exit
    out: str
    err: str


class Tasks:
    def __init__(self, launcher: LocalLauncher, server: Served, home: Path) -> None:
        self.launcher, self.url, self.home = launcher, server.url, home
        self.platform_data = server.platform.settings.data_dir

    def run(self, who: Person, code: str, entry: str = "script", **about: object) -> Ran:
        attempt = f"s{next(NUMBERS)}"
        workdir = self.home / attempt
        workdir.mkdir(parents=True)
        (workdir / "task.py").write_text(textwrap.dedent(code))
        env = {
            "DATABRICKS_HOST": self.url,
            "DATABRICKS_TOKEN": who.token,
            "MLFLOW_TRACKING_URI": "databricks",
            "MLFLOW_REGISTRY_URI": "databricks-uc",
            "LAKEWRIGHT_TASK": json.dumps(about),
        }
        port = int(self.url.rpartition(":")[2])
        spec = TaskSpec(
            attempt=attempt, entry=f"lakewright.runtime.main:{entry}", argv=("task.py",), workdir=workdir, env=env, ports=(port,),
            redact=(who.token,), limits=Limits(wall_seconds=90),
        )  # fmt: skip
        self.launcher.start(spec)
        ended = eventually(lambda: self.launcher.poll(attempt), "the task to end")
        output = self.launcher.output(attempt)
        return Ran(ended, output.stdout_path.read_text(), output.stderr_path.read_text())


@pytest.fixture
def tasks(launcher: LocalLauncher, server: Served, tmp_path: Path) -> Tasks:
    return Tasks(launcher, server, tmp_path / "tasks")


def test_the_sdk_in_a_task_is_who_the_task_runs_as(tasks: Tasks, people: People) -> None:
    robot = people.service_principal("robot")
    ran = tasks.run(
        robot, "from databricks.sdk import WorkspaceClient\nprint(WorkspaceClient().current_user.me().user_name)\n"
    )
    assert ran.exit.code == 0, ran.err
    assert ran.out == f"{robot.name}\n"


def test_mlflow_in_a_task_logs_a_run_with_a_model(tasks: Tasks, people: People) -> None:
    bob = people.person("bob")
    ran = tasks.run(
        bob,
        """
        import mlflow, mlflow.sklearn, pandas as pd
        from sklearn.linear_model import LogisticRegression
        mlflow.set_experiment("/Users/bob/lateness")
        frame, late = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0]}), [0, 0, 1, 1]
        with mlflow.start_run() as run:
            mlflow.log_param("depth", 3)
            mlflow.log_metric("auc", 0.9)
            model = LogisticRegression().fit(frame, late)
            mlflow.sklearn.log_model(model, name="model", input_example=frame)
        print("run", run.info.run_id)
        """,
    )
    assert ran.exit.code == 0, ran.err
    run_id = next(line for line in ran.out.splitlines() if line.startswith("run ")).split()[1]
    logged = bob.client.experiments.get_run(run_id).run
    assert logged and logged.data and logged.data.metrics
    assert {metric.key: metric.value for metric in logged.data.metrics} == {"auc": 0.9}
    assert bob.token not in ran.out + ran.err


def test_a_tasks_token_is_masked_in_what_it_prints(tasks: Tasks, people: People) -> None:
    ran = tasks.run(people.person("bob"), "import os; print(os.environ['DATABRICKS_TOKEN'])")
    assert ran.out == "[REDACTED]\n"


# --- a governed lake: flights with a filter by airport and a mask on tail numbers, ann of the EWR desk

LAKE = [
    "CREATE CATALOG main",
    "CREATE SCHEMA main.air",
    "CREATE TABLE main.air.flights (id BIGINT, origin STRING, tailnum STRING, delay DOUBLE)",
    "INSERT INTO main.air.flights VALUES (1, 'EWR', 'N1', 5.5), (2, 'JFK', 'N2', 20), (3, 'EWR', 'N3', -2)",
    "CREATE FUNCTION main.air.by_desk(o STRING) RETURNS BOOLEAN RETURN is_account_group_member('ewr_desk') AND o = 'EWR'",
    "CREATE FUNCTION main.air.hide(t STRING) RETURNS STRING RETURN 'hidden'",
    "ALTER TABLE main.air.flights SET ROW FILTER main.air.by_desk ON (origin)",
    "ALTER TABLE main.air.flights ALTER COLUMN tailnum SET MASK main.air.hide",
    "CREATE SCHEMA main.desk",
    "GRANT USE CATALOG ON CATALOG main TO ann",
    "GRANT USE SCHEMA ON SCHEMA main.air TO ann",
    "GRANT SELECT ON TABLE main.air.flights TO ann",
    "GRANT USE SCHEMA ON SCHEMA main.desk TO ann",
    "GRANT CREATE TABLE ON SCHEMA main.desk TO ann",
]


@pytest.fixture
def ann(people: People) -> Person:
    found = people.person("ann", groups=["ewr_desk"])
    admin = people.admin
    warehouse = admin.client.warehouses.create(name="w").result().id
    for statement in LAKE:
        done = admin.do(
            "POST", "/api/2.0/sql/statements", statement=statement, warehouse_id=warehouse, wait_timeout="50s"
        )
        assert done["status"]["state"] == "SUCCEEDED", done
    admin.do(
        "PATCH",
        f"/api/2.0/permissions/warehouses/{warehouse}",
        access_control_list=[{"user_name": "ann", "permission_level": "CAN_USE"}],
    )
    return found


def test_tables_are_read_and_written_as_whom_the_task_runs_as(tasks: Tasks, ann: Person) -> None:
    ran = tasks.run(
        ann,
        """
        from lakewright.runtime import rest, tables
        print(tables.read("main.air.flights").sort_by("id").to_pylist())
        print(tables.read("main.air.flights", columns=["id"], where="delay > 0").to_pydict())
        print(tables.sql("SELECT count(*) AS n, max(tailnum) AS t FROM main.air.flights WHERE delay > :least", {"least": -5}).to_pylist())
        print(tables.sql("SELECT id, delay FROM main.air.flights WHERE delay > 1000").schema.names)
        tables.write("main.desk.late", tables.read("main.air.flights", where="delay > 0"), mode="overwrite")
        tables.write("main.desk.late", [{"id": 9, "origin": "LGA", "tailnum": "x", "delay": 1.0}], mode="append")
        print(sorted(tables.read("main.desk.late")["id"].to_pylist()), tables.exists("main.desk.late"), tables.exists("main.desk.none"))
        try:
            tables.write("main.air.flights", tables.read("main.desk.late"))
        except rest.Refused as refusal:
            print(refusal.status)
        """,
    )
    assert ran.exit.code == 0, ran.err
    assert ran.out.splitlines() == [
        "[{'id': 1, 'origin': 'EWR', 'tailnum': 'hidden', 'delay': 5.5}, {'id': 3, 'origin': 'EWR', 'tailnum': 'hidden', 'delay': -2.0}]",
        "{'id': [1]}",
        "[{'n': 2, 't': 'hidden'}]",
        "['id', 'delay']",
        "[1, 9] True False",
        "403",
    ]


def test_spark_over_the_lake(tasks: Tasks, ann: Person) -> None:
    ran = tasks.run(
        ann,
        """
        # Databricks notebook source
        from pyspark.sql import functions as F
        flights = spark.table("main.air.flights")
        late = flights.where(F.col("delay") > 0).groupBy("origin").agg(F.count("*").alias("n"), F.max("tailnum").alias("tail"))
        print([tuple(row) for row in late.collect()])
        late.write.saveAsTable("main.desk.by_origin")
        print(spark.sql("SELECT current_user() AS me").collect()[0].me)
        spark.sql("INSERT INTO main.desk.by_origin VALUES ('LGA', 7, 'y')")
        print(sorted(row.origin for row in spark.table("main.desk.by_origin").collect()))
        # COMMAND ----------
        # MAGIC %sql
        # MAGIC SELECT origin, n FROM main.desk.by_origin ORDER BY n DESC LIMIT 1
        # COMMAND ----------
        print(_sqldf.origin[0], _sqldf.n[0])
        """.replace("\n        ", "\n").lstrip(),
        entry="notebook",
    )
    assert ran.exit.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[:3] == ["[('EWR', 1, 'hidden')]", "ann", "['EWR', 'LGA']"]
    assert lines[-1] == "LGA 7"


def test_a_task_cannot_go_around_the_filter(tasks: Tasks, ann: Person) -> None:
    """Neither the files of a table nor the platform's own are there to be read."""
    place = tasks.platform_data
    ran = tasks.run(
        ann,
        f"""
        import glob, os
        from databricks.sdk import WorkspaceClient
        print(WorkspaceClient().tables.get("main.air.flights").storage_location)
        for path in {[str(place), str(place / "storage")]!r}:
            try:
                print(os.listdir(path))
            except PermissionError:
                print("closed")
        """,
    )
    assert ran.exit.code == 0, ran.err
    assert ran.out.splitlines()[0] in ("None", "")
    assert ran.out.splitlines()[1:] == ["closed", "closed"]


def test_a_secret_is_used_and_not_shown(tasks: Tasks, people: People) -> None:
    bob = people.person("bob")
    bob.client.secrets.create_scope("vault")
    bob.client.secrets.put_secret("vault", "password", string_value="correct-horse-battery")
    ran = tasks.run(
        bob,
        """
        # Databricks notebook source
        password = dbutils.secrets.get("vault", "password")
        print(len(password), password, password[::-1], [one.key for one in dbutils.secrets.list("vault")])
        try:
            dbutils.secrets.get("vault", "other")
        except Exception as refusal:
            print(type(refusal).__name__)
        """.replace("\n        ", "\n").lstrip(),
        entry="notebook",
    )
    assert ran.exit.code == 0, ran.err
    assert ran.out == "21 [REDACTED] [REDACTED] ['password']\nRefused\n"


def test_somebody_elses_secret_is_refused(tasks: Tasks, people: People) -> None:
    people.person("bob").client.secrets.create_scope("vault")
    people.person("bob").client.secrets.put_secret("vault", "password", string_value="correct-horse-battery")
    ran = tasks.run(
        people.person("eve"),
        "from databricks.sdk.runtime import dbutils\nprint(dbutils.secrets.get('vault', 'password'))",
    )
    assert ran.exit.code == 1
    assert "correct" not in ran.out + ran.err


def test_mlflow_autolog_in_a_task(tasks: Tasks, people: People) -> None:
    bob = people.person("bob")
    ran = tasks.run(
        bob,
        """
        import mlflow, pandas as pd
        from sklearn.linear_model import LogisticRegression
        mlflow.set_experiment("/Users/bob/auto")
        mlflow.autolog(log_models=False)
        LogisticRegression(C=0.5).fit(pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0]}), [0, 0, 1, 1])
        print("run", mlflow.last_active_run().info.run_id)
        """,
    )
    assert ran.exit.code == 0, ran.err
    run_id = next(line for line in ran.out.splitlines() if line.startswith("run ")).split()[1]
    logged = bob.client.experiments.get_run(run_id).run
    assert logged and logged.data and logged.data.params
    assert {param.key: param.value for param in logged.data.params}["C"] == "0.5"
