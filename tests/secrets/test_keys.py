"""The master key lies outside the database, can be changed at any moment, and nothing opens without it."""

import base64
import os
import stat
import sys

import pytest
from pydantic import SecretStr

from lakewright.app import build
from lakewright.kernel import audit, keys
from lakewright.kernel.clock import ManualClock
from lakewright.kernel.faults import BadState, Unavailable
from lakewright.workspace import master_key, secrets

ONE, TWO = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))


@pytest.fixture
def start(settings):
    """Start a platform with other key settings, over the same database; what ran before is stopped."""
    running = []

    def begin(**given):
        stop()
        settings.keys = type(settings.keys)(**given)
        running.append(build(settings, ManualClock()))
        return running[-1]

    def stop():
        while running:
            running.pop().stop()

    yield begin
    stop()


def admin(platform):
    return platform.snapshot(lambda ctx: ctx.id_of("admin"))


def put(platform):
    platform.call(admin(platform), secrets.create_scope, scope="prod")
    platform.call(admin(platform), secrets.put, scope="prod", key="db", string_value="CANARY")


def value(platform):
    answer = platform.call(admin(platform), secrets.get, scope="prod", key="db")
    return base64.b64decode(answer["value"]).decode()


def rotate(platform):
    return platform.call(admin(platform), master_key.rotate)


def whole(platform):
    return platform.snapshot(lambda ctx: audit.verify(ctx.tx, platform.keys.audit)) is None


def test_a_change_of_the_key_keeps_everything_readable_and_the_old_key_opens_nothing(start, settings):
    platform, path = start(), settings.data_dir / "root.key"
    put(platform)
    old = path.read_bytes()
    said = rotate(platform)
    assert path.read_bytes() != old
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not (settings.data_dir / "root.key.next").exists()
    assert value(platform) == "CANARY"
    platform = start()
    assert (value(platform), whole(platform)) == ("CANARY", True)
    assert platform.call(admin(platform), master_key.get) == {"master_key_id": said["master_key_id"], "source": "file"}
    new = path.read_bytes()
    path.write_bytes(old)
    with pytest.raises(Unavailable, match="needs the master key"):
        start()
    path.write_bytes(new)
    assert value(start()) == "CANARY"


@pytest.mark.parametrize("step", ["prepared", "swapped"])
def test_a_crash_in_the_middle_of_a_change_leaves_a_key_that_fits(start, settings, step):
    platform = start()
    put(platform)
    rotating = keys.Rotating(settings)
    before = platform.snapshot(lambda ctx: keys.current(settings, ctx.tx))
    after = rotating.prepare(before)
    if step == "swapped":
        wrapped = after.wrap(platform.keys.root)
        platform.transact(lambda ctx: keys.swap(ctx.tx, before, after, wrapped))
    platform = start()  # it stops here, never having settled
    assert value(platform) == "CANARY"
    assert not (settings.data_dir / "root.key.next").exists()
    used = platform.call(admin(platform), master_key.get)["master_key_id"]
    assert used == (after.id if step == "swapped" else before.id)
    rotate(platform)
    assert value(start()) == "CANARY"


def test_two_changes_at_once_are_one(start, settings):
    platform = start()
    with keys.Rotating(settings).alone(), pytest.raises(BadState):
        rotate(platform)


def test_the_key_may_come_from_the_environment_and_is_changed_there(start, settings):
    platform = start(master=SecretStr(ONE))
    put(platform)
    assert not (settings.data_dir / "root.key").exists()
    with pytest.raises(BadState, match="put the new one before it"):
        rotate(platform)
    platform = start(master=SecretStr(f"{TWO},{ONE}"))
    assert value(platform) == "CANARY"
    rotate(platform)
    assert value(start(master=SecretStr(TWO))) == "CANARY"
    with pytest.raises(Unavailable):
        start(master=SecretStr(ONE))
    with pytest.raises(Unavailable):
        start()
    assert not (settings.data_dir / "root.key").exists(), "a key was invented for a database that has one"


def test_the_key_may_stay_with_a_command(start, tmp_path):
    """A stand-in for a KMS, with a key of its own that this process never sees."""
    kms = tmp_path / "kms.py"
    kms.write_text(
        "import sys, base64\nkey = bytes(range(32))\ntext = sys.stdin.read()\n"
        "turn = lambda raw: bytes(a ^ b for a, b in zip(raw, key))\n"
        "wrap = sys.argv[1] == 'wrap'\n"
        "print('v1.' + base64.b64encode(turn(base64.b64decode(text))).decode() if wrap else"
        " base64.b64encode(turn(base64.b64decode(text.removeprefix('v1.')))).decode())\n"
    )
    platform = start()
    put(platform)
    platform = start(command=f"{sys.executable} {kms}")
    assert value(platform) == "CANARY", "the file still opens it"
    assert rotate(platform)["source"] == "command"
    (platform.settings.data_dir / "root.key").unlink()
    assert value(start(command=f"{sys.executable} {kms}")) == "CANARY"
    with pytest.raises(Unavailable, match="did not unwrap"):
        start(command="false")


def test_an_installation_from_before_the_ring_keeps_its_keys(start, settings):
    platform = start()
    put(platform)
    root = platform.keys.root
    platform.transact(lambda ctx: ctx.tx.run("DELETE FROM keyring"))
    (settings.data_dir / "root.key").write_bytes(root)  # as it was: the file held the root itself
    platform = start()
    assert (value(platform), platform.keys.root == root, whole(platform)) == ("CANARY", True, True)
    rotate(platform)
    assert (settings.data_dir / "root.key").read_bytes() != root
    assert value(start()) == "CANARY"


def test_a_secret_from_before_scopes_had_keys_is_read_and_put_anew(start):
    platform = start()
    put(platform)
    old = platform.vault.seal(base64.b64encode(b"OLD").decode())
    platform.transact(lambda ctx: ctx.tx.run("UPDATE workspace_secrets SET sealed = ?", old))
    assert value(platform) == "OLD"
    platform.call(admin(platform), secrets.put, scope="prod", key="db", string_value="NEW")
    assert value(platform) == "NEW"


def test_a_sealed_value_opens_in_its_own_place_only(start):
    """Whoever can write the database cannot put a secret where they may read it."""
    platform = start()
    put(platform)
    me = admin(platform)
    platform.call(me, secrets.create_scope, scope="mine")
    platform.call(me, secrets.put, scope="mine", key="db", string_value="x")
    platform.call(me, secrets.put, scope="prod", key="other", string_value="x")
    for scope, key in (("mine", "db"), ("prod", "other")):
        platform.transact(lambda ctx, key=key, scope=scope: ctx.tx.run(
            "UPDATE workspace_secrets SET sealed = (SELECT s.sealed FROM workspace_secrets s JOIN objects o ON o.id = s.scope_id"
            " WHERE o.full_name = 'prod' AND s.name = 'db') WHERE name = ? AND scope_id ="
            " (SELECT id FROM objects WHERE full_name = ? AND kind = 'secret_scope')", key, scope))  # fmt: skip
        with pytest.raises(ValueError, match="altered or moved"):
            platform.call(me, secrets.get, scope=scope, key=key)


def test_a_deleted_scopes_key_is_gone_with_it(start):
    platform = start()
    put(platform)
    platform.call(admin(platform), secrets.delete_scope, scope="prod")
    left = platform.snapshot(
        lambda ctx: [ctx.tx.scalar(f"SELECT COUNT(*) FROM {t}") for t in ("workspace_scope_keys", "workspace_secrets")]
    )
    assert left == [0, 0]


def test_a_secret_is_in_no_file_in_any_form(start, settings):
    """The database, its write-ahead log and everything else in the data directory, while running and afterwards."""
    platform, canary = start(), "CANARY-9f3a77"
    me = admin(platform)
    platform.call(me, secrets.create_scope, scope="prod")
    platform.call(me, secrets.put, scope="prod", key="db", string_value=canary)
    platform.call(me, secrets.get, scope="prod", key="db")
    root, raw = platform.keys.root, canary.encode()
    forms = (
        raw,
        raw[::-1],
        base64.b64encode(raw),
        raw.hex().encode(),
        root,
        base64.b64encode(root),
        root.hex().encode(),
    )
    seen = 0
    for _ in ("running", "stopped"):
        for path in settings.data_dir.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                seen += len(content)
                assert not [f for f in forms if f in content], path
        platform = start()
    assert seen > 100_000 or settings.database_url
    if not settings.database_url:
        assert stat.S_IMODE(os.stat(settings.sqlite_path).st_mode) == 0o600


def test_only_administrators_may_change_the_key(people):
    from databricks.sdk.errors import PermissionDenied

    with pytest.raises(PermissionDenied):
        people.person("eve").do("POST", "/api/2.1/lakewright/keys/rotate")
    assert people.admin.do("GET", "/api/2.1/lakewright/keys")["source"] == "file"
