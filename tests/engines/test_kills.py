"""kill -9, of everything that stands between a task and whoever asks about it."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import pytest

from lakewright.engines.local import Environment, LocalLauncher, confine, record, tree
from lakewright.engines.processes import AlreadyStarted, Exit, Isolation, LaunchFault, Limits

from .conftest import Tasks, eventually

SERVER = """
import sys, time
from contextlib import suppress
from pathlib import Path
from lakewright.engines.local import Environment, LocalLauncher
from lakewright.engines.processes import TaskSpec
home = Path(sys.argv[1])
launcher = LocalLauncher(home / "attempts", {"default": Environment(preload=())})
for name in sys.argv[2:]:
    spec = TaskSpec(attempt=name, entry="lakewright.runtime.main:script", argv=(str(home / "task.py"),), workdir=home / name, readable=(home / "task.py",))
    launcher.start(spec)
    print("started", name, flush=True)
time.sleep(600)
"""

LONG = """
import os, time
print("pid", os.getpid(), flush=True)
while not os.path.exists("go"):
    time.sleep(0.02)
print("finished")
"""

WITH_A_DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print("daemon", os.getpid(), flush=True)
        time.sleep(600)
    os._exit(0)
print("pid", os.getpid(), flush=True)
time.sleep(600)
"""


def a_server(home: Path, *names: str, task: str) -> subprocess.Popen[str]:
    if not (home / "task.py").exists():
        (home / "task.py").write_text(textwrap.dedent(task))
    return subprocess.Popen([sys.executable, "-c", SERVER, str(home), *names], stdout=subprocess.PIPE, text=True)


def restarted(home: Path) -> LocalLauncher:
    return LocalLauncher(home / "attempts", {"default": Environment(preload=())})


def guards(launcher: LocalLauncher, attempt: str) -> dict[str, int]:
    directory = launcher.output(attempt).stdout_path.parent
    names = {"guardian": "attempt.json", "supervisor": "supervisor"}
    return {role: json.loads((directory / name).read_text())["pid"] for role, name in names.items()}


def gone(*pids: int) -> bool:
    return all(tree.started(pid) is None for pid in pids)


def test_a_task_outlives_its_server_and_is_found_by_the_next(tmp_path: Path) -> None:
    server = a_server(tmp_path, "a", task=LONG)
    assert server.stdout and server.stdout.readline() == "started a\n"
    first = Tasks(restarted(tmp_path), tmp_path)
    pid = first.says("a", "pid")
    server.kill()
    server.wait()

    launcher = restarted(tmp_path)
    assert [attempt.attempt for attempt in launcher.live()] == ["a"]
    assert launcher.poll("a") is None
    (tmp_path / "a" / "go").touch()
    ran = Tasks(launcher, tmp_path).outcome("a")
    assert (ran.exit.code, ran.exit.reason, ran.out) == (0, "exited", f"pid {pid}\nfinished\n")
    assert launcher.live() == []


def test_the_next_server_can_end_it(tmp_path: Path) -> None:
    server = a_server(tmp_path, "a", task=WITH_A_DAEMON)
    tasks = Tasks(restarted(tmp_path), tmp_path)
    pids = int(tasks.says("a", "pid")), int(tasks.says("a", "daemon"))
    server.kill()
    server.wait()
    tasks.launcher.kill("a")
    assert tasks.outcome("a").exit.reason == "killed"
    assert gone(*pids)


@pytest.mark.parametrize("roles", [("supervisor",), ("guardian",)])
def test_who_loses_a_guard_is_lost_with_its_whole_tree(tasks: Tasks, roles: tuple[str, ...]) -> None:
    spec = tasks.start(WITH_A_DAEMON)
    pids = int(tasks.says(spec.attempt, "pid")), int(tasks.says(spec.attempt, "daemon"))
    for role in roles:
        os.kill(guards(tasks.launcher, spec.attempt)[role], signal.SIGKILL)
    assert tasks.outcome(spec.attempt).exit.reason == "lost"
    assert gone(*pids)


def test_losing_both_guards_at_once_is_noticed_and_nothing_is_left(tasks: Tasks) -> None:
    spec = tasks.start(WITH_A_DAEMON)
    pid, daemon = int(tasks.says(spec.attempt, "pid")), int(tasks.says(spec.attempt, "daemon"))
    both = guards(tasks.launcher, spec.attempt)
    os.kill(both["supervisor"], signal.SIGSTOP)  # so that neither can react to the other's death
    os.kill(both["guardian"], signal.SIGKILL)
    os.kill(both["supervisor"], signal.SIGKILL)
    assert tasks.outcome(spec.attempt).exit.reason == "lost"
    assert gone(pid)
    if confine.can_own_shared_memory() and tasks.launcher.isolation() is Isolation.CONFINED:
        assert gone(daemon)  # elsewhere, a daemon of a task whose both guards were killed cannot be told from others
    else:
        os.kill(daemon, signal.SIGKILL)


def test_killing_the_warm_process_leaves_the_tasks_alone(tmp_path: Path) -> None:
    launcher = restarted(tmp_path)
    tasks = Tasks(launcher, tmp_path)
    spec = tasks.start(LONG)
    tasks.says(spec.attempt, "pid")
    zygote = launcher._zygotes["default"]._process  # whom to kill
    zygote.kill()
    zygote.wait()
    assert launcher.poll(spec.attempt) is None
    assert tasks.run("print('another')").out == "another\n"
    (spec.workdir / "go").touch()
    assert tasks.outcome(spec.attempt).out.endswith("finished\n")
    launcher.close()


def test_an_attempt_is_started_once(tasks: Tasks) -> None:
    spec = tasks.spec("open('ran', 'a').write('x')")
    tasks.launcher.start(spec)
    with pytest.raises(AlreadyStarted):
        tasks.launcher.start(spec)
    tasks.outcome(spec.attempt)
    with pytest.raises(AlreadyStarted):
        tasks.launcher.start(spec)
    assert (spec.workdir / "ran").read_text() == "x"


def test_an_attempt_nobody_knows_is_lost_for_good(tasks: Tasks) -> None:
    spec = tasks.spec("print()")
    ended = tasks.launcher.poll(spec.attempt)
    assert ended and ended.reason == "lost"
    with pytest.raises(AlreadyStarted):
        tasks.launcher.start(spec)


def test_an_attempt_cut_off_before_it_was_handed_over_is_lost_and_cannot_begin_later(tasks: Tasks, home: Path) -> None:
    directory = home / "attempts" / "cut-off"
    directory.mkdir()
    ended = tasks.launcher.poll("cut-off")
    assert ended and ended.reason == "lost"
    assert not record.claim(directory, record.Guard.here())


def test_a_task_killed_while_its_environment_warms_never_runs(tmp_path: Path) -> None:
    launcher = LocalLauncher(tmp_path / "attempts", {"default": Environment(preload=("pandas",))})
    tasks = Tasks(launcher, tmp_path)
    spec = tasks.start("open('ran', 'w')")
    launcher.kill(spec.attempt)
    ended = launcher.poll(spec.attempt)
    assert ended and ended.reason == "killed"
    assert tasks.run("print('next')").out == "next\n"
    assert not (spec.workdir / "ran").exists()
    launcher.close()


def test_servers_killed_at_any_moment_start_nothing_twice(tmp_path: Path) -> None:
    """Each task writes one line. Whatever was killed when: never two lines, and who ended well has one."""
    dice, names = random.Random(7), [f"r{n}" for n in range(24)]
    for batch in range(6):
        server = a_server(
            tmp_path, *names[4 * batch : 4 * batch + 4], task="print('ran'); open('lines', 'a').write('x\\n')"
        )
        time.sleep(dice.uniform(0.05, 0.6))
        server.kill()
        server.wait()
    launcher = restarted(tmp_path)
    ended = {name: eventually(lambda name=name: launcher.poll(name), f"{name} to end") for name in names}
    assert {name for name in names if _lines(tmp_path / name) > 1} == set()
    assert all(_lines(tmp_path / name) == 1 for name in names if _well(ended[name]))
    assert any(_well(exit) for exit in ended.values())
    for name in names:
        with pytest.raises(AlreadyStarted):
            launcher.start(Tasks(launcher, tmp_path / "again").spec("print()", attempt=name))
    launcher.close()


def _lines(workdir: Path) -> int:
    path = workdir / "lines"
    return len(path.read_text().splitlines()) if path.exists() else 0


def _well(ended: Exit) -> bool:
    return ended.reason == "exited" and ended.code == 0


def test_a_kill_ends_the_whole_tree(tasks: Tasks) -> None:
    spec = tasks.start(WITH_A_DAEMON)
    pids = int(tasks.says(spec.attempt, "pid")), int(tasks.says(spec.attempt, "daemon"))
    tasks.launcher.kill(spec.attempt)
    ran = tasks.outcome(spec.attempt)
    assert (ran.exit.reason, ran.exit.code, ran.exit.signal) == ("killed", None, 9)
    assert gone(*pids)


def test_too_long_is_ended(tasks: Tasks) -> None:
    ran = tasks.run("import time; print('begun'); time.sleep(60)", limits=Limits(wall_seconds=0.5))
    assert (ran.exit.reason, ran.exit.code, ran.out) == ("timeout", None, "begun\n")


def test_what_has_ended_can_be_forgotten_and_what_runs_cannot(tasks: Tasks) -> None:
    spec = tasks.start(LONG)
    with pytest.raises(LaunchFault):
        tasks.launcher.forget(spec.attempt)
    (spec.workdir / "go").touch()
    tasks.outcome(spec.attempt)
    tasks.launcher.forget(spec.attempt)
    assert not tasks.launcher.output(spec.attempt).stdout_path.exists()


ONCE_WITH_A_DAEMON = """
import os, time
open("lines", "a").write("x\\n")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open("daemon", "w").write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
open("main", "w").write(str(os.getpid()))
time.sleep(600)
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_is_killed_when_nothing_is_left_and_nothing_runs_twice(tmp_path: Path, seed: int) -> None:
    """Guardians, supervisors, both, the warm process: killed at random while tasks start."""
    if not confine.can_own_shared_memory():
        pytest.skip("without mount namespaces, a daemon whose both guards were killed cannot be told from others")
    dice, launcher = random.Random(seed), restarted(tmp_path)
    tasks, names = Tasks(launcher, tmp_path), list[str]()
    for _ in range(20):
        with suppress(LaunchFault):
            names.append(tasks.start(ONCE_WITH_A_DAEMON).attempt)
        time.sleep(dice.uniform(0, 0.15))
        _kill_something(launcher, dice.choice(names), dice)
    for name in names:
        launcher.kill(name)
    for name in names:
        eventually(lambda name=name: launcher.poll(name), f"{name} to end")
    noted = [path for name in names for path in (tmp_path / "work" / name).iterdir() if path.name in ("main", "daemon")]
    assert [path for path in noted if path.read_text() and not gone(int(path.read_text()))] == []
    assert [name for name in names if _lines(tmp_path / "work" / name) > 1] == []
    launcher.close()


def _kill_something(launcher: LocalLauncher, attempt: str, dice: random.Random) -> None:
    whom = dice.choice([("guardian",), ("supervisor",), ("guardian", "supervisor"), ("zygote",), ()])
    if launcher.poll(attempt) is not None:
        return
    with suppress(OSError, KeyError):
        known = guards(launcher, attempt)
        for role in whom:
            pid = known.get(role) or launcher._zygotes["default"]._process.pid
            os.kill(pid, signal.SIGKILL)
