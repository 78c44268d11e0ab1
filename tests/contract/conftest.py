"""MLflow's client in processes of their own: it keeps its URI, its active run and its environment globally."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

Script = Callable[..., Any]

PREAMBLE = """
import json, logging, sys, warnings
warnings.filterwarnings("ignore")
import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
arguments = json.loads(sys.argv[1])
client = MlflowClient()

def refusal(act, *given, **named):
    try:
        act(*given, **named)
    except MlflowException as error:
        return error.error_code
    return "allowed"

def answer(value):
    print("ANSWER " + json.dumps(value, default=str))
"""


@pytest.fixture
def mlflow_as(server: Any) -> Callable[..., Any]:
    """Run a script with the unmodified client as somebody; its `answer(...)` comes back."""

    def run(person: Any, source: str, **arguments: Any) -> Any:
        environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": "databricks",
            "MLFLOW_REGISTRY_URI": "databricks-uc",
            "DATABRICKS_HOST": server.url,
            "DATABRICKS_TOKEN": person.token,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        }
        done = subprocess.run(
            [sys.executable, "-c", PREAMBLE + textwrap.dedent(source), json.dumps(arguments)],
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
        said = [line for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
        return json.loads(said[-1][7:]) if said else None

    return run
