"""Task processes: somebody's code running beside the platform, limited, watched and outliving a restart of the server.

What a launcher promises, whichever machine it starts tasks on:

* an attempt is started at most once, whatever dies and when;
* a task that is running when the server dies goes on, and the next server finds it again;
* an attempt that has an `Exit` has no process left anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

Reason = Literal["exited", "timeout", "memory", "processes", "killed", "lost"]


class Isolation(StrEnum):
    """How much a task is kept away from what is not its own.

    none         time limits and a memory watchdog only
    cooperative  rlimits, watchdog, no privileges: against accidents, not against attacks
    confined     the task's own files, the interpreter, the ports it was given, and nothing else
    """

    NONE = "none"
    COOPERATIVE = "cooperative"
    CONFINED = "confined"

    def at_least(self, other: Isolation) -> bool:
        levels = list(Isolation)
        return levels.index(self) >= levels.index(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    memory_mb: int | None = None
    cpu_seconds: int | None = None
    wall_seconds: float | None = None
    open_files: int = 1024
    processes: int = 256
    file_mb: int = 8192
    output_mb: int = 64


def _no_env() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """One attempt at one task. `entry` ("module:function") runs in a fork of the warm environment; without it `argv` is executed.
    It may connect to `ports` and wait for connections on `listen`, on no other ones."""

    attempt: str
    argv: tuple[str, ...] = ()
    entry: str | None = None
    env: Mapping[str, str] = field(default_factory=_no_env)
    workdir: Path
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    ports: tuple[int, ...] = ()
    listen: tuple[int, ...] = ()
    limits: Limits = Limits()
    redact: tuple[str, ...] = ()
    require: Isolation = Isolation.NONE
    environment: str = "default"


@dataclass(frozen=True, slots=True)
class Attempt:
    """`pid` is the attempt's guardian; None while the environment is still warming up."""

    attempt: str
    dir: Path
    pid: int | None
    started: int


@dataclass(frozen=True, slots=True)
class Exit:
    """`code` is what the task answered; None when a signal or the platform ended it. Times are milliseconds since the epoch."""

    code: int | None
    signal: int | None
    reason: Reason
    ended_at: int
    peak_memory_mb: int | None = None
    cpu_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """`result` holds what the task left for its readers: the task wrote it, so it is to be read with `lakewright.engines.processes.read_result`."""

    stdout_path: Path
    stderr_path: Path
    result: Path


class LaunchFault(Exception):
    """A task that cannot be started."""


class AlreadyStarted(LaunchFault):
    """The attempt has been started before; it is never started twice."""


class TooWeak(LaunchFault):
    """This machine cannot isolate as strongly as the task requires."""


class Launcher(Protocol):
    def isolation(self) -> Isolation: ...

    def start(self, spec: TaskSpec) -> Attempt: ...

    def poll(self, attempt: str) -> Exit | None: ...

    def kill(self, attempt: str) -> None: ...

    def output(self, attempt: str) -> Output: ...

    def live(self) -> list[Attempt]: ...

    def forget(self, attempt: str) -> None: ...


def read_result(output: Output, name: str, limit: int) -> bytes | None:
    """A file the task left, at most `limit` bytes; None when there is none. A link planted by the task is not followed."""
    import os
    import stat

    if "/" in name or name in ("", ".", ".."):
        raise ValueError(f"not the name of a result: {name!r}")
    try:
        fd = os.open(output.result / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        return file.read(limit)
