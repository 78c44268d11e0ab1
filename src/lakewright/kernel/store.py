"""The database: one small surface over SQLite and Postgres, plain SQL on both.

SQL is written once with `?` parameters and types both engines have (text, bigint, double, bytes). No ORM stands on
the request path: it cost ten times the statement itself (see docs/decisions/0001-write-path.md).
"""

import fcntl
import os
import queue
import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Protocol

from lakewright.kernel.faults import Unavailable

Row = Mapping[str, Any]


class Duplicate(Exception):
    """A unique key is taken."""


class Tx:
    """One transaction. `wrote` says whether there is anything to roll back."""

    __slots__ = ("_raw", "eager", "epoch", "wrote")

    def __init__(self, raw: "RawConnection") -> None:
        self._raw = raw
        self.wrote = False
        self.epoch: int | None = None

    def all(self, sql: str, *params: Any) -> list[Row]:
        return self._raw.select(sql, params)

    def one(self, sql: str, *params: Any) -> Row | None:
        rows = self._raw.select(sql, params)
        return rows[0] if rows else None

    def scalar(self, sql: str, *params: Any) -> Any:
        rows = self._raw.select(sql, params)
        return next(iter(dict(rows[0]).values())) if rows else None

    def run(self, sql: str, *params: Any) -> int:
        """Execute a change; how many rows it touched. Raises Duplicate."""
        self.wrote = True
        return self._raw.change(sql, params)

    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        self.wrote = True
        if rows:
            self._raw.change_many(sql, rows)

    def returning(self, sql: str, *params: Any) -> list[Row]:
        """Execute a change that answers rows (`… RETURNING …`)."""
        self.wrote = True
        return self._raw.select(sql, params)


class RawConnection(Protocol):
    """What a database driver must do for a `Tx` and the writer."""

    def select(self, sql: str, params: Sequence[Any]) -> list[Row]: ...
    def change(self, sql: str, params: Sequence[Any]) -> int: ...
    def change_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None: ...
    def begin(self, *, write: bool) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def savepoint(self) -> None: ...
    def release(self) -> None: ...
    def rollback_to(self) -> None: ...
    def notify(self, topics: Sequence[str]) -> None: ...
    def close(self) -> None: ...


class Store:
    """Opens connections. Readers are pooled; the writer has one of its own."""

    url: str

    def connect(self, *, write: bool) -> RawConnection:
        raise NotImplementedError

    def __init__(self) -> None:
        self._idle: queue.LifoQueue[RawConnection] = queue.LifoQueue()

    @contextmanager
    def snapshot(self) -> Generator[Tx]:
        """A read-only transaction that sees one state of the database."""
        try:
            raw = self._idle.get_nowait()
        except queue.Empty:
            raw = self.connect(write=False)
        try:
            raw.begin(write=False)
            yield Tx(raw)
            raw.rollback()
        except BaseException:
            # Whatever broke may have broken the connection too; a new one costs less than a poisoned one.
            raw.close()
            raise
        else:
            self._idle.put(raw)

    def close(self) -> None:
        while not self._idle.empty():
            self._idle.get_nowait().close()


def open_store(url: str, sqlite_path: Path) -> Store:
    if not url:
        return SqliteStore(sqlite_path)
    if url.startswith(("postgresql://", "postgres://")):
        from lakewright.kernel.postgres import PostgresStore  # the driver is an optional extra

        return PostgresStore(url)
    raise ValueError(f"database_url must start with postgresql:// or be empty, not {url.split(':', 1)[0]!r}")


class SqliteStore(Store):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _sole_owner(path)
        if not path.exists():
            path.touch(mode=0o600)
        self.url = f"sqlite:///{path}"

    def connect(self, *, write: bool) -> RawConnection:
        return SqliteConnection(self.path, write=write)

    def close(self) -> None:
        super().close()
        self._lock.close()


def _sole_owner(path: Path) -> IO[str]:
    """Exactly one process writes a SQLite file; a second server on it is a mistake worth stopping."""
    held = os.fdopen(os.open(path.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT, 0o600), "a")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        raise Unavailable(
            f"another server already uses {path}; stop it, or give this one another data_dir or a Postgres URL"
        ) from error
    return held


class SqliteConnection:
    def __init__(self, path: Path, *, write: bool) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
        self._db.row_factory = sqlite3.Row
        # FULL: an acknowledged commit survives a power cut. With group commit it costs no throughput.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("PRAGMA temp_store=MEMORY")
        self._db.execute(f"PRAGMA cache_size={-32768 if write else -8192}")
        if not write:
            self._db.execute("PRAGMA query_only=ON")

    def select(self, sql: str, params: Sequence[Any]) -> list[Row]:
        try:
            return self._db.execute(sql, params).fetchall()
        except sqlite3.Error as error:
            raise self._told(error) from error

    def change(self, sql: str, params: Sequence[Any]) -> int:
        try:
            return self._db.execute(sql, params).rowcount
        except sqlite3.Error as error:
            raise self._told(error) from error

    def change_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        try:
            self._db.executemany(sql, rows)
        except sqlite3.Error as error:
            raise self._told(error) from error

    def _told(self, error: sqlite3.Error) -> Exception:
        if isinstance(error, sqlite3.IntegrityError):
            return Duplicate(str(error)) if "UNIQUE" in str(error) else error
        # On a full disk or an I/O error SQLite rolls back by itself, and whatever the caller did next would commit
        # alone, without its audit row. A closed connection does nothing any more.
        if not isinstance(error, sqlite3.ProgrammingError) and not self._db.in_transaction:
            self._db.close()
        return error

    def begin(self, *, write: bool) -> None:
        self._db.execute("BEGIN IMMEDIATE" if write else "BEGIN")

    def commit(self) -> None:
        self._db.execute("COMMIT")

    def rollback(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def savepoint(self) -> None:
        self._db.execute("SAVEPOINT request")

    def release(self) -> None:
        self._db.execute("RELEASE request")

    def rollback_to(self) -> None:
        self._db.execute("ROLLBACK TO request")
        self._db.execute("RELEASE request")

    def notify(self, topics: Sequence[str]) -> None:
        """Nobody else listens: one process has this file."""

    def close(self) -> None:
        self._db.close()


@lru_cache(maxsize=4096)
def format_style(sql: str) -> str:
    """`?` parameters as psycopg's `%s`."""
    return sql.replace("%", "%%").replace("?", "%s")
