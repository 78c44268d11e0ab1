"""Paths: reaching a file below a folder and nothing outside it, whatever the path says and whatever lies there.

A path from a request is first read as a list of plain names (`names`), then walked one folder at a time from an open
folder with links refused (`Folder`). There is no moment between a check and its use at which a link could be slipped
in, as there is with `realpath`.
"""

import ctypes
import errno
import fcntl
import os
import stat
import unicodedata
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from lakewright.kernel.faults import AlreadyExists, BadState, Denied, Invalid, NotFound

T = TypeVar("T")

LONGEST_NAME = 255
LONGEST_PATH = 4096
PARTIAL = ".lakewright-partial-"
"""Files still being written, locked by who writes them; hidden from listings and unreachable by name."""
RENAME_NOREPLACE = 1
_renameat2: Any = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def names(path: str) -> list[str]:
    """The names along `path`; Invalid for anything that is not a plain path downwards.

    The path has been URL-decoded exactly once by the time it comes here; a `%2e` still in it is a name like any other.
    """
    if len(path.encode("utf-8", "surrogatepass")) > LONGEST_PATH:
        raise Invalid(f"a path may have {LONGEST_PATH} bytes")
    found = [name for name in path.strip("/").split("/")] if path.strip("/") else []
    for name in found:
        _check(name)
    return found


def _check(name: str) -> None:
    if name in ("", ".", ".."):
        raise Invalid(f"a path may not contain '{name}' as a name" if name else "a path may not contain '//'")
    if name.startswith(PARTIAL):
        raise Invalid(f"names starting with '{PARTIAL}' are taken")
    if bad := next((c for c in name if c == "\\" or unicodedata.category(c) in ("Cc", "Cs", "Cf", "Zl", "Zp")), None):
        raise Invalid(f"a path may not contain U+{ord(bad):04X}")
    if len(name.encode()) > LONGEST_NAME:
        raise Invalid(f"a name in a path may have {LONGEST_NAME} bytes")


@dataclass(frozen=True)
class Entry:
    name: str
    is_directory: bool
    size: int
    modified_at: int
    """Milliseconds since the epoch."""


class Place:
    """A file or folder below `root`. Nothing is touched until it is used. `called` is what refusals call it."""

    def __init__(self, root: Path, below: list[str], called: str = "") -> None:
        self.root, self.below, self.called = root, below, called

    def __str__(self) -> str:
        return self.called or "/" + "/".join(self.below)

    # ---- looking

    def entry(self) -> Entry:
        """What lies here; NotFound when nothing a caller may see does."""
        if not self.below:
            with _opened(self.root, [], self.called) as folder:
                return _entry("", os.fstat(folder))
        with self._parent() as parent:
            return _entry(self.below[-1], self._stat(parent))

    def entries(self) -> list[Entry]:
        """The folder's content by name, without links, devices and half-written files."""
        with _opened(self.root, self.below, self.called) as folder:
            return sorted(_listed(folder), key=lambda e: e.name)

    def open(self) -> int:
        """An open descriptor of the plain file here; the caller closes it."""
        if not self.below:
            raise NotFound("a folder is not a file")
        with self._parent() as parent:
            # O_NONBLOCK: opening a pipe somebody left here must not wait for its other end.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = _os(os.open, self, self.below[-1], flags, dir_fd=parent)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            os.close(fd)
            raise NotFound(f"there is no file at {self}")
        return fd

    # ---- changing

    def put(self, *sources: Path, overwrite: bool) -> None:
        """The content of the sources, one after the other, whole and durable, or nothing. They are left where they are."""
        if not self.below:
            raise Invalid("a file needs a name")
        self.parent().make()
        with self._parent() as parent:
            self._refuse_what_is_not_a_file(parent)
            partial = f"{PARTIAL}{uuid4().hex}"
            try:
                with _created(partial, parent) as write:
                    _copy(sources, write)
                    self._settle(partial, parent, overwrite=overwrite)
            finally:
                _unlink_if_there(partial, parent)
            os.fsync(parent)

    def remove(self) -> None:
        with self._parent() as parent:
            if stat.S_ISDIR(self._stat(parent).st_mode):
                raise BadState(f"{self} is a folder")
            _os(os.unlink, self, self.below[-1], dir_fd=parent)
            os.fsync(parent)

    def make(self) -> None:
        """The folder here and every one above it."""
        for depth in range(1, len(self.below) + 1):
            with _opened(self.root, self.below[: depth - 1], self.called) as parent:
                try:
                    os.mkdir(self.below[depth - 1], 0o700, dir_fd=parent)
                    os.fsync(parent)
                except FileExistsError:
                    above = Place(self.root, self.below[:depth], self.called)
                    if not stat.S_ISDIR(above._stat(parent).st_mode):
                        raise AlreadyExists(f"a file is in the way to {self}") from None

    def remove_folder(self) -> None:
        if not self.below:
            raise Denied("the root itself stays")
        with _opened(self.root, self.below, self.called) as folder:
            _clear_abandoned(folder)
            if any(os.scandir(folder)):
                raise BadState(f"{self} is not empty", code="DIRECTORY_NOT_EMPTY")
        with self._parent() as parent:
            try:
                os.rmdir(self.below[-1], dir_fd=parent)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    raise BadState(f"{self} is not empty", code="DIRECTORY_NOT_EMPTY") from error
                raise _fault(error, self) from error
            os.fsync(parent)

    def parent(self) -> "Place":
        return Place(self.root, self.below[:-1], self.called)

    # ---- how

    @contextmanager
    def _parent(self) -> Generator[int]:
        if not self.below:
            raise Invalid("a name is required")
        with _opened(self.root, self.below[:-1], self.called) as folder:
            yield folder

    def _stat(self, parent: int) -> os.stat_result:
        found = _os(os.stat, self, self.below[-1], dir_fd=parent, follow_symlinks=False)
        if not _plain(found):
            raise NotFound(f"nothing is at {self}")
        return found

    def _refuse_what_is_not_a_file(self, parent: int) -> None:
        try:
            found = os.stat(self.below[-1], dir_fd=parent, follow_symlinks=False)
        except OSError:
            return
        if not stat.S_ISREG(found.st_mode):
            raise AlreadyExists(f"{self} is not a file")

    def _settle(self, partial: str, parent: int, *, overwrite: bool) -> None:
        """Give the finished file its name; a taken one is refused in one step with taking it."""
        if overwrite:
            os.rename(partial, self.below[-1], src_dir_fd=parent, dst_dir_fd=parent)
            return
        try:
            _rename_to_free(partial, self.below[-1], parent)
        except FileExistsError as error:
            raise AlreadyExists(f"{self} already exists", code="ALREADY_EXISTS") from error


@contextmanager
def _opened(root: Path, below: list[str], called: str = "") -> Generator[int]:
    """The folder `below` the root, reached name by name with links refused."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        fd = os.open(root, flags)
    except OSError as error:
        raise _fault(error, Place(root, [], called)) from error
    try:
        for depth, name in enumerate(below, 1):
            lower = _os(os.open, Place(root, below[:depth], called), name, flags | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = lower
        yield fd
    finally:
        os.close(fd)


def _plain(found: os.stat_result) -> bool:
    """A folder, or a file with one name: a second name could be a way to somebody else's file."""
    return stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1)


def _entry(name: str, found: os.stat_result) -> Entry:
    is_directory = stat.S_ISDIR(found.st_mode)
    return Entry(name, is_directory, 0 if is_directory else found.st_size, found.st_mtime_ns // 1_000_000)


def _listed(folder: int) -> Iterator[Entry]:
    with os.scandir(folder) as inside:
        for each in inside:
            try:
                found = each.stat(follow_symlinks=False)
            except FileNotFoundError:  # gone since the listing began
                continue
            if _plain(found) and not each.name.startswith(PARTIAL):
                yield _entry(each.name, found)


@contextmanager
def _created(partial: str, parent: int) -> Generator[int]:
    """A new file, locked while it is written: the lock ends with the process, whatever ends that."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(partial, flags, 0o600, dir_fd=parent)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def _clear_abandoned(folder: int) -> None:
    """Unfinished files that nobody writes any more; what a server that was killed left."""
    with os.scandir(folder) as inside:
        partial = [each.name for each in inside if each.name.startswith(PARTIAL)]
    for name in partial:
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _unlink_if_there(name, folder)
        except BlockingIOError:
            continue
        finally:
            os.close(fd)


def _rename_to_free(old: str, new: str, parent: int) -> None:
    """Without a moment at which the file has two names: killed there, it would be hidden for ever."""
    if _renameat2 and _renameat2(parent, os.fsencode(old), parent, os.fsencode(new), RENAME_NOREPLACE) == 0:
        return
    code = ctypes.get_errno() if _renameat2 else errno.ENOSYS
    if code not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(code, os.strerror(code))
    os.link(old, new, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)  # where that cannot be done


def _copy(sources: Sequence[Path], write: int) -> None:
    for source in sources:
        with open(source, "rb") as read:
            left = os.fstat(read.fileno()).st_size
            while left and (copied := _copy_some(read.fileno(), write, left)):
                left -= copied
    os.fsync(write)


def _copy_some(read: int, write: int, left: int) -> int:
    try:
        return os.copy_file_range(read, write, min(left, 1 << 30))
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
            raise
        return os.sendfile(write, read, None, min(left, 1 << 30))


def _unlink_if_there(name: str, parent: int) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass


def _os(call: Callable[..., T], place: "Place", *args: Any, **more: Any) -> T:
    """One door for what the operating system refuses."""
    try:
        return call(*args, **more)
    except OSError as error:
        raise _fault(error, place) from error


def _fault(error: OSError, place: "Place") -> Exception:
    """A refusal that names the path as the caller wrote it, never as it is on this machine."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EMLINK, errno.ENXIO):
        return NotFound(f"nothing is at {place}", code="NOT_FOUND")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Denied(f"the server itself may not do this at {place}")
    if error.errno == errno.ENAMETOOLONG:
        return Invalid(f"a name in {place} is too long")
    return error
