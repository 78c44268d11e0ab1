"""Any moment can be restored: SQLite from the log that Litestream copies while the server works."""

import time
from pathlib import Path

import psutil
import pytest
from backup.conftest import LivedIn, on_postgres, opened, run, sql

from lakewright.app import build
from lakewright.backup import replication
from lakewright.backup.replication import Log, iso
from lakewright.kernel.config import BackupSettings, Settings
from lakewright.kernel.faults import Unavailable
from lakewright.kernel.keys import File

pytestmark = pytest.mark.skipif(on_postgres(), reason="Postgres has its own: test_postgres_log.py")


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"backup": BackupSettings(directory=tmp_path / "backups")})


def until(what, seconds: float = 20.0):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def copied(directory: Path) -> int:
    """The number of the newest piece of log that has arrived."""
    return max((int(p.stem.split("-")[1], 16) for p in (directory / "log").rglob("ltx/0/*.ltx")), default=0)


def a_moment(lived_in: LivedIn) -> int:
    """A moment with everything before it copied. Another process copies by its own clock, so this waits for it."""
    begun = copied(lived_in.directory)
    lived_in.server.platform.transact(lambda ctx: ctx.tx.run("UPDATE epoch SET epoch = epoch + 1"))
    until(lambda: copied(lived_in.directory) > begun)
    now = int(time.time() * 1000)
    until(lambda: time.time() * 1000 > now + 50)
    return now


def test_a_moment_between_two_sets_comes_back(lived_in: LivedIn, elsewhere: Settings, passphrase):
    until(lambda: copied(lived_in.directory) > 0)
    volume = "/Volumes/shop/sales/raw"
    admin = lived_in.people.admin.client
    assert lived_in.backup(*passphrase).exit_code == 0
    lived_in.sql("INSERT INTO shop.sales.orders VALUES (3, 'before')")
    lived_in.people.person("before")
    moment = a_moment(lived_in)
    lived_in.sql("INSERT INTO shop.sales.orders VALUES (4, 'after')")
    lived_in.people.person("after")
    admin.files.delete(f"{volume}/a.txt")
    a_moment(lived_in)
    assert lived_in.backup(*passphrase).exit_code == 0

    said = run("restore", str(lived_in.directory), str(elsewhere.data_dir), "--at", iso(moment), *passphrase)
    assert said.exit_code == 0, said.output
    assert f"the log, as of {iso(moment)}" in said.output
    with opened(elsewhere) as there:
        who = there.platform.snapshot(lambda ctx: ctx.id_of("admin"))
        assert [r["id"] for r in sql(there.platform, who, "SELECT id FROM shop.sales.orders ORDER BY id")] == [1, 2, 3]
        names = there.platform.snapshot(lambda ctx: {r["name"] for r in ctx.tx.all("SELECT name FROM principals")})
        assert "before" in names and "after" not in names
        assert any(p.read_bytes() == b"first" for p in elsewhere.data_dir.rglob("a.txt")), "deleted after that moment"


def test_without_a_moment_the_newest_there_is_comes_back(lived_in: LivedIn, elsewhere: Settings, passphrase):
    assert lived_in.backup(*passphrase).exit_code == 0
    lived_in.people.person("late")
    a_moment(lived_in)
    said = run("restore", str(lived_in.directory), str(elsewhere.data_dir), *passphrase)
    assert said.exit_code == 0, said.output
    with opened(elsewhere) as there:
        assert there.platform.snapshot(lambda ctx: ctx.id_of("late"))


def test_a_moment_before_there_was_anything_is_refused(lived_in: LivedIn, elsewhere: Settings, passphrase):
    assert lived_in.backup(*passphrase).exit_code == 0
    arguments = ("restore", str(lived_in.directory), str(elsewhere.data_dir), *passphrase)
    assert "nothing in this backup reaches back" in run(*arguments, "--at", "2020-01-01T00:00:00Z").output
    assert "needs its zone" in run(*arguments, "--at", "2026-11-21T03:00:00").output
    assert not elsewhere.data_dir.exists()


def test_the_copying_is_started_again_and_a_killed_servers_is_taken_over(settings: Settings):
    platform = build(settings)
    running = platform.the(Log)
    pid = settings.data_dir / "backup" / "litestream.pid"
    try:
        running.keep_running()
        first = psutil.Process(int(pid.read_text()))
        Log(settings).keep_running()  # what a server does that finds the process of one that was killed
        assert psutil.Process(int(pid.read_text())) == first
        first.kill()
        until(lambda: not first.is_running() or first.status() == psutil.STATUS_ZOMBIE)
        running.keep_running()
        second = psutil.Process(int(pid.read_text()))
        assert second != first and second.is_running()
    finally:
        platform.stop()
    assert not second.is_running() or second.status() == psutil.STATUS_ZOMBIE
    assert File(settings.data_dir).path.exists()


def test_a_server_that_cannot_copy_its_log_says_so_at_the_start(settings: Settings, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(Unavailable, match=r"lakewright\[backup\]"):
        Log(settings)


def test_s3_is_configured_by_its_url(settings: Settings):
    backup = BackupSettings(log_url="s3://bucket/lakewright", log_endpoint="https://minio.example", log_days=2)
    made = replication.configuration(settings.model_copy(update={"backup": backup}))
    assert made["dbs"][0]["replica"] == {"url": "s3://bucket/lakewright", "endpoint": "https://minio.example"}
    assert made["snapshot"]["retention"] == made["l0-retention"] == "48h"
