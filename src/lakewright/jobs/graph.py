"""The graph of a job: which tasks there are, what each waits for, and what becomes of it when those have ended.

Pure decisions: nothing here reads or writes anything.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lakewright.jobs.states import (
    BAD,
    CANCELED,
    DISABLED,
    EXCLUDED,
    FAILED,
    GOOD,
    INTERRUPTED,
    SUCCESS,
    SUCCESS_WITH_FAILURES,
    TIMEDOUT,
    UPSTREAM_CANCELED,
    UPSTREAM_FAILED,
)
from lakewright.kernel.faults import Invalid

RunIf = Literal[
    "ALL_SUCCESS", "AT_LEAST_ONE_SUCCESS", "NONE_FAILED", "ALL_DONE", "AT_LEAST_ONE_FAILED", "ALL_FAILED"
]  # fmt: skip
RUN = "RUN"


@dataclass(frozen=True)
class Edge:
    """A dependency; `outcome` names the branch of a condition task that this one follows."""

    task_key: str
    outcome: str | None = None


Graph = Mapping[str, Sequence[Edge]]
"""For each task key, what it depends on."""


def check(keys: Sequence[str], graph: Graph, conditions: Collection[str] = ()) -> None:
    """Refuse a graph that cannot run; `conditions` are the keys of condition tasks."""
    for key in keys:
        if keys.count(key) > 1:
            raise Invalid(f"task_key '{key}' is used by more than one task")
    for key, edges in graph.items():
        for edge in edges:
            if edge.task_key not in graph:
                raise Invalid(f"task '{key}' depends on unknown task '{edge.task_key}'")
            if edge.outcome is not None and edge.task_key not in conditions:
                raise Invalid(f"task '{key}': depends_on.outcome is for condition tasks and '{edge.task_key}' is none")
    if rest := cycle(graph):
        raise Invalid(f"tasks depend on each other in a cycle: {', '.join(sorted(rest))}")


def cycle(graph: Graph) -> set[str]:
    """The tasks that can never start because they wait, directly or not, for themselves."""
    return set(graph) - set(ordered(graph))


def ordered(graph: Graph) -> list[str]:
    """The tasks such that each comes after all it depends on, otherwise in their own order; none that never can."""
    waits = {key: {edge.task_key for edge in edges} for key, edges in graph.items()}
    below: dict[str, list[str]] = {key: [] for key in graph}
    for key, above in waits.items():
        for upstream in above:
            below[upstream].append(key)
    left = {key: len(above) for key, above in waits.items()}
    done = [key for key in graph if not left[key]]
    for key in done:  # grows while it is walked
        for downstream in below[key]:
            left[downstream] -= 1
            if not left[downstream]:
                done.append(downstream)
    return done


def leaves(graph: Graph) -> set[str]:
    """The tasks nothing depends on: they decide the result of the run."""
    return set(graph) - {edge.task_key for edges in graph.values() for edge in edges}


def reach(graph: Graph, start: str, *, up: bool) -> set[str]:
    """Everything upstream (or downstream) of a task, without the task."""
    found: set[str] = set()
    edge_of = {key: {edge.task_key for edge in edges} for key, edges in graph.items()}
    frontier = {start}
    while frontier:
        frontier = {
            other
            for key in frontier
            for other in (edge_of[key] if up else {k for k, waits in edge_of.items() if key in waits})
        } - found
        found |= frontier
    return found


def only(graph: Graph, wanted: Iterable[str]) -> set[str]:
    """The tasks `run-now` with `only` selects: `t`, `+t` (and upstream), `t+` (and downstream), `+t+`."""
    chosen: set[str] = set()
    for text in wanted:
        key = text.removeprefix("+").removesuffix("+")
        if key not in graph:
            raise Invalid(f"only: the job has no task '{key}'")
        chosen.add(key)
        if text.startswith("+"):
            chosen |= reach(graph, key, up=True)
        if text.endswith("+"):
            chosen |= reach(graph, key, up=False)
    return chosen


def restrict(graph: Graph, chosen: Collection[str]) -> dict[str, list[Edge]]:
    """A partial run: what was not chosen is not waited for and imposes no condition."""
    return {
        key: [Edge(e.task_key) for e in edges if e.task_key in chosen] for key, edges in graph.items() if key in chosen
    }


# --- what becomes of a task when its dependencies have ended ---


def seen_through(edge: Edge, result: str, outcome: str | None) -> str:
    """A dependency's result as this task sees it: the branch of a condition not taken is as if excluded."""
    if edge.outcome is not None and result in GOOD and edge.outcome != outcome:
        return EXCLUDED
    return result


def decide(run_if: RunIf, upstream: Sequence[str]) -> str:
    """RUN, or the result the task ends with unrun, from the results of all it depends on."""
    if not upstream:
        return RUN
    if all(result == EXCLUDED for result in upstream):
        return EXCLUDED
    bad = [result for result in upstream if result in BAD]
    disabled = [result for result in upstream if result == DISABLED]
    match run_if:
        case "ALL_DONE":
            return RUN
        case "ALL_SUCCESS":
            return _blocked(bad) or (EXCLUDED if disabled else RUN)
        case "NONE_FAILED":
            return _blocked(bad) or (EXCLUDED if len(disabled) == len(upstream) else RUN)
        case "AT_LEAST_ONE_SUCCESS":
            # An exclusion counts as a success once anything at all took part.
            qualifies = any(result in GOOD or result == EXCLUDED for result in upstream)
            return RUN if qualifies else (_blocked(bad) or EXCLUDED)
        case "AT_LEAST_ONE_FAILED":
            return RUN if bad else EXCLUDED
        case "ALL_FAILED":
            return RUN if len(bad) == len(upstream) else EXCLUDED


def _blocked(bad: Sequence[str]) -> str | None:
    """The result of a task kept from running by these: a failure weighs more than a cancellation."""
    if not bad:
        return None
    return UPSTREAM_CANCELED if all(result in INTERRUPTED for result in bad) else UPSTREAM_FAILED


# --- what becomes of a run when its tasks have ended ---


@dataclass(frozen=True)
class Verdict:
    result: str
    message: str = ""


def roll_up(graph: Graph, results: Mapping[str, str], messages: Mapping[str, str]) -> Verdict:
    """The result of a run whose tasks all ended by themselves: the leaf tasks decide."""
    last = sorted(leaves(graph))
    if len(results) == 1 and results[last[0]] == TIMEDOUT:
        return Verdict(TIMEDOUT, messages.get(last[0], ""))
    bad = [key for key in last if results[key] in BAD]
    if bad and all(results[key] in INTERRUPTED for key in bad):
        return Verdict(CANCELED, f"Task {bad[0]} was canceled.")
    if bad:
        return Verdict(FAILED, _blame(results, messages))
    if any(result in BAD for result in results.values()):
        return Verdict(SUCCESS_WITH_FAILURES, _blame(results, messages))
    return Verdict(SUCCESS)


def _blame(results: Mapping[str, str], messages: Mapping[str, str]) -> str:
    """Names the task that failed itself, not those it took with it."""
    culprits = [key for key in results if results[key] in (FAILED, TIMEDOUT)] or [
        k for k in results if results[k] in BAD
    ]
    key = min(culprits)
    return f"Task {key} failed with message: {messages.get(key) or results[key]}"


# --- retries ---


@dataclass(frozen=True)
class RetryPolicy:
    max_retries: int = 0
    """-1: for ever."""
    min_interval_ms: int = 0
    on_timeout: bool = False

    def next_start(self, result: str, attempt: int, started: int, now: int) -> int | None:
        """When the attempt after this one may start; None when there is none. The interval counts from the start."""
        retriable = result == FAILED or (result == TIMEDOUT and self.on_timeout)
        if not retriable or (self.max_retries != -1 and attempt >= self.max_retries):
            return None
        return max(now, started + self.min_interval_ms)
