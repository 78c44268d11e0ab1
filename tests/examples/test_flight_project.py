"""The project file says what the tasks need: every task there is a script there is, and the graph is the one that is promised."""

from __future__ import annotations

import pytest

from lakewright.projects import deployment
from lakewright.projects.loading import load
from tests.examples.conftest import PROJECT


@pytest.mark.parametrize("target", ["local", "production"])
def test_the_project_is_valid_for_each_of_its_targets(target: str) -> None:
    project = load(PROJECT, target, "ada@example.com", {"runner": "11111111-2222-3333-4444-555555555555"})
    deployment.check(project)
    job = project.resources["jobs.lateness"]
    assert job["run_as"] == {"service_principal_name": "11111111-2222-3333-4444-555555555555"}
    after = {task["task_key"]: [one["task_key"] for one in task.get("depends_on", [])] for task in job["tasks"]}
    assert after == {
        "data_prep": [],
        "feature_build": ["data_prep"],
        "train_sklearn": ["feature_build"],
        "train_lightgbm": ["feature_build"],
        "validate": ["train_sklearn", "train_lightgbm"],
        "slice_report": ["validate"],
        "register_model": ["validate"],
        "approval": ["register_model"],
        "deploy": ["approval"],
    }
