"""`lakewright bundle` and `lakewright sql`, as typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lakewright.cli.main import app
from lakewright.projects.client import Client

BUNDLE = """
bundle: {name: shop}
resources:
  schemas:
    raw: {catalog_name: shop, name: raw, comment: "what lands"}
targets:
  local: {default: true}
"""


@pytest.fixture
def typed(server, people):
    ada = people.person("ada@example.com")
    admin = Client(server.url, people.admin.token)
    admin.call("POST", "/api/2.1/unity-catalog/catalogs", {"name": "shop"})
    changes = [{"principal": ada.name, "add": ["USE_CATALOG", "CREATE_SCHEMA"]}]
    admin.call("PATCH", "/api/2.1/unity-catalog/permissions/catalog/shop", {"changes": changes})

    def run(*arguments: str, token: str = ada.token) -> Result:
        return CliRunner().invoke(app, [*arguments, "--host", server.url, "--token", token], env={"COLUMNS": "200"})

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "databricks.yml").write_text(BUNDLE)
    return tmp_path / "project"


def test_a_project_is_validated_planned_deployed_and_destroyed(typed, folder: Path) -> None:
    at = ("-C", str(folder))
    assert "is valid: schemas.raw" in typed("bundle", "validate", *at).output
    planned = typed("bundle", "plan", *at).output
    assert "create schemas.raw" in planned
    assert "2 changes." in planned
    assert typed("bundle", "deploy", *at).exit_code == 0
    assert "Nothing to change." in typed("bundle", "plan", *at).output
    assert "Nothing to change." in typed("bundle", "deploy", *at).output
    assert "1 resources removed." in typed("bundle", "destroy", "--yes", *at).output


def test_a_mistake_in_the_project_is_a_sentence_and_exit_code_2(typed, folder: Path) -> None:
    (folder / "databricks.yml").write_text(BUNDLE + "resorces: {}\n")
    answer = typed("bundle", "validate", "-C", str(folder))
    assert answer.exit_code == 2
    assert "unknown key resorces" in answer.output


def test_a_value_for_an_undeclared_variable_is_refused(typed, folder: Path) -> None:
    assert typed("bundle", "plan", "-C", str(folder), "--var", "size").exit_code == 2
    answer = typed("bundle", "plan", "-C", str(folder), "--var", "size=3")
    assert answer.exit_code == 2
    assert "not declared" in answer.output


def test_a_statement_is_answered_as_a_table_and_as_json(typed, server, people) -> None:
    admin = Client(server.url, people.admin.token)
    admin.call("POST", "/api/2.0/sql/warehouses", {"name": "shared", "cluster_size": "2X-Small"})
    answer = typed("sql", "select 1 as one, cast(null as string) as nothing", "--json", token=people.admin.token)
    assert answer.output.strip() == '{"one": "1", "nothing": null}'
    assert "NULL" in typed("sql", "select 1 as one, null as nothing", token=people.admin.token).output


def test_a_statement_that_fails_says_why(typed, server, people) -> None:
    admin = Client(server.url, people.admin.token)
    admin.call("POST", "/api/2.0/sql/warehouses", {"name": "shared", "cluster_size": "2X-Small"})
    answer = typed("sql", "select * from shop.raw.nothing", token=people.admin.token)
    assert answer.exit_code == 1
    assert "shop.raw.nothing" in answer.output


def test_who_may_use_no_warehouse_is_told_so(typed) -> None:
    answer = typed("sql", "select 1")
    assert answer.exit_code == 1
    assert "no SQL warehouse you may use" in answer.output
