"""The local launcher: starts tasks on this machine, and finds those again that an earlier server started.

All it knows is in the attempt directories; nothing is lost with its memory.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from lakewright.engines.local import confine, record, tree
from lakewright.engines.local.task import BY_ITSELF, Assignment, holds
from lakewright.engines.processes import (
    AlreadyStarted,
    Attempt,
    Exit,
    Isolation,
    LaunchFault,
    Output,
    TaskSpec,
    TooWeak,
)

# Threads do not survive a fork, and Landlock binds only the thread that asks for it: nothing may start one at import.
QUIET = {
    **BY_ITSELF,
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
# What most tasks import anyway.
PRELOAD = (
    "pandas", "sklearn.ensemble", "sklearn.linear_model", "sklearn.model_selection", "sklearn.pipeline", "sklearn.compose",
    "sklearn.preprocessing", "sklearn.impute", "sklearn.metrics", "pyarrow.parquet", "pyarrow.ipc", "pyarrow.compute", "duckdb",
    "threadpoolctl", "sqlglot", "sqlframe.duckdb", "IPython.core.interactiveshell", "nbformat", "http.client", "ssl", "mlflow", "mlflow.sklearn", "mlflow.pyfunc",
    "databricks.sdk",
    "lakewright.runtime.main",
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_SOCKET = socket.SOCK_SEQPACKET if confine.LINUX else socket.SOCK_STREAM


@dataclass(frozen=True, slots=True)
class Environment:
    """An interpreter and what its zygote imports before tasks fork from it."""

    python: str = sys.executable
    preload: tuple[str, ...] = PRELOAD


@dataclass(frozen=True, slots=True)
class Warmth:
    """`missing` libraries could not be imported. With more than one thread, forking is not safe and a library is to blame."""

    missing: tuple[str, ...]
    threads: int


class LocalLauncher:
    """`root` holds one directory per attempt. `most` caps the isolation, for code that cannot live with it."""

    def __init__(
        self,
        root: Path,
        environments: Mapping[str, Environment] | None = None,
        most: Isolation = Isolation.CONFINED,
    ) -> None:
        self._root = root.absolute()
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._environments = dict(environments or {"default": Environment()})
        self._zygotes: dict[str, _Zygote] = {}
        self._sent_to: dict[str, _Zygote] = {}
        self._lock = threading.Lock()
        offered = confine.offer().isolation
        if any(holds(Path(open_to_all), self._root) for open_to_all in confine.SYSTEM):
            offered = min(offered, Isolation.COOPERATIVE, key=list(Isolation).index)  # tasks may read all of /usr
        self._isolation = offered if most.at_least(offered) else most

    def isolation(self) -> Isolation:
        return self._isolation

    def warm(self, environment: str = "default") -> None:
        """Begins importing an environment's libraries, without waiting for it."""
        with self._lock:
            self._zygote(environment)

    def ready(self, environment: str = "default", within: float = 60.0) -> Warmth:
        """Waits for an environment's libraries."""
        with self._lock:
            zygote = self._zygote(environment)
        return zygote.ready(within)

    def start(self, spec: TaskSpec) -> Attempt:
        directory = self._directory(spec.attempt)
        self._check(spec)
        with self._lock:
            zygote = self._zygote(spec.environment)
        _prepare(directory, spec)
        self._sent_to[spec.attempt] = zygote
        if not zygote.send(directory, _assignment(directory, spec, self._isolation), list(spec.redact)):
            self._settle(spec.attempt, Exit(None, None, "lost", record.now_ms()))
            raise LaunchFault(
                f"the environment {spec.environment!r} ended while it was starting; its log: {zygote.log}"
            )
        return Attempt(spec.attempt, directory, None, record.now_ms())

    def poll(self, attempt: str) -> Exit | None:
        """None while it runs. An attempt of which nobody knows is lost, and is never started after this answer."""
        directory = self._directory(attempt)
        if (ended := record.exit_of(directory)) is not None:
            return ended
        if self._on_its_way(attempt) or record.guarded(directory):
            return None
        if record.guard_of(directory) is None:
            return self._settle(attempt, Exit(None, None, "lost", record.now_ms()))
        return record.exit_of(directory) or self._bury(directory)

    def kill(self, attempt: str) -> None:
        directory = self._directory(attempt)
        if record.exit_of(directory) is not None:
            return
        if record.guard_of(directory) is None:
            self._settle(attempt, Exit(None, None, "killed", record.now_ms()))
        if (guard := record.guard_of(directory)) is not None:
            _signal(guard, signal.SIGTERM)

    def output(self, attempt: str) -> Output:
        directory = self._directory(attempt)
        return Output(directory / "stdout", directory / "stderr", directory / "result")

    def live(self) -> list[Attempt]:
        return [self._attempt(directory) for directory in sorted(self._root.iterdir()) if self._runs(directory)]

    def forget(self, attempt: str) -> None:
        """Removes what is on disk about an attempt that has ended."""
        import shutil

        if self.poll(attempt) is None:
            raise LaunchFault(f"{attempt} is running")
        self._sent_to.pop(attempt, None)
        shutil.rmtree(self._directory(attempt), ignore_errors=True)

    def close(self) -> None:
        """Ends the warm environments; the tasks go on."""
        with self._lock:
            for zygote in self._zygotes.values():
                zygote.close()
            self._zygotes.clear()

    # --- inside

    def _check(self, spec: TaskSpec) -> None:
        if not self._isolation.at_least(spec.require):
            raise TooWeak(f"this machine isolates tasks as {self._isolation}, {spec.require} is required")
        if spec.entry is None and not spec.argv:
            raise LaunchFault("a task needs an entry or a command")
        if spec.environment not in self._environments:
            raise LaunchFault(f"there is no environment {spec.environment!r}")
        for path in (spec.workdir, *spec.readable, *spec.writable):
            if not path.is_absolute():
                raise LaunchFault(f"not an absolute path: {path}")
            if self._root.is_relative_to(path.resolve()):
                raise LaunchFault(f"{path} contains every attempt's directory, no task may have it")

    def _directory(self, attempt: str) -> Path:
        if not _NAME.fullmatch(attempt):
            raise LaunchFault(f"not the name of an attempt: {attempt!r}")
        return self._root / attempt

    def _zygote(self, environment: str) -> _Zygote:
        zygote = self._zygotes.get(environment)
        if zygote is None or not zygote.alive:
            zygote = _Zygote(self._environments[environment], self._root / f".zygote-{environment}.log")
            self._zygotes[environment] = zygote
        return zygote

    def _on_its_way(self, attempt: str) -> bool:
        """Handed to an environment that is still importing: nobody has claimed it yet, somebody will."""
        zygote = self._sent_to.get(attempt)
        return zygote is not None and zygote.alive and record.guard_of(self._directory(attempt)) is None

    def _settle(self, attempt: str, ended: Exit) -> Exit | None:
        """Takes an attempt that nobody has begun, so that nobody will."""
        directory = self._directory(attempt)
        directory.mkdir(mode=0o700, exist_ok=True)
        if record.claim(directory, record.NOBODY):
            record.end(directory, ended)
        return record.exit_of(directory)

    def _bury(self, directory: Path) -> Exit | None:
        """Guardian and supervisor were both killed, and the task died with the latter; what it had daemonised is ended here."""
        for _ in range(100):
            if not (left := record.orphans(directory)):
                break
            tree.signal_all(left, signal.SIGKILL)
            time.sleep(0.01)  # the kernel's time to end them; what it cannot end in a second hangs in a device
        record.end(directory, Exit(None, None, "lost", record.now_ms()))
        return record.exit_of(directory)

    def _runs(self, directory: Path) -> bool:
        if directory.name.startswith(".") or (directory / "exit").exists():
            return False
        return self.poll(directory.name) is None

    def _attempt(self, directory: Path) -> Attempt:
        guard = record.guard_of(directory)
        if guard is None:
            return Attempt(directory.name, directory, None, int(directory.stat().st_mtime * 1000))
        return Attempt(directory.name, directory, guard.pid, guard.started)


class _Zygote:
    """The server's end of one warm environment."""

    def __init__(self, environment: Environment, log: Path) -> None:
        self.log = log
        self._warmth: Warmth | None = None
        self._control, theirs = socket.socketpair(socket.AF_UNIX, _SOCKET)
        fd = theirs.fileno()
        module = "lakewright.engines.local.zygote"
        with theirs, open(log, "wb") as errors:
            self._process = subprocess.Popen(
                [environment.python, "-I", "-m", module, str(fd), ",".join(environment.preload)],
                env={"PATH": os.defpath, "LANG": "C.UTF-8", **QUIET},
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=(fd,),
                cwd="/",
                start_new_session=True,
            )

    def ready(self, within: float) -> Warmth:
        if self._warmth is None:
            self._control.settimeout(within)
            try:
                said = json.loads(self._control.recv(65536))
            except (OSError, ValueError) as error:
                raise LaunchFault(f"the environment is not ready; its log: {self.log}") from error
            finally:
                self._control.settimeout(None)
            self._warmth = Warmth(tuple(said["missing"]), said["threads"])
        return self._warmth

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def send(self, directory: Path, assignment: Assignment, secrets: list[str]) -> bool:
        """Hands an attempt over: the zygote sees only the directory's name, what is confidential lies behind the descriptors."""
        with _confidential(asdict(assignment)) as first, _confidential(secrets) as second:
            try:
                socket.send_fds(self._control, [os.fsencode(directory)], [first.fileno(), second.fileno()])
            except OSError:
                return False
        return True

    def close(self) -> None:
        self._control.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
            return
        self._process.kill()
        self._process.wait()


def _prepare(directory: Path, spec: TaskSpec) -> None:
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        raise AlreadyStarted(spec.attempt) from None
    (directory / "result").mkdir(mode=0o700)
    for name in ("stdout", "stderr"):
        (directory / name).touch(mode=0o600)
    spec.workdir.mkdir(mode=0o700, parents=True, exist_ok=True)


def _assignment(directory: Path, spec: TaskSpec, isolation: Isolation) -> Assignment:
    return Assignment(
        dir=str(directory),
        argv=list(spec.argv),
        entry=spec.entry,
        env=dict(spec.env),
        workdir=str(spec.workdir),
        readable=[str(path) for path in spec.readable],
        writable=[str(path) for path in spec.writable],
        ports=list(spec.ports),
        listen=list(spec.listen),
        limits=asdict(spec.limits),
        isolation=isolation,
    )


def _confidential(content: object) -> IO[bytes]:
    """An anonymous file: no path, no other reader."""
    if hasattr(os, "memfd_create"):
        file = os.fdopen(os.memfd_create("task", os.MFD_CLOEXEC), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115 (handed over open)
    file.write(json.dumps(content).encode())
    file.flush()
    return file


def _signal(guard: record.Guard, number: int) -> None:
    """A descriptor of the process first, then the check of who it is: a pid may have been given to another meanwhile."""
    if not guard.alive:
        return
    with suppress(ProcessLookupError):
        if not hasattr(os, "pidfd_open"):
            os.kill(guard.pid, number)
            return
        fd = os.pidfd_open(guard.pid)
        try:
            if guard.alive:
                signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)
