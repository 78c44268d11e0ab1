"""Jobs run: through the unmodified SDK, in real processes."""

from typing import Any

import psutil
import pytest
from databricks.sdk.errors import InvalidParameterValue, PermissionDenied, ResourceDoesNotExist
from databricks.sdk.service.jobs import (
    ConditionTask,
    ConditionTaskOp,
    ForEachTask,
    JobAccessControlRequest,
    JobParameterDefinition,
    JobPermissionLevel,
    JobRunAs,
    JobSettings,
    NotebookTask,
    QueueSettings,
    RunIf,
    RunJobTask,
    SparkPythonTask,
    SubmitTask,
    Task,
    TaskDependency,
)

from lakewright.engines.processes import Launcher
from lakewright.jobs import retention
from lakewright.kernel import idempotency

from .conftest import Shelf, ended, results, until


def python(key: str, path: str, *parameters: str, after: tuple[str, ...] = (), **more: Any) -> Task:
    return Task(
        task_key=key,
        spark_python_task=SparkPythonTask(python_file=path, parameters=list(parameters) or None),
        depends_on=[TaskDependency(task_key=k) for k in after] or None,
        **more,
    )


def test_a_job_of_two_tasks_runs_in_order(served: Any, people: Any, shelf: Shelf) -> None:
    alice = people.person("alice").client
    shelf.write("/code/say.py", "import sys\nprint('hello', *sys.argv[1:])\n")
    job = alice.jobs.create(
        name="greet",
        tasks=[
            python("second", "/code/say.py", "{{tasks.first.result_state}}", after=("first",)),
            python("first", "/code/say.py", "you", "{{job.name}}"),
        ],
    )
    run = ended(alice, alice.jobs.run_now(job.job_id).run_id)
    assert run.state.result_state.value == "SUCCESS"
    assert [t.task_key for t in run.tasks] == ["first", "second"]
    said = {t.task_key: alice.jobs.get_run_output(t.run_id).logs for t in run.tasks}
    assert said == {"first": "hello you greet\n", "second": "hello success\n"}
    assert run.tasks[1].start_time >= run.tasks[0].end_time


def test_a_failed_task_tells_what_it_died_of_and_takes_what_waits_for_it(
    served: Any, people: Any, shelf: Shelf
) -> None:
    alice = people.person("alice").client
    shelf.write("/code/bad.py", "def f():\n    raise ValueError('no such day')\nprint('before')\nf()\n")
    shelf.write("/code/ok.py", "print('ok')\n")
    tasks = [
        python("bad", "/code/bad.py"),
        python("after", "/code/ok.py", after=("bad",)),
        python("cleanup", "/code/ok.py", after=("bad",), run_if=RunIf.ALL_DONE),
    ]
    run = ended(alice, alice.jobs.run_now(alice.jobs.create(name="j", tasks=tasks).job_id).run_id)
    assert results(run) == {"bad": "FAILED", "after": "UPSTREAM_FAILED", "cleanup": "SUCCESS"}
    assert run.state.life_cycle_state.value == "INTERNAL_ERROR"
    assert run.state.state_message == "Task bad failed with message: Workload failed, see run output for details."
    output = alice.jobs.get_run_output(next(t.run_id for t in run.tasks if t.task_key == "bad"))
    assert output.error == "ValueError: no such day"
    assert output.error_trace.startswith("Traceback") and "line 2, in f" in output.error_trace
    assert output.logs.startswith("before\n")


def test_what_a_run_printed_is_for_who_may_manage_runs_and_each_reading_is_on_record(
    served: Any, people: Any, shelf: Shelf
) -> None:
    alice, bob = people.person("alice").client, people.person("bob").client
    shelf.write("/code/tell.py", "print('row 7: jane, 1979')\n")
    made = alice.jobs.create(name="j", tasks=[python("tell", "/code/tell.py")])
    run = ended(alice, alice.jobs.run_now(made.job_id).run_id)
    task = run.tasks[0].run_id

    def level(which: str) -> None:
        entry = JobAccessControlRequest(user_name="bob", permission_level=JobPermissionLevel(which))
        alice.jobs.update_permissions(str(made.job_id), access_control_list=[entry])

    with pytest.raises(PermissionDenied):
        bob.jobs.get_run_output(task)
    level("CAN_VIEW")
    seen = bob.jobs.get_run_output(task)
    assert (seen.metadata.state.result_state.value, seen.logs) == ("SUCCESS", None)
    assert seen.info == "What it printed is for CAN_MANAGE_RUN on job."
    level("CAN_MANAGE_RUN")
    assert bob.jobs.get_run_output(task).logs == "row 7: jane, 1979\n"
    rows = served.platform.snapshot(
        lambda ctx: ctx.tx.all(
            "SELECT status FROM audit WHERE action = 'getRunOutput' AND who_name = 'bob' ORDER BY seq"
        )
    )
    assert [row["status"] for row in rows] == [403, 200, 200]


@pytest.fixture
def alice(served: Any, people: Any) -> Any:
    return people.person("alice").client


def start(client: Any, *tasks: Task, **settings: Any) -> int:
    """Make a job of these tasks and run it; the run's id."""
    return client.jobs.run_now(client.jobs.create(name="job", tasks=list(tasks), **settings).job_id).run_id


def said(client: Any, run: Any, key: str) -> str:
    return client.jobs.get_run_output(next(t.run_id for t in run.tasks if t.task_key == key)).logs


def state_of(client: Any, run_id: int, key: str) -> str:
    return next(t.status.state.value for t in client.jobs.get_run(run_id).tasks if t.task_key == key)


def test_a_task_that_fails_twice_is_tried_a_third_time(alice: Any, shelf: Shelf, platform: Any) -> None:
    shelf.write(
        "/code/flaky.py",
        "import os, json\nn = json.loads(os.environ['LAKEWRIGHT_TASK'])['attempt']\nassert n >= 2, n\n",
    )
    run_id = start(alice, python("flaky", "/code/flaky.py", max_retries=2, min_retry_interval_millis=60_000))
    until(lambda: state_of(alice, run_id, "flaky") == "WAITING")
    platform.clock.advance(59)
    assert state_of(alice, run_id, "flaky") == "WAITING"
    platform.clock.advance(1)
    until(lambda: alice.jobs.get_run(run_id).tasks[0].attempt_number == 2)
    platform.clock.advance(60)
    run = ended(alice, run_id)
    assert run.state.result_state.value == "SUCCESS"
    attempts = alice.jobs.get_run(run_id, include_history=True).tasks
    assert [(t.attempt_number, t.state.result_state.value) for t in attempts] == [
        (0, "FAILED"),
        (1, "FAILED"),
        (2, "SUCCESS"),
    ]
    assert len({t.run_id for t in attempts}) == 3


def test_retries_end(alice: Any, shelf: Shelf) -> None:
    shelf.write("/code/bad.py", "raise SystemExit(4)\n")
    run = ended(alice, start(alice, python("bad", "/code/bad.py", max_retries=1)))
    assert run.state.result_state.value == "FAILED"
    assert run.tasks[0].attempt_number == 1


def test_a_task_that_takes_too_long_is_killed_with_all_it_started(alice: Any, shelf: Shelf, platform: Any) -> None:
    shelf.write(
        "/code/slow.py",
        "import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\ntime.sleep(600)\n",
    )
    run_id = start(alice, python("slow", "/code/slow.py", timeout_seconds=60))
    until(lambda: state_of(alice, run_id, "slow") == "RUNNING")
    until(lambda: platform.the(Launcher).live()[0].pid)
    guardian = psutil.Process(platform.the(Launcher).live()[0].pid)
    platform.clock.advance(61)
    run = ended(alice, run_id)
    assert run.state.result_state.value == "TIMEDOUT"
    assert run.tasks[0].state.result_state.value == "TIMEDOUT"
    assert platform.the(Launcher).live() == []
    until(lambda: not guardian.is_running())


def test_a_job_that_takes_too_long_is_stopped_with_everything_in_it(alice: Any, shelf: Shelf, platform: Any) -> None:
    shelf.write("/code/slow.py", "import time\ntime.sleep(600)\n")
    tasks = [python("slow", "/code/slow.py"), python("tidy", "/code/slow.py", after=("slow",), run_if=RunIf.ALL_DONE)]
    run_id = start(alice, *tasks, timeout_seconds=60)
    until(lambda: state_of(alice, run_id, "slow") == "RUNNING")
    platform.clock.advance(61)
    run = ended(alice, run_id)
    assert run.state.result_state.value == "TIMEDOUT"
    assert results(run) == {"slow": "CANCELED", "tidy": "CANCELED"}


def test_cancelling_a_run_kills_what_runs_and_still_lets_the_cleanup_run(alice: Any, shelf: Shelf) -> None:
    shelf.write("/code/slow.py", "import time\nprint('begun', flush=True)\ntime.sleep(600)\n")
    shelf.write("/code/ok.py", "print('cleaned')\n")
    tasks = [
        python("slow", "/code/slow.py"),
        python("next", "/code/ok.py", after=("slow",)),
        python("cleanup", "/code/ok.py", after=("slow",), run_if=RunIf.ALL_DONE),
    ]
    run_id = start(alice, *tasks)
    until(lambda: state_of(alice, run_id, "slow") == "RUNNING")
    run = alice.jobs.cancel_run_and_wait(run_id)
    assert run.state.result_state.value == "CANCELED"
    assert run.status.termination_details.code.value == "USER_CANCELED"
    assert results(run) == {"slow": "CANCELED", "next": "UPSTREAM_CANCELED", "cleanup": "SUCCESS"}
    alice.jobs.cancel_run(run_id)
    assert alice.jobs.get_run(run_id).state.result_state.value == "CANCELED"


def test_one_task_can_be_cancelled_by_its_own_run_id(alice: Any, shelf: Shelf) -> None:
    shelf.write("/code/slow.py", "import time\ntime.sleep(600)\n")
    shelf.write("/code/ok.py", "")
    run_id = start(alice, python("slow", "/code/slow.py"), python("fine", "/code/ok.py"))
    until(lambda: state_of(alice, run_id, "slow") == "RUNNING")
    alice.jobs.cancel_run(next(t.run_id for t in alice.jobs.get_run(run_id).tasks if t.task_key == "slow"))
    assert results(ended(alice, run_id)) == {"slow": "CANCELED", "fine": "SUCCESS"}


def test_a_run_over_the_limit_is_skipped_or_queued(alice: Any, shelf: Shelf, platform: Any) -> None:
    shelf.write("/code/slow.py", "import time\ntime.sleep(600)\n")
    job_id = alice.jobs.create(name="one at a time", tasks=[python("slow", "/code/slow.py")]).job_id
    first = alice.jobs.run_now(job_id).run_id
    skipped = alice.jobs.get_run(alice.jobs.run_now(job_id).run_id)
    assert skipped.state.life_cycle_state.value == "SKIPPED"
    assert skipped.state.result_state.value == "MAXIMUM_CONCURRENT_RUNS_REACHED"
    queued = alice.jobs.run_now(job_id, queue=QueueSettings(enabled=True)).run_id
    platform.clock.advance(1)
    later = alice.jobs.run_now(job_id, queue=QueueSettings(enabled=True)).run_id
    assert alice.jobs.get_run(queued).status.queue_details.code.value == "MAX_CONCURRENT_RUNS_REACHED"
    alice.jobs.cancel_run_and_wait(first)
    until(lambda: alice.jobs.get_run(queued).status.state.value == "RUNNING")
    assert alice.jobs.get_run(later).status.state.value == "QUEUED"
    alice.jobs.cancel_all_runs(job_id=job_id, all_queued_runs=True)
    assert ended(alice, later).state.result_state.value == "CANCELED"
    assert ended(alice, queued).state.result_state.value == "CANCELED"


def test_one_idempotency_token_makes_one_run(alice: Any, shelf: Shelf) -> None:
    shelf.write("/code/ok.py", "")
    job_id = alice.jobs.create(name="j", tasks=[python("a", "/code/ok.py")]).job_id
    first = alice.jobs.run_now(job_id, idempotency_token="t").run_id
    assert alice.jobs.run_now(job_id, idempotency_token="t").run_id == first
    ended(alice, first)
    assert alice.jobs.run_now(job_id, idempotency_token="t").run_id == first
    assert len(list(alice.jobs.list_runs(job_id=job_id))) == 1
    alice.jobs.delete_run(first)
    with pytest.raises(InvalidParameterValue, match="has been deleted"):
        alice.jobs.run_now(job_id, idempotency_token="t")


def test_a_one_time_run_is_no_job(alice: Any, people: Any, shelf: Shelf) -> None:
    shelf.write("/code/ok.py", "print('once')\n")
    submitted = [SubmitTask(task_key="a", spark_python_task=SparkPythonTask(python_file="/code/ok.py"))]
    run = alice.jobs.submit_and_wait(tasks=submitted, idempotency_token="s")
    assert (run.run_name, run.run_type.value, run.state.result_state.value) == ("Untitled", "SUBMIT_RUN", "SUCCESS")
    assert alice.jobs.submit(tasks=submitted, idempotency_token="s").run_id == run.run_id
    assert list(alice.jobs.list()) == []
    assert [r.run_id for r in alice.jobs.list_runs()] == [run.run_id]
    with pytest.raises(PermissionDenied):
        people.person("bob").client.jobs.get_run(run.run_id)


def test_a_missing_run_is_told_as_the_sdk_expects(served: Any, people: Any) -> None:
    admin = people.admin.client
    with pytest.raises(ResourceDoesNotExist, match="Run 5 does not exist"):
        admin.jobs.get_run(5)
    with pytest.raises(ResourceDoesNotExist, match="Run 5 does not exist"):
        admin.jobs.get_run_output(5)
    with pytest.raises(PermissionDenied):
        people.person("bob").client.jobs.get_run(5)


def test_parameters_reach_the_task_by_their_precedence(alice: Any, shelf: Shelf) -> None:
    shelf.write("/code/say.py", "import sys\nprint(sys.argv[1:])\n")
    job_id = alice.jobs.create(
        name="p",
        parameters=[
            JobParameterDefinition("day", "{{job.start_time.iso_date}}"),
            JobParameterDefinition("who", "nobody"),
        ],
        tasks=[python("a", "/code/say.py", "--day={{job.parameters.day}}", "{{job.parameters.who}}", "{{ keep }}")],
    ).job_id
    run = ended(alice, alice.jobs.run_now(job_id, job_parameters={"who": "bob"}).run_id)
    assert said(alice, run, "a") == "['--day=2025-10-09', 'bob', '{{ keep }}']\n"
    assert [(p.name, p.value) for p in run.job_parameters] == [("day", "2025-10-09"), ("who", "bob")]
    again = ended(alice, alice.jobs.run_now(job_id, python_params=["only", "{{job.parameters.who}}"]).run_id)
    assert said(alice, again, "a") == "['only', 'nobody']\n"
    assert again.overriding_parameters.python_params == ["only", "{{job.parameters.who}}"]
    with pytest.raises(InvalidParameterValue, match="no parameter 'x'"):
        alice.jobs.run_now(job_id, job_parameters={"x": "1"})


def test_a_reference_to_nothing_fails_the_task_before_it_starts(alice: Any, shelf: Shelf) -> None:
    shelf.write("/code/ok.py", "")
    run = ended(alice, start(alice, python("a", "/code/ok.py", "{{tasks.a.values.nope}}")))
    assert run.tasks[0].status.termination_details.code.value == "INVALID_RUN_CONFIGURATION"
    assert "does not exist" in run.tasks[0].state.state_message


def test_missing_code_fails_the_task_and_says_so(alice: Any, shelf: Shelf) -> None:
    run = ended(alice, start(alice, python("a", "/code/nowhere.py")))
    assert run.tasks[0].status.termination_details.code.value in ("RESOURCE_NOT_FOUND", "INTERNAL_ERROR")


def test_only_runs_the_tasks_that_were_named(alice: Any, shelf: Shelf) -> None:
    shelf.write("/code/ok.py", "")
    tasks = [
        python("a", "/code/ok.py"),
        python("b", "/code/ok.py", after=("a",)),
        python("c", "/code/ok.py", after=("b",)),
    ]
    job_id = alice.jobs.create(name="j", tasks=tasks).job_id
    run = ended(alice, alice.jobs.run_now(job_id, only=["b+"]).run_id)
    assert results(run) == {"b": "SUCCESS", "c": "SUCCESS"}


def test_a_disabled_task_is_left_out(alice: Any, shelf: Shelf) -> None:
    shelf.write("/code/ok.py", "")
    run = ended(alice, start(alice, python("off", "/code/ok.py", disabled=True), python("on", "/code/ok.py")))
    assert results(run) == {"off": "DISABLED", "on": "SUCCESS"}


SET = """
import json, os, urllib.request
def call(method, path, body=None, token=os.environ["DATABRICKS_TOKEN"]):
    request = urllib.request.Request(os.environ["DATABRICKS_HOST"] + path, method=method,
        data=json.dumps(body).encode() if body is not None else None, headers={"Authorization": "Bearer " + token,
        "Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())
"""


def test_task_values_flow_downstream_and_into_conditions(alice: Any, shelf: Shelf, served: Any) -> None:
    shelf.write("/code/set.py", SET + "call('POST', '/api/2.2/jobs/runs/task-values', {'key': 'rows', 'value': 12})\n")
    shelf.write(
        "/code/get.py",
        SET + "import sys\nprint(sys.argv[1], call('GET', '/api/2.2/jobs/runs/task-values?task_key=set&key=rows'))\n",
    )
    condition = ConditionTask(ConditionTaskOp.GREATER_THAN, "{{tasks.set.values.rows}}", "10")
    tasks = [
        python("set", "/code/set.py"),
        Task("many", condition_task=condition, depends_on=[TaskDependency("set")]),
        Task(
            "big", spark_python_task=SparkPythonTask("/code/get.py", ["{{tasks.set.values.rows}}"]),
            depends_on=[TaskDependency("many", "true")],
        ),
        Task("small", spark_python_task=SparkPythonTask("/code/get.py"), depends_on=[TaskDependency("many", "false")]),
    ]  # fmt: skip
    run = ended(alice, start(alice, *tasks))
    assert results(run) == {"set": "SUCCESS", "many": "SUCCESS", "big": "SUCCESS", "small": "EXCLUDED"}
    assert said(alice, run, "big") == "12 {'value': 12}\n"
    many = next(t for t in run.tasks if t.task_key == "many")
    assert (many.condition_task.left, many.condition_task.outcome) == ("12", "true")
    assert run.state.result_state.value == "SUCCESS"


def test_a_tasks_token_is_its_principals_and_ends_with_the_task(served: Any, people: Any, shelf: Shelf) -> None:
    sp = people.service_principal("sp_train")
    shelf.write("/code/who.py", SET + "print(call('GET', '/api/2.0/preview/scim/v2/Me')['userName'])\nopen('t', 'w')\n")
    shelf.write(
        "/code/leak.py",
        "import base64, os\nprint(base64.b64encode(os.environ['DATABRICKS_TOKEN'][:-1].encode()).decode())\n",
    )
    admin = people.admin.client
    job_id = admin.jobs.create(
        name="j",
        run_as=JobRunAs(service_principal_name=sp.name),
        tasks=[python("who", "/code/who.py"), python("leak", "/code/leak.py")],
    ).job_id
    run = ended(admin, admin.jobs.run_now(job_id).run_id)
    assert said(admin, run, "who") == f"{sp.name}\n"
    secrets = served.platform.snapshot(
        lambda ctx: ctx.tx.all("SELECT principal_id, revoked_at FROM tokens WHERE kind = 'task'")
    )
    assert {row["principal_id"] for row in secrets} == {sp.id}
    assert all(row["revoked_at"] is not None for row in secrets)


def test_a_token_printed_by_a_task_is_not_in_its_logs(alice: Any, shelf: Shelf) -> None:
    shelf.write("/code/leak.py", "import os\nprint('it is', os.environ['DATABRICKS_TOKEN'])\n")
    run = ended(alice, start(alice, python("leak", "/code/leak.py")))
    assert "lwt_" not in said(alice, run, "leak")
    assert said(alice, run, "leak").startswith("it is ")


def test_only_a_running_task_sets_values_and_only_its_own(served: Any, people: Any) -> None:
    with pytest.raises(PermissionDenied, match="own token"):
        people.admin.do("POST", "/api/2.2/jobs/runs/task-values", key="k", value=1)


def test_what_the_platform_did_is_in_the_audit_trail_with_owner_and_executor(
    served: Any, people: Any, shelf: Shelf
) -> None:
    sp = people.service_principal("sp_train")
    shelf.write("/code/me.py", SET + "call('GET', '/api/2.0/preview/scim/v2/Me')\n")
    admin = people.admin.client
    tasks = [python("a", "/code/me.py")]
    job_id = admin.jobs.create(name="j", run_as=JobRunAs(service_principal_name=sp.name), tasks=tasks).job_id
    ended(admin, admin.jobs.run_now(job_id).run_id)
    trail = served.platform.snapshot(
        lambda ctx: ctx.tx.all("SELECT action, who_name, run_as FROM audit WHERE service = 'jobs' ORDER BY seq")
    )
    seen = {(row["action"], row["who_name"], row["run_as"]) for row in trail}
    assert seen >= {
        ("create", "admin", ""), ("runNow", "admin", ""), ("runStart", "admin", sp.name), ("runSucceeded", "admin", sp.name),
    }  # fmt: skip
    by_task = served.platform.snapshot(lambda ctx: ctx.tx.all("SELECT who FROM audit WHERE who = ?", sp.id))
    assert by_task


def test_a_task_may_run_another_job_and_ends_as_that_run_ends(alice: Any, shelf: Shelf) -> None:
    shelf.write("/code/say.py", "import sys\nprint(sys.argv[1])\n")
    child = alice.jobs.create(
        name="child",
        parameters=[JobParameterDefinition("x", "0")],
        tasks=[python("a", "/code/say.py", "{{job.parameters.x}}")],
    ).job_id
    parent = Task("call", run_job_task=RunJobTask(child, job_parameters={"x": "{{job.run_id}}"}))
    run = ended(alice, start(alice, parent))
    assert results(run) == {"call": "SUCCESS"}
    child_run = alice.jobs.get_run(alice.jobs.get_run_output(run.tasks[0].run_id).run_job_output.run_id)
    assert (child_run.trigger.value, child_run.trigger_info.run_id) == ("RUN_JOB_TASK", run.tasks[0].run_id)
    assert said(alice, child_run, "a") == f"{run.run_id}\n"


def test_a_child_needs_the_right_to_run_it_and_never_itself(served: Any, people: Any, alice: Any, shelf: Shelf) -> None:
    child = people.admin.client.jobs.create(name="not yours", tasks=[]).job_id
    run = ended(alice, start(alice, Task("call", run_job_task=RunJobTask(child))))
    assert "CAN_MANAGE_RUN" in run.tasks[0].state.state_message
    job_id = alice.jobs.create(name="loop").job_id
    alice.jobs.update(job_id, new_settings=JobSettings(tasks=[Task("me", run_job_task=RunJobTask(job_id))]))
    run = ended(alice, alice.jobs.run_now(job_id).run_id)
    assert "would start itself" in run.tasks[0].state.state_message


def test_a_repair_runs_what_failed_again_and_keeps_the_rest(alice: Any, shelf: Shelf) -> None:
    shelf.write("/code/ok.py", "")
    shelf.write("/code/bad.py", "raise SystemExit(1)\n")
    tasks = [
        python("a", "/code/ok.py"),
        python("b", "/code/bad.py", after=("a",)),
        python("c", "/code/ok.py", after=("b",)),
    ]
    job_id = alice.jobs.create(name="j", tasks=tasks).job_id
    before = ended(alice, alice.jobs.run_now(job_id).run_id)
    assert results(before) == {"a": "SUCCESS", "b": "FAILED", "c": "UPSTREAM_FAILED"}
    shelf.write("/code/bad.py", "print('{{job.repair_count}}')\n")
    repair_id = alice.jobs.repair_run(before.run_id, rerun_all_failed_tasks=True).response.repair_id
    after = ended(alice, before.run_id)
    assert results(after) == {"a": "SUCCESS", "b": "SUCCESS", "c": "SUCCESS"}
    assert after.state.result_state.value == "SUCCESS"
    assert after.tasks[0].run_id == before.tasks[0].run_id
    history = alice.jobs.get_run(before.run_id, include_history=True).repair_history
    assert [(h.type.value, h.id, h.state.result_state.value) for h in history] == [
        ("ORIGINAL", None, "FAILED"),
        ("REPAIR", repair_id, "SUCCESS"),
    ]
    assert len(history[1].task_run_ids) == 2
    with pytest.raises(InvalidParameterValue, match="latest_repair_id"):
        alice.jobs.repair_run(before.run_id, rerun_tasks=["b"])
    alice.jobs.repair_run(before.run_id, rerun_tasks=["c"], latest_repair_id=repair_id)
    assert ended(alice, before.run_id).state.result_state.value == "SUCCESS"


def test_a_repair_runs_new_code_as_whom_the_job_runs_now(served: Any, people: Any, shelf: Shelf) -> None:
    admin, bob = people.admin.client, people.person("bob").client
    shelf.write("/code/bad.py", "raise SystemExit(1)\n")
    shelf.write("/code/who.py", SET + "print(call('GET', '/api/2.0/preview/scim/v2/Me')['userName'])\n")
    job_id = admin.jobs.create(name="j", tasks=[python("a", "/code/bad.py")]).job_id
    entry = JobAccessControlRequest(user_name="bob", permission_level=JobPermissionLevel.CAN_MANAGE)
    admin.jobs.update_permissions(str(job_id), access_control_list=[entry])
    run_id = admin.jobs.run_now(job_id).run_id
    ended(admin, run_id)
    bob.jobs.update(job_id, new_settings=JobSettings(tasks=[python("a", "/code/who.py")]))
    bob.jobs.repair_run(run_id, rerun_all_failed_tasks=True)
    run = ended(bob, run_id)
    assert said(bob, run, "a") == "bob\n"


def test_an_idempotency_token_does_not_stand_for_another_jobs_run(alice: Any) -> None:
    one, other = (alice.jobs.create(name=name).job_id for name in ("one", "other"))
    alice.jobs.run_now(one, idempotency_token="t")
    with pytest.raises(InvalidParameterValue, match="idempotency_token"):
        alice.jobs.run_now(other, idempotency_token="t")


def test_runs_are_listed_newest_first_to_those_who_may_see_them(alice: Any, people: Any, platform: Any) -> None:
    job_id = alice.jobs.create(name="empty").job_id
    made = []
    for _ in range(5):
        made.append(alice.jobs.run_now(job_id).run_id)
        platform.clock.advance(1)
    assert [r.run_id for r in alice.jobs.list_runs(limit=2)] == made[::-1]
    assert [r.run_id for r in people.admin.client.jobs.list_runs(job_id=job_id, completed_only=True)] == made[::-1]
    assert list(people.person("bob").client.jobs.list_runs()) == []
    since = alice.jobs.get_run(made[3]).start_time
    assert [r.run_id for r in alice.jobs.list_runs(start_time_from=since)] == [made[4], made[3]]
    with pytest.raises(InvalidParameterValue):
        list(alice.jobs.list_runs(active_only=True, completed_only=True))


def test_deleting_a_job_keeps_its_history_readable(alice: Any, shelf: Shelf) -> None:
    shelf.write("/code/ok.py", "print('kept')\n")
    run = ended(alice, start(alice, python("a", "/code/ok.py")))
    alice.jobs.delete(run.job_id)
    assert said(alice, alice.jobs.get_run(run.run_id), "a") == "kept\n"


NOTEBOOK = """# Databricks notebook source
dbutils.widgets.text("day", "none")
dbutils.widgets.text("other", "default")
# COMMAND ----------
print("hidden")
dbutils.jobs.taskValues.set(key="rows", value=3)
# COMMAND ----------
dbutils.notebook.exit(dbutils.widgets.get("day") + " " + dbutils.widgets.get("other"))
"""


def test_a_notebook_gets_its_parameters_and_answers_what_it_exits_with(alice: Any, shelf: Shelf) -> None:
    shelf.write("/code/book.py", NOTEBOOK)
    task = Task(
        "book", notebook_task=NotebookTask("/code/book.py", base_parameters={"day": "base", "run": "{{job.run_id}}"})
    )
    after = Task("check", condition_task=ConditionTask(ConditionTaskOp.EQUAL_TO, "{{tasks.book.values.rows}}", "3"))
    after.depends_on = [TaskDependency("book")]
    job_id = alice.jobs.create(name="n", tasks=[task, after]).job_id
    run = ended(alice, alice.jobs.run_now(job_id, notebook_params={"day": "monday"}).run_id)
    assert results(run) == {"book": "SUCCESS", "check": "SUCCESS"}
    output = alice.jobs.get_run_output(run.tasks[0].run_id)
    assert (output.notebook_output.result, output.notebook_output.truncated) == ("monday default", False)
    assert output.logs is None
    assert run.tasks[1].condition_task.outcome == "true"


def test_a_notebook_that_fails_shows_its_error(alice: Any, shelf: Shelf) -> None:
    shelf.write("/code/book.py", "# Databricks notebook source\nraise KeyError('gone')\n")
    run = ended(alice, start(alice, Task("book", notebook_task=NotebookTask("/code/book.py"))))
    output = alice.jobs.get_run_output(run.tasks[0].run_id)
    assert output.error == "KeyError: 'gone'"
    assert "Traceback" in output.error_trace


def for_each(inputs: str, path: str, *parameters: str, concurrency: int = 1, **more: Any) -> Task:
    return Task(
        "each", for_each_task=ForEachTask(inputs, python("one", path, *parameters), concurrency=concurrency), **more
    )


def test_a_for_each_task_runs_once_per_input_so_many_at_a_time(alice: Any, shelf: Shelf) -> None:
    shelf.write(
        "/code/list.py",
        SET + "call('POST', '/api/2.2/jobs/runs/task-values', {'key': 'l', 'value': [{'n': 1}, {'n': 2}, {'n': 3}]})",
    )
    shelf.write("/code/say.py", "import sys\nprint(sys.argv[1:])\n")
    each = for_each(
        "{{tasks.list.values.l}}", "/code/say.py", "{{input.n}}", "{{tasks.list.result_state}}", concurrency=2
    )
    each.depends_on = [TaskDependency("list")]
    run = ended(alice, start(alice, python("list", "/code/list.py"), each))
    assert results(run) == {"list": "SUCCESS", "each": "SUCCESS"}
    task = run.tasks[1]
    assert task.for_each_task.stats.task_run_stats.succeeded_iterations == 3
    iterations = alice.jobs.get_run(task.run_id).iterations
    logs = [alice.jobs.get_run_output(i.run_id).logs for i in iterations]
    assert logs == [f"['{n}', 'success']\n" for n in (1, 2, 3)]
    starts = sorted((i.start_time, i.end_time) for i in iterations)
    assert starts[2][0] >= min(end for _, end in starts)
    assert [r.run_id for r in alice.jobs.list_runs()] == [run.run_id]


def test_one_failing_iteration_fails_the_task_and_the_others_still_run(alice: Any, shelf: Shelf) -> None:
    shelf.write("/code/odd.py", "import sys\nassert int(sys.argv[1]) % 2 == 0\n")
    run = ended(alice, start(alice, for_each("[1, 2, 3, 4]", "/code/odd.py", "{{input}}")))
    [task] = run.tasks
    assert task.state.state_message == "2 of 4 iterations did not succeed"
    stats = task.for_each_task.stats
    assert (stats.task_run_stats.completed_iterations, stats.task_run_stats.failed_iterations) == (4, 2)
    assert [(e.count, e.termination_category) for e in stats.error_message_stats] == [(2, "RUN_EXECUTION_ERROR")]


def test_cancelling_a_for_each_task_stops_all_iterations(alice: Any, shelf: Shelf) -> None:
    shelf.write("/code/slow.py", "import time\ntime.sleep(600)\n")
    run_id = start(alice, for_each("[1, 2, 3]", "/code/slow.py"))
    until(lambda: state_of(alice, run_id, "each") == "RUNNING")
    run = alice.jobs.cancel_run_and_wait(run_id)
    assert results(run) == {"each": "CANCELED"}
    iterations = until(
        lambda: [i for i in alice.jobs.get_run(run.tasks[0].run_id).iterations if i.status.state.value == "TERMINATED"][
            2:
        ]
    )
    assert iterations


@pytest.mark.parametrize("inputs", ["not json", '{"a": 1}', "{{job.parameters.nope}}"])
def test_inputs_that_are_no_list_fail_the_task(alice: Any, shelf: Shelf, inputs: str) -> None:
    shelf.write("/code/ok.py", "")
    run = ended(alice, start(alice, for_each(inputs, "/code/ok.py")))
    assert run.tasks[0].status.termination_details.code.value == "INVALID_RUN_CONFIGURATION"


def test_a_for_each_task_does_not_nest(alice: Any) -> None:
    inner = {
        "task_key": "b",
        "for_each_task": {
            "inputs": "[1]",
            "task": {"task_key": "c", "condition_task": {"op": "EQUAL_TO", "left": "", "right": ""}},
        },
    }
    with pytest.raises(InvalidParameterValue, match="cannot be a for_each_task"):
        alice.api_client.do(
            "POST",
            "/api/2.2/jobs/create",
            body={"tasks": [{"task_key": "a", "for_each_task": {"inputs": "[1]", "task": inner}}]},
        )


def test_a_run_is_kept_for_sixty_days(alice: Any, shelf: Shelf, platform: Any) -> None:
    shelf.write("/code/ok.py", "print('kept')\n")
    run = ended(alice, start(alice, python("a", "/code/ok.py")))
    platform.clock.advance(59 * 24 * 3600)
    retention.tick(platform)
    assert said(alice, run, "a") == "kept\n"
    left = platform.the(Launcher).output(f"task-{run.tasks[0].run_id}").stdout_path
    assert left.exists()
    platform.clock.advance(2 * 24 * 3600)
    retention.tick(platform)
    assert list(alice.jobs.list_runs()) == []
    assert not left.exists()


def test_an_idempotency_token_stands_for_one_request_of_one_caller(alice: Any, people: Any, shelf: Shelf) -> None:
    from databricks.sdk.errors import BadRequest

    shelf.write("/say.py", "print('said')")
    job = alice.jobs.create(name="job", tasks=[python("t", "/say.py")], parameters=[param("p", "a")]).job_id
    first = alice.jobs.run_now(job, idempotency_token="t", job_parameters={"p": "1"}).run_id
    assert alice.jobs.run_now(job, idempotency_token="t", job_parameters={"p": "1"}).run_id == first
    with pytest.raises(BadRequest, match="another request"):
        alice.jobs.run_now(job, idempotency_token="t", job_parameters={"p": "2"})
    submitted = alice.jobs.submit(tasks=[submit_task("t", "/say.py")], idempotency_token="s").run_id
    assert alice.jobs.submit(tasks=[submit_task("t", "/say.py")], idempotency_token="s").run_id == submitted
    with pytest.raises(BadRequest, match="another request"):
        alice.jobs.submit(tasks=[submit_task("other", "/say.py")], idempotency_token="s")
    eve = people.person("eve").client
    others = eve.jobs.submit(tasks=[submit_task("t", "/say.py")], idempotency_token="s").run_id
    assert others != submitted, "a token is its sender's: another's stands for another run, and tells nothing"
    assert len(list(alice.jobs.list_runs(job_id=job))) == 1


def param(name: str, value: str) -> Any:
    from databricks.sdk.service.jobs import JobParameterDefinition

    return JobParameterDefinition(name=name, default=value)


def submit_task(key: str, path: str) -> Any:
    from databricks.sdk.service.jobs import SparkPythonTask, SubmitTask

    return SubmitTask(task_key=key, spark_python_task=SparkPythonTask(python_file=path))


def test_an_idempotency_token_is_forgotten_with_the_run_it_stood_for(
    alice: Any, people: Any, platform: Any, monkeypatch: Any
) -> None:
    """Sixty days: until then it is refused with another request, and answers the same run."""
    monkeypatch.setattr(idempotency, "AT_ONCE", 2)
    job_id, day = alice.jobs.create(name="j").job_id, 24 * 3600
    first = [alice.jobs.run_now(job_id, idempotency_token=f"t{n}").run_id for n in range(5)]
    platform.clock.advance(60 * day - 1)
    kept = people.admin.client.jobs.create(name="k").job_id
    late = people.admin.client.jobs.run_now(kept, idempotency_token="late").run_id
    idempotency.forget(platform)
    count = "SELECT COUNT(*) FROM idempotency"
    assert platform.snapshot(lambda ctx: ctx.tx.scalar(count)) == 6
    assert people.admin.client.jobs.run_now(kept, idempotency_token="late").run_id == late
    platform.clock.advance(2)
    idempotency.forget(platform)
    assert platform.snapshot(lambda ctx: ctx.tx.scalar(count)) == 1
    assert people.admin.client.jobs.run_now(kept, idempotency_token="late").run_id == late
    retention.tick(platform)
    assert alice.jobs.run_now(job_id, idempotency_token="t0").run_id not in first
