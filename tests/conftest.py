"""The real thing for every test: a platform on SQLite or Postgres, in process or over a socket, with real clients."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from lakewright.app import build, serve
from lakewright.identity.first_start import FirstToken
from lakewright.kernel.clock import ManualClock
from lakewright.kernel.config import Settings
from lakewright.kernel.platform import Platform
from lakewright.kernel.socket import Server

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

ADMIN_TOKEN = "lwa_the-administrators-token-in-tests"


@dataclass
class Served:
    url: str
    platform: Platform


@dataclass
class Person:
    """Somebody with a token. `client` is the unmodified SDK, over the socket."""

    id: str
    name: str
    token: str
    url: str

    @property
    def client(self) -> "WorkspaceClient":
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.config import Config

        return WorkspaceClient(config=Config(host=self.url, token=self.token, auth_type="pat", retry_timeout_seconds=5))

    def do(self, verb: str, path: str, **body: Any) -> Any:
        """A call by path, for what the SDK has no method for."""
        where = {"query": body} if verb in ("GET", "DELETE") else {"body": body}
        return self.client.api_client.do(verb, path, **where)


@dataclass
class People:
    platform: Platform
    url: str
    _made: dict[str, Person] = field(default_factory=dict)

    @property
    def admin(self) -> Person:
        found = self.platform.snapshot(lambda ctx: ctx.id_of("admin"))
        return Person(found, "admin", ADMIN_TOKEN, self.url)

    def person(self, name: str, groups: tuple[str, ...] | list[str] = ()) -> Person:
        """A user of that name (made once), in these groups (made when missing)."""
        if name not in self._made:
            from lakewright.identity import people

            shown = self.platform.call(self.admin.id, people.create, userName=name)
            self._made[name] = self._with_token(shown["id"], name)
        for group in groups:
            self.join(group, self._made[name])
        return self._made[name]

    def service_principal(self, name: str) -> Person:
        if name not in self._made:
            from lakewright.identity import service_principals

            shown = self.platform.call(self.admin.id, service_principals.create, displayName=name)
            self._made[name] = self._with_token(shown["id"], shown["applicationId"])
        return self._made[name]

    def group(self, name: str) -> str:
        """The group's id."""
        from lakewright.identity import groups
        from lakewright.kernel.faults import AlreadyExists

        try:
            return str(self.platform.call(self.admin.id, groups.create, displayName=name)["id"])
        except AlreadyExists:
            return self.platform.snapshot(lambda ctx: ctx.id_of(name))

    def join(self, group: str, person: Person) -> None:
        from lakewright.identity import principals

        group_id = self.group(group)
        self.platform.transact(lambda ctx: principals.add_member(ctx, group_id, person.id))

    def _with_token(self, principal_id: str, name: str) -> Person:
        from lakewright.identity import tokens

        made = self.platform.call(principal_id, tokens.create, comment="test")
        return Person(principal_id, name, made["token_value"], self.url)


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
