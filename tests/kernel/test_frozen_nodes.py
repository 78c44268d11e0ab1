"""A node that froze is replaced, and what it still wanted to write is refused when it goes on."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace

import pytest

from lakewright.kernel import leases
from lakewright.kernel.controllers import LEASE_MS, Held, holding
from lakewright.kernel.faults import Conflict, Unavailable
from lakewright.kernel.platform import Platform

ON_POSTGRES = os.environ.get("LAKEWRIGHT_TEST_DATABASE") == "postgres"
needs_nodes = pytest.mark.skipif(not ON_POSTGRES, reason="one process has a SQLite file, so there is no other node")


def acquire(platform: Platform, node: str) -> Held | None:
    fence = platform.writer.submit(
        lambda turn: leases.acquire(turn.tx, "controller:x", node, now=platform.clock.now(), ttl_ms=LEASE_MS)
    )
    return Held("controller:x", node, fence) if fence else None


@needs_nodes
def test_what_a_replaced_node_writes_late_is_refused(platform, clock):
    def note(ctx):
        ctx.tx.run("INSERT INTO meta (name, value) VALUES ('late', 'x')")

    first = acquire(platform, "frozen")
    assert first is not None
    assert acquire(platform, "other") is None
    clock.advance(LEASE_MS / 1000 + 1)
    second = acquire(platform, "other")
    assert second == replace(first, holder="other", fence=first.fence + 1)
    with holding(first), pytest.raises(Conflict, match="another node has taken over"):
        platform.transact(note)
    assert platform.snapshot(lambda ctx: ctx.tx.scalar("SELECT COUNT(*) FROM meta WHERE name = 'late'")) == 0
    with holding(second):
        platform.transact(note)


FREEZES = """
import os, signal, sys, time
from pathlib import Path
from lakewright.app import build
from lakewright.kernel.config import Settings
from lakewright.kernel.faults import Unavailable

platform = build(Settings(data_dir=Path(sys.argv[1]), database_url=sys.argv[2], port=0))

def work(turn):
    turn.tx.run("UPDATE audit_head SET seq = seq WHERE id = 1")  # what the end of every batch holds
    turn.tx.run("INSERT INTO meta (name, value) VALUES ('frozen', 'x')")
    print("holding", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.5)  # the signal reaches this thread a little later than the main one

try:
    platform.writer.submit(work)
    print("acknowledged", flush=True)
except Unavailable:
    print("refused", flush=True)
platform.writer.submit(lambda turn: turn.tx.run("INSERT INTO meta (name, value) VALUES ('after', 'x')"))
print("goes on", flush=True)
platform.stop()
"""


@needs_nodes
def test_a_node_frozen_in_the_middle_of_a_batch_holds_nobody_up_and_is_refused_when_it_goes_on(platform, tmp_path):
    (tmp_path / "node").mkdir()
    shutil.copy(platform.settings.data_dir / "root.key", tmp_path / "node")  # nodes of one installation share its key
    node = subprocess.Popen(
        [sys.executable, "-c", FREEZES, str(tmp_path / "node"), platform.settings.database_url],
        stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert node.stdout is not None
        assert node.stdout.readline() == "holding\n"
        begun = time.monotonic()
        until = begun + 30
        while True:
            try:
                platform.writer.submit(lambda turn: turn.tx.run("UPDATE audit_head SET seq = seq WHERE id = 1"))
                break
            except Unavailable:
                assert time.monotonic() < until
        assert time.monotonic() - begun < 15
        node.send_signal(signal.SIGCONT)
        assert node.communicate(timeout=30)[0].split("\n")[:2] == ["refused", "goes on"]
    finally:
        node.kill()
        node.wait()
    kept = {r["name"] for r in platform.snapshot(lambda ctx: ctx.tx.all("SELECT name FROM meta WHERE value = 'x'"))}
    assert kept == {"after"}


@needs_nodes
def test_a_transaction_that_failed_unseen_is_not_acknowledged(platform):
    """Postgres answers COMMIT of a failed transaction with ROLLBACK, and raises nothing."""

    def hides(turn):
        turn.tx.run("INSERT INTO meta (name, value) VALUES ('hidden', 'x')")
        try:
            turn.tx.all("SELECT 1/0")
        except Exception:
            return "done"

    with pytest.raises(Unavailable):
        platform.writer.submit(hides)
    with closing(platform.store.connect(write=False)) as raw:
        assert raw.select("SELECT 1 FROM meta WHERE name = 'hidden'", []) == []
