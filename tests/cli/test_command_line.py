"""Commands against a real server: what a person types, what they read."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner, Result

from lakewright.cli.main import app
from lakewright.cli.progress import RunState, TaskState, table


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def test_listening_on_a_public_address_without_tls_is_refused() -> None:
    answer = _run("up", "--host", "0.0.0.0")
    assert answer.exit_code == 2
    assert "without TLS" in answer.output


def test_every_setting_is_shown_with_its_meaning_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEWRIGHT_ADMIN_TOKEN", "lwa_do-not-print-me")
    monkeypatch.setenv("LAKEWRIGHT_PORT", "9999")
    answer = _run("defaults", "show")
    assert "LAKEWRIGHT_PORT" in answer.output
    assert "9999" in answer.output
    assert "do-not-print-me" not in answer.output


def test_without_a_token_one_reads_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABRICKS_TOKEN", raising=False)
    answer = _run("token", "create")
    assert answer.exit_code == 1
    assert "Set DATABRICKS_TOKEN" in answer.output


def test_a_platform_that_is_not_there_is_a_sentence() -> None:
    answer = _run("token", "create", "--host", "http://127.0.0.1:9", "--token", "x")
    assert answer.exit_code == 1
    assert "Is the platform up?" in answer.output
    assert "Traceback" not in answer.output


def test_a_token_that_a_person_makes_is_theirs(server, people) -> None:
    ada = people.person("ada@example.com")
    made = _run("token", "create", "--comment", "laptop", "--host", server.url, "--token", ada.token)
    assert made.exit_code == 0, made.output
    from lakewright.projects.client import Client

    me = Client(server.url, made.output.strip()).call("GET", "/api/2.0/preview/scim/v2/Me")
    assert me["userName"] == "ada@example.com"


def test_tokens_are_listed_and_revoked_ones_own_and_by_an_administrator(server, people) -> None:
    ada, connect = people.person("ada@example.com"), ("--host", server.url, "--token")
    made = _run("token", "create", "--comment", "laptop", "--scope", "sql", *connect, ada.token)
    listed = _run("token", "list", *connect, ada.token)
    [row] = [line for line in listed.output.splitlines() if "laptop" in line]
    assert "sql" in row
    assert made.output.strip() not in listed.output
    assert _run("token", "revoke", row.split()[0], *connect, ada.token).exit_code == 0
    assert "laptop" not in _run("token", "list", *connect, ada.token).output
    refused = _run("token", "list", "--everybody", *connect, ada.token)
    assert "PERMISSION_DENIED" in refused.output
    everybody = _run("token", "list", "--everybody", "--kind", "personal", *connect, people.admin.token)
    [row] = [line for line in everybody.output.splitlines() if "ada@example.com" in line]
    assert _run("token", "revoke", row.split()[0], "--anybodys", *connect, people.admin.token).exit_code == 0
    assert _run("token", "list", *connect, ada.token).exit_code == 1


def test_a_refusal_is_shown_in_the_platforms_own_words(server, people) -> None:
    ada = people.person("ada@example.com")
    robot = people.service_principal("robot")
    answer = _run("token", "create", "--application-id", robot.name, "--host", server.url, "--token", ada.token)
    assert answer.exit_code == 1
    assert "PERMISSION_DENIED" in answer.output


def test_tasks_are_shown_after_what_they_wait_for() -> None:
    def task(key: str, *after: str) -> TaskState:
        return TaskState(key, 1, "BLOCKED", "", "", list(after), 0.0)

    run = RunState(1, "RUNNING", "", "", [task("deploy", "train"), task("train", "prep"), task("prep")])
    assert list(table(run).columns[0].cells) == ["prep", "train", "deploy"]
