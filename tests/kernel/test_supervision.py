"""The writer outlives whatever a batch or the disk does to it, tells nobody a lie, and keeps nobody waiting."""

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from lakewright.kernel.faults import Unavailable
from lakewright.kernel.writer import Writer

ONLY_SQLITE = pytest.mark.skipif(
    os.environ.get("LAKEWRIGHT_TEST_DATABASE") == "postgres", reason="about what SQLite does on a full disk"
)


def note(name):
    return lambda turn: turn.tx.run("INSERT INTO meta (name, value) VALUES (?, 'noted')", name)


def noted(platform):
    return platform.snapshot(lambda ctx: {r["name"] for r in ctx.tx.all("SELECT name FROM meta WHERE value = 'noted'")})


def test_what_is_raised_after_a_commit_ends_neither_the_writer_nor_the_others_answers(platform):
    def work(turn):
        turn.after_commit.append(sys.exit)
        return note("first")(turn)

    platform.writer.submit(work)
    platform.writer.submit(note("second"))
    assert noted(platform) == {"first", "second"}


def test_nobody_waits_for_a_batch_that_never_ends(platform):
    """A disk that hangs in fsync looks like this. What was under way may still happen; nobody was told that it did."""
    writer = Writer(
        platform.store, lambda tx, entries: None, committed=lambda topics: None, rolled_back=lambda: None, patience=1
    )
    writer.start()
    hangs, begun = threading.Event(), threading.Event()

    def hang(turn):
        begun.set()
        hangs.wait(30)
        return note("late")(turn)

    with ThreadPoolExecutor(2) as threads:
        try:
            under_way = threads.submit(writer.submit, hang)
            assert begun.wait(5)
            queued = threads.submit(writer.submit, note("behind"))
            for each in (under_way, queued):
                with pytest.raises(Unavailable, match="not known"):
                    each.result(timeout=10)
            with pytest.raises(Unavailable, match="not known"):
                writer.submit(note("refused"))
        finally:
            hangs.set()
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            writer.submit(note("again"))
            break
        except Unavailable:
            time.sleep(0.05)
    writer.stop()
    assert noted(platform) == {"late", "again"}


def test_a_closed_writer_refuses_and_does_not_hang(platform):
    writer = Writer(platform.store, lambda tx, entries: None, committed=lambda topics: None, rolled_back=lambda: None)
    writer.start()
    with ThreadPoolExecutor(16) as threads:
        answers = [threads.submit(writer.submit, note(f"n{i}")) for i in range(200)]
        writer.stop()
        told = [each.exception(timeout=10) for each in answers]
    assert len(noted(platform)) == sum(error is None for error in told)
    assert {type(error) for error in told} <= {type(None), Unavailable}


@ONLY_SQLITE
def test_on_a_full_disk_nothing_is_kept_and_nothing_is_acknowledged_even_if_the_body_hides_the_error(platform):
    """SQLite ends the transaction by itself on SQLITE_FULL; what follows would otherwise commit alone, unrecorded."""

    def hides(turn):
        turn.tx.run(f"PRAGMA max_page_count = {turn.tx.scalar('PRAGMA page_count')}")
        try:
            turn.tx.run("INSERT INTO meta (name, value) VALUES ('large', ?)", "x" * 1_000_000)
        except Exception:
            note("hidden")(turn)

    with pytest.raises(Unavailable):
        platform.writer.submit(hides)
    assert noted(platform) == set()
    platform.writer.submit(note("after"))  # on a new connection
    assert noted(platform) == {"after"}


@ONLY_SQLITE
def test_a_request_that_cannot_be_recorded_is_refused_whatever_it_is(server, people):
    platform = server.platform
    headers = {"authorization": f"Bearer {people.admin.token}"}

    def answers():
        scim, nothing = f"{server.url}/api/2.0/preview/scim/v2", f"{server.url}/api/2.0/nothing"
        return [
            httpx.post(f"{scim}/Groups", json={"displayName": "made"}, headers=headers).status_code,
            httpx.get(f"{scim}/Me", headers=headers).status_code,
            httpx.get(f"{scim}/Users", headers=headers).status_code,
            httpx.get(f"{scim}/Me").status_code,
            httpx.get(nothing, headers=headers).status_code,
            httpx.get(f"{server.url}/health").status_code,
        ]

    platform.writer.submit(
        lambda turn: turn.tx.run(
            "CREATE TRIGGER no_room BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
    )
    refused = answers()
    platform.writer.submit(lambda turn: turn.tx.run("DROP TRIGGER no_room"))
    assert set(refused) == {503}
    assert platform.snapshot(lambda ctx: ctx.tx.scalar("SELECT COUNT(*) FROM principals WHERE name = 'made'")) == 0
    assert [status // 100 for status in answers()] == [2, 2, 2, 4, 4, 2]
