"""Where a task's code comes from, and with whose rights it is read."""

import io
from typing import Any

import pytest
from databricks.sdk.service.jobs import JobRunAs, NotebookTask, Task
from databricks.sdk.service.workspace import ImportFormat

from lakewright.jobs.sources import KeptSources, Sources

from .conftest import ended, results
from .test_definitions import let_use
from .test_runs import NOTEBOOK, python, said, start


@pytest.fixture
def alice(served: Any, people: Any, platform: Any) -> Any:
    platform.provide(KeptSources(), as_type=Sources)
    return people.person("alice").client


def put(client: Any, path: str, text: str, kind: ImportFormat = ImportFormat.RAW) -> str:
    client.workspace.mkdirs(path.rpartition("/")[0])
    client.workspace.upload(path, io.BytesIO(text.encode()), format=kind, overwrite=True)
    return path


HOME = "/Workspace/Users/alice"


def test_a_script_finds_the_modules_beside_it(alice: Any) -> None:
    put(alice, f"{HOME}/p/helpers/__init__.py", "")
    put(alice, f"{HOME}/p/helpers/words.py", "WORD = 'together'\n")
    put(alice, f"{HOME}/p/main.py", "from helpers.words import WORD\nprint(WORD)\n")
    run = ended(alice, start(alice, python("a", f"{HOME}/p/main.py")))
    assert results(run) == {"a": "SUCCESS"}, alice.jobs.get_run_output(run.tasks[0].run_id)
    assert said(alice, run, "a") == "together\n"


def test_a_task_of_a_deployed_project_gets_the_whole_project(alice: Any) -> None:
    files = f"{HOME}/.bundle/flights/dev/files"
    put(alice, f"{files}/src/flights/__init__.py", "NAME = 'flights'\n")
    put(
        alice,
        f"{files}/tasks/prep.py",
        "import sys\nfrom pathlib import Path\nsys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'src'))\n"
        "import flights\nprint(flights.NAME)\n",
    )
    run = ended(alice, start(alice, python("a", f"{files}/tasks/prep.py")))
    assert results(run) == {"a": "SUCCESS"}, alice.jobs.get_run_output(run.tasks[0].run_id)
    assert said(alice, run, "a") == "flights\n"


@pytest.mark.parametrize("named", ["book", "book.py"])
def test_a_notebook_is_found_by_its_name_with_or_without_ending(alice: Any, named: str) -> None:
    put(alice, f"{HOME}/p/book.py", NOTEBOOK, ImportFormat.AUTO)
    run = ended(alice, start(alice, Task("n", notebook_task=NotebookTask(f"{HOME}/p/{named}", {"day": "today"}))))
    assert alice.jobs.get_run_output(run.tasks[0].run_id).notebook_output.result == "today default"


def test_code_is_read_with_the_rights_of_whom_the_task_runs_as(served: Any, people: Any, alice: Any) -> None:
    sp = people.service_principal("sp_train")
    let_use(served.platform, sp.id, people.person("alice").id)
    put(alice, f"{HOME}/p/main.py", "print('hello')\n")
    run_id = start(alice, python("a", f"{HOME}/p/main.py"), run_as=JobRunAs(service_principal_name=sp.name))
    run = ended(alice, run_id)
    assert run.tasks[0].status.termination_details.code.value == "UNAUTHORIZED_ERROR"
    folder = alice.workspace.get_status(f"{HOME}/p").object_id
    from databricks.sdk.service.iam import AccessControlRequest, PermissionLevel

    entry = AccessControlRequest(service_principal_name=sp.name, permission_level=PermissionLevel.CAN_READ)
    alice.permissions.update("directories", str(folder), access_control_list=[entry])
    run = ended(alice, alice.jobs.run_now(run.job_id).run_id)
    assert results(run) == {"a": "SUCCESS"}


def test_a_script_can_live_in_a_volume(served: Any, people: Any, alice: Any) -> None:
    admin = people.admin.client
    admin.catalogs.create(name="main")
    admin.schemas.create(name="code", catalog_name="main")
    from databricks.sdk.service.catalog import VolumeType

    admin.volumes.create("main", "code", "scripts", VolumeType.MANAGED)
    admin.files.upload("/Volumes/main/code/scripts/hello.py", io.BytesIO(b"print('from a volume')\n"))
    run = ended(admin, start(admin, python("a", "/Volumes/main/code/scripts/hello.py")))
    assert said(admin, run, "a") == "from a volume\n"
    refused = ended(alice, start(alice, python("a", "/Volumes/main/code/scripts/hello.py")))
    assert refused.tasks[0].status.termination_details.code.value == "UNAUTHORIZED_ERROR"


def test_missing_code_is_named(alice: Any) -> None:
    run = ended(alice, start(alice, python("a", f"{HOME}/p/nowhere.py")))
    assert run.tasks[0].status.termination_details.code.value in ("RESOURCE_NOT_FOUND", "UNAUTHORIZED_ERROR")
    assert "nowhere.py" in run.tasks[0].state.state_message


@pytest.mark.parametrize("path", ["relative.py", "/Workspace/../etc/passwd", "s3://bucket/x.py"])
def test_a_path_that_is_no_place_of_ours_is_refused(alice: Any, path: str) -> None:
    run = ended(alice, start(alice, python("a", path)))
    assert run.tasks[0].status.termination_details.code.value == "INVALID_RUN_CONFIGURATION"


SECRETS = """# Databricks notebook source
value = dbutils.secrets.get("vault", "key")
print("it is", value)
raise ValueError(value)
"""


def test_a_secret_that_a_task_read_is_not_in_its_error(alice: Any) -> None:
    alice.secrets.create_scope("vault")
    alice.secrets.put_secret("vault", "key", string_value="hunter2-and-more")
    put(alice, f"{HOME}/p/leak.py", SECRETS.replace("# Databricks notebook source\n", ""))
    put(alice, f"{HOME}/p/leaking.py", SECRETS, ImportFormat.AUTO)
    tasks = [Task("book", notebook_task=NotebookTask(f"{HOME}/p/leaking"))]
    run = ended(alice, start(alice, *tasks))
    shown = str(alice.jobs.get_run_output(run.tasks[0].run_id).as_dict())
    assert "ValueError" in shown
    assert "hunter2-and-more" not in shown
