"""Tasks against the real platform: confined, with nothing but its port and a token of whom they run as."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from conftest import People, Person, Served  # pyright: ignore[reportMissingImports]  # tests/conftest.py
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
    def __init__(self, launcher: LocalLauncher, url: str, home: Path) -> None:
        self.launcher, self.url, self.home = launcher, url, home

    def run(self, who: Person, code: str, entry: str = "script", **about: object) -> Ran:
        attempt = f"s{next(NUMBERS)}"
        workdir = self.home / attempt
        workdir.mkdir()
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
    return Tasks(launcher, server.url, tmp_path)


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
