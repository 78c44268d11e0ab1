"""Bringing a database to this version's schema, only when it is not there already.

Alembic takes a third of a second to import, so a start that has nothing to migrate never imports it: a digest of the
migrations that have run is kept in the database.
"""

import hashlib
from pathlib import Path

from lakewright.kernel.store import SqliteStore, Store

SCRIPTS = Path(__file__).parent.parent / "migrations"
VERSION_TABLE = "lakewright_alembic"


def digest() -> str:
    """What the migrations on disk are, by name."""
    names = sorted(path.name for path in (SCRIPTS / "versions").glob("*.py"))
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def migrate(store: Store) -> bool:
    """Upgrade to the newest schema; whether anything had to be done."""
    wanted = digest()
    if _current(store) == wanted:
        return False
    upgrade(store)
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
    return True


def upgrade(store: Store, revision: str = "heads") -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine, text

    url = store.url.replace("postgresql://", "postgresql+psycopg://", 1).replace(
        "postgres://", "postgresql+psycopg://", 1
    )
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                # Two nodes of one installation may start together; one migrates, the other waits.
                connection.execute(text("SELECT pg_advisory_lock(4715470)"))
                connection.commit()
            config = Config()
            config.set_main_option("script_location", str(SCRIPTS))
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            connection.commit()
    finally:
        engine.dispose()


def _current(store: Store) -> str | None:
    if isinstance(store, SqliteStore) and (not store.path.exists() or store.path.stat().st_size == 0):
        return None
    try:
        with store.snapshot() as tx:
            return tx.scalar("SELECT value FROM meta WHERE name = 'schema'")
    except Exception:  # no such table: each driver has an error of its own for it
        return None
