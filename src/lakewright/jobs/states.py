"""The states of runs and tasks, the only ways between them, and how each is shown to clients.

A task attempt and a run are rows; a transition is one conditional UPDATE that names the states it may leave from, so
two controllers cannot both make it. Clients see two renderings of the same state: the deprecated `state` (life cycle
V1) and `status` (V2). Both are derived here from the one stored state, so they cannot disagree.
"""

from dataclasses import dataclass
from typing import Any

# Of a task attempt.
BLOCKED = "BLOCKED"
"""Waits for the tasks it depends on."""
WAITING_FOR_RETRY = "WAITING_FOR_RETRY"
"""Waits until its predecessor's minimum retry interval has passed."""
PENDING = "PENDING"
"""Ready: whoever claims it first starts it."""
STARTING = "STARTING"
"""Claimed: its process is being started, or was when the server died."""
WAITING = "WAITING"
"""Runs by waiting for somebody else (a person's approval, a child run, iterations) and holds no compute."""
# Of runs too.
QUEUED = "QUEUED"
RUNNING = "RUNNING"
TERMINATING = "TERMINATING"
TERMINATED = "TERMINATED"
SKIPPED = "SKIPPED"

# Results.
SUCCESS = "SUCCESS"
FAILED = "FAILED"
TIMEDOUT = "TIMEDOUT"
CANCELED = "CANCELED"
EXCLUDED = "EXCLUDED"
DISABLED = "DISABLED"
UPSTREAM_FAILED = "UPSTREAM_FAILED"
UPSTREAM_CANCELED = "UPSTREAM_CANCELED"
SUCCESS_WITH_FAILURES = "SUCCESS_WITH_FAILURES"
MAXIMUM_CONCURRENT_RUNS_REACHED = "MAXIMUM_CONCURRENT_RUNS_REACHED"

GOOD = frozenset({SUCCESS, SUCCESS_WITH_FAILURES})
NEUTRAL = frozenset({EXCLUDED, DISABLED})
INTERRUPTED = frozenset({CANCELED, UPSTREAM_CANCELED})
BAD = frozenset({FAILED, TIMEDOUT, UPSTREAM_FAILED, MAXIMUM_CONCURRENT_RUNS_REACHED}) | INTERRUPTED

OVER = frozenset({TERMINATED, SKIPPED})
ALIVE = frozenset({STARTING, RUNNING, TERMINATING})
"""States in which a process of the attempt may exist."""


@dataclass(frozen=True)
class Rule:
    """One way from some states to another."""

    name: str
    leaves: frozenset[str]
    enters: str


def _rules(*rules: tuple[str, set[str], str]) -> dict[str, Rule]:
    return {name: Rule(name, frozenset(leaves), enters) for name, leaves, enters in rules}


UNSTARTED = {BLOCKED, WAITING_FOR_RETRY, PENDING, WAITING}

TASK = _rules(
    ("ready", {BLOCKED, WAITING_FOR_RETRY}, PENDING),
    ("claim", {PENDING}, STARTING),
    ("return", {STARTING}, PENDING),  # the claim came to nothing: no process was started
    ("started", {STARTING}, RUNNING),
    ("wait", {PENDING}, WAITING),
    ("stop", {STARTING, RUNNING}, TERMINATING),  # cancelled or out of time: its process has yet to die
    ("finish", {PENDING, STARTING, RUNNING, WAITING, TERMINATING}, TERMINATED),
    ("drop", UNSTARTED, TERMINATED),  # cancelled before it held anything
    ("skip", {BLOCKED}, TERMINATED),  # run_if, a disabled task
)

RUN = _rules(
    ("dequeue", {QUEUED}, PENDING),
    ("begin", {PENDING}, RUNNING),
    ("stop", {PENDING, RUNNING}, TERMINATING),
    ("finish", {PENDING, RUNNING, TERMINATING}, TERMINATED),
    ("drop", {QUEUED}, TERMINATED),
    ("reopen", {TERMINATED}, PENDING),  # repair
)

ACTIVE_RUNS = frozenset({QUEUED, PENDING, RUNNING, TERMINATING})
HOLDING_RUNS = ACTIVE_RUNS - {QUEUED}
"""Runs that count towards max_concurrent_runs."""


# --- show ---

_V1 = {STARTING: PENDING, WAITING: RUNNING}
_V2 = {STARTING: PENDING, WAITING: RUNNING, WAITING_FOR_RETRY: "WAITING", SKIPPED: TERMINATED}
AWAITS_APPROVAL = "PENDING_APPROVAL"

_TERMINATION = {
    SUCCESS: ("SUCCESS", "SUCCESS"),
    SUCCESS_WITH_FAILURES: ("SUCCESS_WITH_FAILURES", "SUCCESS"),
    EXCLUDED: ("SKIPPED", "SUCCESS"),
    DISABLED: ("DISABLED", "SUCCESS"),
    FAILED: ("RUN_EXECUTION_ERROR", "CLIENT_ERROR"),
    TIMEDOUT: ("CANCELED", "CLIENT_ERROR"),
    CANCELED: ("USER_CANCELED", "CLIENT_ERROR"),
    UPSTREAM_FAILED: ("SKIPPED", "CLIENT_ERROR"),
    UPSTREAM_CANCELED: ("SKIPPED", "CLIENT_ERROR"),
    MAXIMUM_CONCURRENT_RUNS_REACHED: ("MAX_CONCURRENT_RUNS_EXCEEDED", "CLIENT_ERROR"),
}
_TYPE_OF_CODE = {"INTERNAL_ERROR": "INTERNAL_ERROR", "CLOUD_FAILURE": "CLOUD_FAILURE"}


@dataclass(frozen=True)
class Standing:
    """What is stored about where a run or task is."""

    state: str
    result: str | None = None
    message: str = ""
    code: str | None = None
    awaits_approval: bool = False
    is_run: bool = False


def show(at: Standing) -> dict[str, Any]:
    """The fields `state` and `status` of the API."""
    return {"state": _state(at), "status": _status(at)}


def _state(at: Standing) -> dict[str, Any]:
    shown: dict[str, Any] = {"life_cycle_state": _life_cycle(at), "state_message": at.message}
    if at.result is not None and at.state in OVER:
        shown["result_state"] = at.result
        shown["user_cancelled_or_timedout"] = at.result in (CANCELED, TIMEDOUT)
    else:
        shown["user_cancelled_or_timedout"] = False
    if at.state == QUEUED:
        shown["queue_reason"] = at.message
    return shown


def _life_cycle(at: Standing) -> str:
    if at.awaits_approval and at.state == WAITING:
        return BLOCKED
    if at.state == TERMINATED and at.result in NEUTRAL:
        return SKIPPED
    if at.state == TERMINATED and at.is_run and at.result == FAILED:
        # What clients of multi-task runs wait on: the SDK's waiter raises OperationFailed on exactly this.
        return "INTERNAL_ERROR"
    return _V1.get(at.state, at.state)


def _status(at: Standing) -> dict[str, Any]:
    waits = at.awaits_approval and at.state == WAITING
    shown: dict[str, Any] = {"state": BLOCKED if waits else _V2.get(at.state, at.state)}
    if at.state == QUEUED:
        shown["queue_details"] = {"code": at.code or "MAX_CONCURRENT_RUNS_REACHED", "message": at.message}
    if at.state in OVER and at.result is not None:
        code, kind = _TERMINATION[at.result]
        code = at.code or code
        kind = _TYPE_OF_CODE.get(code, kind)
        shown["termination_details"] = {"code": code, "type": kind, "message": at.message}
    return shown
