"""Every installation there ever was opens in this version, whatever happens to the upgrade half-way."""

import base64
import json
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import upgrades
from lakewright.app import build
from lakewright.identity import credentials
from lakewright.identity.first_start import FirstToken
from lakewright.kernel import audit, migrate, roots
from lakewright.kernel.config import Settings
from lakewright.kernel.faults import Unavailable
from lakewright.kernel.store import SqliteStore, open_store
from scripts import old_schemas

ROOT = Path(__file__).parent.parent.parent
HISTORY = old_schemas.load()
ON_POSTGRES = os.environ.get("LAKEWRIGHT_TEST_DATABASE") == "postgres"
every_schema = pytest.mark.parametrize("old", HISTORY, ids=[each["commit"][:9] for each in HISTORY])


def installed(settings, old):
    """An installation as that version left it."""
    settings.data_dir.mkdir(parents=True)
    (settings.data_dir / "root.key").write_bytes(base64.b64decode(old["key"]))
    store = open_store(settings.database_url, settings.sqlite_path)
    upgrades.make(store, old)
    store.close()


def test_the_history_is_on_record():
    assert len(HISTORY) >= 9
    assert HISTORY[0]["applied"] == ["identity_0001", "kernel_0001"]


@every_schema
def test_an_old_installation_opens_with_all_it_had(settings: Settings, old):
    installed(settings, old)
    platform = build(settings)
    try:
        assert platform.the(FirstToken).secret == ""
        with platform.store.snapshot() as tx:
            who = platform.authenticator(platform, tx, f"Bearer {old_schemas.TOKEN}")
            assert who.name == "admin"
            assert audit.verify(tx, platform.keys.audit) is None
            for table in ("principals", "objects", "grants", "members"):
                had = {json.dumps(row, sort_keys=True) for row in old["rows"].get(table, [])}
                ids = [row.get("id") for row in map(json.loads, had) if row.get("id")]
                for id_ in ids:
                    assert tx.one(f"SELECT 1 FROM {table} WHERE id = ?", id_), (table, id_)
            if "workspaces_0002" not in old["applied"]:
                everybodys = 'SELECT "right" FROM grants WHERE object_id = ? AND principal = ? ORDER BY 1'
                held = [row["right"] for row in tx.all(everybodys, platform.workspace, roots.USERS)]
                assert held == sorted(roots.BY_DEFAULT), "what could be used of the workspace still can"
            revoked = [row for row in old["rows"]["tokens"] if row["revoked_at"]]
            for row in revoked:
                assert tx.scalar("SELECT revoked_at FROM tokens WHERE id = ?", row["id"]) == row["revoked_at"]
        assert credentials.hashed(platform.keys, old_schemas.TOKEN) in {row["hash"] for row in old["rows"]["tokens"]}
    finally:
        platform.stop()


@pytest.mark.skipif(ON_POSTGRES, reason="the record is of SQLite's tables")
@every_schema
def test_no_migration_that_has_been_released_was_changed_since(tmp_path: Path, old):
    store = SqliteStore(tmp_path / "then.db")
    for revision in old["applied"]:
        migrate.upgrade(store, revision)
    store.close()
    assert old_schemas.shape(store.path) == old["shape"]


@pytest.mark.timeout(300)
def test_an_upgrade_that_is_killed_half_way_is_ended_by_the_next_start(database):
    """The short form of `make bench BENCH=upgrades`."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.upgrades",
        "--every",
        "60" if database else "40",
        "--random",
        "1",
        "--schemas",
        "1",
    ]
    command += ["--database", database] if database else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["kills"] >= 4
    assert figures["wrong"] == 0


def test_an_older_version_refuses_what_a_newer_one_has_upgraded(settings: Settings):
    build(settings).stop()
    store = open_store(settings.database_url, settings.sqlite_path)
    raw = store.connect(write=True)
    raw.change("UPDATE lakewright_alembic SET version_num = 'kernel_9999' WHERE version_num LIKE 'jobs_%'", [])
    raw.change("UPDATE meta SET value = 'of-the-future' WHERE name = 'schema'", [])
    before = raw.select("SELECT version_num FROM lakewright_alembic ORDER BY 1", [])
    raw.close()
    store.close()
    with pytest.raises(Unavailable, match="a newer version of Lakewright has upgraded this database.*kernel_9999"):
        build(settings)
    store = open_store(settings.database_url, settings.sqlite_path)
    with store.snapshot() as tx:
        after = tx.all("SELECT version_num FROM lakewright_alembic ORDER BY 1")
    store.close()
    assert [dict(row) for row in after] == [dict(row) for row in before]


@pytest.mark.skipif(ON_POSTGRES, reason="Postgres has backups of its own")
def test_a_sqlite_file_is_copied_before_it_is_upgraded(settings: Settings):
    old = HISTORY[0]
    installed(settings, old)
    build(settings).stop()
    [copy] = migrate.copies(settings.sqlite_path).glob("*.db")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700
    with closing(sqlite3.connect(copy)) as db:
        assert {name for (name,) in db.execute("SELECT version_num FROM lakewright_alembic")} == set(old["applied"][:1])
        assert db.execute("SELECT COUNT(*) FROM principals").fetchone() == (len(old["rows"]["principals"]),)
    build(settings).stop()
    assert list(migrate.copies(settings.sqlite_path).glob("*.db")) == [copy], (
        "a start that upgrades nothing copies nothing"
    )


@pytest.mark.skipif(not ON_POSTGRES, reason="one process has a SQLite file")
def test_of_nodes_that_start_together_one_upgrades_and_the_others_wait(settings: Settings):
    installed(settings, HISTORY[0])
    source = (
        "import sys; from pathlib import Path; from lakewright.kernel.config import Settings; from lakewright.app import build\n"
        "build(Settings(data_dir=Path(sys.argv[1]), database_url=sys.argv[2], port=0)).stop()"
    )
    nodes = [
        subprocess.Popen(
            [sys.executable, "-c", source, str(settings.data_dir), settings.database_url],
            stderr=subprocess.PIPE, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    said = [node.communicate(timeout=100)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0, 0], said
    store = open_store(settings.database_url, settings.sqlite_path)
    assert migrate.applied(store) and not migrate.migrate(store)
    store.close()
