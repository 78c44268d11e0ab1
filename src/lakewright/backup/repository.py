"""A backup directory: sets, each the whole installation at one moment, that share the files they have in common.

    DIRECTORY/
      sets/20261121T030000.123Z/   manifest.json, the database, and the sealed master key if that was asked for
      files/ab/abcd…               contents of files by SHA-256, each stored once however many sets have it
      log/                         the database's log, copied as it is written (Litestream), for any moment in between

Everything in it is written once and never changed, so it can be copied elsewhere by anything that copies files. A set
appears whole, after all it refers to is on the disk, or not at all.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import uuid4

from pydantic import BaseModel

from lakewright.kernel.faults import BadState, Invalid, NotFound, Unavailable
from lakewright.kernel.migrate import fsync_folder

NOT_COPIED = {
    "lakewright.db", "lakewright.db-wal", "lakewright.db-shm", "lakewright.lock", ".lakewright.db-litestream",
    "root.key", "root.key.next", "root.key.new", "root.key.lock", "before-upgrade", "backup", "spool", "uploads", "tasks",
    "sql", "console",
}  # fmt: skip
"""In the data directory, by name: the database and keys go their own way; the rest is of one process or one moment."""

CHUNK = 1 << 20


class Kept(BaseModel):
    """A file as it was."""

    path: str
    size: int
    mtime_ns: int
    mode: int
    sha256: str


class Manifest(BaseModel):
    """What is in a set."""

    format: Literal[1] = 1
    taken_at: int
    """Milliseconds since the epoch: the database is as of no earlier, the files as of no earlier than the database."""
    lakewright: str
    data_dir: str
    database: Literal["sqlite", "postgres"]
    database_file: str
    database_sha256: str
    schema_revisions: list[str]
    master_key: str
    """Which master key opens the secrets in it. Not the key."""
    key_sealed: bool
    files: list[Kept]
    skipped: list[str]


@dataclass(frozen=True)
class Set:
    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def database(self) -> Path:
        return self.folder / self.manifest.database_file


class Repository:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sets_folder, self.files, self.log = directory / "sets", directory / "files", directory / "log"

    def make(self) -> None:
        for folder in (self.directory, self.sets_folder, self.files):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Whatever is in a backup was guarded where it came from: nobody else reads it here.
        if stat.S_IMODE(self.directory.stat().st_mode) & 0o077:
            raise BadState(f"{self.directory} can be read by others: chmod 700 it first")

    @contextmanager
    def alone(self) -> Generator[None]:
        descriptor = os.open(self.directory / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "a") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise Unavailable(f"another backup into {self.directory} is under way") from error
            yield

    # ---- sets

    def sets(self) -> list[Set]:
        """Oldest first."""
        if not self.sets_folder.is_dir():
            return []
        folders = sorted(f for f in self.sets_folder.iterdir() if not f.name.startswith("."))
        return [Set(f, Manifest.model_validate_json((f / "manifest.json").read_bytes())) for f in folders]

    def newest(self, at: int | None = None) -> Set | None:
        """The newest set, or the newest taken no later than `at`."""
        found = [s for s in self.sets() if at is None or s.manifest.taken_at <= at]
        return found[-1] if found else None

    def first_after(self, at: int) -> Set | None:
        return next((s for s in self.sets() if s.manifest.taken_at > at), None)

    @contextmanager
    def drafting(self) -> Generator[Path]:
        """A folder for a set's own files; gone again when anything fails."""
        draft = self.sets_folder / f".{uuid4().hex}"
        draft.mkdir(mode=0o700)
        try:
            yield draft
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise

    def finish(self, draft: Path, manifest: Manifest) -> Set:
        name = stamp(manifest.taken_at)
        write_private(draft / "manifest.json", manifest.model_dump_json().encode())
        os.sync()  # one for all: an fsync per file would cost more than the copying
        draft.rename(self.sets_folder / name)
        fsync_folder(self.sets_folder)
        return Set(self.sets_folder / name, manifest)

    def prune(self, keep: int) -> tuple[int, int]:
        """Forget all but the newest `keep` sets and what only those had; how many sets and files went."""
        if keep < 1:
            raise Invalid("at least one set is kept")
        sets = self.sets()
        for old in sets[:-keep]:
            shutil.rmtree(old.folder)
        needed = {kept.sha256 for s in sets[-keep:] for kept in s.manifest.files}
        gone = [blob for blob in self.files.glob("*/*") if blob.name not in needed]
        for blob in gone:
            blob.unlink()
        for leftover in self.sets_folder.glob(".*"):
            shutil.rmtree(leftover, ignore_errors=True)
        return len(sets[:-keep]), len(gone)

    def damaged(self, one: Set) -> Iterator[str]:
        """What of a set is not what it was."""
        if not one.database.exists() or hash_of(one.database) != one.manifest.database_sha256:
            yield f"{one.name}: its database is not what was backed up"
        for sha256 in sorted({kept.sha256 for kept in one.manifest.files}):
            blob = self.blob(sha256)
            if not blob.exists():
                yield f"{one.name}: {_names(one, sha256)} is missing"
            elif hash_of(blob) != sha256:
                yield f"{one.name}: {_names(one, sha256)} was altered"

    # ---- files

    def blob(self, sha256: str) -> Path:
        return self.files / sha256[:2] / sha256

    def store(self, data_dir: Path, before: Set | None) -> tuple[list[Kept], list[str]]:
        """Keep every file below the data directory; what could not be kept, because it is no file or went away."""
        known = {kept.path: kept for kept in before.manifest.files} if before else {}
        found: list[Kept] = []
        skipped: list[str] = []
        for path in _walk(data_dir):
            name = str(path.relative_to(data_dir))
            try:
                found.append(self._store_one(path, name, known.get(name)))
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                    raise
                skipped.append(f"{name}: {error.strerror}")
        return found, skipped

    def _store_one(self, path: Path, name: str, before: Kept | None) -> Kept:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            same = before is not None and (before.size, before.mtime_ns) == (found.st_size, found.st_mtime_ns)
            if before is not None and same and self.blob(before.sha256).exists():
                return before
            draft = self.files / f".{uuid4().hex}"
            digest, size = hashlib.sha256(), 0
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
                try:
                    while chunk := file.read(CHUNK):
                        digest.update(chunk)
                        copy.write(chunk)
                        size += len(chunk)
                except BaseException:
                    draft.unlink()
                    raise
        sha256 = digest.hexdigest()
        blob = self.blob(sha256)
        if blob.exists():
            draft.unlink()
        else:
            blob.parent.mkdir(mode=0o700, exist_ok=True)
            draft.rename(blob)
        return Kept(path=name, size=size, mtime_ns=found.st_mtime_ns, mode=stat.S_IMODE(found.st_mode), sha256=sha256)

    def bring_back(self, kept: Kept, to: Path) -> None:
        """Write the file as it was, time and permissions too. BadState when what is stored is not it."""
        to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        digest = hashlib.sha256()
        blob = self.blob(kept.sha256)
        if not blob.exists():
            raise BadState(f"the backup lost the content of {kept.path}")
        with blob.open("rb") as file, os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                copy.write(chunk)
        if digest.hexdigest() != kept.sha256:
            raise BadState(f"the backup of {kept.path} was altered")
        to.chmod(kept.mode & 0o700)
        os.utime(to, ns=(kept.mtime_ns, kept.mtime_ns))


def as_of(at: int, before: Set | None, after: Set | None) -> tuple[list[Kept], int]:
    """The files as they were at a moment between two sets, and how many of them may have been deleted by then.

    A file's time says when it was last written, so the later set has, for all that were written before `at` and not
    since, exactly what was there. Delta tables only ever gain files, their log included, so this takes a table back to
    its last commit before `at`. What only the earlier set has may have gone before or after `at`: it is brought back,
    because a file too many can be deleted.
    """
    chosen = {kept.path: kept for kept in before.manifest.files} if before else {}
    if after is None:
        return list(chosen.values()), 0
    later = {kept.path: kept for kept in after.manifest.files}
    unsure = len(chosen.keys() - later.keys())
    chosen.update({path: kept for path, kept in later.items() if kept.mtime_ns <= at * 1_000_000})
    return list(chosen.values()), unsure


def at_path(directory: Path) -> Repository:
    if not directory.is_dir():
        raise NotFound(f"there is no backup at {directory}")
    return Repository(directory)


def stamp(ms: int) -> str:
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(ms / 1000)) + f".{ms % 1000:03d}Z"


def hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _walk(data_dir: Path) -> Iterator[Path]:
    """Plain files only, without what is being written at this moment."""
    for folder, folders, names in os.walk(data_dir):
        here = Path(folder)
        if here == data_dir:
            folders[:] = [name for name in folders if name not in NOT_COPIED]
            names = [name for name in names if name not in NOT_COPIED]
        folders.sort()
        for name in sorted(names):
            path = here / name
            with suppress(OSError):
                if stat.S_ISREG(path.lstat().st_mode):
                    yield path


def _names(one: Set, sha256: str) -> str:
    paths = [kept.path for kept in one.manifest.files if kept.sha256 == sha256]
    return paths[0] + (f" (and {len(paths) - 1} more)" if len(paths) > 1 else "")
