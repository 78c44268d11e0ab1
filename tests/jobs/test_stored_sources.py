"""The code a task gets is what its principal may read in the workspace, and the whole tree of a deployed project."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakewright.jobs import sources
from lakewright.jobs.stored_sources import StoredSources
from lakewright.kernel.faults import Denied
from lakewright.projects.client import Client
from lakewright.projects.state import put_file

TREE = "/Users/ada@example.com/.bundle/shop/local/files"


@pytest.fixture
def ada(server, people) -> Client:
    client = Client(server.url, people.person("ada@example.com").token)
    for folder in ("tasks", "src/shop", "notebooks"):
        client.call("POST", "/api/2.0/workspace/mkdirs", {"path": f"{TREE}/{folder}"})
    put_file(client, f"{TREE}/tasks/fit.py", b"import shop")
    put_file(client, f"{TREE}/src/shop/__init__.py", b"")
    put_file(client, f"{TREE}/notebooks/look.py", b"# Databricks notebook source\nprint(1)")
    return client


def _fetch(server, who: str, path: str, into: Path) -> Path:
    return server.platform.snapshot(lambda ctx: sources.fetch(ctx, StoredSources(), path, into), who)


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_task_of_a_project_gets_its_whole_tree(server, people, ada: Client, tmp_path: Path) -> None:
    into = tmp_path / "code"
    script = _fetch(server, people.person("ada@example.com").id, f"/Workspace{TREE}/tasks/fit.py", into)
    assert script == into / "tasks/fit.py"
    assert script.read_bytes() == b"import shop"
    assert _files(into) == {"tasks/fit.py", "src/shop/__init__.py", "notebooks/look.py"}


def test_a_notebook_comes_as_its_source(server, people, ada: Client, tmp_path: Path) -> None:
    notebook = _fetch(server, people.person("ada@example.com").id, f"{TREE}/notebooks/look", tmp_path / "code")
    assert notebook.name == "look.py"
    assert notebook.read_bytes().startswith(b"# Databricks notebook source")


def test_whoever_may_not_read_the_code_cannot_run_it(server, people, ada: Client, tmp_path: Path) -> None:
    with pytest.raises(Denied):
        _fetch(server, people.person("eve@example.com").id, f"{TREE}/tasks/fit.py", tmp_path / "code")
    assert _files(tmp_path / "code") == set()
