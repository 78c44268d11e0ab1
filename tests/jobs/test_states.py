"""Both renderings of a state agree, whatever the state."""

import pytest

from lakewright.jobs import states
from lakewright.jobs.states import Standing

V1_TO_V2 = {
    "QUEUED": "QUEUED",
    "PENDING": "PENDING",
    "RUNNING": "RUNNING",
    "TERMINATING": "TERMINATING",
    "TERMINATED": "TERMINATED",
    "SKIPPED": "TERMINATED",
    "INTERNAL_ERROR": "TERMINATED",
    "BLOCKED": "BLOCKED",
    "WAITING_FOR_RETRY": "WAITING",
}
RESULTS = sorted(states.GOOD | states.BAD | states.NEUTRAL)
STORED = sorted({s for rules in (states.TASK, states.RUN) for r in rules.values() for s in (*r.leaves, r.enters)})


@pytest.mark.parametrize("is_run", [True, False])
@pytest.mark.parametrize("awaits", [True, False])
@pytest.mark.parametrize("state", STORED)
def test_the_two_renderings_of_a_state_agree(state: str, awaits: bool, is_run: bool) -> None:
    results = RESULTS if state in states.OVER else [None]
    for result in results:
        shown = states.show(Standing(state, result, "m", awaits_approval=awaits, is_run=is_run))
        assert V1_TO_V2[shown["state"]["life_cycle_state"]] == shown["status"]["state"]
        assert shown["state"].get("result_state") == result
        assert ("termination_details" in shown["status"]) == (state in states.OVER)


def test_a_failed_run_reads_as_clients_expect() -> None:
    shown = states.show(Standing("TERMINATED", "FAILED", "Task a failed with message: x", is_run=True))
    assert shown["state"]["life_cycle_state"] == "INTERNAL_ERROR"
    assert shown["status"] == {
        "state": "TERMINATED",
        "termination_details": {
            "code": "RUN_EXECUTION_ERROR",
            "type": "CLIENT_ERROR",
            "message": "Task a failed with message: x",
        },
    }


def test_a_task_awaiting_approval_is_blocked_and_says_so() -> None:
    shown = states.show(Standing("WAITING", None, "PENDING_APPROVAL: waits for alice", awaits_approval=True))
    assert shown["state"]["life_cycle_state"] == "BLOCKED"
    assert shown["state"]["state_message"].startswith("PENDING_APPROVAL")


def test_nothing_leaves_the_end_of_a_task() -> None:
    assert not any(states.TERMINATED in rule.leaves for rule in states.TASK.values())


def test_only_a_repair_leaves_the_end_of_a_run() -> None:
    assert [rule.name for rule in states.RUN.values() if states.TERMINATED in rule.leaves] == ["reopen"]
