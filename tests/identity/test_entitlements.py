"""Entitlements and roles are accepted as far as a capability says that it enforces them."""

import subprocess
import sys
from pathlib import Path


def test_what_a_capability_enforces_is_accepted_shown_and_found_and_nothing_else(tmp_path):
    script = Path(__file__).with_name("entitled.py")
    ended = subprocess.run(
        [sys.executable, script, tmp_path / "data"], check=False, capture_output=True, text=True, timeout=100
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
