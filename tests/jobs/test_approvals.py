"""A run waits for a person, holding nothing, until somebody else who may has decided."""

import json
from typing import Any

import pytest
from databricks.sdk.errors import BadRequest, PermissionDenied
from databricks.sdk.service.jobs import JobAccessControlRequest, JobPermissionLevel, JobSettings

from lakewright.engines.processes import Launcher
from lakewright.jobs.gates import Answer, ModelGate, Question
from lakewright.kernel.context import Ctx

from .conftest import Shelf, ended, results, until


def job(person: Any, approval: dict[str, Any], **more: Any) -> int:
    """A job of three tasks with an approval in the middle; everybody here may view it."""
    tasks = [
        {"task_key": "train", "spark_python_task": {"python_file": "/code/ok.py"}},
        {"task_key": "gate", "approval_task": approval, "depends_on": [{"task_key": "train"}], **more},
        {
            "task_key": "deploy",
            "spark_python_task": {"python_file": "/code/ok.py"},
            "depends_on": [{"task_key": "gate"}],
        },
    ]
    job_id = person.do("POST", "/api/2.2/jobs/create", name="release", tasks=tasks)["job_id"]
    entry = JobAccessControlRequest(group_name="users", permission_level=JobPermissionLevel.CAN_VIEW)
    person.client.jobs.update_permissions(str(job_id), access_control_list=[entry])
    return job_id


def gate_of(person: Any, run_id: int) -> Any:
    """The approval task, once it waits."""

    def look() -> Any:
        found = next(t for t in person.client.jobs.get_run(run_id).tasks if t.task_key == "gate")
        return found if found.state.state_message.startswith("PENDING_APPROVAL") else None

    return until(look)


@pytest.fixture
def crew(served: Any, people: Any, shelf: Shelf) -> Any:
    shelf.write("/code/ok.py", "print('ok')\n")
    for name in ("alice", "carol", "bob"):
        people.person(name, groups=["users"])
    people.person("carol", groups=["release-board"])
    return people


def test_a_run_waits_for_the_approval_of_another_and_then_goes_on(crew: Any, platform: Any) -> None:
    alice, carol = crew.person("alice"), crew.person("carol")
    run_id = alice.client.jobs.run_now(job(alice, {"approvers": ["release-board", "alice"]})).run_id
    gate = gate_of(alice, run_id)
    assert (gate.state.life_cycle_state.value, gate.status.state.value) == ("BLOCKED", "BLOCKED")
    assert platform.the(Launcher).live() == []
    with pytest.raises(PermissionDenied, match="started this run"):
        alice.do("POST", "/api/2.2/jobs/runs/approve", run_id=gate.run_id)
    with pytest.raises(PermissionDenied, match="not among the approvers"):
        crew.person("bob").do("POST", "/api/2.2/jobs/runs/approve", run_id=gate.run_id)
    carol.do("POST", "/api/2.2/jobs/runs/approve", run_id=gate.run_id, reason="figures are fine")
    run = ended(alice.client, run_id)
    assert results(run) == {"train": "SUCCESS", "gate": "SUCCESS", "deploy": "SUCCESS"}
    shown = alice.do("GET", "/api/2.2/jobs/runs/get-output", run_id=gate.run_id)
    assert shown["approval"] == {"decision": "approved", "by": "carol", "reason": "figures are fine"}
    with pytest.raises(BadRequest, match="does not wait"):
        carol.do("POST", "/api/2.2/jobs/runs/reject", run_id=gate.run_id)


def test_a_rejection_ends_the_run(crew: Any) -> None:
    alice, carol = crew.person("alice"), crew.person("carol")
    run_id = alice.client.jobs.run_now(job(alice, {"approvers": ["carol"]})).run_id
    carol.do("POST", "/api/2.2/jobs/runs/reject", run_id=gate_of(alice, run_id).run_id, reason="drifted")
    run = ended(alice.client, run_id)
    assert results(run) == {"train": "SUCCESS", "gate": "FAILED", "deploy": "UPSTREAM_FAILED"}
    assert run.state.state_message == "Task gate failed with message: Rejected by carol: drifted"


def test_an_approval_nobody_gives_in_time_ends_the_run(crew: Any, platform: Any) -> None:
    alice = crew.person("alice")
    run_id = alice.client.jobs.run_now(job(alice, {"approvers": ["carol"]}, timeout_seconds=3600)).run_id
    gate_of(alice, run_id)
    platform.clock.advance(3601)
    assert results(ended(alice.client, run_id)) == {"train": "SUCCESS", "gate": "TIMEDOUT", "deploy": "UPSTREAM_FAILED"}


def test_the_decision_its_reason_and_what_was_seen_are_on_record(crew: Any, platform: Any) -> None:
    alice, carol = crew.person("alice"), crew.person("carol")
    run_id = alice.client.jobs.run_now(job(alice, {"approvers": ["carol"]})).run_id
    carol.do("POST", "/api/2.2/jobs/runs/approve", run_id=gate_of(alice, run_id).run_id, reason="fine")
    [row] = platform.snapshot(
        lambda ctx: ctx.tx.all("SELECT who_name, because, ask FROM audit WHERE action = 'approvalDecided'")
    )
    assert (row["who_name"], row["because"]) == ("carol", "fine")
    seen = json.loads(row["ask"])
    assert (seen["decision"], seen["results"]) == ("approved", {"train": "SUCCESS"})


def test_who_edits_the_job_cannot_approve_its_run(crew: Any) -> None:
    alice, carol = crew.person("alice"), crew.person("carol")
    job_id = job(alice, {"approvers": ["carol"]})
    entry = JobAccessControlRequest(user_name="carol", permission_level=JobPermissionLevel.CAN_MANAGE)
    alice.client.jobs.update_permissions(str(job_id), access_control_list=[entry])
    carol.do("POST", "/api/2.2/jobs/update", job_id=job_id, new_settings={"description": "mine now"})
    run_id = alice.client.jobs.run_now(job_id).run_id
    with pytest.raises(PermissionDenied, match="wrote the job"):
        carol.do("POST", "/api/2.2/jobs/runs/approve", run_id=gate_of(alice, run_id).run_id)


class Board:
    """Approvals of model versions kept somewhere else."""

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.answer = Answer("pending")

    def ask(self, ctx: Ctx, question: Question) -> Answer:
        self.asked.append(question)
        return self.answer


def test_a_run_can_wait_for_the_approval_of_a_model_version(crew: Any, platform: Any) -> None:
    board, alice = Board(), crew.person("alice")
    platform.provide(board, as_type=ModelGate)
    run_id = alice.client.jobs.run_now(job(alice, {"model": "main.ml.churn", "version": "{{job.parameters.v}}"})).run_id
    assert results(ended(alice.client, run_id))["gate"] == "FAILED"
    run_id = alice.client.jobs.run_now(job(alice, {"model": "main.ml.churn", "version": "3"})).run_id
    gate_of(alice, run_id)
    assert board.asked[-1].spec == {"model": "main.ml.churn", "version": "3", "approvers": [], "prompt": ""}
    assert board.asked[-1].requested_by == alice.id
    board.answer = Answer("approved", "card is complete", crew.person("carol").id)
    platform.wake("approval")
    assert results(ended(alice.client, run_id)) == {"train": "SUCCESS", "gate": "SUCCESS", "deploy": "SUCCESS"}


def manage(person: Any, job_id: int, name: str) -> None:
    entry = JobAccessControlRequest(user_name=name, permission_level=JobPermissionLevel.CAN_MANAGE)
    person.client.jobs.update_permissions(str(job_id), access_control_list=[entry])


def test_who_wrote_the_job_does_not_approve_it_though_others_changed_it_since(crew: Any) -> None:
    alice, bob = crew.person("alice"), crew.person("bob")
    job_id = job(alice, {"approvers": ["alice"]})
    manage(alice, job_id, "bob")
    runner = crew.service_principal("runner")
    crew.admin.client.permissions.update("servicePrincipal", runner.id, access_control_list=[_use("alice")])
    alice.do(
        "POST", "/api/2.2/jobs/update", job_id=job_id, new_settings={"run_as": {"service_principal_name": runner.name}}
    )
    bob.client.jobs.update(job_id, new_settings=JobSettings(name="renamed"))
    gate = gate_of(bob, bob.client.jobs.run_now(job_id).run_id)
    with pytest.raises(PermissionDenied, match="wrote the job"):
        alice.do("POST", "/api/2.2/jobs/runs/approve", run_id=gate.run_id)


def test_who_repaired_a_run_does_not_approve_it(crew: Any) -> None:
    alice, carol = crew.person("alice"), crew.person("carol")
    job_id = job(alice, {"approvers": ["carol"]})
    manage(alice, job_id, "carol")
    run_id = alice.client.jobs.run_now(job_id).run_id
    crew.admin.do("POST", "/api/2.2/jobs/runs/cancel", run_id=gate_of(alice, run_id).run_id)
    ended(alice.client, run_id)
    carol.client.jobs.repair_run(run_id, rerun_all_failed_tasks=True)
    with pytest.raises(PermissionDenied, match="repaired"):
        carol.do("POST", "/api/2.2/jobs/runs/approve", run_id=gate_of(carol, run_id).run_id)


def test_who_started_the_parent_does_not_approve_in_the_child(crew: Any) -> None:
    alice, carol = crew.person("alice"), crew.person("carol")
    child = job(alice, {"approvers": ["carol"]})
    runner = crew.service_principal("runner")
    entries = [
        JobAccessControlRequest(
            service_principal_name=runner.name, permission_level=JobPermissionLevel.CAN_MANAGE_RUN
        )
    ]  # fmt: skip
    alice.client.jobs.update_permissions(str(child), access_control_list=entries)
    crew.admin.client.permissions.update("servicePrincipal", runner.id, access_control_list=[_use("carol")])
    parent = carol.do(
        "POST", "/api/2.2/jobs/create", name="p", run_as={"service_principal_name": runner.name},
        tasks=[{"task_key": "child", "run_job_task": {"job_id": child}}],
    )["job_id"]  # fmt: skip
    carol.client.jobs.run_now(parent)
    [run] = until(lambda: list(alice.client.jobs.list_runs(job_id=child)))
    with pytest.raises(PermissionDenied, match="carol"):
        carol.do("POST", "/api/2.2/jobs/runs/approve", run_id=gate_of(alice, run.run_id).run_id)


def _use(name: str) -> Any:
    from databricks.sdk.service.iam import AccessControlRequest, PermissionLevel

    return AccessControlRequest(user_name=name, permission_level=PermissionLevel.CAN_USE)
