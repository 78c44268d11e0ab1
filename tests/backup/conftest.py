"""An installation that has been lived in, and the command line that backs it up and brings it back."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from actors import People, Served
from typer.testing import CliRunner, Result

from lakewright.app import build, serve
from lakewright.cli.main import app
from lakewright.kernel.clock import ManualClock
from lakewright.kernel.config import Settings
from lakewright.kernel.platform import Platform
from lakewright.kernel.socket import Server
from lakewright.sql import governed

TOKEN = re.compile(r"shown this once: (\S+)")
PASSPHRASE = "correct horse battery staple"


@dataclass
class LivedIn:
    """What is in it, and how to look whether it still is."""

    server: Served
    people: People
    directory: Path
    """Of its backups."""

    @property
    def settings(self) -> Settings:
        return self.server.platform.settings

    def sql(self, text: str) -> Any:
        return sql(self.server.platform, self.people.admin.id, text)

    def backup(self, *more: str) -> Result:
        return run(
            "backup", "create", str(self.directory), "--data-dir", str(self.settings.data_dir),
            *url_of(self.settings), *more,
        )  # fmt: skip


def sql(platform: Platform, who: str, text: str) -> Any:
    principal = platform.snapshot(lambda ctx: platform.principal(ctx.tx, who))
    found = replace(platform.system(), principal=principal)
    return governed.query(found, text).reader.read_all().to_pylist()


def url_of(settings: Settings) -> list[str]:
    return ["--database-url", settings.database_url] if settings.database_url else []


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    """The command line, in this process."""
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "300", **(env or {})})


@pytest.fixture
def passphrase(tmp_path: Path) -> list[str]:
    file = tmp_path / "passphrase"
    file.write_text(PASSPHRASE)
    return ["--passphrase-file", str(file)]


@pytest.fixture
def lived_in(server: Served, people: People, tmp_path: Path) -> LivedIn:
    made = LivedIn(server, people, tmp_path / "backups")
    admin = people.admin.client
    admin.catalogs.create("shop")
    admin.schemas.create("sales", "shop")
    made.sql("CREATE TABLE shop.sales.orders (id INT, what STRING)")
    made.sql("INSERT INTO shop.sales.orders VALUES (1, 'tea'), (2, 'coffee')")
    from databricks.sdk.service.catalog import VolumeType

    admin.volumes.create("shop", "sales", "raw", VolumeType.MANAGED)
    admin.files.upload("/Volumes/shop/sales/raw/a.txt", io.BytesIO(b"first"))
    admin.secrets.create_scope("mail")
    admin.secrets.put_secret("mail", "password", string_value="s3cret")
    return made


@pytest.fixture
def elsewhere(tmp_path: Path, database: str) -> Iterator[Settings]:
    """Where an installation can be restored to: another directory, and on Postgres another empty database."""
    if not database:
        yield Settings(data_dir=tmp_path / "restored", port=0)
        return
    import psycopg

    name = f"r{uuid4().hex}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    yield Settings(data_dir=tmp_path / "restored", database_url=f"{database.rpartition('/')[0]}/{name}", port=0)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def opened(settings: Settings) -> Iterator[Served]:
    """A restored installation, served."""
    platform = build(settings, ManualClock())
    listening = Server(serve(platform), platform.settings)
    url = listening.start()
    try:
        yield Served(url, platform)
    finally:
        listening.stop()
        platform.stop()


def me(url: str, token: str) -> int:
    return httpx.get(f"{url}/api/2.0/preview/scim/v2/Me", headers={"authorization": f"Bearer {token}"}).status_code


def on_postgres() -> bool:
    return os.environ.get("LAKEWRIGHT_TEST_DATABASE") == "postgres"
