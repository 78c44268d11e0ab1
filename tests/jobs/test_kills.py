"""The server dies at any moment; what was to happen happens, once."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lakewright.engines.local import Environment, LocalLauncher
from lakewright.engines.processes import Isolation
from lakewright.jobs import engine, jobs, rows, states
from lakewright.jobs.definition import Settings
from lakewright.jobs.dispatcher import Dispatcher
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.platform import Platform

from .conftest import Shelf

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", ["server", "machine"])
def test_random_runs_end_as_the_rules_say_whenever_the_server_is_killed(mode: str, database_url: str) -> None:
    """The short form of `make bench BENCH=job_kills`: real servers, real kill -9."""
    command = [sys.executable, "-m", "benchmarks.job_kills", "--runs", "6", "--kills", "5", "--mode", mode]
    done = subprocess.run(
        [*command, "--database", database_url], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["problems"] == 0, done.stdout
    assert figures["kills"] >= 2


class Crash(BaseException):
    """Not an Exception: nothing handles the death of a process."""


class Doomed:
    """A platform whose process dies at its nth transaction, just before or just after the commit."""

    def __init__(self, platform: Platform, at: int, *, after: bool) -> None:
        self._platform, self._left, self._after = platform, at, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._platform, name)

    def provide(self, service: object) -> None:
        """What dies provides nothing."""

    def transact(self, act: Callable[[Ctx], Any]) -> Any:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Crash
        done = self._platform.transact(act)
        if self._left == 0:
            raise Crash
        return done


SCRIPT = """
import sys
with open(sys.argv[1], "a") as file:
    file.write(sys.argv[2])
if sys.argv[2] == "b" and open(sys.argv[1]).read().count("b") < 2:
    raise SystemExit("not yet")
"""


def definition(marks: Path) -> Settings:
    def task(key: str, after: str | None, **more: Any) -> dict[str, Any]:
        program = {"python_file": "/Volumes/c/s/v/mark.py", "parameters": [str(marks), key]}
        waits = [{"task_key": after}] if after else []
        return {"task_key": key, "spark_python_task": program, "depends_on": waits, **more}

    tasks = [task("a", None), task("b", "a", max_retries=1), task("c", "b"), task("d", "b", run_if="ALL_FAILED")]
    return Settings.model_validate({"name": "crashing", "tasks": tasks})


def drive(dispatcher: Dispatcher, platform: Platform, run_id: int) -> None:
    """Tick until the run has ended."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        dispatcher.tick()
        run = platform.snapshot(lambda ctx: rows.run(ctx.tx, run_id))
        if run is not None and run.state in states.OVER:
            return
        time.sleep(0.01)
    raise AssertionError("the run did not end")


def test_a_crash_before_or_after_any_commit_changes_nothing(platform: Platform, shelf: Shelf, tmp_path: Path) -> None:
    shelf.write("/Volumes/c/s/v/mark.py", SCRIPT)
    home = tmp_path / "crash"

    first = launcher_on(home)
    at, crashed = 0, True
    while crashed:
        at, crashed = at + 1, False
        for after in (False, True):
            marks = tmp_path / f"marks-{at}-{after}"
            run_id = begin(platform, definition(marks))
            try:
                drive(Dispatcher(Doomed(platform, at, after=after), first, home / "tasks"), platform, run_id)  # type: ignore[arg-type]
            except Crash:
                crashed = True
                # The next server knows nothing but the rows and what the launcher wrote down.
                drive(Dispatcher(platform, launcher_on(home), home / "tasks"), platform, run_id)
            run = platform.snapshot(lambda ctx, run_id=run_id: rows.run(ctx.tx, run_id))
            ended = platform.snapshot(lambda ctx, run_id=run_id: rows.latest(ctx.tx, run_id))
            where = f"crash {'after' if after else 'before'} commit {at}"
            assert run is not None and run.result == states.SUCCESS, where
            assert {k: t.result for k, t in ended.items()} == dict.fromkeys("abc", "SUCCESS") | {"d": "EXCLUDED"}, where
            assert marks.read_text() == "abbc", where
    assert at > 10


def launcher_on(home: Path) -> LocalLauncher:
    """What two of these share is on disk."""
    return LocalLauncher(home / "attempts", {"default": Environment(preload=())}, most=Isolation.COOPERATIVE)


def begin(platform: Platform, settings: Settings) -> int:
    def act(ctx: Ctx) -> int:
        admin = ctx.as_principal(ctx.id_of("admin"))
        under = objects.find(admin, jobs.WORKSPACE, "")
        job = objects.create(
            admin, jobs.JOB, "crashing", jobs.Job(settings=settings, run_as=admin.principal.id), under=under
        )
        order = engine.Order(job.id, settings, creator=admin.principal.id, run_as=admin.principal.id)
        return engine.open_run(admin, order).run_id

    return platform.transact(act)
