"""Whoever has the whole database, but not the key, cannot change the trail unseen."""

import hashlib
import hmac

import orjson
import pytest

from lakewright.app import build
from lakewright.identity import tokens
from lakewright.kernel import audit
from lakewright.kernel.clock import ManualClock

WHOLE = None


@pytest.fixture
def trail(platform):
    """A trail of some rows, and the means to tamper with it."""
    grown(platform, 9)
    return Trail(platform)


def grown(platform, rows):
    admin = platform.snapshot(lambda ctx: ctx.id_of("admin"))
    for _ in range(rows):
        platform.call(admin, tokens.list_)


class Trail:
    def __init__(self, platform):
        self.platform, self.key = platform, platform.keys.audit

    def run(self, *statements):
        """As the database's owner would, beside the server."""
        self.platform.writer.submit(lambda turn: [turn.tx.run(*([s] if isinstance(s, str) else s)) for s in statements])

    def rows(self):
        return self.platform.snapshot(lambda ctx: [dict(r) for r in ctx.tx.all("SELECT * FROM audit ORDER BY seq")])

    def put(self, row):
        names = list(row)
        sql = f"INSERT INTO audit ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        self.run((sql, *row.values()))

    def found(self, chunk=5000):
        return self.platform.snapshot(lambda ctx: audit.verify(ctx.tx, self.key, chunk=chunk))

    def head(self):
        return self.platform.snapshot(lambda ctx: dict(ctx.tx.one("SELECT * FROM audit_head")))


def test_an_untouched_trail_is_whole_at_any_chunk_size(trail):
    assert [trail.found(chunk) for chunk in (1, 2, 3, 5000)] == [WHOLE] * 4


def test_a_change_to_any_field_is_found_at_its_row(trail):
    before = trail.rows()[4]
    for field in (*audit.FIELDS, "hash"):
        change = "+ 1" if field in ("at", "status") else "|| 'x'"
        trail.run(f"UPDATE audit SET {field} = {field} {change} WHERE seq = 5")
        assert trail.found() == audit.Break(5, "altered"), field
        trail.run((f"UPDATE audit SET {field} = ? WHERE seq = 5", before[field]))
    assert trail.found() is WHOLE


def test_a_row_taken_out_is_missing(trail):
    trail.run("DELETE FROM audit WHERE seq = 5")
    assert trail.found() == audit.Break(5, "missing")


def test_the_gap_closed_by_renumbering_is_found(trail):
    trail.run(
        "DELETE FROM audit WHERE seq = 5",
        "UPDATE audit SET seq = -seq WHERE seq > 5",
        "UPDATE audit SET seq = -seq - 1 WHERE seq < 0",
    )
    assert trail.found() == audit.Break(5, "altered")


def test_two_rows_that_changed_places_are_named(trail):
    trail.run(
        "UPDATE audit SET seq = -5 WHERE seq = 5",
        "UPDATE audit SET seq = 5 WHERE seq = 7",
        "UPDATE audit SET seq = 7 WHERE seq = -5",
    )
    assert trail.found() == audit.Break(5, "reordered: what was written as row 5 stands at 7")


def test_a_row_slipped_in_is_found(trail):
    forged = {**trail.rows()[4], "who_name": "mallory"}
    trail.run("UPDATE audit SET seq = -seq WHERE seq >= 5", "UPDATE audit SET seq = -seq + 1 WHERE seq < 0")
    trail.put(forged)
    assert trail.found() == audit.Break(5, "reordered: what was written as row 5 stands at 6")


def test_rows_cut_off_at_the_end_are_missing(trail):
    last = trail.head()["seq"]
    for rows in (1, 3):
        trail.run(f"DELETE FROM audit WHERE seq > {last - rows}")
        assert trail.found() == audit.Break(last - rows + 1, "missing at the end")


def test_a_head_moved_back_with_the_rows_is_not_signed(trail):
    before = trail.rows()[-2]
    trail.run(
        f"DELETE FROM audit WHERE seq > {before['seq']}",
        ("UPDATE audit_head SET seq = ?, hash = ?", before["seq"], before["hash"]),
    )
    assert trail.found() == audit.Break(before["seq"], "the signed head is not ours")


def test_an_older_head_does_not_fit_the_rows(trail, platform):
    old = trail.head()
    grown(platform, 1)
    trail.run(("UPDATE audit_head SET seq = ?, hash = ?, mac = ?", old["seq"], old["hash"], old["mac"]))
    assert trail.found() == audit.Break(old["seq"], "the signed head is an older one")


def test_a_chain_recomputed_without_the_key_is_found_at_its_first_row(trail):
    """The whole rest of the trail is written anew, consistently, and the head too."""
    rows, last = trail.rows(), None
    forger = audit.Chain(b"not the key")
    rows[4]["who_name"] = "mallory"
    last = rows[3]["hash"]
    for row in rows[4:]:
        row["hash"] = last = forger.link(last, [row["seq"], *(row[f] for f in audit.FIELDS)])
    trail.run("DELETE FROM audit WHERE seq > 4")
    for row in rows[4:]:
        trail.put(row)
    signed = forger.sign(rows[-1]["seq"], last, trail.head()["keyed_from"])
    trail.run(("UPDATE audit_head SET seq = ?, hash = ?, mac = ?", rows[-1]["seq"], last, signed))
    assert trail.found() == audit.Break(5, "altered")


def test_rows_declared_to_be_of_the_chain_without_a_key_are_found(trail):
    """The way back to hashes that anybody can compute is signed shut."""
    rows, last = trail.rows(), audit.GENESIS
    for row in rows:
        last = audit.plain_link(last, [row["seq"], *(row[f] for f in audit.PLAIN_FIELDS)])
        trail.run(("UPDATE audit SET hash = ? WHERE seq = ?", last, row["seq"]))
    trail.run(("UPDATE audit_head SET hash = ?, keyed_from = ?", last, rows[-1]["seq"] + 1))
    assert trail.found() == audit.Break(rows[-1]["seq"], "the signed head is not ours")


def test_a_trail_from_before_the_keyed_chain_goes_on_and_stays_checkable(settings, platform):
    grown(platform, 3)
    trail, last = Trail(platform), audit.GENESIS
    for row in trail.rows():
        last = hashlib.sha256(
            last.encode() + orjson.dumps([row["seq"], *(row[f] for f in audit.PLAIN_FIELDS)])
        ).hexdigest()
        trail.run(
            (
                "UPDATE audit SET hash = ?, decision = '', data = '', run_by = '', client_request_id = '' WHERE seq = ?",
                last,
                row["seq"],
            )
        )
    signed = hmac.new(trail.key, f"{row['seq']}:{last}".encode(), "sha256").hexdigest()
    trail.run(("UPDATE audit_head SET hash = ?, mac = ?, keyed_from = 0", last, signed))
    platform.stop()
    again = build(settings, ManualClock())
    try:
        trail = Trail(again)
        grown(again, 2)
        assert trail.head()["keyed_from"] == row["seq"] + 1
        assert trail.found() is WHOLE
        trail.run("UPDATE audit SET who_name = 'x' WHERE seq = 2")
        assert trail.found() == audit.Break(2, "altered")
    finally:
        again.stop()


def test_a_row_of_another_history_is_found(trail):
    """A row that was really written with the key, after another row: from a database that was set back, say."""
    row = {**trail.rows()[4], "who_name": "mallory"}
    row["hash"] = audit.chain_of(trail.key).link("f" * 32, [5, *(row[f] for f in audit.FIELDS)])
    trail.run("DELETE FROM audit WHERE seq = 5")
    trail.put(row)
    assert trail.found() == audit.Break(5, "altered")


def test_what_a_failed_turn_had_called_is_on_record_as_undone(platform):
    from lakewright.catalog import catalogs
    from lakewright.kernel.faults import Invalid

    def fails(ctx):
        ctx.call(catalogs.create, name="never")
        raise Invalid("in the end not")

    with pytest.raises(Invalid):
        platform.transact(fails, platform.snapshot(lambda ctx: ctx.id_of("admin")))
    [row] = [r for r in Trail(platform).rows() if r["action"] == "createCatalog"]
    assert (row["status"], row["error"]) == (400, "undone together with what called it")
