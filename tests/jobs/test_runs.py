"""Jobs run: through the unmodified SDK, in real processes."""

from typing import Any

from databricks.sdk.service.jobs import SparkPythonTask, Task, TaskDependency

from .conftest import Shelf, ended, results


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
        python("cleanup", "/code/ok.py", after=("bad",), run_if="ALL_DONE"),
    ]
    for task in tasks:
        if isinstance(task.run_if, str):
            from databricks.sdk.service.jobs import RunIf

            task.run_if = RunIf(task.run_if)
    run = ended(alice, alice.jobs.run_now(alice.jobs.create(name="j", tasks=tasks).job_id).run_id)
    assert results(run) == {"bad": "FAILED", "after": "UPSTREAM_FAILED", "cleanup": "SUCCESS"}
    assert run.state.life_cycle_state.value == "INTERNAL_ERROR"
    assert run.state.state_message == "Task bad failed with message: Workload failed, see run output for details."
    output = alice.jobs.get_run_output(next(t.run_id for t in run.tasks if t.task_key == "bad"))
    assert output.error == "ValueError: no such day"
    assert output.error_trace.startswith("Traceback") and "line 2, in f" in output.error_trace
    assert output.logs.startswith("before\n")
