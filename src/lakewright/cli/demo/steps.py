"""Steps: what was done, whether its effect was read back, how long it took, and the figures that were read."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from lakewright.projects.client import Refused

Figures = dict[str, Any]


class NotSo(Exception):
    """The effect of a step was read back, and is not there."""


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise NotSo(otherwise)


@dataclass
class Step:
    name: str
    state: Literal["ok", "failed"]
    seconds: float
    figures: Figures = field(default_factory=dict[str, Any])


class Report:
    """The steps in the order they were taken. A failed one is kept with its reason, and the story goes on as far as it can."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.steps: list[Step] = []
        self._began = time.monotonic()

    def take(self, name: str, act: Callable[[], Figures], seconds: float | None = None) -> bool:
        """Does and reads back one step. ``seconds`` is its duration where that is known better than by this clock."""
        began = time.monotonic()
        try:
            figures, state = act(), "ok"
        except Exception as error:  # whatever it was, the other steps may still hold, and the report names this one
            figures, state = {"error": _sentence(error)}, "failed"
        took = seconds if seconds is not None else time.monotonic() - began
        self.add(Step(name, "ok" if state == "ok" else "failed", round(took, 2), figures))
        return state == "ok"

    def add(self, step: Step) -> None:
        self.steps.append(step)
        mark = "[green]✔[/]" if step.state == "ok" else "[bold red]✘[/]"
        figures = ", ".join(f"{name} {_short(value)}" for name, value in step.figures.items())
        self.console.print(f"{mark} [bold]{step.name}[/] [dim]{step.seconds:.1f} s[/]  {figures}", highlight=False)

    def ok(self, name: str) -> bool:
        return any(step.name == name and step.state == "ok" for step in self.steps)

    @property
    def all_ok(self) -> bool:
        return bool(self.steps) and all(step.state == "ok" for step in self.steps)

    def write(self, path: Path) -> None:
        whole = {
            "steps": [asdict(step) for step in self.steps],
            "total_seconds": round(time.monotonic() - self._began, 1),
        }
        path.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


def _sentence(error: Exception) -> str:
    said = str(error).strip()
    return said if isinstance(error, NotSo | Refused) and said else f"{type(error).__name__}: {said}"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] (figures are any JSON)
    return str(value)
