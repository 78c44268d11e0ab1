"""Progress: a run's tasks as a live table, so that one sees what waits for what."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from lakewright.projects.client import Client

DONE = ("TERMINATED", "SKIPPED", "INTERNAL_ERROR")
SHOWN = {
    "SUCCESS": "[green]✔ done[/]",
    "FAILED": "[red]✘ failed[/]",
    "TIMEDOUT": "[red]✘ timed out[/]",
    "CANCELED": "[yellow]– cancelled[/]",
    "UPSTREAM_FAILED": "[red dim]– not reached[/]",
    "UPSTREAM_CANCELED": "[yellow dim]– not reached[/]",
    "EXCLUDED": "[dim]– left out[/]",
    "RUNNING": "[cyan]▶ running[/]",
    "BLOCKED": "[dim]· waiting[/]",
    "PENDING": "[dim]· starting[/]",
    "QUEUED": "[dim]· queued[/]",
    "WAITING_FOR_RETRY": "[yellow]↻ will try again[/]",
}


@dataclass(frozen=True)
class TaskState:
    key: str
    run_id: int
    life: str
    result: str
    message: str
    after: list[str]
    seconds: float

    @property
    def waits(self) -> bool:
        """For somebody's approval."""
        return not self.result and self.message.startswith("PENDING_APPROVAL")

    @property
    def shown(self) -> str:
        if self.waits:
            return "[yellow]◆ waits for approval[/]"
        return SHOWN.get(self.result or self.life, self.result or self.life)


@dataclass(frozen=True)
class RunState:
    run_id: int
    life: str
    result: str
    message: str
    tasks: list[TaskState]

    @property
    def done(self) -> bool:
        return self.life in DONE

    def task(self, key: str) -> TaskState:
        return next(one for one in self.tasks if one.key == key)


def read(client: Client, run_id: int) -> RunState:
    run = client.call("GET", "/api/2.2/jobs/runs/get", run_id=run_id)
    state = run["state"]
    tasks = [_task(one) for one in run.get("tasks", [])]
    return RunState(
        run_id, state["life_cycle_state"], state.get("result_state", ""), state.get("state_message", ""), tasks
    )


def _task(one: dict[str, Any]) -> TaskState:
    state = one["state"]
    start, end = one.get("start_time") or 0, one.get("end_time") or 0
    seconds = ((end or time.time() * 1000) - start) / 1000 if start else 0.0
    return TaskState(
        one["task_key"],
        int(one["run_id"]),
        state["life_cycle_state"],
        state.get("result_state", ""),
        state.get("state_message", ""),
        [upstream["task_key"] for upstream in one.get("depends_on", [])],
        seconds,
    )


def follow(
    client: Client,
    run_id: int,
    console: Console,
    until: Callable[[RunState], bool] = lambda run: run.done,
    every: float = 0.5,
) -> RunState:
    """Shows the run until it is over, or until ``until`` says so."""
    with Live(console=console, refresh_per_second=4, transient=not console.is_terminal) as live:
        while True:
            run = read(client, run_id)
            live.update(table(run))
            if run.done or until(run):
                return run
            time.sleep(every)


def table(run: RunState) -> Table:
    shown = Table("task", "after", "state", "seconds", box=None, header_style="bold", pad_edge=False)
    for one in _in_order(run.tasks):
        waits = ", ".join(one.after)
        shown.add_row(one.key, f"[dim]{waits}[/]", one.shown, f"{one.seconds:.1f}" if one.seconds else "")
    return shown


def _in_order(tasks: list[TaskState]) -> list[TaskState]:
    """Upstream first."""
    placed: list[TaskState] = []
    waiting = list(tasks)
    while waiting:
        known = {one.key for one in placed}
        ready = [one for one in waiting if set(one.after) <= known] or waiting
        placed += ready
        waiting = [one for one in waiting if one not in ready]
    return placed
