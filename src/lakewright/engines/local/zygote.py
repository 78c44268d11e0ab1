"""The zygote: one warm process per environment, its libraries imported, from which tasks are forked in milliseconds.

It is single-threaded, keeps nothing between tasks and never sees a secret: what a task is to run arrives as two file descriptors that only
the forked child reads. It ends when the server that started it ends; the tasks do not.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from lakewright.engines.local import confine, supervisor, task, warm


def main(argv: list[str]) -> int:
    control = socket.socket(fileno=int(argv[0]))
    confine.prctl(confine.PR_SET_DUMPABLE, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warm.look_around()
    missing = preload(argv[1].split(",") if argv[1] else [])
    gc.collect()
    gc.disable()
    gc.freeze()
    _say(control, {"missing": missing, "threads": threads()})
    while (received := _next(control)) is not None:
        _launch(control, *received)
    return 0


# Libraries that bring in another one that starts threads at import, if that is installed: left for the task to import.
NOT_WITH = {"mlflow": "polars"}


def preload(modules: list[str]) -> list[str]:
    """Imports what is there; an environment without one of the libraries still serves tasks that do not need it."""
    missing: list[str] = []
    for module in modules:
        hindrance = NOT_WITH.get(module.partition(".")[0])
        if hindrance and importlib.util.find_spec(hindrance):
            continue
        try:
            importlib.import_module(module)
        except ImportError:
            missing.append(module)
    return missing


def threads() -> int:
    return len(os.listdir("/proc/self/task")) if confine.LINUX else 1


def _say(control: socket.socket, message: dict[str, object]) -> None:
    with suppress(OSError):
        control.sendall(json.dumps(message).encode() + b"\n")


def _next(control: socket.socket) -> tuple[str, list[int]] | None:
    """The next attempt's directory with its two descriptors; None when the server is gone. Ended guardians are reaped while waiting."""
    while True:
        _reap()
        if select.select([control], [], [], 1.0)[0]:
            break
    try:
        message, fds, _flags, _address = socket.recv_fds(control, 65536, 2)
    except ConnectionError:
        return None
    return (message.decode(), fds) if message else None


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _launch(control: socket.socket, directory: str, fds: list[int]) -> None:
    """Forks the guardian; it is in its own session, so that nothing sent to the server's terminal reaches it."""
    if os.fork() == 0:
        with supervisor.leaving():
            os.setsid()
            control.close()
            supervisor.guard(Path(directory), lambda: _work(*fds))
    for fd in fds:
        os.close(fd)


def _work(assignment_fd: int, secrets_fd: int) -> supervisor.Work:
    with os.fdopen(assignment_fd, "rb") as file:
        file.seek(0)
        assignment = task.Assignment(**json.loads(file.read()))

    def secrets() -> list[str]:
        with os.fdopen(secrets_fd, "rb") as file:
            file.seek(0)
            return json.loads(file.read())

    return supervisor.Work(Path(assignment.dir), assignment.bounds, lambda ends: task.fork(assignment, ends), secrets)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
