"""Notebooks, run as tasks: real processes, confined, with nothing but the platform's port."""

import json
import textwrap
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import nbformat
import pyarrow as pa
import pytest
from engines.conftest import eventually

from lakewright.engines.local import Environment, LocalLauncher
from lakewright.engines.processes import Exit, Limits, TaskSpec, read_result
from lakewright.runtime import sources
from lakewright.runtime.sources import Cell

from .conftest import TOKEN, Small

NUMBERS = count()


class Done:
    def __init__(self, exit: Exit, out: str, err: str, outcome: Any, notebook: Any, returned: str | None) -> None:
        self.exit, self.out, self.err = exit, out, err
        self.outcome, self.notebook, self.returned = outcome, notebook, returned


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalLauncher]:
    launcher = LocalLauncher(
        tmp_path_factory.mktemp("attempts"), {"default": Environment(preload=("lakewright.runtime.main",))}
    )
    yield launcher
    launcher.close()


class Runner:
    def __init__(self, launcher: LocalLauncher, small: Small, home: Path) -> None:
        self.launcher, self.small, self.home = launcher, small, home

    def __call__(
        self,
        text: str,
        entry: str = "notebook",
        name: str = "book.py",
        beside: dict[str, str] | None = None,
        **parameters: str,
    ) -> Done:
        attempt = f"n{next(NUMBERS)}"
        workdir = self.home / attempt
        workdir.mkdir()
        for file, content in {name: text, **(beside or {})}.items():
            (workdir / file).write_text(textwrap.dedent(content))
        task = {"job_id": 7, "run_id": 9, "task_key": "me", "parameters": parameters}
        env = {"DATABRICKS_HOST": self.small.url, "DATABRICKS_TOKEN": TOKEN, "LAKEWRIGHT_TASK": json.dumps(task)}
        port = int(self.small.url.rpartition(":")[2])
        spec = TaskSpec(
            attempt=attempt, entry=f"lakewright.runtime.main:{entry}", argv=(name,), workdir=workdir, env=env, ports=(port,), redact=(TOKEN,),
            limits=Limits(wall_seconds=60),
        )  # fmt: skip
        self.launcher.start(spec)
        ended = eventually(lambda: self.launcher.poll(attempt), "the notebook to end")
        output = self.launcher.output(attempt)
        outcome, stored, returned = (
            read_result(output, one, 10 << 20) for one in ("outcome.json", "notebook.ipynb", "exit")
        )
        notebook = nbformat.reads(stored.decode(), as_version=4) if stored else None
        if notebook:
            nbformat.validate(notebook)
        return Done(
            ended,
            output.stdout_path.read_text(),
            output.stderr_path.read_text(),
            outcome and json.loads(outcome),
            notebook,
            returned.decode() if returned is not None else None,
        )


@pytest.fixture
def run(launcher: LocalLauncher, small: Small, tmp_path: Path) -> Runner:
    return Runner(launcher, small, tmp_path)


SAMPLE = """\
# Databricks notebook source
# MAGIC %md
# MAGIC # Late flights

# COMMAND ----------

# DBTITLE 1,Parameters
dbutils.widgets.text("year", "1999")
dbutils.widgets.text("month", "1")
year, month = dbutils.widgets.get("year"), dbutils.widgets.get("month")
print("of", year, month)

# COMMAND ----------

# MAGIC %sql
# MAGIC SELECT origin, delay FROM main.air.flights WHERE delay > 5

# COMMAND ----------

_sqldf.delay.sum()

# COMMAND ----------

# MAGIC %run ./shared

# COMMAND ----------

dbutils.jobs.taskValues.set("greeting", greet(year))
dbutils.notebook.exit(greet(year))

# COMMAND ----------

print("never")
"""
SHARED = """\
# Databricks notebook source
def greet(name):
    return f"hello {name}"
"""


def test_a_databricks_notebook_from_its_first_cell_to_its_exit(run: Runner, small: Small) -> None:
    small.tables["main.air.flights"] = pa.table({"origin": ["JFK", "EWR"], "delay": [4.0, 33.0]})
    done = run(SAMPLE, beside={"shared.py": SHARED}, year="2013")
    assert done.exit.code == 0, done.err
    assert done.outcome == {"error": None, "error_trace": None}
    assert done.returned == "hello 2013"
    assert "of 2013 1\n" in done.out and "never" not in done.out
    assert small.values == {("me", "greeting"): "hello 2013"}

    kinds = [cell.cell_type for cell in done.notebook.cells]
    assert kinds == ["markdown", "code", "code", "code", "code", "code", "code"]
    parameters, query, total = done.notebook.cells[1:4]
    assert parameters.metadata.title == "Parameters"
    assert parameters.outputs[0].text == "of 2013 1\n"
    assert query.source.startswith("%sql\nSELECT")
    assert "EWR" in query.outputs[0].data["text/html"]
    assert "33.0" in total.outputs[0].data["text/plain"]
    assert done.notebook.cells[-1].execution_count is None


def test_a_cell_that_raises_ends_the_notebook(run: Runner) -> None:
    done = run(
        "# Databricks notebook source\nprint('one')\n# COMMAND ----------\ndef f():\n    return 1 / 0\nf()\n# COMMAND ----------\nprint('two')\n"
    )
    assert done.exit.code == 1
    assert done.out == "one\n"
    assert done.outcome["error"] == "ZeroDivisionError: division by zero"
    assert "in f" in done.outcome["error_trace"] and "lakewright" not in done.outcome["error_trace"]
    assert done.err == done.outcome["error_trace"]
    assert done.notebook.cells[1].outputs[-1].ename == "ZeroDivisionError"


def test_an_exit_is_not_caught_by_a_notebooks_own_except(run: Runner) -> None:
    done = run(
        "# Databricks notebook source\ntry:\n    dbutils.notebook.exit('out')\nexcept Exception:\n    print('caught')\n"
    )
    assert done.returned == "out"
    assert done.out == "" and done.err == "" and done.exit.code == 0


@pytest.mark.parametrize(
    ("magic", "why"), [("%pip install requests", "locked"), ("%sh ls", "%sh"), ("%scala println(1)", "Python or SQL")]
)
def test_what_is_not_there_is_refused_clearly(run: Runner, magic: str, why: str) -> None:
    done = run(f"# Databricks notebook source\n# MAGIC {magic}\n")
    assert done.exit.code == 1
    assert why in done.outcome["error"]


def test_a_jupyter_notebook(run: Runner) -> None:
    book = {"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Title"]},
        {"cell_type": "code", "metadata": {}, "source": ["x = 3\n", "x * 2"], "outputs": [], "execution_count": None},
    ]}  # fmt: skip
    done = run(json.dumps(book), name="book.ipynb")
    assert done.notebook.cells[1].outputs[0].data["text/plain"] == "6"


def test_a_sql_notebook(run: Runner, small: Small) -> None:
    small.tables["main.air.flights"] = pa.table({"origin": ["JFK", "EWR"], "delay": [4.0, 33.0]})
    text = "-- Databricks notebook source\nSELECT count(*) AS n FROM main.air.flights WHERE origin = :origin\n-- COMMAND ----------\n-- MAGIC %python\n-- MAGIC print(_sqldf.n[0])\n"
    done = run(text, name="book.sql", origin="JFK")
    assert done.exit.code == 0, done.err
    assert done.out.endswith("1\n")


def test_spark_in_a_notebook(run: Runner, small: Small) -> None:
    small.tables["main.air.flights"] = pa.table({"origin": ["JFK", "EWR"], "delay": [4.0, 33.0]})
    done = run(
        """\
        # Databricks notebook source
        from pyspark.sql import functions as F
        late = spark.table("main.air.flights").where(F.col("delay") > 5)
        display(late)
        late.write.mode("overwrite").saveAsTable("main.air.late")
        """.replace("        ", "")
    )
    assert done.exit.code == 0, done.err
    assert small.tables["main.air.late"].to_pydict() == {"origin": ["EWR"], "delay": [33.0]}
    assert "EWR" in done.notebook.cells[0].outputs[0].data["text/html"]


def test_a_sql_cell_sees_the_notebooks_temporary_views(run: Runner) -> None:
    done = run(
        "# Databricks notebook source\nimport pandas as pd\nspark.createDataFrame(pd.DataFrame({'n': [1, 2]})).createOrReplaceTempView('few')\n"
        "# COMMAND ----------\n# MAGIC %sql\n# MAGIC SELECT sum(n) AS total FROM few\n# COMMAND ----------\nprint(_sqldf.total[0])\n"
    )
    assert done.exit.code == 0, done.err
    assert done.out.endswith("3\n")


def test_a_secret_never_leaves_a_notebook(run: Runner, small: Small) -> None:
    small.secrets["vault", "password"] = b"correct-horse-battery"
    done = run(
        "# Databricks notebook source\nvalue = dbutils.secrets.get('vault', 'password')\nprint(value, len(value))\nimport base64\n"
        "print(base64.b64encode(b'x:' + value.encode()).decode())\nvalue\n# COMMAND ----------\nraise ValueError(value)\n"
    )
    everything = done.out + done.err + json.dumps(done.outcome) + nbformat.writes(done.notebook)
    assert "correct-horse" not in everything and "Y29ycmVjd" not in everything
    assert "[REDACTED] 21\n" in done.out
    assert done.outcome["error"] == "ValueError: [REDACTED]"


def test_databricks_sdk_finds_dbutils_host_and_token(run: Runner, small: Small) -> None:
    done = run(
        """\
        from databricks.sdk.runtime import dbutils, spark, display
        from databricks.sdk import WorkspaceClient
        w = WorkspaceClient()
        print(w.config.host, dbutils.widgets.get("year"), w.dbutils is dbutils)
        print(dbutils.notebook.entry_point.getDbutils().notebook().getContext().tags().get("jobId").get())
        """,
        entry="script",
        name="script.py",
        year="2013",
    )
    assert done.exit.code == 0, done.err
    assert done.out == f"{small.url} 2013 True\n7\n"


def test_mlflow_does_not_mistake_a_task_for_a_cluster(run: Runner) -> None:
    done = run(
        """\
        import mlflow, pandas as pd
        from mlflow.utils import databricks_utils
        from mlflow.models import infer_signature
        print(databricks_utils.is_in_databricks_runtime(), mlflow.get_tracking_uri())
        print(infer_signature(pd.DataFrame({"x": [1.0]}), [1.0]).inputs.input_names())
        """,
        entry="script",
        name="script.py",
    )
    assert done.exit.code == 0, done.err
    assert done.out.splitlines()[-1] == "['x']"
    assert done.out.startswith("False ")


def test_a_scripts_failure_is_told_apart_from_its_log(run: Runner) -> None:
    done = run("print('log')\nopen('missing.csv')\n", entry="script", name="script.py")
    assert done.outcome["error"] == "FileNotFoundError: [Errno 2] No such file or directory: 'missing.csv'"
    assert done.returned is None
    assert run("print('log')", entry="script", name="script.py").outcome["error"] is None


# --- reading sources


def test_cells_and_their_languages() -> None:
    text = "# Databricks notebook source\n# DBTITLE 1,First\nx = 1\n\n# COMMAND ----------\n\n# MAGIC %sql\n# MAGIC SELECT 1\n# MAGIC\n# MAGIC -- end\n\n# COMMAND ----------\n\n# COMMAND ----------\n# MAGIC %run ./other $a=1\n"
    assert sources.read("a.py", text) == [
        Cell("python", "x = 1", "First"),
        Cell("sql", "SELECT 1\n\n-- end"),
        Cell("run", "./other $a=1"),
    ]


def test_a_sql_file_with_a_python_cell() -> None:
    text = "-- Databricks notebook source\nSELECT 1\n-- COMMAND ----------\n-- MAGIC %python\n-- MAGIC print(1)\n"
    assert sources.read("a.sql", text) == [Cell("sql", "SELECT 1"), Cell("python", "print(1)")]


def test_a_file_that_is_no_notebook() -> None:
    with pytest.raises(sources.NotANotebook, match="does not begin"):
        sources.read("a.py", "print(1)\n")
    with pytest.raises(sources.NotANotebook):
        sources.read("a.ipynb", "{}")
