"""A project file means one thing, and what it may not say is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakewright.projects.loading import BadProject, Project, load, merged
from lakewright.projects.references import CircularReference, UnknownReference

BUNDLE = """
bundle: {name: shop}
include: [resources/*.yml]
variables:
  catalog: {description: where, default: dev_shop}
  size: {default: 3}
permissions:
  - {level: CAN_VIEW, group_name: readers}
targets:
  dev: {default: true, mode: development}
  prod:
    mode: production
    variables: {catalog: shop}
    run_as: {service_principal_name: "runner"}
    workspace: {root_path: /Workspace/Shared/shop}
    resources:
      jobs:
        train:
          tasks:
            - {task_key: fit, max_retries: 2}
"""
JOBS = """
resources:
  schemas:
    ml: {name: ml, catalog_name: "${var.catalog}"}
  jobs:
    train:
      name: train for ${bundle.target}
      max_concurrent_runs: ${var.size}
      tasks:
        - task_key: fit
          spark_python_task: {python_file: ../tasks/fit.py, parameters: ["--schema", "${resources.schemas.ml.id}"]}
        - task_key: look
          depends_on: [{task_key: fit}]
          notebook_task: {notebook_path: ../notebooks/look.py}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "resources").mkdir()
    (tmp_path / "databricks.yml").write_text(BUNDLE)
    (tmp_path / "resources" / "jobs.yml").write_text(JOBS)
    return tmp_path


def _load(folder: Path, target: str | None = None, **variables: str) -> Project:
    return load(folder, target, "ada@example.com", variables)


def test_a_target_fills_in_variables_paths_and_overrides(folder: Path) -> None:
    project = _load(folder, "prod")
    train = project.resources["jobs.train"]
    assert train["name"] == "train for prod"
    assert train["max_concurrent_runs"] == 3
    assert train["run_as"] == {"service_principal_name": "runner"}
    assert [task.get("max_retries") for task in train["tasks"]] == [2, None]
    assert train["tasks"][0]["spark_python_task"]["python_file"] == "/Workspace/Shared/shop/files/tasks/fit.py"
    assert train["tasks"][1]["notebook_task"]["notebook_path"] == "/Workspace/Shared/shop/files/notebooks/look"
    assert project.resources["schemas.ml"]["catalog_name"] == "shop"


def test_development_copies_carry_their_owners_name(folder: Path) -> None:
    project = _load(folder)
    assert project.target == "dev"
    assert project.resources["jobs.train"]["name"] == "[dev ada] train for dev"
    assert project.root_path == "/Workspace/Users/ada@example.com/.bundle/shop/dev"


def test_the_id_of_a_resource_stays_a_reference_until_it_exists(folder: Path) -> None:
    task = _load(folder).resources["jobs.train"]["tasks"][0]
    assert task["spark_python_task"]["parameters"][1] == "${resources.schemas.ml.id}"


def test_values_given_by_hand_beat_the_environment_and_that_the_target(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUNDLE_VAR_catalog", "from_environment")
    assert _load(folder, "prod").resources["schemas.ml"]["catalog_name"] == "from_environment"
    assert _load(folder, "prod", catalog="by_hand").resources["schemas.ml"]["catalog_name"] == "by_hand"


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        ("artefacts: {}\n", "unknown key artefacts"),
        ("workspace: {hosts: x}\n", "unknown key workspace.hosts"),
        ("resources: {clusters: {a: {}}}\n", "unknown key resources.clusters"),
        ("resources: {schemas: {ml: {name: twice}}}\n", "resources.schemas.ml is declared in another file"),
        ("run_as: {user_name: a, service_principal_name: b}\n", "either user_name or service_principal_name"),
        ("- a list\n", "databricks.yml"),
    ],
)
def test_what_may_not_be_said_is_refused_by_name(folder: Path, broken: str, complaint: str) -> None:
    (folder / "databricks.yml").write_text(BUNDLE + broken)
    with pytest.raises(BadProject, match=complaint):
        _load(folder)


def test_an_unknown_reference_names_its_place(folder: Path) -> None:
    (folder / "resources" / "jobs.yml").write_text(JOBS.replace("${var.catalog}", "${var.katalog}"))
    with pytest.raises(UnknownReference, match=r"resources.schemas.ml.catalog_name: \$\{var.katalog\}"):
        _load(folder)


def test_references_in_a_circle_are_refused(folder: Path) -> None:
    (folder / "databricks.yml").write_text(BUNDLE.replace("default: dev_shop", 'default: "${var.catalog}"'))
    with pytest.raises(CircularReference):
        _load(folder)


def test_a_variable_without_a_value_and_an_undeclared_one_are_refused(folder: Path) -> None:
    with pytest.raises(BadProject, match="sets variable sise"):
        _load(folder, sise="2")
    (folder / "databricks.yml").write_text(BUNDLE.replace("size: {default: 3}", "size: {}"))
    with pytest.raises(BadProject, match="Variable size has no value"):
        _load(folder)


def test_a_file_outside_the_project_cannot_be_a_task(folder: Path) -> None:
    (folder / "resources" / "jobs.yml").write_text(JOBS.replace("../tasks/fit.py", "../../elsewhere.py"))
    with pytest.raises(BadProject, match="outside the project"):
        _load(folder)


def test_merging_keeps_what_is_only_on_one_side() -> None:
    base = {"tasks": [{"task_key": "a", "x": 1}], "tags": {"team": "ml"}, "names": ["one"]}
    over = {"tasks": [{"task_key": "b"}, {"task_key": "a", "x": 2}], "tags": {"cost": "7"}, "names": ["two"]}
    assert merged(base, over) == {
        "tasks": [{"task_key": "a", "x": 2}, {"task_key": "b"}],
        "tags": {"team": "ml", "cost": "7"},
        "names": ["one", "two"],
    }
