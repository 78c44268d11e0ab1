"""Real tasks on this machine: a launcher, and a person's script run by it."""

import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import pytest

from lakewright.engines.local import Environment, LocalLauncher
from lakewright.engines.processes import Exit, Isolation, Limits, TaskSpec

PATIENCE = 60.0
NUMBERS = count()


@dataclass(frozen=True)
class Ran:
    exit: Exit
    out: str
    err: str
    attempt: str


class Tasks:
    """Scripts as tasks: `start` and go on, or `run` and have the outcome."""

    def __init__(self, launcher: LocalLauncher, home: Path) -> None:
        self.launcher, self.home = launcher, home

    def spec(self, code: str, **options: object) -> TaskSpec:
        name = f"t{next(NUMBERS)}"
        workdir = self.home / "work" / name
        workdir.mkdir(parents=True)
        (workdir / "task.py").write_text(textwrap.dedent(code))
        spec = TaskSpec(
            attempt=name,
            entry="lakewright.runtime.main:script",
            argv=("task.py",),
            workdir=workdir,
            limits=Limits(wall_seconds=40),
        )
        return replace(spec, **options)

    def start(self, code: str, **options: object) -> TaskSpec:
        spec = self.spec(code, **options)
        self.launcher.start(spec)
        return spec

    def run(self, code: str, **options: object) -> Ran:
        return self.outcome(self.start(code, **options).attempt)

    def outcome(self, attempt: str) -> Ran:
        ended = eventually(lambda: self.launcher.poll(attempt), f"{attempt} to end")
        output = self.launcher.output(attempt)
        return Ran(ended, output.stdout_path.read_text(), output.stderr_path.read_text(), attempt)

    def says(self, attempt: str, word: str) -> str:
        """Waits until the task has printed a line beginning with `word`; answers the rest of it."""
        path = self.launcher.output(attempt).stdout_path

        def line() -> str | None:
            lines = path.read_text().splitlines(keepends=True) if path.exists() else []
            return next((line for line in lines if line.startswith(word) and line.endswith("\n")), None)

        return eventually(line, f"{attempt} to say {word}")[len(word) :].strip()


def eventually(question, what: str):
    """Asks again until there is an answer: what is waited for happens in other processes, in real time."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := question()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return answer


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("machine")


@pytest.fixture(scope="session")
def launcher(home: Path) -> Iterator[LocalLauncher]:
    launcher = LocalLauncher(home / "attempts", {"default": Environment(preload=("numpy", "threadpoolctl"))})
    yield launcher
    for attempt in launcher.live():
        launcher.kill(attempt.attempt)
    eventually(lambda: not launcher.live(), "all tasks to end")
    launcher.close()


@pytest.fixture
def tasks(launcher: LocalLauncher, home: Path) -> Tasks:
    return Tasks(launcher, home)


@pytest.fixture
def confined(tasks: Tasks) -> Tasks:
    if tasks.launcher.isolation() is not Isolation.CONFINED:
        pytest.skip("this kernel has no Landlock 6 with seccomp: tasks are cooperative here")
    return tasks


@pytest.fixture(scope="session")
def open_tasks(home: Path) -> Iterator[Tasks]:
    """The same machine with confinement left off, to show that an attack is one."""
    launcher = LocalLauncher(home / "open", {"default": Environment(preload=())}, most=Isolation.COOPERATIVE)
    yield Tasks(launcher, home / "open-work")
    launcher.close()
