"""Process trees: who descends from whom, who is still the process we started, and ending all of them.

A process is known by its pid *and* its start time, because pids are reused; and by the boot, because start times count from it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

LINUX = sys.platform == "linux"
_MOUNT_NAMESPACE_ID = 0x8008B705  # NS_GET_MNTNS_ID, since Linux 6.11


@cache
def boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the state on; the name before them may contain anything, spaces and brackets too."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].decode().split()
    except OSError:
        return None


def started(pid: int) -> int | None:
    """When the living process `pid` began, in the kernel's own unit; None if there is none (a zombie is dead)."""
    if not LINUX:
        return _started_elsewhere(pid)
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] not in "ZX" else None


def _started_elsewhere(pid: int) -> int | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time() * 100)
    except psutil.Error:
        return None


def _parents() -> dict[int, list[int]]:
    """Children by parent, zombies left out: one pass over /proc, since not every kernel offers /proc/<pid>/task/*/children."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))) and fields[0] not in "ZX":
            children.setdefault(int(fields[1]), []).append(int(name))
    return children


def descendants(root: int) -> list[int]:
    if not LINUX:
        return _descendants_elsewhere(root)
    children, found, ahead = _parents(), list[int](), [root]
    while ahead:
        below = children.get(ahead.pop(), [])
        found += below
        ahead += below
    return found


def _descendants_elsewhere(root: int) -> list[int]:
    import psutil

    with suppress(psutil.Error):
        return [child.pid for child in psutil.Process(root).children(recursive=True)]
    return []


def session(leader: int) -> list[int]:
    """The living processes of the session that `leader` opened, whoever their parent is by now."""
    if not LINUX:
        return []
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if (fields := _stat(pid)) and fields[0] not in "ZX" and int(fields[3]) == leader]


def space(pid: int) -> int | None:
    """The number of the mount namespace that a process lives in: never given twice, and never left by a confined task."""
    if not LINUX:
        return None
    try:
        with open(f"/proc/{pid}/ns/mnt", "rb") as file:
            return int.from_bytes(fcntl.ioctl(file, _MOUNT_NAMESPACE_ID, bytes(8)), sys.byteorder)
    except OSError:
        return None


def inhabitants(number: int) -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and space(int(name)) == number]


def signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def end_descendants(me: int) -> dict[int, tuple[int, float]]:
    """Kills everything below this process; answers the wait status and CPU seconds of what it reaped.

    The caller is the subreaper of the tree: whatever a task daemonised comes back as our child, so having no child left proves that nothing
    is left. All are stopped before any is killed, for a tree that forks faster than it is walked.
    """
    ended: dict[int, tuple[int, float]] = {}
    while True:
        stopped: set[int] = set()
        while new := [pid for pid in descendants(me) if pid not in stopped]:
            signal_all(new, signal.SIGSTOP)
            stopped.update(new)
        signal_all(list(stopped), signal.SIGKILL)
        try:
            pid, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return ended
        ended[pid] = (status, usage.ru_utime + usage.ru_stime)


def memory(pids: list[int], enough: int) -> int:
    """Bytes the processes hold together. Shared pages are divided among their users (PSS) only when the cheap sum exceeds `enough`:

    a fork of a warm environment shares most of its pages, and walking page tables ten times a second would cost more than the task.
    """
    resident = sum(_resident(pid) for pid in pids)
    return resident if resident <= enough else sum(_proportional(pid) for pid in pids)


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0 if LINUX else _resident_elsewhere(pid)


def _resident_elsewhere(pid: int) -> int:
    import psutil

    with suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _proportional(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            line = next((line for line in file if line.startswith(b"Pss:")), b"Pss: 0 kB")
            return int(line.split()[1]) * 1024
    except OSError:
        return _resident(pid)
