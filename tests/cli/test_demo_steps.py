"""A step is ok because its effect was read back, and a failed one does not hide the others."""

from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from lakewright.cli.demo.steps import Figures, Report, expect
from lakewright.projects.client import Refused


def _report() -> Report:
    return Report(Console(file=io.StringIO(), width=200))


def test_what_is_not_so_fails_the_step_with_the_reason() -> None:
    report = _report()

    def check() -> Figures:
        expect(1 + 1 == 3, "two is not three")
        return {}

    assert not report.take("sums", check)
    assert report.steps[0].figures == {"error": "two is not three"}
    assert not report.all_ok


def test_a_refusal_and_a_bug_fail_a_step_and_the_story_goes_on(tmp_path: Path) -> None:
    report = _report()

    def refused() -> Figures:
        raise Refused(403, "PERMISSION_DENIED", "ask for SELECT")

    def wrong() -> Figures:
        rows: list[int] = []
        return {"row": rows[0]}

    report.take("refused", refused)
    report.take("wrong", wrong)
    report.take("fine", lambda: {"rows": 3}, seconds=1.234)
    report.write(tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text())
    assert [step["state"] for step in written["steps"]] == ["failed", "failed", "ok"]
    assert written["steps"][0]["figures"]["error"] == "ask for SELECT"
    assert written["steps"][2] == {"name": "fine", "state": "ok", "seconds": 1.23, "figures": {"rows": 3}}
    assert written["total_seconds"] >= 0
