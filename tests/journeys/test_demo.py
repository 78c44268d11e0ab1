"""The whole story as a stranger runs it: one command, and every step's effect read back."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lakewright.cli.demo.command import STEPS


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.timeout(900)
@pytest.mark.skipif(
    os.environ.get("LAKEWRIGHT_TEST_DATABASE") == "postgres",
    reason="the demo brings its own database, whatever the tests use",
)
def test_the_demo_holds_from_raw_data_to_a_retrained_model(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "lakewright.cli.main", "demo", "--exit", "--report", str(report)]
    command += ["--port", str(_free_port()), "--data-dir", str(tmp_path / "data")]
    told = subprocess.run(
        command, capture_output=True, text=True, timeout=880, check=False, env={**os.environ, "COLUMNS": "160"}
    )
    assert report.exists(), told.stdout + told.stderr
    steps = {step["name"]: step for step in json.loads(report.read_text())["steps"]}
    assert steps.keys() >= set(STEPS)
    failed = {name: step["figures"] for name, step in steps.items() if step["state"] != "ok"}
    assert not failed, f"{failed}\n{told.stdout[-8000:]}"
    assert told.returncode == 0
    assert steps["data_prep"]["figures"]["quarantined"] > 0
    assert steps["self_approval_refused"]["figures"]["status"] == 403
    assert steps["governed_query"]["figures"]["analyst_rows"] == 1
    assert steps["retrained"]["figures"]["champion"] == 2


def test_a_taken_port_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "lakewright.cli.main", "demo", "--exit", "--port", str(port)]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 2
    assert f"port {port}" in answer.stdout
