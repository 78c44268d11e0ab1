"""Starting the platform as a person does: in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def _up(data_dir: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "lakewright.cli.main", "up", "--port", str(port), "--data-dir", str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    try:
        _until_answering(port, process)
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)


def _until_answering(port: int, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx.get(f"http://127.0.0.1:{port}/.well-known/databricks-config")
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"did not start: {process.communicate()[0]}")


def _said(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=20)[0]


def test_the_first_start_prints_a_working_token_and_the_second_prints_none(tmp_path: Path) -> None:
    port = _free_port()
    with _up(tmp_path / "data", port) as process:
        process.send_signal(signal.SIGINT)
        first = _said(process)
    token = re.search(r"shown this once: (\S+)", first)
    assert token
    with _up(tmp_path / "data", port) as process:
        me = httpx.get(
            f"http://127.0.0.1:{port}/api/2.0/preview/scim/v2/Me", headers={"Authorization": f"Bearer {token[1]}"}
        )
        process.send_signal(signal.SIGINT)
        second = _said(process)
    assert me.json()["userName"] == "admin"
    assert "token" not in second


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with _up(tmp_path / "data", _free_port()):
        second = subprocess.run(
            [sys.executable, "-m", "lakewright.cli.main", "up", "--port", "0", "--data-dir", str(tmp_path / "data")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert second.returncode == 1
    assert "stop it, or give this one another data_dir" in second.stderr
    assert "Traceback" not in second.stderr
