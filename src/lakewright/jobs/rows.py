"""The rows of runs and of attempts at tasks, and the one way to change their state.

`run_id` numbers runs and attempts alike: a client may ask for either by it.
"""

import json
import secrets
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, TypeVar

from lakewright.jobs import states
from lakewright.jobs.definition import Settings
from lakewright.jobs.states import Rule, Standing
from lakewright.kernel.context import Ctx
from lakewright.kernel.store import Row, Tx

R = TypeVar("R", "Run", "TaskRun")


@dataclass(frozen=True)
class Run:
    run_id: int
    workspace: str
    job_id: str
    run_type: str
    name: str
    settings: str
    parameters: str
    overrides: str
    chosen: str
    cause: str
    due_at: int | None
    parent_run_id: int | None
    creator: str
    run_as: str
    idempotency: str | None
    state: str
    result: str | None
    code: str | None
    message: str
    created_at: int
    started_at: int | None
    ended_at: int | None
    deadline: int | None
    stopped_for: str | None
    repairs: str
    deleted_at: int | None

    @property
    def definition(self) -> Settings:
        """The job as it was when the run was made."""
        return _settings(self.settings)

    @property
    def standing(self) -> Standing:
        return Standing(self.state, self.result, self.message, self.code, is_run=True)


@dataclass(frozen=True)
class TaskRun:
    run_id: int
    job_run_id: int
    task_key: str
    attempt: int
    retries: int
    """Attempts before this one that counted against max_retries."""
    losses: int
    """Attempts before this one that vanished with the machine they ran on."""
    original_run_id: int
    repair: int | None
    state: str
    result: str | None
    code: str | None
    message: str
    created_at: int
    due_at: int | None
    claimed_at: int | None
    started_at: int | None
    ended_at: int | None
    deadline: int | None
    stopped_for: str | None
    node: str | None
    token_id: str | None
    child_run_id: int | None
    resolved: str
    outcome: str | None
    output: str

    @property
    def standing(self) -> Standing:
        waits = self.message.startswith(states.AWAITS_APPROVAL)
        return Standing(self.state, self.result, self.message, self.code, awaits_approval=waits)

    @property
    def attempt_id(self) -> str:
        """What the launcher knows it by."""
        return f"{_ATTEMPT}{self.run_id}"


ITERATIONS = "FOR_EACH"
"""Type of the run inside a run that holds the iterations of a for_each task; not listed, not counted."""
_ATTEMPT = "task-"


def run_id_of(attempt: str) -> int:
    """The run id in a launcher's name for an attempt; 0 when it is nobody's."""
    number = attempt.removeprefix(_ATTEMPT)
    return int(number) if attempt.startswith(_ATTEMPT) and number.isdigit() else 0


RUN_COLUMNS = tuple(f.name for f in fields(Run))
TASK_COLUMNS = tuple(f.name for f in fields(TaskRun))
_RUN = f"SELECT {', '.join(RUN_COLUMNS)} FROM job_run"
_TASK = f"SELECT {', '.join(TASK_COLUMNS)} FROM task_run"


@lru_cache(maxsize=256)
def _settings(text: str) -> Settings:
    return Settings.model_validate_json(text)


def run_of(row: Row) -> Run:
    return Run(*(row[name] for name in RUN_COLUMNS))


def task_of(row: Row) -> TaskRun:
    return TaskRun(*(row[name] for name in TASK_COLUMNS))


def new_run_id() -> int:
    """Random, so that it tells nothing; 15 digits, so that JavaScript keeps it exact."""
    return secrets.randbelow(9 * 10**14) + 10**14


def run(tx: Tx, run_id: int) -> Run | None:
    row = tx.one(f"{_RUN} WHERE run_id = ? AND deleted_at IS NULL", run_id)
    return run_of(row) if row else None


def workspace(tx: Tx, run_id: int) -> str:
    """The workspace a run belongs to; empty when there is no such run."""
    return str(tx.scalar("SELECT workspace FROM job_run WHERE run_id = ?", run_id) or "")


def task(tx: Tx, run_id: int) -> TaskRun | None:
    row = tx.one(f"{_TASK} WHERE run_id = ?", run_id)
    return task_of(row) if row else None


def runs(tx: Tx, where: str, *params: Any) -> list[Run]:
    return [run_of(row) for row in tx.all(f"{_RUN} WHERE {where}", *params)]


def tasks(tx: Tx, where: str, *params: Any) -> list[TaskRun]:
    return [task_of(row) for row in tx.all(f"{_TASK} WHERE {where}", *params)]


def attempts(tx: Tx, job_run_id: int) -> list[TaskRun]:
    """All attempts of a run, oldest first."""
    return tasks(tx, "job_run_id = ? ORDER BY created_at, attempt, run_id", job_run_id)


def latest(tx: Tx, job_run_id: int) -> dict[str, TaskRun]:
    """The attempt of each task that counts now."""
    newest: dict[str, TaskRun] = {}
    for each in attempts(tx, job_run_id):
        if each.task_key not in newest or newest[each.task_key].attempt < each.attempt:
            newest[each.task_key] = each
    return newest


def lock(ctx: Ctx, job_run_id: int) -> Run | None:
    """The run, held until the end of the transaction: what follows from a task's end is worked out by one node."""
    ctx.tx.run("UPDATE job_run SET deleted_at = deleted_at WHERE run_id = ?", job_run_id)
    return run(ctx.tx, job_run_id)


def move_run(ctx: Ctx, it: Run, rule: str, **changes: Any) -> Run | None:
    """Make a transition; None when the run is no longer where the rule leaves from."""
    if not _move(ctx, "job_run", it.run_id, states.RUN[rule], changes):
        return None
    ctx.emit("job_run", str(it.run_id), {"job_id": it.job_id, "state": states.RUN[rule].enters})
    return run(ctx.tx, it.run_id)


def move_task(ctx: Ctx, it: TaskRun, rule: str, **changes: Any) -> TaskRun | None:
    """Make a transition; None when the attempt is no longer where the rule leaves from."""
    if not _move(ctx, "task_run", it.run_id, states.TASK[rule], changes):
        return None
    ctx.emit("task_run", str(it.run_id), {"job_run_id": it.job_run_id, "state": states.TASK[rule].enters})
    return task(ctx.tx, it.run_id)


def _move(ctx: Ctx, table: str, run_id: int, rule: Rule, changes: dict[str, Any]) -> bool:
    sets = ", ".join(["state = ?", *(f"{name} = ?" for name in changes)])
    leaves = ", ".join("?" * len(rule.leaves))
    moved = ctx.tx.run(
        f"UPDATE {table} SET {sets} WHERE run_id = ? AND state IN ({leaves})",
        rule.enters, *changes.values(), run_id, *sorted(rule.leaves),
    )  # fmt: skip
    return moved > 0


def insert(ctx: Ctx, it: Run | TaskRun) -> None:
    table, columns = ("job_run", RUN_COLUMNS) if isinstance(it, Run) else ("task_run", TASK_COLUMNS)
    ctx.tx.run(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
        *(getattr(it, name) for name in columns),
    )


def values(tx: Tx, job_run_id: int) -> dict[str, dict[str, Any]]:
    """What each task of a run has left for others."""
    found: dict[str, dict[str, Any]] = {}
    for row in tx.all("SELECT task_key, name, value FROM task_value WHERE job_run_id = ?", job_run_id):
        found.setdefault(str(row["task_key"]), {})[str(row["name"])] = json.loads(row["value"])
    return found
