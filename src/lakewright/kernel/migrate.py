"""Bringing a database to this version's schema, only when it is not there already, and never half.

Each revision is one transaction, on SQLite too, and the next start goes on where a killed one stopped. Before a SQLite
file is touched a copy of it is kept beside it; that copy is the way back, because revisions only go forwards. A
database that a newer version has upgraded is refused: an older one would misread what it finds there.

Alembic takes a third of a second to import, so a start that has nothing to migrate never imports it: a digest of the
migrations that have run is kept in the database.
"""

import hashlib
import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakewright.kernel.faults import Unavailable
from lakewright.kernel.store import SqliteStore, Store

if TYPE_CHECKING:
    from sqlalchemy import Engine

SCRIPTS = Path(__file__).parent.parent / "migrations"
VERSION_TABLE = "lakewright_alembic"
KEPT = 3
"""Copies from before an upgrade that are kept; the oldest go."""


def revisions() -> set[str]:
    """Every revision this version knows; each is in a file of its name."""
    return {path.stem for path in (SCRIPTS / "versions").glob("*.py")}


def digest() -> str:
    """What the migrations on disk are, by name."""
    names = sorted(f"{name}.py" for name in revisions())
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def migrate(store: Store, *, keep_copy: bool = True) -> bool:
    """Upgrade to the newest schema; whether anything had to be done. Unavailable when a newer version was here."""
    wanted = digest()
    if _current(store) == wanted:
        return False
    refuse_newer(store)
    copy = _copy_before(store) if keep_copy and isinstance(store, SqliteStore) else None
    upgrade(store)
    _note(store, wanted)
    if copy is not None:
        _keep(copy)
    return True


def refuse_newer(store: Store) -> None:
    if unknown := sorted(applied(store) - revisions()):
        raise Unavailable(
            f"a newer version of Lakewright has upgraded this database (to {', '.join(unknown)}), and this version does"
            " not know what it would find there. Start that version again, or go back to the copy from before the"
            f" upgrade{_where_copies_are(store)}; what was written since is not in it"
        )


def applied(store: Store) -> set[str]:
    """The newest revision of each branch that this database has; empty when it has none."""
    if isinstance(store, SqliteStore) and (not store.path.exists() or store.path.stat().st_size == 0):
        return set()
    try:
        with store.snapshot() as tx:
            return {str(row["version_num"]) for row in tx.all(f"SELECT version_num FROM {VERSION_TABLE}")}
    except Exception:  # no such table: each driver has an error of its own for it
        return set()


def upgrade(store: Store, revision: str = "heads") -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import text

    engine = _engine(store)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                # Two nodes of one installation may start together; one migrates, the other waits.
                connection.execute(text("SELECT pg_advisory_lock(4715470)"))
                connection.commit()
            refuse_newer(store)  # once more: while this one waited, a newer node may have been at work
            config = Config()
            config.set_main_option("script_location", str(SCRIPTS))
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            connection.commit()
    finally:
        engine.dispose()


def _engine(store: Store) -> "Engine":
    from sqlalchemy import create_engine, event

    url = store.url.replace("postgresql://", "postgresql+psycopg://", 1).replace(
        "postgres://", "postgresql+psycopg://", 1
    )
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        # Left to itself, Python's driver opens no transaction for DDL, and a killed revision would stay half done.
        def by_hand(connection: sqlite3.Connection, _: object) -> None:
            connection.isolation_level = None

        def begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        event.listen(engine, "connect", by_hand)
        event.listen(engine, "begin", begin)
    return engine


def _note(store: Store, wanted: str) -> None:
    raw = store.connect(write=True)
    try:
        raw.begin(write=True)
        raw.change(
            "INSERT INTO meta (name, value) VALUES ('schema', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            [wanted],
        )
        raw.commit()
    finally:
        raw.close()


def _current(store: Store) -> str | None:
    if isinstance(store, SqliteStore) and (not store.path.exists() or store.path.stat().st_size == 0):
        return None
    try:
        with store.snapshot() as tx:
            return tx.scalar("SELECT value FROM meta WHERE name = 'schema'")
    except Exception:  # no such table: each driver has an error of its own for it
        return None


# ---- the copy from before


def copies(path: Path) -> Path:
    """Where the copies of the SQLite file `path` from before upgrades lie."""
    return path.parent / "before-upgrade"


def _where_copies_are(store: Store) -> str:
    if not isinstance(store, SqliteStore):
        return ""
    kept = sorted(copies(store.path).glob("*.db"))
    return f", which is {kept[-1]}" if kept else ""


def _copy_before(store: SqliteStore) -> Path | None:
    """Copy the file as it is now; None when there is nothing in it yet.

    A copy that a killed upgrade left is kept as long as the database is ahead of it: it is the state to go back to.
    """
    if not (now := applied(store)):
        return None
    folder = copies(store.path)
    folder.mkdir(mode=0o700, exist_ok=True)
    pending = folder / "unfinished.db"
    if pending.exists() and _applied_in(pending) != now:
        return pending
    copy_database(store.path, pending)
    return pending


def _applied_in(path: Path) -> set[str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return {name for (name,) in db.execute(f"SELECT version_num FROM {VERSION_TABLE}")}


def copy_database(path: Path, to: Path) -> None:
    """A consistent copy of a SQLite file that may be in use, whole and durable or not there at all."""
    partial = to.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with (
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db,
            closing(sqlite3.connect(partial)) as copy,
        ):
            db.backup(copy)
            # The copy is one file: a reader must not need to make a log beside it.
            copy.execute("PRAGMA journal_mode=DELETE")
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(to)
        fsync_folder(to.parent)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keep(copy: Path) -> None:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    copy.rename(copy.with_name(f"{stamp}.db"))
    for old in sorted(copy.parent.glob("2*.db"))[:-KEPT]:
        old.unlink()
