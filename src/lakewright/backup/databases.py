"""Databases in and out of a backup: SQLite by its own online copy, Postgres by pg_dump and pg_restore."""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

from lakewright.kernel.faults import BadState, Unavailable
from lakewright.kernel.migrate import copy_database
from lakewright.kernel.store import RawConnection, SqliteConnection, Store

TOOLS = "install the Postgres client tools of the server's version (Debian: apt-get install postgresql-client)"


class Looking(Store):
    """Reads an installation's database beside the server that has it. SQLite readers in other processes hold nobody up."""

    def __init__(self, url: str, sqlite_path: Path) -> None:
        super().__init__()
        self.path: Path | None = None if url else sqlite_path
        self.url = url or f"sqlite:///{sqlite_path}"
        if self.path is not None and not self.path.exists():
            raise BadState(f"there is no database at {self.path}")

    def connect(self, *, write: bool) -> RawConnection:
        if write:
            raise BadState("this only looks")
        if self.path is not None:
            return SqliteConnection(self.path, write=False)
        from lakewright.kernel.postgres import PostgresConnection  # the driver is an optional extra

        return PostgresConnection(self.url, write=False)


def copy_sqlite(path: Path, to: Path) -> None:
    copy_database(path, to)


def dump(url: str, to: Path) -> None:
    _run("pg_dump", url, ["--format=custom", "--no-owner", f"--file={to}"])
    to.chmod(0o600)


def undump(dumped: Path, url: str) -> None:
    """Into an empty database."""
    if tables_in(url):
        raise BadState("the Postgres database to restore into is not empty; make a new one")
    _run(
        "pg_restore",
        url,
        ["--no-owner", "--exit-on-error", "--single-transaction", f"--dbname={_name(url)}", str(dumped)],
    )


def tables_in(url: str) -> int:
    import psycopg  # the driver is an optional extra

    with psycopg.connect(url) as db:
        row = db.execute("SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        return int(row[0]) if row else 0


def _run(tool: str, url: str, arguments: list[str]) -> None:
    if not shutil.which(tool):
        raise Unavailable(f"{tool} is not here: {TOOLS}")
    # Through the environment: arguments of a process can be read by everybody on the machine, passwords included.
    done = subprocess.run(
        [tool, *arguments],
        env={**os.environ, **_environment(url)},
        capture_output=True,
        text=True,
        check=False,
        umask=0o077,
    )
    if done.returncode:
        raise Unavailable(f"{tool} failed: {done.stderr.strip()[-500:]}")


def _parts(url: str) -> dict[str, Any]:
    from psycopg.conninfo import conninfo_to_dict

    return dict(conninfo_to_dict(url))


def _name(url: str) -> str:
    return str(_parts(url).get("dbname", ""))


def _environment(url: str) -> dict[str, str]:
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE",
             "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "passfile": "PGPASSFILE", "service": "PGSERVICE"}  # fmt: skip
    return {names[k]: str(v) for k, v in _parts(url).items() if k in names and v is not None}


def move(url: str, sqlite_path: Path, old: str, new: str) -> int:
    """Say everywhere in the database that what lay below `old` lies below `new`; how many rows said so.

    Locations are stored as they were given out: absolute. The trail of what happened is not rewritten.
    """
    if old == new:
        return 0
    return _move_postgres(url, old, new) if url else _move_sqlite(sqlite_path, old, new)


HISTORY = {"audit", "audit_head", "statements", "events"}


def _move_sqlite(path: Path, old: str, new: str) -> int:
    moved = 0
    with closing(sqlite3.connect(path)) as db, db:
        tables = [n for (n,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            if table in HISTORY or table.startswith(("sqlite_", "_litestream")):
                continue
            for column in [
                c[1] for c in db.execute(f'PRAGMA table_info("{table}")') if "CHAR" in c[2] or c[2] == "TEXT"
            ]:
                moved += db.execute(
                    f'UPDATE "{table}" SET "{column}" = REPLACE("{column}", ?, ?) WHERE INSTR("{column}", ?) > 0',
                    (f"{old}/", f"{new}/", f"{old}/"),
                ).rowcount
    return moved


def _move_postgres(url: str, old: str, new: str) -> int:
    import psycopg
    from psycopg import sql

    moved = 0
    with psycopg.connect(url) as db:
        columns = db.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
            " AND data_type IN ('text', 'character varying') AND is_generated = 'NEVER'"
        ).fetchall()
        for table, column in columns:
            if table not in HISTORY:
                statement = sql.SQL("UPDATE {t} SET {c} = REPLACE({c}, %s, %s) WHERE POSITION(%s IN {c}) > 0").format(
                    t=sql.Identifier(table), c=sql.Identifier(column)
                )
                moved += db.execute(statement, (f"{old}/", f"{new}/", f"{old}/")).rowcount
    return moved
