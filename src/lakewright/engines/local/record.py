"""The attempt directory: what is on disk about one attempt, written so that no two processes can both believe they began or ended it.

attempt.json   who guards it (pid, start time, boot); the one who creates it owns the attempt
supervisor     the other process that answers for it; task: by what the task's processes are known
heartbeat      touched every second, with memory and process count
stdout stderr  what the task printed, secrets masked
result/        what the task left for its readers; the only place here that the task can write
exit           how it ended; written once
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lakewright.engines.local import tree
from lakewright.engines.processes import Exit


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Guard:
    """A process that answers for an attempt."""

    pid: int
    start: int
    boot: str
    started: int

    @property
    def alive(self) -> bool:
        return self.pid > 0 and self.boot == tree.boot() and tree.started(self.pid) == self.start

    @classmethod
    def here(cls) -> Guard:
        return cls(os.getpid(), tree.started(os.getpid()) or 0, tree.boot(), now_ms())


NOBODY = Guard(0, 0, "", 0)


def claim(directory: Path, guard: Guard) -> bool:
    """True for exactly one caller ever: the attempt is theirs."""
    return _write_once(directory / "attempt.json", asdict(guard))


def guard_of(directory: Path) -> Guard | None:
    record = _read(directory / "attempt.json")
    return Guard(**record) if record else None


def end(directory: Path, ended: Exit) -> bool:
    return _write_once(directory / "exit", asdict(ended))


def exit_of(directory: Path) -> Exit | None:
    record = _read(directory / "exit")
    return Exit(**record) if record else None


def guarded(directory: Path) -> bool:
    """Whether somebody alive will still end the attempt and write `exit`."""
    supervisor = _read(directory / "supervisor")
    guards = [guard_of(directory), Guard(**supervisor) if supervisor else None]
    return any(guard is not None and guard.alive for guard in guards)


def note_supervisor(directory: Path) -> None:
    _write_once(directory / "supervisor", asdict(Guard.here()))


def note_task(directory: Path) -> None:
    """Written by the task itself, before it runs anything of its author's: by what to know its processes if both guards should die."""
    me = os.getpid()
    own = tree.space(me)
    shared = own is None or own == tree.space(os.getppid())
    known = {"session": me, "start": tree.started(me), "space": None if shared else own, "boot": tree.boot()}
    _write_once(directory / "task", known)


def orphans(directory: Path) -> list[int]:
    """What is left of a task that nobody guards any more: all in its mount namespace, or only in its session where it had none."""
    task = _read(directory / "task")
    if not task or task["boot"] != tree.boot():
        return []
    if task["space"]:
        return tree.inhabitants(task["space"])
    again = tree.started(task["session"]) not in (
        None,
        task["start"],
    )  # the number was given to another session meanwhile
    return [] if again else tree.session(task["session"])


def _write_once(path: Path, content: dict[str, Any]) -> bool:
    """A link either appears whole or not at all, and only if there was none; also when two threads try at once."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_native_id()}")
    with open(draft, "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        with suppress(OSError):
            draft.unlink()
    return True


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
