"""kill -9, freezes, failing and full disks, in the short form; the long one is `make bench BENCH=kills`."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(300)
def test_a_server_that_is_killed_frozen_and_denied_its_disk_has_told_nobody_a_lie():
    command = [sys.executable, "-m", "benchmarks.kills", "--kills", "50", "--faults", "2", "--full", "1", "--seed", "7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    for what in figures["left_out"]:
        warnings.warn(f"LEFT OUT: {what}", stacklevel=1)
    assert figures["wrong"] == 0, figures["first"]
    assert figures["answered_5xx"] == {}, "503 is the one honest answer"
    assert figures["acknowledged"] > 300
    assert figures["back_ms"]["forked"]["p50"] < 2000
    if not figures["left_out"]:
        assert set(figures["faults"]) == {"fsync EIO", "write ENOSPC", "disk full"}
        assert min(figures["faults"].values()) > 0, "each fault was met and refused"
