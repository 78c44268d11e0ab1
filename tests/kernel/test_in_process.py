"""A call from inside the process is on record like one from outside, wherever its body runs."""

import contextlib

import pytest
from conformance.test_every_operation import GUARDED

from lakewright.kernel.faults import Fault


@pytest.mark.parametrize("runs", ["in_tx", "snapshot", "outside", "async"])
def test_a_refused_call_leaves_one_row(platform, people, runs):
    """Refused: a stranger asks, or the fields are wrong; either way somebody asked."""
    stranger = people.person("stranger")
    operation = next(o for o in GUARDED if o.runs == runs and o.body in ("json", "raw"))
    with contextlib.suppress(Fault):
        platform.call(stranger.id, operation, nothing="of the kind")
    rows = platform.snapshot(lambda ctx: ctx.tx.all("SELECT status FROM audit WHERE action = ?", operation.audit))
    assert [row["status"] >= 400 for row in rows] == [True]
