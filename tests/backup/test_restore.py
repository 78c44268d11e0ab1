"""What was backed up comes back in another place, whole, and lets in nobody who was let in before."""

import re
import stat
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from backup.conftest import TOKEN, LivedIn, me, opened, run, sql, url_of

from lakewright.backup.repository import Kept, Manifest, Repository, Set, as_of
from lakewright.kernel import audit
from lakewright.tracking.schema import statements


def restored(lived_in: LivedIn, elsewhere, *more: str):
    return run("restore", str(lived_in.directory), str(elsewhere.data_dir), *url_of(elsewhere), *more)


def test_an_installation_comes_back_whole_in_another_place(lived_in: LivedIn, elsewhere, passphrase):
    bob = lived_in.people.person("bob", groups=["analysts"])
    assert me(lived_in.server.url, bob.token) == 200
    made = lived_in.backup(*passphrase)
    assert made.exit_code == 0, made.output
    lived_in.sql("INSERT INTO shop.sales.orders VALUES (3, 'after')")
    lived_in.people.person("after")

    said = restored(lived_in, elsewhere, *passphrase)
    assert said.exit_code == 0, said.output
    assert "Checked: all it speaks of is there." in said.output
    assert "Every token, session and client secret is revoked" in said.output
    [token] = TOKEN.findall(said.output)
    with opened(elsewhere) as there:
        assert me(there.url, token) == 200
        assert me(there.url, bob.token) == me(there.url, lived_in.people.admin.token) == 401
        admin = there.platform.snapshot(lambda ctx: ctx.id_of("admin"))
        rows = sql(there.platform, admin, "SELECT id, what FROM shop.sales.orders ORDER BY id")
        assert rows == [{"id": 1, "what": "tea"}, {"id": 2, "what": "coffee"}]
        headers = {"authorization": f"Bearer {token}"}
        file = httpx.get(f"{there.url}/api/2.0/fs/files/Volumes/shop/sales/raw/a.txt", headers=headers)
        assert file.content == b"first"
        secret = httpx.get(f"{there.url}/api/2.0/secrets/get?scope=mail&key=password", headers=headers).json()
        assert secret["value"] == "czNjcmV0"
        with there.platform.store.snapshot() as tx:
            assert audit.verify(tx, there.platform.keys.audit) is None
            [row] = tx.all("SELECT * FROM audit WHERE action = 'restore'")
            assert '"tokens":"revoked"' in row["ask"]
            names = {r["name"] for r in tx.all("SELECT name FROM principals WHERE deleted_at IS NULL")}
            assert {"bob", "analysts"} <= names and "after" not in names
            assert not tx.all("SELECT 1 AS x FROM objects WHERE spec LIKE ?", f"%{lived_in.settings.data_dir}/%")


def test_nobody_but_the_owner_can_read_a_backup_or_what_it_restores(lived_in: LivedIn, elsewhere, passphrase):
    assert lived_in.backup(*passphrase).exit_code == 0
    assert restored(lived_in, elsewhere, *passphrase).exit_code == 0
    for root in (lived_in.directory, elsewhere.data_dir):
        for path in [root, *root.rglob("*")]:
            assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0, path
    lived_in.directory.chmod(0o755)
    assert "can be read by others" in lived_in.backup(*passphrase).output


def test_tokens_live_on_only_when_that_is_asked_for(lived_in: LivedIn, elsewhere, passphrase):
    bob = lived_in.people.person("bob")
    assert lived_in.backup(*passphrase).exit_code == 0
    said = restored(lived_in, elsewhere, *passphrase, "--keep-tokens")
    assert said.exit_code == 0 and "TOKENS LIVE ON" in said.output
    with opened(elsewhere) as there:
        assert me(there.url, bob.token) == 200
        kept = there.platform.snapshot(lambda ctx: ctx.tx.scalar("SELECT ask FROM audit WHERE action = 'restore'"))
        assert '"tokens":"kept"' in kept


def test_every_table_of_credentials_is_known_to_the_restore(platform):
    """Whoever adds one that opens a door adds it to `credentials.revoke_everything`, and here."""
    mlflows = set(re.findall(r'CREATE TABLE "?(\w+)', "\n".join(statements("sqlite"))))
    engine = sa.create_engine(platform.store.url.replace("postgresql://", "postgresql+psycopg://"))
    inspected = sa.inspect(engine)
    suspicious = {
        (table, column["name"])
        for table in set(inspected.get_table_names()) - mlflows
        for column in inspected.get_columns(table)
        if re.search(r"hash|secret|token|password|cookie|session", column["name"])
        and not column["name"].endswith("_id")
    }
    engine.dispose()
    ended = {("tokens", "hash"), ("oauth_codes", "hash")}
    no_door = {
        ("audit", "hash"), ("audit_head", "hash"), ("audit_archives", "hash"), ("idempotency", "token"),
        ("oauth_apps", "secret_hash"),  # opens nothing without a code or a refresh token, which are ended
        ("serving_processes", "secret"),  # of processes that do not run there
    }  # fmt: skip
    assert suspicious - no_door == ended


def test_without_the_right_key_nothing_is_restored(lived_in: LivedIn, elsewhere, passphrase, tmp_path: Path):
    assert "is NOT in it" in lived_in.backup().output
    assert "the master key is needed" in restored(lived_in, elsewhere).output
    assert not elsewhere.data_dir.exists()
    (tmp_path / "other.key").write_bytes(b"x" * 32)
    assert "this is not the key" in restored(lived_in, elsewhere, "--key-file", str(tmp_path / "other.key")).output
    key = lived_in.settings.data_dir / "root.key"
    assert restored(lived_in, elsewhere, "--key-file", str(key)).exit_code == 0


def test_a_wrong_passphrase_opens_nothing(lived_in: LivedIn, elsewhere, passphrase):
    assert lived_in.backup(*passphrase).exit_code == 0
    wrong = run(
        "restore", str(lived_in.directory), str(elsewhere.data_dir), *url_of(elsewhere),
        env={"LAKEWRIGHT_BACKUP_PASSPHRASE": "something else entirely"},
    )  # fmt: skip
    assert wrong.exit_code == 1 and "does not open the sealed master key" in wrong.output


def test_nothing_is_restored_over_what_is_there(lived_in: LivedIn, passphrase):
    assert lived_in.backup(*passphrase).exit_code == 0
    over = run("restore", str(lived_in.directory), str(lived_in.settings.data_dir), *passphrase)
    assert over.exit_code == 1 and "is not empty" in over.output


def test_a_backup_inside_what_it_backs_up_is_refused(lived_in: LivedIn):
    lived_in.directory = lived_in.settings.data_dir / "mine"
    assert "would be lost together with" in lived_in.backup().output


def test_an_altered_backup_is_found_and_not_restored(lived_in: LivedIn, elsewhere, passphrase):
    assert lived_in.backup(*passphrase).exit_code == 0
    assert run("backup", "verify", str(lived_in.directory)).exit_code == 0
    [victim] = [p for p in (lived_in.directory / "files").rglob("*") if p.is_file() and p.read_bytes() == b"first"]
    victim.write_bytes(b"fIrst")
    found = run("backup", "verify", str(lived_in.directory))
    assert found.exit_code == 1 and "raw" not in found.output.split("was altered")[1] and "a.txt" in found.output
    said = restored(lived_in, elsewhere, *passphrase)
    assert said.exit_code == 1 and "was altered" in said.output
    assert not elsewhere.data_dir.exists()


def test_sets_share_their_files_and_old_ones_go(lived_in: LivedIn, passphrase):
    for _ in range(3):
        assert lived_in.backup(*passphrase).exit_code == 0
    repository = Repository(lived_in.directory)
    first, _, last = repository.sets()
    assert {k.sha256 for k in first.manifest.files} & {k.sha256 for k in last.manifest.files}
    blobs = len(list(repository.files.glob("*/*")))
    lived_in.people.admin.client.files.delete("/Volumes/shop/sales/raw/a.txt")
    assert lived_in.backup(*passphrase).exit_code == 0
    assert run("backup", "prune", str(lived_in.directory), "--keep", "1").exit_code == 0
    assert len(repository.sets()) == 1
    assert len(list(repository.files.glob("*/*"))) < blobs
    assert run("backup", "verify", str(lived_in.directory)).exit_code == 0


def one(taken_at: int, **files: tuple[int, str]) -> Set:
    kept = [
        Kept(path=path, size=1, mtime_ns=written * 1_000_000, mode=0o600, sha256=content)
        for path, (written, content) in files.items()
    ]
    return Set(
        Path("x"),
        Manifest(
            taken_at=taken_at, lakewright="1", data_dir="/", database="sqlite", database_file="d", database_sha256="",
            schema_revisions=[], master_key="", key_sealed=False, files=kept, skipped=[],
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (100, {"same": "s", "changed": "old", "deleted": "d"}),
        (150, {"same": "s", "changed": "old", "deleted": "d", "added": "a"}),
        (190, {"same": "s", "changed": "new", "deleted": "d", "added": "a", "late": "l"}),
    ],
)
def test_between_two_sets_each_file_is_as_it_was_written_last(at, expected):
    before = one(100, same=(10, "s"), changed=(20, "old"), deleted=(30, "d"))
    after = one(200, same=(10, "s"), changed=(180, "new"), added=(140, "a"), late=(190, "l"))
    chosen, unsure = as_of(at, before, after)
    assert {kept.path: kept.sha256 for kept in chosen} == expected
    assert unsure == 1
