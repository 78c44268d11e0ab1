"""The store on Postgres."""

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row

from lakewright.kernel.store import Duplicate, RawConnection, Row, Store, format_style

CHANNEL = "lakewright"


class Undone(Exception):
    """The transaction was not committed although nothing was raised."""


def _query(sql: str) -> bytes:
    """psycopg takes text only as a literal; statements here are assembled from literals, never from callers' words."""
    return format_style(sql).encode()


class PostgresStore(Store):
    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    def connect(self, *, write: bool) -> RawConnection:
        return PostgresConnection(self.url, write=write)


class PostgresConnection:
    def __init__(self, url: str, *, write: bool) -> None:
        self._db = psycopg.connect(url, autocommit=True, prepare_threshold=1)
        self._cursor = self._db.cursor(row_factory=dict_row)
        if write:
            # A node that froze in the middle of a batch holds the audit head; the others would wait for it for ever.
            # The server ends its session instead, and the node learns that when it goes on.
            for limit in ("idle_in_transaction_session_timeout = '5s'", "lock_timeout = '10s'"):
                self._cursor.execute(b"SET " + limit.encode())

    def select(self, sql: str, params: Sequence[Any]) -> list[Row]:
        try:
            return list(self._cursor.execute(_query(sql), params).fetchall())
        except psycopg.errors.UniqueViolation as error:
            raise Duplicate(str(error)) from error

    def change(self, sql: str, params: Sequence[Any]) -> int:
        try:
            return self._cursor.execute(_query(sql), params).rowcount
        except psycopg.errors.UniqueViolation as error:
            raise Duplicate(str(error)) from error

    def change_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        try:
            self._cursor.executemany(_query(sql), rows)
        except psycopg.errors.UniqueViolation as error:
            raise Duplicate(str(error)) from error

    def begin(self, *, write: bool) -> None:
        self._cursor.execute("BEGIN" if write else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def commit(self) -> None:
        self._cursor.execute("COMMIT")
        # Postgres answers COMMIT of a failed transaction with ROLLBACK and no error: somebody hid the failure.
        if self._cursor.statusmessage != "COMMIT":
            raise Undone("a statement of this transaction had failed, so Postgres undid all of it")

    def rollback(self) -> None:
        self._cursor.execute("ROLLBACK")

    def savepoint(self) -> None:
        self._cursor.execute("SAVEPOINT request")

    def release(self) -> None:
        self._cursor.execute("RELEASE SAVEPOINT request")

    def rollback_to(self) -> None:
        self._cursor.execute("ROLLBACK TO SAVEPOINT request")
        self._cursor.execute("RELEASE SAVEPOINT request")

    def notify(self, topics: Sequence[str]) -> None:
        self._cursor.execute("SELECT pg_notify(%s, %s)", (CHANNEL, " ".join(topics)))

    def close(self) -> None:
        self._db.close()
