"""Supervision: two small processes stand between the server and a task, so that neither's death loses the other.

    guardian     parent of the supervisor; if that is killed, the whole tree falls to the guardian, which ends it and reports it lost
    supervisor   starts the task, copies its output with secrets masked, watches its memory and time, ends its tree, writes `exit`

Both are subreapers: a process that a task daemonised stays below them. Neither needs the server, which may come and go.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from lakewright.engines.local import confine, record, tree
from lakewright.engines.local.redact import Redactor
from lakewright.engines.processes import Exit, Limits, Reason

TICK = 0.1
BEAT = 1.0
MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Work:
    """A task as the supervisor gets it: `start` forks it onto the given ends of stdout, stderr and the pipe it names secrets on.

    `secrets` is asked only after that, so that the task's memory never held what is to be masked in its output.
    """

    dir: Path
    limits: Limits
    start: Callable[[tuple[int, int, int]], int]
    secrets: Callable[[], list[str]]


def guard(directory: Path, work: Callable[[], Work]) -> int:
    """Guardian: claims the attempt, puts a supervisor in front of the task and outlives it. Answers its own exit code."""
    # From the claim on it may come, and must not be lost before it can be passed on.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    if not record.claim(directory, record.Guard.here()):
        return 1
    _become_subreaper()
    me = os.getpid()
    supervisor = os.fork()
    if supervisor == 0:
        with leaving():
            _Supervisor(work(), guardian=me).run()
    _pass_on(signal.SIGTERM, supervisor)
    os.waitpid(supervisor, 0)
    tree.end_descendants(me)
    if record.end(directory, Exit(None, None, "lost", record.now_ms())):
        return 1
    return 0


def _become_subreaper() -> None:
    confine.prctl(confine.PR_SET_CHILD_SUBREAPER, 1)
    confine.prctl(confine.PR_SET_DUMPABLE, 0)  # it holds the task's secrets in order to mask them


def _pass_on(number: int, pid: int) -> None:
    def forward(_number: int, _frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])


class leaving:
    """Leaves through `os._exit`, so that a forked child never returns into the code of its parent."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if error is not None:
            with suppress(Exception):
                import traceback

                traceback.print_exception(error)
        os._exit(0 if error is None else 1)


class _Stream:
    """One of the task's outputs on its way to its file: masked, and bounded by dropping its oldest part."""

    def __init__(self, fd: int, path: Path, redactor: Redactor, most: int) -> None:
        self.fd, self._redactor, self._most = fd, redactor, most
        self._file = open(path, "w+b", buffering=0)  # noqa: SIM115 (open as long as the task)

    def copy(self) -> bool:
        """False at the end of the stream."""
        data = os.read(self.fd, 65536)
        self._write(self._redactor.feed(data) if data else self._redactor.close())
        return bool(data)

    def _write(self, data: bytes) -> None:
        if data:
            self._file.write(data)
        if self._file.tell() > 2 * self._most:
            self._keep_the_end()

    def _keep_the_end(self) -> None:
        self._file.seek(-self._most, os.SEEK_END)
        end = self._file.read()
        self._file.seek(0)
        self._file.truncate()
        self._file.write(b"[earlier output dropped]\n" + end)


class _Supervisor:
    def __init__(self, work: Work, guardian: int) -> None:
        self._work, self._guardian = work, guardian
        self._dir, self._limits = work.dir, work.limits
        self._reason: Reason = "exited"
        self._status: int | None = None
        self._cpu: float | None = None
        self._peak = 0
        self._heard, self._room = b"", MEGABYTE

    def run(self) -> None:
        _become_subreaper()
        record.note_supervisor(self._dir)
        self._wake = _wakeable()
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        self._told, told_end = os.pipe()
        self._task = self._work.start((out_end, err_end, told_end))
        for fd in (out_end, err_end, told_end):
            os.close(fd)
        os.set_blocking(self._told, False)
        self._redactors = [Redactor(), Redactor()]
        self._learn(self._work.secrets())
        most = self._limits.output_mb * MEGABYTE
        self._streams = [
            _Stream(out, self._dir / "stdout", self._redactors[0], most),
            _Stream(err, self._dir / "stderr", self._redactors[1], most),
        ]
        self._watch()
        self._finish()

    # --- while it runs

    def _watch(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake, selectors.EVENT_READ)
        for stream in self._streams:
            self._selector.register(stream.fd, selectors.EVENT_READ, stream)
        begun = time.monotonic()
        look = beat = begun
        while self._status is None and self._reason == "exited":
            self._copy_ready(TICK)
            self._reap()
            now = time.monotonic()
            if self._limits.wall_seconds is not None and now - begun > self._limits.wall_seconds:
                self._reason = "timeout"
            elif os.getppid() != self._guardian:
                self._reason = "lost"
            elif now >= look:
                self._look(beats=now >= beat)
                beat = now + BEAT if now >= beat else beat
                # On a machine with many processes a look is not free; it may cost a twentieth of a core, not more.
                look = now + max(TICK, 20 * (time.monotonic() - now))

    def _copy_ready(self, wait: float) -> bool:
        ready = self._selector.select(wait)
        self._hear_of_secrets()
        for key, _ in ready:
            if key.data is None:
                self._answer_signals()
            elif not key.data.copy():
                self._selector.unregister(key.fd)
        return any(key.data is not None for key, _ in ready)

    def _answer_signals(self) -> None:
        numbers = os.read(self._wake, 4096)
        if signal.SIGTERM in numbers and self._reason == "exited":
            self._reason = "killed"

    def _hear_of_secrets(self) -> None:
        """A task names a secret it has looked up before it can print it, so it is always heard of before the output is copied."""
        with suppress(BlockingIOError):
            while data := os.read(self._told, 65536):
                if self._room < len(data):
                    continue
                self._room -= len(data)
                *complete, self._heard = (self._heard + data).split(b"\0")
                self._learn([secret.decode(errors="replace") for secret in complete])

    def _learn(self, secrets: list[str]) -> None:
        for redactor in self._redactors:
            redactor.add(*secrets)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._task:
                    self._status, self._cpu = status, usage.ru_utime + usage.ru_stime

    def _look(self, *, beats: bool) -> None:
        pids = tree.descendants(os.getpid())
        allowed = self._limits.memory_mb and self._limits.memory_mb * MEGABYTE
        held = tree.memory(pids, enough=allowed or 1 << 62)
        self._peak = max(self._peak, held)
        if allowed and held > allowed:
            self._reason = "memory"
        elif len(pids) > self._limits.processes:
            self._reason = "processes"
        if beats:
            (self._dir / "heartbeat").write_text(json.dumps({"memory_mb": held // MEGABYTE, "processes": len(pids)}))

    # --- when it has ended

    def _finish(self) -> None:
        ended = tree.end_descendants(os.getpid())
        if self._status is None and self._task in ended:
            self._status, self._cpu = ended[self._task]
        while len(self._selector.get_map()) > 1 and self._copy_ready(TICK):
            pass
        self._mask_results()
        record.end(self._dir, self._exit())

    def _mask_results(self) -> None:
        """The result files were written by the task itself; none of them leaves with a secret the platform knows of."""
        redactor = self._redactors[0]
        for path in (self._dir / "result").iterdir():
            with suppress(OSError):
                if path.is_symlink() or not path.is_file() or path.stat().st_size > 64 * MEGABYTE:
                    path.unlink()
                    continue
                before = path.read_bytes()
                if (after := redactor.whole(before)) != before:
                    path.write_bytes(after)

    def _exit(self) -> Exit:
        status = self._status or 0
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) and self._reason == "exited" else None
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        return Exit(code, number, self._reason, record.now_ms(), self._peak // MEGABYTE, self._cpu)


def _wakeable() -> int:
    """A file descriptor that becomes readable when the task ends or the guardian passes SIGTERM on."""
    reading, writing = os.pipe()
    for fd in (reading, writing):
        os.set_blocking(fd, False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda _number, _frame: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    return reading
