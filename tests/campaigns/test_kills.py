"""kill -9 under load, in its short form; the long one is `make bench BENCH=kills`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(300)
def test_a_killed_server_has_lost_and_doubled_nothing_that_it_acknowledged():
    command = [sys.executable, "-m", "benchmarks.kills", "--kills", "4", "--seed", "7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["acknowledged"] > 100
    assert (figures["lost"], figures["doubled"], figures["unrecorded"], figures["chain"]) == (0, 0, 0, "whole")
