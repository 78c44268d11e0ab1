"""Parameters of jobs and tasks: who wins when several are given, and what `{{references}}` in them stand for.

References are substituted, never evaluated: `{{job.parameters.day}}` becomes text. What does not look like a
reference, or names no namespace we know, stays as it is written; an unknown key of a known namespace is a mistake.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lakewright.kernel.faults import Invalid

NAME = re.compile(r"[A-Za-z0-9_.\-]+")
MAX_BYTES = 10_000
"""Of the JSON of each parameter field of run-now."""

_REFERENCE = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")
_STEP = re.compile(r"`([^`]+)`|([A-Za-z0-9_]+)")


def names_in(text: str) -> list[tuple[str, ...]]:
    """The references in a text, as paths."""
    return [path for match in _REFERENCE.finditer(text) if (path := _path(match[1]))]


def _path(text: str) -> tuple[str, ...] | None:
    """`tasks.`a b`.values.k` as its steps; None when it is not written like a reference."""
    steps: list[str] = []
    at = 0
    while match := _STEP.match(text, at):
        steps.append(match[1] or match[2])
        at = match.end()
        if at == len(text):
            return tuple(steps)
        if text[at] != ".":
            return None
        at += 1
    return None


@dataclass(frozen=True)
class TaskFacts:
    """What other tasks may refer to of a task that has ended."""

    run_id: int
    result: str | None = None
    execution_count: int = 0
    error_code: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Scope:
    """Everything a reference can name while one task's parameters are resolved."""

    job_id: int
    job_name: str
    run_id: int
    start_time: int
    trigger: str = "ONE_TIME"
    trigger_time: int | None = None
    repair_count: int = 0
    workspace_id: str = ""
    workspace_url: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    task: TaskFacts | None = None
    task_name: str = ""
    tasks: Mapping[str, TaskFacts] = field(default_factory=dict[str, TaskFacts])
    input: Any = None


def resolve(text: str, scope: Scope) -> str:
    """The text with its references replaced. Raises Invalid for a key its namespace does not have."""

    def value(match: re.Match[str]) -> str:
        path = _path(match[1])
        if path is None:
            return match[0]
        found = lookup(path, scope)
        return match[0] if found is None else found

    return _REFERENCE.sub(value, text)


def resolve_all(value: Any, scope: Scope) -> Any:
    """The same through lists and mappings."""
    if isinstance(value, str):
        return resolve(value, scope)
    if isinstance(value, list):
        return [resolve_all(item, scope) for item in value]  # pyright: ignore[reportUnknownVariableType] JSON
    if isinstance(value, dict):
        return {k: resolve_all(v, scope) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType] JSON
    return value


def lookup(path: tuple[str, ...], scope: Scope) -> str | None:
    """What a path stands for; None when its first step is no namespace of ours."""
    if len(path) == 1 and path[0] in _LEGACY:
        return _LEGACY[path[0]](scope)
    namespace = _NAMESPACES.get(path[0])
    if namespace is None:
        return None
    found = namespace(path[1:], scope)
    if found is None:
        raise Invalid(f"'{{{{{'.'.join(path)}}}}}' does not exist")
    return found


def text_of(value: Any) -> str:
    """A value as parameters carry it: strings as they are, true and false in lower case, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _job(path: tuple[str, ...], scope: Scope) -> str | None:
    match path:
        case ("id",):
            return str(scope.job_id)
        case ("name",):
            return scope.job_name
        case ("run_id",):
            return str(scope.run_id)
        case ("repair_count",):
            return str(scope.repair_count)
        case ("parameters", *name):
            return scope.parameters.get(".".join(name))
        case ("start_time", part):
            return moment(part, scope.start_time)
        case ("trigger", "type"):
            return scope.trigger.lower()
        case ("trigger", "time", part):
            return moment(part, scope.start_time if scope.trigger_time is None else scope.trigger_time)
        case _:
            return None


def _task(path: tuple[str, ...], scope: Scope) -> str | None:
    match path:
        case ("name",):
            return scope.task_name
        case ("run_id",) if scope.task:
            return str(scope.task.run_id)
        case ("execution_count",) if scope.task:
            return str(scope.task.execution_count)
        case _:
            return None


def _tasks(path: tuple[str, ...], scope: Scope) -> str | None:
    if not path or (facts := scope.tasks.get(path[0])) is None:
        return None
    match path[1:]:
        case ("values", *name) if name and (key := ".".join(name)) in facts.values:
            return text_of(facts.values[key])
        case ("result_state",) if facts.result:
            return facts.result.lower()
        case ("run_id",):
            return str(facts.run_id)
        case ("execution_count",):
            return str(facts.execution_count)
        case ("error_code",):
            return facts.error_code or ""
        case _:
            return None


def _input(path: tuple[str, ...], scope: Scope) -> str | None:
    value = scope.input
    for step in path:
        if not isinstance(value, dict) or step not in value:
            return None
        value = value[step]  # pyright: ignore[reportUnknownVariableType] JSON
    return None if value is None else text_of(value)


def _workspace(path: tuple[str, ...], scope: Scope) -> str | None:
    match path:
        case ("id",):
            return scope.workspace_id
        case ("url",):
            return scope.workspace_url
        case _:
            return None


_NAMESPACES: dict[str, Callable[[tuple[str, ...], Scope], str | None]] = {
    "job": _job,
    "task": _task,
    "tasks": _tasks,
    "input": _input,
    "workspace": _workspace,
}

_LEGACY: dict[str, Callable[[Scope], str]] = {
    "job_id": lambda s: str(s.job_id),
    "run_id": lambda s: str(s.task.run_id if s.task else s.run_id),
    "parent_run_id": lambda s: str(s.run_id),
    "start_date": lambda s: moment("iso_date", s.start_time) or "",
    "start_time": lambda s: str(s.start_time),
    "task_key": lambda s: s.task_name,
    "task_retry_count": lambda s: str(max(0, (s.task.execution_count if s.task else 1) - 1)),
}


def moment(part: str, ms: int) -> str | None:
    """One way of writing a time, in UTC."""
    at = datetime.fromtimestamp(ms / 1000, UTC)
    return {
        "iso_date": at.strftime("%Y-%m-%d"),
        "iso_datetime": at.strftime("%Y-%m-%dT%H:%M:%S"),
        "iso_weekday": str(at.isoweekday()),
        "is_weekday": text_of(at.isoweekday() <= 5),
        "year": str(at.year),
        "month": str(at.month),
        "day": str(at.day),
        "hour": str(at.hour),
        "minute": str(at.minute),
        "second": str(at.second),
        "timestamp_ms": str(ms),
    }.get(part)


# --- who wins ---


def job_parameters(defined: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """A run's job parameters: the default of each, unless the run was given another value."""
    for name in given:
        if name not in defined:
            raise Invalid(f"job_parameters: the job defines no parameter '{name}'")
    return {**defined, **given}


def named(task: Mapping[str, str], run: Mapping[str, str] | None, job: Mapping[str, str]) -> dict[str, str]:
    """Key-value parameters of a task: its own, over them those of run-now, over all the job's."""
    return {**task, **(run or {}), **job}


def check_names(names: list[str]) -> None:
    for name in names:
        if not NAME.fullmatch(name):
            raise Invalid(f"parameter '{name}': a name is made of letters, digits, '_', '-' and '.'")
        if names.count(name) > 1:
            raise Invalid(f"parameter '{name}' is defined more than once")


def check_size(field_name: str, value: Any) -> None:
    if len(json.dumps({field_name: value}, separators=(",", ":")).encode()) > MAX_BYTES:
        raise Invalid(f"{field_name}: its JSON is longer than {MAX_BYTES} bytes")
