"""Confinement: what a process gives up for good before it runs somebody else's code.

Four layers, none of which needs a privilege, each applied as far as the kernel offers it:

* privileges: no capability, none to be gained by executing a file (`no_new_privs`);
* rlimits: CPU, data, files, processes, no core dump;
* Landlock: the file hierarchies and TCP ports it was given, signals and abstract sockets of its own processes only;
* seccomp: what Landlock does not cover (UDP, Unix and raw sockets, MPTCP and fast-open connects, tracing, new namespaces, io_uring).

What remains open at level `confined`: kernel bugs, side channels, the metadata (not the content) of files of the same user: stat and chmod.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lakewright.engines.processes import Isolation, Limits

LINUX = sys.platform == "linux"
MEGABYTE = 1 << 20
SHARED_MB = 1024

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP = 1, 4, 22
PR_CAPBSET_DROP, PR_SET_SECUREBITS, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 24, 28, 36, 38


class Unconfinable(OSError):
    """The kernel refused a step of the confinement; the task must not run."""


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def prctl(option: int, argument: int) -> bool:
    return LINUX and _libc().prctl(option, ctypes.c_ulong(argument), 0, 0, 0) == 0


# --- what this machine offers


@dataclass(frozen=True, slots=True)
class Offer:
    """`landlock` is the version of its interface, 0 for none."""

    landlock: int
    seccomp: bool

    @property
    def isolation(self) -> Isolation:
        if not LINUX:
            return Isolation.NONE
        # Below 6, Landlock does not keep a task from signalling the server; below 4, not from connecting to any port.
        return Isolation.CONFINED if self.landlock >= 6 and self.seccomp else Isolation.COOPERATIVE


@cache
def offer() -> Offer:
    if not LINUX:
        return Offer(0, seccomp=False)
    version = _libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    return Offer(max(0, version), seccomp=platform.machine() in _MACHINES and Path("/proc/sys/kernel/seccomp").exists())


# --- rlimits


def limit(limits: Limits, data_now: int) -> None:
    """`data_now`: what the warm environment holds already; the watchdog counts what the task adds, a limit of the kernel counts all."""
    # 1, not 0: a core_pattern that pipes to a program ignores 0, and cores hold secrets.
    _rlimit(resource.RLIMIT_CORE, 1)
    _rlimit(resource.RLIMIT_NOFILE, limits.open_files)
    _rlimit(resource.RLIMIT_FSIZE, limits.file_mb * MEGABYTE)
    if limits.cpu_seconds is not None:
        _rlimit(resource.RLIMIT_CPU, limits.cpu_seconds, grace=5)
    if limits.memory_mb is not None and LINUX:
        # DATA and not AS: the latter breaks the JVM. A quarter above the limit, which the watchdog enforces over the tree;
        # this one stops the allocation too fast to be watched.
        _rlimit(resource.RLIMIT_DATA, data_now + limits.memory_mb * MEGABYTE * 5 // 4)
    with suppress(OSError, ValueError):
        _rlimit(resource.RLIMIT_NPROC, limits.processes + _of_this_user())


def _rlimit(kind: int, value: int, grace: int = 0) -> None:
    _, hard = resource.getrlimit(kind)
    most = value + grace if hard == resource.RLIM_INFINITY else min(value + grace, hard)
    resource.setrlimit(kind, (min(value, most), most))


def _of_this_user() -> int:
    """RLIMIT_NPROC counts every thread of the user, so the task's share comes on top of what runs already."""
    count, me = 0, os.getuid()
    for name in os.listdir("/proc"):
        with suppress(OSError):
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == me:
                count += len(os.listdir(f"/proc/{name}/task"))
    return count


def data_held() -> int:
    with suppress(OSError, StopIteration), open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith("VmData:")).split()[1]) * 1024
    return 0


# --- privileges


def drop_privileges() -> None:
    if not LINUX:
        return
    # Root by uid gains nothing by it: NOROOT and NO_SETUID_FIXUP, locked. Refused to who has no capability, and needless then.
    prctl(PR_SET_SECUREBITS, 0x2F)
    for capability in range(64):
        prctl(PR_CAPBSET_DROP, capability)
    header = struct.pack("=Ii", 0x20080522, 0)
    if _libc().capset(header, bytes(24)) != 0:
        raise Unconfinable(ctypes.get_errno(), "capabilities could not be dropped")
    if not prctl(PR_SET_NO_NEW_PRIVS, 1):
        raise Unconfinable(ctypes.get_errno(), "no_new_privs could not be set")


# --- shared memory of its own

_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000
_PRIVATE_RECURSIVE, _NOSUID_NODEV_NOEXEC = 0x44000, 0xE
SHARED_MEMORY = Path("/dev/shm")


def own_shared_memory(most_mb: int) -> bool:
    """Gives this process an empty /dev/shm that nobody else sees: semaphores live there, and thread pools need them too.

    Needs a mount namespace: as root at once, otherwise by way of a user namespace, which not every system allows. Without
    one /dev/shm stays closed, since tasks of one user could not be kept apart there.
    """
    uid, gid = os.getuid(), os.getgid()
    if _libc().unshare(_NEW_MOUNTS) != 0:
        if _libc().unshare(_NEW_USER | _NEW_MOUNTS) != 0:
            return False
        for name, content in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            Path("/proc/self", name).write_text(content)
    options = f"size={most_mb}m,mode=0700,uid={uid},gid={gid}".encode()
    return (
        _libc().mount(b"none", b"/", None, ctypes.c_ulong(_PRIVATE_RECURSIVE), None) == 0
        and _libc().mount(b"tmpfs", bytes(SHARED_MEMORY), b"tmpfs", ctypes.c_ulong(_NOSUID_NODEV_NOEXEC), options) == 0
    )


def can_own_shared_memory() -> bool:
    """Tried out in a child, because there is no way back."""
    if not LINUX:
        return False
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if own_shared_memory(1) else 1)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


# --- Landlock

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_BENEATH, _PORT = 1, 2
_BIND, _CONNECT = 1, 2
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL = 1, 2, 4, 8, 1 << 14, 1 << 15
_ALL_BY_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_DEVICES = (1 << 6) | (1 << 11)
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL

SYSTEM = (
    "/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/hosts",
    "/etc/host.conf", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols", "/etc/localtime",
    "/etc/timezone", "/etc/mime.types", "/etc/alternatives", "/etc/fonts", "/sys/devices/system/cpu", "/sys/devices/system/node",
    "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage",
)  # fmt: skip
KERNEL_FIGURES = (
    "cpuinfo", "meminfo", "stat", "loadavg", "uptime", "version", "filesystems", "vmstat", "sys/kernel/osrelease", "sys/kernel/ngroups_max",
    "sys/kernel/pid_max", "sys/vm/overcommit_memory", "sys/vm/max_map_count", "sys/net/core/somaxconn",
)  # fmt: skip
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def landlock(
    readable: Iterable[Path], writable: Iterable[Path], ports: Iterable[int], listen: Iterable[int] = ()
) -> None:
    version = offer().landlock
    if version == 0:
        return
    handled = _ALL_BY_VERSION.get(version, (1 << 16) - 1)
    attributes = struct.pack("=QQQ", handled, 3, 3)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = _landlock_call(_CREATE_RULESET, attributes, len(attributes), 0)
    for path in (*map(Path, SYSTEM), *readable):
        _allow(ruleset, path, _READ & handled)
    for path in (Path("/proc", figure) for figure in KERNEL_FIGURES):
        _allow(ruleset, path, _READ_FILE)
    # Its own entry only: another process's environment and memory are closed to it twice, by this and by the tracing rule of Landlock.
    _allow(ruleset, Path("/proc", str(os.getpid())), (_READ_FILE | _READ_DIR | _WRITE_FILE) & handled)
    for path in map(Path, DEVICES):
        _allow(ruleset, path, (_READ_FILE | _WRITE_FILE | _IOCTL | _TRUNCATE) & handled)
    for path in writable:
        _allow(ruleset, path, handled & ~_DEVICES)
    if version >= 4:
        for access, allowed in ((_CONNECT, ports), (_BIND, listen)):
            for port in allowed:
                _landlock_call(_ADD_RULE, ruleset, _PORT, struct.pack("=QQ", access, port), 0)
    _landlock_call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: Path, access: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no permission
    try:
        mask = access if os.path.isdir(path) else access & _OF_A_FILE
        _landlock_call(_ADD_RULE, ruleset, _BENEATH, struct.pack("=Qi", mask, fd), 0)
    finally:
        os.close(fd)


def _landlock_call(number: int, *arguments: int | bytes) -> int:
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    answer = _libc().syscall(number, *converted)
    if answer < 0:
        error = ctypes.get_errno()
        raise Unconfinable(error, f"Landlock refused call {number}: {os.strerror(error)}")
    return answer


# --- seccomp


@dataclass(frozen=True, slots=True)
class _Machine:
    audit: int
    socket: int
    clone: int
    fast_open: dict[int, int]
    forbidden: tuple[int, ...]


# forbidden: bpf perf_event_open userfaultfd keyctl add_key request_key ptrace process_vm_readv process_vm_writev mount unshare setns pidfd_getfd
#            chown fchown lchown fchownat
_MACHINES = {
    "x86_64": _Machine(
        audit=0xC000003E, socket=41, clone=56, fast_open={44: 3, 46: 2, 307: 3},
        forbidden=(321, 298, 323, 250, 248, 249, 101, 310, 311, 165, 272, 308, 438, 92, 93, 94, 260),
    ),
    "aarch64": _Machine(
        audit=0xC00000B7, socket=198, clone=220, fast_open={206: 3, 211: 2, 269: 3},
        forbidden=(280, 241, 282, 219, 217, 218, 117, 270, 271, 40, 97, 268, 438, 55, 54),
    ),
}  # fmt: skip
_IO_URING, _CLONE3 = 425, 435
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _EACCES, _ENOSYS = 1, 13, 38
_MSG_FASTOPEN, _NEW_USER_NAMESPACE = 0x20000000, 0x10000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06

Step = tuple[int, int, int, int]


def filter_program(machine: str) -> list[Step]:
    """The seccomp filter as BPF steps (code, jump if true, jump if false, constant)."""
    on = _MACHINES[machine]
    steps: list[Step] = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, on.audit), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    if machine == "x86_64":
        steps += _refuse((_AT_LEAST, 0, 1, 0x40000000), _ENOSYS)  # the x32 twin of every call
    for number in (_IO_URING, _CLONE3):
        # Their arguments lie in memory, out of sight; libraries fall back to the older calls.
        steps += _refuse((_EQUAL, 0, 1, number), _ENOSYS)
    for number in on.forbidden:
        steps += _refuse((_EQUAL, 0, 1, number), _EPERM)
    steps += _when(on.clone, [_argument(0), (_ANY_BIT, 0, 1, _NEW_USER_NAMESPACE), _error(_EPERM), _allowed()])
    for number, flags in on.fast_open.items():
        # Data on the opening packet connects without being asked about the port.
        steps += _when(number, [_argument(flags), (_ANY_BIT, 0, 1, _MSG_FASTOPEN), _error(_EPERM), _allowed()])
    steps += _when(on.socket, _tcp_only())
    return [*steps, _allowed()]


def _tcp_only() -> list[Step]:
    """AF_INET or AF_INET6, a stream, and plain TCP: any other socket escapes Landlock's rule on ports (MPTCP too)."""
    return [
        _argument(0), (_EQUAL, 1, 0, 2), (_EQUAL, 0, 7, 10),
        _argument(1), (_AND, 0, 0, 0xF), (_EQUAL, 0, 4, 1),
        _argument(2), (_EQUAL, 1, 0, 0), (_EQUAL, 0, 1, 6),
        _allowed(), _error(_EACCES),
    ]  # fmt: skip


def _argument(index: int) -> Step:
    return (_LOAD, 0, 0, 16 + 8 * index)


def _allowed() -> Step:
    return (_RETURN, 0, 0, _ALLOW)


def _error(number: int) -> Step:
    return (_RETURN, 0, 0, _ERRNO | number)


def _refuse(test: Step, number: int) -> list[Step]:
    return [test, _error(number)]


def _when(number: int, then: list[Step]) -> list[Step]:
    """Every path of `then` returns, so the steps that follow still have the call's number loaded."""
    return [(_EQUAL, 0, len(then), number), *then]


def seccomp() -> None:
    if not offer().seccomp:
        return
    program = filter_program(platform.machine())
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    header = struct.pack("@HP", len(program), ctypes.addressof(code))
    if _libc().prctl(PR_SET_SECCOMP, ctypes.c_ulong(2), header, 0, 0) != 0:
        raise Unconfinable(ctypes.get_errno(), "the seccomp filter was refused")
