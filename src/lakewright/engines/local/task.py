"""A task's own process: from a fork of the warm environment to somebody else's code, giving everything up on the way."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakewright.engines.local import confine, record, warm
from lakewright.engines.processes import Isolation, Limits

CANNOT_START = 126
# A task calls nobody but whom its author calls.
BY_ITSELF = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}
SECRETS_FD = 3


@dataclass(frozen=True, slots=True)
class Assignment:
    """What crosses from the server to the task, as JSON."""

    dir: str
    argv: list[str]
    entry: str | None
    env: dict[str, str]
    workdir: str
    readable: list[str]
    writable: list[str]
    ports: list[int]
    listen: list[int]
    limits: dict[str, Any]
    isolation: str

    @property
    def bounds(self) -> Limits:
        return Limits(**self.limits)


def fork(assignment: Assignment, ends: tuple[int, int, int]) -> int:
    supervisor = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        _become(assignment, ends, supervisor)
        code = _run(assignment)
    except BaseException as error:
        _last_words(error)
        os._exit(CANNOT_START)
    os._exit(code)


def _last_words(error: BaseException) -> None:
    with suppress(Exception):
        os.write(2, f"the task could not be started: {type(error).__name__}: {error}\n".encode())


# --- giving up


def _become(assignment: Assignment, ends: tuple[int, int, int], supervisor: int) -> None:
    os.setsid()
    confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(CANNOT_START)
    _default_signals()
    _own_descriptors(ends)
    _own_environment(assignment)
    held = confine.data_held()
    _die_first()
    confine.limit(assignment.bounds, held)
    # The guardian's 0 was inherited; with it a task could not read its own /proc entry.
    confine.prctl(confine.PR_SET_DUMPABLE, 1)
    isolation = Isolation(assignment.isolation)
    shares = isolation is Isolation.CONFINED and warm.own_shared_memory
    if shares and not confine.own_shared_memory(assignment.bounds.memory_mb or confine.SHARED_MB):
        raise confine.Unconfinable(0, "its own /dev/shm was possible before, and is not now")
    record.note_task(Path(assignment.dir))
    if isolation.at_least(Isolation.COOPERATIVE):
        confine.drop_privileges()
    if isolation is Isolation.CONFINED:
        writable = [*map(Path, _writable(assignment)), *([confine.SHARED_MEMORY] if shares else [])]
        confine.landlock(_readable(assignment), writable, assignment.ports, assignment.listen)
        confine.seccomp()
    # Again: a change of credentials clears it.
    confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(CANNOT_START)


def _default_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _own_descriptors(ends: tuple[int, int, int]) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    moved = [os.dup(fd) if fd <= SECRETS_FD else fd for fd in (nothing, *ends)]
    for number, fd in enumerate(moved):
        os.dup2(fd, number)
    os.closerange(SECRETS_FD + 1, os.sysconf("SC_OPEN_MAX"))
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (the process's own)
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr


def _own_environment(assignment: Assignment) -> None:
    """Nothing of the server's environment arrives; what libraries expect of any process is given afresh."""
    os.umask(0o077)
    os.chdir(assignment.workdir)
    private = os.path.join(assignment.workdir, "tmp")
    with suppress(FileExistsError):
        os.mkdir(private, 0o700)
    os.environ.clear()
    os.environ.update(
        PATH=os.pathsep.join([os.path.dirname(sys.executable), "/usr/local/bin", "/usr/bin", "/bin"]),
        HOME=assignment.workdir,
        TMPDIR=private,
        USER="task",
        LOGNAME="task",
        LANG="C.UTF-8",
        PYTHONUNBUFFERED="1",
        LAKEWRIGHT_SECRETS_FD=str(SECRETS_FD),
        LAKEWRIGHT_RESULT=os.path.join(assignment.dir, "result"),
    )
    os.environ.update(BY_ITSELF)
    os.environ.update(assignment.env)


def _die_first() -> None:
    """When the machine runs out of memory, a task ends and not the server."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def _readable(assignment: Assignment) -> Iterable[Path]:
    """The interpreter and its libraries. A folder of code that holds the platform's data too is not among them."""
    interpreter = [sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable))]
    code = [path for path in map(Path, filter(os.path.isabs, sys.path)) if not holds(path, Path(assignment.dir))]
    return [*map(Path, interpreter), *code, *map(Path, assignment.readable)]


def holds(folder: Path, what: Path) -> bool:
    return what.resolve().is_relative_to(folder.resolve())


def _writable(assignment: Assignment) -> list[str]:
    return [assignment.workdir, os.path.join(assignment.dir, "result"), *assignment.writable]


# --- running


def _run(assignment: Assignment) -> int:
    if assignment.entry is None:
        os.execvpe(assignment.argv[0], assignment.argv, os.environ)
    _fresh_interpreter(Isolation(assignment.isolation))
    sys.argv = [assignment.entry, *assignment.argv]
    return _answer(assignment.entry, assignment.argv)


def _fresh_interpreter(isolation: Isolation) -> None:
    """What a forked interpreter would otherwise share with its siblings: a temporary directory, random numbers, one thread for BLAS."""
    import faulthandler
    import gc
    import tempfile

    faulthandler.enable(file=2)
    tempfile.tempdir = None
    gc.enable()
    with suppress(KeyError):
        sys.modules["numpy"].random.seed()
    _all_cores()
    if isolation is Isolation.CONFINED and "joblib" in sys.modules:
        # joblib's processes look at themselves in /proc, which is closed: what scikit-learn does in parallel, it does in threads.
        sys.modules["joblib"].parallel_config(backend="threading")


def _all_cores() -> None:
    """BLAS was loaded with one thread for the sake of the fork; the task gets the others back."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores > 1 and "threadpoolctl" in sys.modules:
        sys.modules["threadpoolctl"].threadpool_limits(cores, user_api="blas")


def _answer(entry: str, argv: list[str]) -> int:
    module, _, function = entry.partition(":")
    try:
        code = getattr(importlib.import_module(module), function)(argv)
        return code if isinstance(code, int) else 0
    except SystemExit as leaving:
        return _code_of(leaving)
    except BaseException:
        import traceback

        traceback.print_exc()
        return 1
    finally:
        _leave_like_a_program()


def _code_of(leaving: SystemExit) -> int:
    if leaving.code is None or isinstance(leaving.code, int):
        return (leaving.code or 0) & 0xFF
    sys.stderr.write(f"{leaving.code}\n")
    return 1


def _leave_like_a_program() -> None:
    """Threads are waited for and exit handlers run (MLflow's flush is one), as if the interpreter had ended by itself."""
    import atexit
    import threading

    # Both are private, and what multiprocessing calls at the end of a forked process.
    for last in (getattr(threading, "_shutdown"), getattr(atexit, "_run_exitfuncs")):  # noqa: B009 (private)
        with suppress(Exception):
            last()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
