"""A copy of the trail proves itself, without the platform; rows that move into files leave a chain that holds."""

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lakewright.cli.main import app
from lakewright.identity import tokens
from lakewright.kernel import audit, keys, trail_files
from lakewright.kernel.faults import BadState
from lakewright.observe import audit_trail

SIGNER = trail_files.Signer(keys.Keys(b"r" * 32))


@pytest.fixture(scope="module")
def copy():
    """250 rows: two full blocks and a half."""
    rows = [{"seq": n, **dict.fromkeys(audit.FIELDS, f"text of {n}"), "hash": f"{n:032x}"} for n in range(7, 257)]
    return list(trail_files.lines(rows, SIGNER, lambda: 1))


def broken(lines, key=None):
    with pytest.raises(trail_files.Broken) as found:
        trail_files.check(lines, key or SIGNER.public())
    return found.value.line, found.value.what


def test_a_whole_copy_is_whole(copy):
    found = trail_files.check(copy, SIGNER.public())
    assert (found.rows, found.seq, len(copy)) == (250, 256, 253)
    assert trail_files.check(trail_files.lines([], SIGNER, lambda: 1), SIGNER.public()).rows == 0


def test_any_line_that_is_not_as_it_was_written_is_named(copy):
    for at in (0, 1, 57, 99, 101, 240):
        bad = copy[at].replace(b"text of", b"TEXT of", 1)
        assert broken([*copy[:at], bad, *copy[at + 1 :]]) == (at + 1, "altered")
        line, what = broken([*copy[:at], *copy[at + 1 :]])
        assert (line, what[:17]) == (at + 1, "a line is missing")
        line, what = broken([*copy[:at], copy[180], *copy[at:]])
        assert line <= at + 1 or "more than" in what
    assert broken([copy[1], copy[0], *copy[2:]]) == (1, "a line was put in or moved here")


def test_a_copy_that_is_cut_off_or_goes_on_is_found(copy):
    for end in (0, 50, 100, 101, 252):
        line, what = broken(copy[:end])
        assert "cut off" in what
        assert line == end + 1
    assert broken([*copy, copy[-2]]) == (254, "after the last checkpoint")
    assert "before this one" in broken(copy[101:])[1]
    assert "before this one" in broken([*copy[:101], *copy[202:]])[1]


def test_a_copy_signed_by_somebody_else_is_found(copy):
    forger = trail_files.Signer(keys.Keys(b"f" * 32))
    assert broken(copy, forger.public()) == (101, "a checkpoint that this installation did not sign")
    checkpoint = json.loads(copy[100])
    checkpoint["checkpoint"]["lines"][3] = trail_files.digest(b"other\n")
    bad = [*copy[:3], b"other\n", *copy[4:100], json.dumps(checkpoint).encode() + b"\n", *copy[101:]]
    assert broken(bad)[0] in (4, 101)


# ---- archives


@pytest.fixture
def trail(platform):
    """Ten rows on each of three days."""
    admin = platform.snapshot(lambda ctx: ctx.id_of("admin"))
    for _ in range(3):
        for _ in range(10):
            platform.call(admin, tokens.list_)
        platform.clock.advance(86_400)
    return admin


def verified(platform, admin, **ask):
    return platform.call(admin, audit_trail.verify, **ask)


def kept(platform):
    return platform.snapshot(lambda ctx: [r["seq"] for r in ctx.tx.all("SELECT seq FROM audit ORDER BY seq")])


def test_what_was_put_away_is_gone_from_the_database_and_the_chain_holds(platform, trail):
    day, first = 86_400_000, platform.clock.now() - 3 * 86_400_000
    made = platform.call(trail, audit_trail.archive, before=first + day)
    assert made["rows"] >= 10
    assert kept(platform)[0] == made["last"] + 1
    more = platform.call(trail, audit_trail.archive, before=first + 2 * day)
    assert (more["first"], more["rows"]) == (made["last"] + 1, 10)
    assert platform.call(trail, audit_trail.archive, before=first + 2 * day) == {"rows": 0}
    assert verified(platform, trail, archives=True)["whole"]
    folder = platform.settings.data_dir / "audit"
    assert sorted(p.name for p in folder.iterdir()) == [made["file"], more["file"]]
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in folder.iterdir())
    listed = platform.call(trail, audit_trail.list_archives)["archives"]
    assert [a["file"] for a in listed] == [made["file"], more["file"]]


def test_rows_are_put_away_by_themselves_when_a_time_is_set(platform, trail):
    audit_trail.retire(platform)
    assert kept(platform)[0] == 1
    platform.settings.audit.keep_days = 1.5
    audit_trail.retire(platform)
    assert kept(platform)[0] > 20
    assert verified(platform, trail, archives=True)["whole"]


def test_rows_taken_out_by_anybody_else_are_missing(platform, trail):
    now = platform.clock.now()
    made = platform.call(trail, audit_trail.archive, before=now - 86_400_000)

    def tampered(*statements):
        platform.writer.submit(lambda turn: [turn.tx.run(s) for s in statements])
        found = verified(platform, trail)
        return found["whole"], found.get("seq"), found.get("what")

    first = made["last"] + 1
    assert tampered(f"DELETE FROM audit WHERE seq = {first}") == (False, first, "missing")
    assert tampered(f"UPDATE audit_archives SET last = {first}") == (
        False, first, "the signed note of the rows archived is not ours")  # fmt: skip
    assert tampered("DELETE FROM audit_archives")[:2] == (False, 1)


def test_an_archive_that_was_altered_or_lost_is_found(platform, trail):
    made = platform.call(trail, audit_trail.archive, before=platform.clock.now())
    path = platform.settings.data_dir / "audit" / made["file"]
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"admin"', b'"adm1n"', 1))
    assert "altered" in verified(platform, trail, archives=True)["what"]
    path.unlink()
    assert verified(platform, trail, archives=True)["what"] == f"{made['file']} is missing"
    assert verified(platform, trail)["whole"]


def test_a_broken_chain_is_not_put_away(platform, trail):
    platform.writer.submit(lambda turn: turn.tx.run("UPDATE audit SET who_name = 'x' WHERE seq = 5"))
    with pytest.raises(BadState, match="broken at row 5"):
        platform.call(trail, audit_trail.archive, before=platform.clock.now())
    assert kept(platform)[0] == 1
    assert not list((platform.settings.data_dir / "audit").iterdir())


# ---- checkpoints


def test_a_checkpoint_spares_what_was_checked_and_shows_a_trail_that_was_set_back(platform, trail):
    first = verified(platform, trail)
    point = first["checkpoint"]
    admin = trail
    for _ in range(3):
        platform.call(admin, tokens.list_)
    again = verified(platform, trail, **point)
    assert again["whole"]
    assert again["rows"] < first["rows"]
    old = platform.snapshot(lambda ctx: dict(ctx.tx.one("SELECT * FROM audit_head")))
    platform.call(admin, tokens.list_)
    later = verified(platform, trail)["checkpoint"]

    def set_back(turn):  # with the head of that time, signed as it was: only what is kept elsewhere can tell
        turn.tx.run("DELETE FROM audit WHERE seq > ?", old["seq"])
        turn.tx.run("UPDATE audit_head SET seq = ?, hash = ?, mac = ?", old["seq"], old["hash"], old["mac"])

    platform.writer.submit(set_back)
    assert verified(platform, trail)["whole"]
    for _ in range(5):
        platform.call(admin, tokens.list_)
    found = verified(platform, trail, **later)
    assert (found["whole"], found["what"]) == (False, "not the row that the checkpoint was made on")


def test_by_the_command_line(server, people, tmp_path):
    people.person("ada").client.current_user.me()
    here = ("--host", server.url, "--token", people.admin.token)
    run = lambda *words: CliRunner().invoke(app, ["audit", *words], env={"COLUMNS": "300"})
    key, copy, point = tmp_path / "key.pem", tmp_path / "copy.jsonl", tmp_path / "point.json"
    key.write_text(run("public-key", *here).output)
    assert run("export", "--to", str(copy), *here).exit_code == 0
    told = run("verify", str(copy), "--public-key", str(key))
    assert (told.exit_code, "The file is whole" in told.output) == (0, True)
    rows = [json.loads(line) for line in copy.read_text().splitlines()]
    assert [r["seq"] for r in rows if "seq" in r] == list(range(1, rows[-1]["checkpoint"]["seq"] + 1))
    assert any(r.get("who_name") == "ada" for r in rows)
    after = json.loads(run("export", "--after", "2", *here).output.splitlines()[0])
    assert after["seq"] == 3
    assert len(run("export", "--since", "2999-01-01", *here).output.splitlines()) == 1
    copy.write_bytes(copy.read_bytes().replace(b'"who_name":"ada"', b'"who_name":"eve"', 1))
    told = run("verify", str(copy), "--public-key", str(key))
    assert (told.exit_code, "altered" in told.output) == (1, True)
    assert run("verify", "--checkpoint", str(point), *here).exit_code == 0
    told = run("verify", "--checkpoint", str(point), *here)
    assert "since row" in told.output
    assert run("verify", *here[:2], "--token", people.person("ada").token).exit_code == 1
    server.platform.writer.submit(lambda turn: turn.tx.run("UPDATE audit SET because = 'x' WHERE seq = 3"))
    told = run("verify", *here)
    assert (told.exit_code, "row 3: altered" in told.output) == (1, True)
    assert Path(point).exists()
