"""What becomes of tasks and runs, as a table of decisions."""

from collections.abc import Sequence

import pytest

from lakewright.jobs import graph
from lakewright.jobs.graph import Edge, RetryPolicy
from lakewright.kernel.faults import Invalid

S, F, X, C, D = "SUCCESS", "FAILED", "EXCLUDED", "CANCELED", "DISABLED"
UF, UC, T = "UPSTREAM_FAILED", "UPSTREAM_CANCELED", "TIMEDOUT"
RUN = "RUN"
CONDITIONS: list[graph.RunIf] = [
    "ALL_SUCCESS",
    "AT_LEAST_ONE_SUCCESS",
    "NONE_FAILED",
    "ALL_DONE",
    "AT_LEAST_ONE_FAILED",
    "ALL_FAILED",
]

TRUTH = [
    # upstream     ALL_SUCCESS ONE_SUCCESS NONE_FAILED ALL_DONE ONE_FAILED ALL_FAILED
    ([S, S], [RUN, RUN, RUN, RUN, X, X]),
    ([S, F], [UF, RUN, UF, RUN, RUN, X]),
    ([F, F], [UF, UF, UF, RUN, RUN, RUN]),
    ([S, X], [RUN, RUN, RUN, RUN, X, X]),
    ([F, X], [UF, RUN, UF, RUN, RUN, X]),
    ([X, X], [X, X, X, X, X, X]),
    ([X], [X, X, X, X, X, X]),
    ([UF, S], [UF, RUN, UF, RUN, RUN, X]),
    ([C, S], [UC, RUN, UC, RUN, RUN, X]),
    ([UC, S], [UC, RUN, UC, RUN, RUN, X]),
    ([C, F], [UF, UF, UF, RUN, RUN, RUN]),
    ([C, C], [UC, UC, UC, RUN, RUN, RUN]),
    ([T], [UF, UF, UF, RUN, RUN, RUN]),
    ([D, S], [X, RUN, RUN, RUN, X, X]),
    ([D, F], [UF, UF, UF, RUN, RUN, X]),
    ([D, D], [X, X, X, RUN, X, X]),
    (["SUCCESS_WITH_FAILURES", S], [RUN, RUN, RUN, RUN, X, X]),
    ([], [RUN, RUN, RUN, RUN, RUN, RUN]),
]


@pytest.mark.parametrize(
    ("upstream", "run_if", "becomes"),
    [(up, cond, row[i]) for up, row in TRUTH for i, cond in enumerate(CONDITIONS)],
)
def test_run_if(upstream: Sequence[str], run_if: graph.RunIf, becomes: str) -> None:
    assert graph.decide(run_if, upstream) == becomes
    assert graph.decide(run_if, list(reversed(upstream))) == becomes


def chain(*keys: str) -> dict[str, list[Edge]]:
    """a then b then c …"""
    return {key: [Edge(keys[i - 1])] if i else [] for i, key in enumerate(keys)}


def test_a_branch_not_taken_is_seen_as_excluded() -> None:
    taken, other = Edge("is_large", "true"), Edge("is_large", "false")
    assert graph.seen_through(taken, S, "true") == S
    assert graph.seen_through(other, S, "true") == X


def test_a_condition_that_failed_is_seen_as_failed_on_both_branches() -> None:
    assert graph.seen_through(Edge("is_large", "true"), F, None) == F


def test_two_tasks_of_one_name_are_refused() -> None:
    with pytest.raises(Invalid, match="'a' is used by more than one"):
        graph.check(["a", "a"], {"a": []})


def test_an_unknown_dependency_is_refused() -> None:
    with pytest.raises(Invalid, match="'a' depends on unknown task 'z'"):
        graph.check(["a"], {"a": [Edge("z")]})


def test_a_cycle_is_refused_and_named() -> None:
    loop = {"a": [Edge("c")], "b": [Edge("a")], "c": [Edge("b")], "d": []}
    with pytest.raises(Invalid, match="cycle: a, b, c$"):
        graph.check(list(loop), loop)


def test_a_task_that_waits_for_itself_is_refused() -> None:
    with pytest.raises(Invalid, match="cycle: a$"):
        graph.check(["a"], {"a": [Edge("a")]})


def test_tasks_are_ordered_by_what_they_wait_for_also_when_there_are_many() -> None:
    assert graph.ordered({"d": [Edge("b"), Edge("c")], "b": [Edge("a")], "c": [Edge("a")], "a": []}) == [
        "a",
        "b",
        "c",
        "d",
    ]
    keys = [f"t{i}" for i in range(1000)]
    assert graph.ordered(dict(reversed(chain(*keys).items()))) == keys


def test_an_outcome_is_only_for_condition_tasks() -> None:
    branch = {"a": [], "b": [Edge("a", "true")]}
    graph.check(["a", "b"], branch, conditions={"a"})
    with pytest.raises(Invalid, match="outcome"):
        graph.check(["a", "b"], branch)


DIAMOND = {"a": [], "b": [Edge("a")], "c": [Edge("a")], "d": [Edge("b"), Edge("c")]}


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [(["b"], "b"), (["+b"], "ab"), (["b+"], "bd"), (["+b+"], "abd"), (["b", "c"], "bc"), (["+d"], "abcd"), ([], "")],
)
def test_only_selects_a_task_and_what_is_around_it(wanted: list[str], chosen: str) -> None:
    assert graph.only(DIAMOND, wanted) == set(chosen)


def test_only_refuses_an_unknown_task() -> None:
    with pytest.raises(Invalid, match="no task 'z'"):
        graph.only(DIAMOND, ["+z"])


def test_a_partial_run_does_not_wait_for_what_was_left_out() -> None:
    assert graph.restrict(DIAMOND, {"b", "d"}) == {"b": [], "d": [Edge("b")]}


@pytest.mark.parametrize(
    ("results", "run"),
    [
        ([S, S, S], "SUCCESS"),
        ([S, F, UF], "FAILED"),
        ([F, S, S], "SUCCESS_WITH_FAILURES"),
        ([S, F, S], "SUCCESS_WITH_FAILURES"),
        ([S, S, F], "FAILED"),
        ([S, S, X], "SUCCESS"),
        ([X, X, X], "SUCCESS"),
        ([D, X, X], "SUCCESS"),
        ([C, UC, UC], "CANCELED"),
        ([S, T, UF], "FAILED"),
        ([C, S, S], "SUCCESS_WITH_FAILURES"),
    ],
)
def test_the_leaf_tasks_decide_the_result_of_a_run(results: list[str], run: str) -> None:
    keys = ["a", "b", "c"]
    assert graph.roll_up(chain(*keys), dict(zip(keys, results, strict=True)), {}).result == run


def test_a_run_of_one_task_that_timed_out_timed_out() -> None:
    assert graph.roll_up(chain("a"), {"a": T}, {}).result == T


def test_a_failed_run_blames_the_task_that_failed_itself() -> None:
    verdict = graph.roll_up(chain("b", "a"), {"b": F, "a": UF}, {"b": "Workload failed, see run output for details."})
    assert verdict.message == "Task b failed with message: Workload failed, see run output for details."


@pytest.mark.parametrize(
    ("policy", "result", "attempt", "due"),
    [
        (RetryPolicy(0), F, 0, None),
        (RetryPolicy(2), F, 0, 5_000),
        (RetryPolicy(2), F, 1, 5_000),
        (RetryPolicy(2), F, 2, None),
        (RetryPolicy(-1), F, 99, 5_000),
        (RetryPolicy(2), T, 0, None),
        (RetryPolicy(2, on_timeout=True), T, 0, 5_000),
        (RetryPolicy(2), C, 0, None),
        (RetryPolicy(2), S, 0, None),
        (RetryPolicy(2, min_interval_ms=9_000), F, 0, 10_000),  # counted from the start of the failed attempt, at 1000
        (RetryPolicy(2, min_interval_ms=100), F, 0, 5_000),
    ],
)
def test_retries(policy: RetryPolicy, result: str, attempt: int, due: int | None) -> None:
    assert policy.next_start(result, attempt, started=1_000, now=5_000) == due
