"""A job that waits for the approval of a model version: through real jobs and the same approvals."""

import time

import pytest
from databricks.sdk.errors import PermissionDenied
from databricks.sdk.service.jobs import JobAccessControlRequest, JobPermissionLevel

from .conftest import MODEL

APPROVALS = "/api/2.1/lakewright/approvals"


def job(who, version):
    task = {
        "task_key": "gate",
        "approval_task": {"model": MODEL, "version": str(version), "prompt": "better in spring"},
    }
    return who.do("POST", "/api/2.2/jobs/create", name="release", tasks=[task])["job_id"]


def until(look, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def asked(world):
    return until(lambda: world.bob.do("GET", APPROVALS, model=MODEL)["approvals"])[0]


def outcome(who, run_id):
    over = ("TERMINATED", "INTERNAL_ERROR")
    run = until(lambda: (r := who.client.jobs.get_run(run_id)).state.life_cycle_state.value in over and r)
    return run.state.result_state.value, run.tasks[0].state.state_message


def test_the_task_asks_once_and_goes_on_when_somebody_else_approves(world):
    version = world.releasable()
    run_id = world.ann.client.jobs.run_now(job(world.ann, version)).run_id
    approval = asked(world)
    assert (approval["requested_by"], approval["comment"], approval["state"]) == ("ann", "better in spring", "PENDING")
    with pytest.raises(PermissionDenied):
        world.approve(approval["approval_id"], world.ann)
    world.approve(approval["approval_id"], comment="fine")
    result, message = outcome(world.ann, run_id)
    assert (result, message) == ("SUCCESS", "Approved by bob: fine")
    assert len(world.bob.do("GET", APPROVALS, model=MODEL)["approvals"]) == 1
    world.trainer.client.registered_models.set_alias(MODEL, "champion", version)
    assert world.alias() == version


def test_a_rejection_ends_it(world):
    run_id = world.ann.client.jobs.run_now(job(world.ann, world.releasable())).run_id
    world.bob.do("POST", f"{APPROVALS}/{asked(world)['approval_id']}/reject", comment="drifted")
    assert outcome(world.ann, run_id)[0] == "FAILED"


def test_who_started_the_run_cannot_approve_what_it_asked(world):
    job_id = job(world.ann, world.releasable())
    entry = JobAccessControlRequest(user_name="bob", permission_level=JobPermissionLevel.CAN_MANAGE_RUN)
    world.ann.client.jobs.update_permissions(str(job_id), access_control_list=[entry])
    world.bob.client.jobs.run_now(job_id)
    with pytest.raises(PermissionDenied, match="bob started the job run that asked"):
        world.approve(asked(world)["approval_id"])


def test_who_wrote_the_job_cannot_approve_what_it_asked(world):
    job_id = job(world.ann, world.releasable())
    entry = JobAccessControlRequest(user_name="bob", permission_level=JobPermissionLevel.CAN_MANAGE)
    world.ann.client.jobs.update_permissions(str(job_id), access_control_list=[entry])
    world.bob.do("POST", "/api/2.2/jobs/update", job_id=job_id, new_settings={"description": "mine now"})
    world.ann.client.jobs.run_now(job_id)
    with pytest.raises(PermissionDenied, match="bob wrote the job that asked"):
        world.approve(asked(world)["approval_id"])


def test_a_version_that_is_not_ready_fails_the_task_and_says_why(world):
    run_id = world.ann.client.jobs.run_now(job(world.ann, world.version())).run_id
    result, message = outcome(world.ann, run_id)
    assert result == "FAILED" and "run the gate first" in message
