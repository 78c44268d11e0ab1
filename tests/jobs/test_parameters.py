"""What references stand for, and which parameter wins."""

import pytest

from lakewright.jobs import parameters
from lakewright.jobs.parameters import Scope, TaskFacts
from lakewright.kernel.faults import Invalid

SCOPE = Scope(
    job_id=7,
    job_name="nightly",
    run_id=99,
    start_time=1_795_180_205_123,  # 2026-11-20 13:10:05 UTC, a Friday
    trigger="PERIODIC",
    trigger_time=1_795_176_000_000,
    repair_count=1,
    workspace_id="12",
    workspace_url="http://main.localhost",
    parameters={"day": "2013-01-01", "db.name": "main"},
    task=TaskFacts(run_id=101, execution_count=3),
    task_name="train",
    tasks={
        "prep": TaskFacts(
            100, "SUCCESS", 1, None, {"rows": 12, "ok": True, "who": "bob", "list": [1, "a"], "a.b": "c"}
        ),
        "my prep": TaskFacts(98, "FAILED", 2, "RUN_EXECUTION_ERROR", {}),
    },
    input={"region": "eu", "n": 3},
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("{{job.id}}", "7"),
        ("{{ job.id }}/{{job.run_id}}", "7/99"),
        ("{{job.name}}", "nightly"),
        ("{{job.repair_count}}", "1"),
        ("{{job.parameters.day}}", "2013-01-01"),
        ("{{job.parameters.db.name}}", "main"),
        ("{{job.start_time.iso_date}}", "2026-11-20"),
        ("{{job.start_time.iso_datetime}}", "2026-11-20T13:10:05"),
        ("{{job.start_time.iso_weekday}}", "5"),
        ("{{job.start_time.hour}}", "13"),
        ("{{job.start_time.timestamp_ms}}", "1795180205123"),
        ("{{job.trigger.type}}", "periodic"),
        ("{{job.trigger.time.minute}}", "0"),
        ("{{task.name}}", "train"),
        ("{{task.run_id}}", "101"),
        ("{{task.execution_count}}", "3"),
        ("{{tasks.prep.values.who}}", "bob"),
        ("{{tasks.prep.values.rows}}", "12"),
        ("{{tasks.prep.values.ok}}", "true"),
        ("{{tasks.prep.values.list}}", '[1, "a"]'),
        ("{{tasks.prep.values.`a.b`}}", "c"),
        ("{{tasks.prep.result_state}}", "success"),
        ("{{tasks.`my prep`.error_code}}", "RUN_EXECUTION_ERROR"),
        ("{{input}}", '{"region": "eu", "n": 3}'),
        ("{{input.region}}-{{input.n}}", "eu-3"),
        ("{{workspace.url}}", "http://main.localhost"),
        ("{{job_id}} {{run_id}} {{parent_run_id}} {{task_key}} {{task_retry_count}}", "7 101 99 train 2"),
        # not references of ours: they stay as written
        ("{{1 + 1}}", "{{1 + 1}}"),
        ("{{job.id | upper}}", "{{job.id | upper}}"),
        ("{{something.else}}", "{{something.else}}"),
        ("{{job.}}", "{{job.}}"),
        ("{{}}", "{{}}"),
        ("{job.id}", "{job.id}"),
        ("{{{job.id}}}", "{7}"),
    ],
)
def test_a_reference_is_replaced_by_what_it_names(text: str, value: str) -> None:
    assert parameters.resolve(text, SCOPE) == value


@pytest.mark.parametrize(
    "text",
    [
        "{{job.notebook_url}}",
        "{{job.parameters.nope}}",
        "{{job.start_time.century}}",
        "{{tasks.nope.values.x}}",
        "{{tasks.prep.values.nope}}",
        "{{tasks.prep.values}}",
        "{{task.nope}}",
        "{{input.nope}}",
        "{{workspace.nope}}",
    ],
)
def test_an_unknown_key_of_a_known_namespace_is_a_mistake(text: str) -> None:
    with pytest.raises(Invalid, match="does not exist"):
        parameters.resolve(text, SCOPE)


def test_references_are_found_in_lists_and_mappings() -> None:
    assert parameters.resolve_all({"a": ["{{job.id}}", 1, None], "b": {"c": "{{task.name}}"}}, SCOPE) == {
        "a": ["7", 1, None],
        "b": {"c": "train"},
    }


def test_a_substituted_value_is_not_read_again_for_references() -> None:
    scope = Scope(1, "n", 2, 0, parameters={"a": "{{job.id}}"})
    assert parameters.resolve("{{job.parameters.a}}", scope) == "{{job.id}}"


def test_a_run_overrides_the_defaults_of_a_job() -> None:
    assert parameters.job_parameters({"a": "1", "b": "2"}, {"b": "3"}) == {"a": "1", "b": "3"}


def test_a_run_cannot_invent_a_job_parameter() -> None:
    with pytest.raises(Invalid, match="no parameter 'c'"):
        parameters.job_parameters({"a": "1"}, {"c": "3"})


def test_the_job_beats_run_now_beats_the_task_on_one_key() -> None:
    assert parameters.named({"x": "task", "y": "task", "z": "task"}, {"x": "run", "y": "run"}, {"x": "job"}) == {
        "x": "job",
        "y": "run",
        "z": "task",
    }


@pytest.mark.parametrize("names", [["a b"], ["a", "a"], [""], ["é"]])
def test_a_bad_parameter_name_is_refused(names: list[str]) -> None:
    with pytest.raises(Invalid):
        parameters.check_names(names)


def test_parameters_of_more_than_ten_thousand_bytes_are_refused() -> None:
    parameters.check_size("python_params", ["x" * 9_000])
    with pytest.raises(Invalid, match="python_params"):
        parameters.check_size("python_params", ["x" * 10_000])
