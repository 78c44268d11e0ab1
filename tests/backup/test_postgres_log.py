"""Any moment on Postgres: a base backup, the archived WAL, recovery to a time, then files and credentials."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from backup.conftest import PASSPHRASE, TOKEN, me, on_postgres, opened, run, sql
from postgres import _free_port, _unprivileged, binaries

from lakewright.app import build
from lakewright.backup.replication import iso
from lakewright.identity import people
from lakewright.kernel.clock import SystemClock
from lakewright.kernel.config import Settings

pytestmark = pytest.mark.skipif(not on_postgres(), reason="about Postgres")
ADMIN_TOKEN = "lwa_of-the-administrator-on-postgres"


class Cluster:
    """A Postgres server of its own, as the operators' guide sets it up."""

    def __init__(self, root: Path, name: str, as_user: dict[str, Any]) -> None:
        self.data, self.port, self._as, self._root = root / name, _free_port(), as_user, root
        found = binaries()
        assert found is not None
        self._binaries = found

    @property
    def url(self) -> str:
        return f"postgresql://lakewright@127.0.0.1:{self.port}/postgres"

    def make(self) -> None:
        self.tool("initdb", "-D", self.data, "-U", "lakewright", "-A", "trust", "-E", "UTF8", "--locale=C")

    def configure(self, lines: str) -> None:
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(lines)

    def start(self) -> None:
        options = f"-p {self.port} -k {self._root} -c listen_addresses=127.0.0.1"
        self.tool("pg_ctl", "-D", self.data, "-l", self._root / f"{self.data.name}.log", "-w", "-o", options, "start")

    def stop(self) -> None:
        self.tool("pg_ctl", "-D", self.data, "-m", "immediate", "stop", check=False)

    def tool(self, name: str, *arguments: Any, check: bool = True) -> None:
        done = subprocess.run(
            [self._binaries / name, *arguments], capture_output=True, text=True, check=False, **self._as
        )
        log = self._root / f"{self.data.name}.log"
        said = log.read_text()[-2000:] if log.exists() else ""
        assert not check or done.returncode == 0, f"{name}: {done.stderr}{done.stdout}{said}"


@contextmanager
def cluster(root: Path, name: str, as_user: dict[str, Any]) -> Iterator[Cluster]:
    one = Cluster(root, name, as_user)
    try:
        yield one
    finally:
        if one.data.exists():
            one.stop()


@pytest.fixture
def root() -> Iterator[tuple[Path, dict[str, Any]]]:
    import tempfile

    made = Path(tempfile.mkdtemp(prefix="lakewright-pitr-"))
    as_user = _unprivileged(made)
    yield made, as_user
    shutil.rmtree(made, ignore_errors=True)


def test_a_moment_comes_back_from_base_backup_and_wal(root, tmp_path: Path):
    place, as_user = root
    wal = place / "wal"
    wal.mkdir()
    if as_user:
        os.chown(wal, as_user["user"], as_user["group"])
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    sealed = ["--passphrase-file", str(tmp_path / "passphrase")]
    with cluster(place, "first", as_user) as first, cluster(place, "recovered", as_user) as recovered:
        first.make()
        first.configure(
            "wal_level = replica\narchive_mode = on\nfsync = off\n"
            f"archive_command = 'test ! -f {wal}/%f && cp %p {wal}/%f'\narchive_timeout = 60\n"
        )
        first.start()
        settings = Settings(data_dir=tmp_path / "data", database_url=first.url, admin_token=ADMIN_TOKEN, port=0)  # type: ignore[arg-type]
        platform = build(settings, SystemClock())
        admin = platform.snapshot(lambda ctx: ctx.id_of("admin"))
        sql(platform, admin, "CREATE CATALOG shop")
        sql(platform, admin, "CREATE SCHEMA shop.sales")
        sql(platform, admin, "CREATE TABLE shop.sales.orders (id INT)")
        first.tool("pg_basebackup", "-h", "127.0.0.1", "-p", str(first.port), "-U", "lakewright", "-D", recovered.data,
                   "--checkpoint=fast")  # fmt: skip
        sql(platform, admin, "INSERT INTO shop.sales.orders VALUES (1)")
        platform.call(admin, people.create, userName="before")
        moment = a_moment(first.url)
        sql(platform, admin, "INSERT INTO shop.sales.orders VALUES (2)")
        platform.call(admin, people.create, userName="after")
        a_moment(first.url)
        arguments = ("backup", "create", str(tmp_path / "backups"), "--data-dir", str(settings.data_dir))
        made = run(*arguments, "--database-url", first.url, *sealed)
        assert made.exit_code == 0, made.output
        with psycopg.connect(first.url, autocommit=True) as db:
            ended = db.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
        assert ended is not None
        until(lambda: (wal / ended[0]).exists() and (wal / ended[0]).stat().st_size == 16 * 2**20)
        platform.stop()
        first.stop()

        recovered.configure(
            f"restore_command = 'cp {wal}/%f %p'\nrecovery_target_time = '{iso(moment).replace('Z', '+00')}'\n"
            "recovery_target_action = 'promote'\n"
        )
        (recovered.data / "recovery.signal").touch()
        if as_user:
            os.chown(recovered.data / "recovery.signal", as_user["user"], as_user["group"])
        recovered.start()
        with psycopg.connect(recovered.url, autocommit=True) as db:
            until(lambda: db.execute("SELECT pg_is_in_recovery()").fetchone() == (False,))

        target = Settings(data_dir=tmp_path / "restored", database_url=recovered.url, port=0)
        said = run(
            "restore", str(tmp_path / "backups"), str(target.data_dir), "--at", iso(moment), "--database-url",
            recovered.url, "--database-is-there", *sealed,
        )  # fmt: skip
        assert said.exit_code == 0, said.output
        with opened(target) as there:
            names = there.platform.snapshot(lambda ctx: {r["name"] for r in ctx.tx.all("SELECT name FROM principals")})
            assert "before" in names and "after" not in names
            assert sql(there.platform, admin, "SELECT id FROM shop.sales.orders") == [{"id": 1}]
            assert me(there.url, ADMIN_TOKEN) == 401
            assert me(there.url, TOKEN.findall(said.output)[0]) == 200


def a_moment(url: str) -> int:
    """A moment on the database's clock, after which something is committed: recovery stops before that."""
    now = int(time.time() * 1000) + 20
    until(lambda: time.time() * 1000 > now + 20)
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("UPDATE epoch SET epoch = epoch + 1")
    return now


def until(what: Any, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)
