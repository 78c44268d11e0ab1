"""The real thing for every test: a platform on SQLite or Postgres, in process or over a socket, with real clients."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from actors import ADMIN_TOKEN, People, Served

from lakewright.app import build, serve
from lakewright.identity.first_start import FirstToken
from lakewright.kernel.clock import ManualClock
from lakewright.kernel.config import Settings
from lakewright.kernel.platform import Platform
from lakewright.kernel.socket import Server


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    """The database of this run: empty for SQLite, a Postgres server's URL with LAKEWRIGHT_TEST_DATABASE=postgres."""
    if os.environ.get("LAKEWRIGHT_TEST_DATABASE", "sqlite") == "sqlite":
        yield ""
        return
    from postgres import server  # tests/postgres.py

    with server() as url:
        yield url


@pytest.fixture
def database_url(database: str) -> Iterator[str]:
    """A database of its own for one test."""
    if not database:
        yield ""
        return
    import psycopg

    name = f"t{uuid4().hex}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    base = database.rpartition("/")[0]
    yield f"{base}/{name}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(data_dir=tmp_path / "data", database_url=database_url, admin_token=ADMIN_TOKEN, port=0)  # type: ignore[arg-type]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def platform(settings: Settings, clock: ManualClock) -> Iterator[Platform]:
    """A platform in this process, its controllers not running."""
    built = build(settings, clock)
    assert built.the(FirstToken).secret == ADMIN_TOKEN
    yield built
    built.stop()


@pytest.fixture
def server(platform: Platform) -> Iterator[Served]:
    """The same platform over a real socket, its controllers running."""
    listening = Server(serve(platform), platform.settings)
    url = listening.start()
    platform.start()
    yield Served(url, platform)
    listening.stop()


@pytest.fixture
def people(server: Served) -> People:
    return People(server.platform, server.url)
