"""The plan names every change, permissions included, and is empty when there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lakewright.projects.layout import Permission, Sync
from lakewright.projects.loading import BadProject, Project
from lakewright.projects.plan import folder_permissions, plan, wanted
from lakewright.projects.state import Deployed, State

JOB = {"name": "train", "permissions": [{"level": "CAN_MANAGE_RUN", "user_name": "ada"}]}
SCHEMA = {
    "name": "ml",
    "catalog_name": "shop",
    "grants": [{"principal": "runner", "privileges": ["USE_SCHEMA", "CREATE_TABLE"]}],
}


def _project(**resources: dict[str, Any]) -> Project:
    named = {key.replace("__", "."): body for key, body in resources.items()}
    everyone = [Permission(level="CAN_VIEW", group_name="readers")]
    return Project(Path(), "shop", "dev", "ada", None, "/r", "/r/files", "/r/state", named, everyone, Sync())


def _as_deployed(project: Project, files: dict[str, str]) -> State:
    there = {
        one.key: Deployed(id=str(at), body=one.body, permissions=one.permissions, grants=one.grants)
        for at, one in enumerate(wanted(project))
    }
    return State(resources=there, files=files, folder_permissions=folder_permissions(project))


def _said(
    project: Project, state: State, files: dict[str, str] | None = None, gone: frozenset[str] = frozenset()
) -> list[str]:
    return [str(change) for change in plan(project, state, files or {}, gone)]


def test_the_first_plan_creates_in_an_order_that_works() -> None:
    assert _said(_project(jobs__train=JOB, schemas__ml=SCHEMA), State(), {"a.py": "1"}) == [
        "upload a.py",
        "permissions files (+ readers CAN_READ)",
        "create schemas.ml",
        "grants schemas.ml (+ runner CREATE_TABLE, + runner USE_SCHEMA)",
        "create jobs.train",
        "permissions jobs.train (+ ada CAN_MANAGE_RUN, + readers CAN_VIEW)",
    ]


def test_the_second_plan_is_empty() -> None:
    project = _project(jobs__train=JOB, schemas__ml=SCHEMA)
    assert _said(project, _as_deployed(project, {"a.py": "1"}), {"a.py": "1"}) == []


def test_a_changed_grant_is_named_alone() -> None:
    before = _as_deployed(_project(schemas__ml=SCHEMA), {})
    after = {**SCHEMA, "grants": [{"principal": "runner", "privileges": ["USE_SCHEMA"]}]}
    assert _said(_project(schemas__ml=after), before) == ["grants schemas.ml (- runner CREATE_TABLE)"]


def test_a_changed_field_updates_and_a_fixed_one_makes_anew() -> None:
    before = _as_deployed(_project(jobs__train=JOB, schemas__ml=SCHEMA), {})
    after = _project(jobs__train={**JOB, "timeout_seconds": 60}, schemas__ml={**SCHEMA, "catalog_name": "other"})
    said = _said(after, before)
    assert "update jobs.train (timeout_seconds)" in said
    assert "recreate schemas.ml (catalog_name)" in said
    assert "grants schemas.ml (+ runner CREATE_TABLE, + runner USE_SCHEMA)" in said


def test_what_the_project_no_longer_names_is_deleted_last_made_first() -> None:
    before = _as_deployed(_project(jobs__train=JOB, schemas__ml=SCHEMA), {"a.py": "1"})
    assert _said(_project(), before) == ["remove a.py", "delete jobs.train (id 1)", "delete schemas.ml (id 0)"]


def test_what_somebody_else_removed_is_made_again() -> None:
    project = _project(jobs__train=JOB)
    said = _said(project, _as_deployed(project, {}), gone=frozenset({"jobs.train"}))
    assert said[0] == "create jobs.train (it is gone)"
    assert said[1].startswith("permissions jobs.train")


def test_whom_a_job_runs_as_may_read_the_files() -> None:
    project = _project(jobs__train={**JOB, "run_as": {"service_principal_name": "runner"}})
    assert "permissions files (+ readers CAN_READ, + runner CAN_READ)" in _said(project, State())


@pytest.mark.parametrize(
    ("declared", "complaint"),
    [
        ({"grants": [{"principal": "", "privileges": ["SELECT"]}]}, "schemas.ml: principal"),
        ({"grants": [{"principal": "runner", "privilege": "SELECT"}]}, "schemas.ml: .*unknown key privilege"),
        ({"permissions": [{"level": "CAN_VIEW", "user_name": ""}]}, "exactly one of user_name"),
    ],
)
def test_access_that_makes_no_sense_is_refused_where_it_stands(declared: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadProject, match=complaint):
        wanted(_project(schemas__ml={**SCHEMA, **declared}))
