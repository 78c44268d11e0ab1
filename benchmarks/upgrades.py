"""kill -9 in the middle of an upgrade, at every statement, from every schema there ever was: the next start ends it.

    make bench BENCH=upgrades [BENCH_ARGS="--every 1 --random 5 --schemas all --database postgresql://…"]

An installation as an earlier version made it (tests/upgrade/schemas.json.gz) is upgraded by a process that kills itself
before or after its n-th statement, or is killed at a random moment. The next process upgrades again. What comes of it
must be, table by table and row by row, what an upgrade that nobody disturbed makes of it.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import sqlalchemy as sa
from alembic import command  # noqa: F401  before the forks, so that each costs milliseconds
from sqlalchemy import event

from benchmarks import load
from lakewright.kernel import migrate
from lakewright.kernel.store import SqliteStore, Store
from scripts.old_schemas import load as schemas
from scripts.old_schemas import value

State = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1, help="kill at every so many statements")
    parser.add_argument("--random", type=int, default=5, help="kills at random moments, per schema")
    parser.add_argument("--schemas", default="all", help="all, or how many, spread over the history")
    parser.add_argument("--database", default="")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    history = schemas()
    if asked.schemas != "all":
        step = max(1, (len(history) - 1) // max(1, int(asked.schemas) - 1))
        history = history[::step][: int(asked.schemas)]
    chance, started = random.Random(asked.seed), time.monotonic()
    kills, wrong = 0, list[str]()
    for old in history:
        with world(asked.database) as databases:
            one = Campaign(databases, old, chance)
            kills += one.run(asked.every, asked.random)
            wrong += one.wrong
            print(f"{old['commit'][:9]}: {one.statements} statements, {len(one.wrong)} wrong", flush=True)
    load.report(
        benchmark="upgrades", schemas=len(history), kills=kills, wrong=len(wrong), first=wrong[0] if wrong else "",
        seconds=round(time.monotonic() - started),
    )  # fmt: skip
    raise SystemExit(1 if wrong else 0)


class Databases(Protocol):
    """Where installations are made and copied."""

    def empty(self) -> Store: ...
    def copy(self, of: Store) -> Store: ...
    def drop(self, store: Store) -> None: ...


class Campaign:
    def __init__(self, databases: Databases, old: dict[str, Any], chance: random.Random) -> None:
        self.databases, self.chance = databases, chance
        self.wrong: list[str] = []
        self.name = old["commit"][:9]
        self.base = databases.empty()
        in_child(lambda: make(self.base, old))
        calm = databases.copy(self.base)
        self.statements = int(in_child(lambda: counted(calm)))
        self.expected = state(calm)
        self.before = {table: len(rows) for table, rows in old["rows"].items()}
        databases.drop(calm)

    def run(self, every: int, at_random: int) -> int:
        points = [(n, when) for n in range(1, self.statements + 1, every) for when in ("before", "after")]
        for n, when in points:
            self._one(f"{when} statement {n}", lambda store, n=n, when=when: dying(store, n, when))
        for _ in range(at_random):
            self._one("at random", None)
        return len(points) + at_random

    def _one(self, where: str, act: Callable[[Store], None] | None) -> None:
        store = self.databases.copy(self.base)
        try:
            if act is None:
                in_child(lambda: str(migrate.migrate(store)), kill_after=self.chance.uniform(0.0, 0.25))
            else:
                in_child(lambda: act(store))
            said = in_child(lambda: f"upgraded {migrate.migrate(store)}")
            found = state(store)
            if not said.startswith("upgraded"):
                self.wrong.append(f"{self.name} {where}: {said}")
            elif found != self.expected:
                self.wrong.append(f"{self.name} {where}: {different(found, self.expected)}")
        finally:
            self.databases.drop(store)


# ---- what a child does


def make(store: Store, old: dict[str, Any]) -> str:
    """An installation of that version, with its rows."""
    for revision in old["applied"]:
        migrate.upgrade(store, revision)
    engine = sa.create_engine(sqlalchemy_url(store))
    tables = sa.MetaData()
    tables.reflect(engine, only=list(old["rows"]))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.text("SET session_replication_role = replica"))  # rows come in any order
        for name, rows in old["rows"].items():
            table = tables.tables[name]
            connection.execute(table.delete())
            connection.execute(
                table.insert(), [{column: _typed(table, column, value(row[column])) for column in row} for row in rows]
            )
    engine.dispose()
    return "made"


def _typed(table: sa.Table, column: str, stored: Any) -> Any:
    return bool(stored) if isinstance(table.c[column].type, sa.Boolean) and stored is not None else stored


def counted(store: Store) -> str:
    seen = [0]
    event.listen(sa.Engine, "before_cursor_execute", lambda *_: seen.__setitem__(0, seen[0] + 1))
    migrate.migrate(store)
    return str(seen[0])


def dying(store: Store, at: int, when: str) -> str:
    seen = [0]

    def count(*_: Any) -> None:
        seen[0] += 1
        if seen[0] == at:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(sa.Engine, f"{when}_cursor_execute", count)
    migrate.migrate(store)
    return "lived"


def in_child(act: Callable[[], Any], kill_after: float | None = None) -> str:
    """What `act` says, run in a fork; empty when it was killed."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reads)
            os.write(writes, str(act()).encode()[:60_000])
        except BaseException as error:
            os.write(writes, f"failed: {type(error).__name__}: {error}".encode()[:2000])
        finally:
            os._exit(0)
    os.close(writes)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reads, "rb") as answers:
        said = answers.read().decode()
    os.waitpid(child, 0)
    return said


# ---- looking


def state(store: Store) -> State:
    """Every table's columns, indexes and rows."""
    engine = sa.create_engine(sqlalchemy_url(store))
    found: State = {}
    try:
        inspected = sa.inspect(engine)
        with engine.connect() as connection:
            for table in sorted(inspected.get_table_names()):
                columns = [(c["name"], str(c["type"]), c["nullable"]) for c in inspected.get_columns(table)]
                indexes = sorted((str(i["name"]), i["unique"]) for i in inspected.get_indexes(table))
                rows = sorted(map(repr, connection.execute(sa.text(f'SELECT * FROM "{table}"')).fetchall()))
                found[table] = (columns, indexes, rows)
    finally:
        engine.dispose()
    return found


def different(found: State, expected: State) -> str:
    tables = [t for t in sorted({*found, *expected}) if found.get(t) != expected.get(t)]
    return f"differs in {', '.join(tables)}"


def sqlalchemy_url(store: Store) -> str:
    return store.url.replace("postgresql://", "postgresql+psycopg://", 1)


# ---- databases


class Files:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def empty(self) -> Store:
        return SqliteStore(self.folder / uuid4().hex / "lakewright.db")

    def copy(self, of: Store) -> Store:
        assert isinstance(of, SqliteStore)
        to = self.folder / uuid4().hex / "lakewright.db"
        shutil.copytree(of.path.parent, to.parent, ignore=shutil.ignore_patterns("*.lock", "*-shm"))
        return SqliteStore(to)

    def drop(self, store: Store) -> None:
        assert isinstance(store, SqliteStore)
        store.close()
        shutil.rmtree(store.path.parent)


class Servers:
    def __init__(self, url: str) -> None:
        self.url = url

    def empty(self) -> Store:
        return self._made("")

    def copy(self, of: Store) -> Store:
        of.close()
        return self._made(f" TEMPLATE {of.url.rpartition('/')[2]}")

    def drop(self, store: Store) -> None:
        store.close()
        self._run(f"DROP DATABASE {store.url.rpartition('/')[2]} WITH (FORCE)")

    def _made(self, template: str) -> Store:
        from lakewright.kernel.postgres import PostgresStore

        name = f"u{uuid4().hex}"
        self._run(f"CREATE DATABASE {name}{template}")
        return PostgresStore(f"{self.url.rpartition('/')[0]}/{name}")

    def _run(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def world(url: str) -> Iterator[Databases]:
    if url:
        yield Servers(url)
        return
    # In memory where that is possible: a kill loses nothing that the kernel has, so a disk would only cost time.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="lakewright-upgrades-", dir=memory))
    try:
        yield Files(folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
