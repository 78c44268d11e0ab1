"""Jobs in tests: the real server, the real SDK, real task processes; code comes from a folder instead of a workspace."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk.service.jobs import Run

from lakewright.jobs.sources import Sources
from lakewright.kernel.config import Settings
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import NotFound
from lakewright.kernel.platform import Platform


@dataclass
class Shelf:
    """Sources from one folder of this machine."""

    root: Path

    def write(self, path: str, text: str) -> str:
        at = self.root / path.lstrip("/")
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text)
        return path

    def folder(self, ctx: Ctx, path: str, into: Path) -> None:
        shutil.copytree(self.root / path.lstrip("/"), into, dirs_exist_ok=True)

    def file(self, ctx: Ctx, path: str, into: Path) -> Path:
        at = self.root / path.lstrip("/")
        if not at.exists():
            raise NotFound(f"{path} does not exist")
        shutil.copy(at, into)
        return into


@pytest.fixture
def settings(settings: Settings) -> Settings:
    settings.jobs.preload = []
    return settings


@pytest.fixture
def shelf(platform: Platform, tmp_path: Path) -> Shelf:
    made = Shelf(tmp_path / "shelf")
    made.root.mkdir()
    platform.provide(made, as_type=Sources)
    return made


@pytest.fixture
def served(server: Any, shelf: Shelf) -> Iterator[Any]:
    """The server, knowing the address it listens on, as tasks will call it."""
    server.platform.settings.public_url = server.url
    yield server
    for attempt in server.platform.the(_launcher()).live():
        server.platform.the(_launcher()).kill(attempt.attempt)


def _launcher() -> Any:
    from lakewright.engines.processes import Launcher

    return Launcher


def until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """The first true answer; what the platform does in other threads is waited for, not timed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def ended(client: Any, run_id: int, seconds: float = 60) -> Run:
    def look() -> Run | None:
        run = client.jobs.get_run(run_id)
        return run if run.status.state.value == "TERMINATED" else None

    return until(look, seconds)


def results(run: Run) -> dict[str, str | None]:
    return {t.task_key: t.state.result_state.value if t.state.result_state else None for t in run.tasks}
