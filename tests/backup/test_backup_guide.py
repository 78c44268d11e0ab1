"""The operators' guide says commands that work, one after the other."""

import os
import re
import shlex
from pathlib import Path

import pytest
from backup.conftest import PASSPHRASE, LivedIn, on_postgres, run

GUIDE = Path(__file__).parent.parent.parent / "docs/guides/backup.md"
NOT_RUN = ("lakewright up",)  # stays until it is stopped; tests/cli starts it


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("lakewright ")]


@pytest.mark.skipif(on_postgres(), reason="its commands are told for SQLite first; test_postgres_log.py has the others")
def test_the_guides_commands_work_as_they_are_written(lived_in: LivedIn, tmp_path: Path):
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    restored, ran = 0, []
    for command in commands():
        if command.startswith(NOT_RUN) or "--database-url" in command:
            continue
        restored += command.startswith("lakewright restore")
        for said, real in {
            "/backup/lakewright": str(tmp_path / "backups"),
            "/etc/lakewright/passphrase": str(tmp_path / "passphrase"),
            "/srv/restored": str(tmp_path / f"restored{restored}"),
            "2026-11-21T03:00:00Z": "2100-01-01T00:00:00Z",
        }.items():
            command = command.replace(said, real)
        done = run(*shlex.split(command)[1:], env={"LAKEWRIGHT_DATA_DIR": str(lived_in.settings.data_dir)})
        assert done.exit_code == 0, f"{command}\n{done.output}"
        ran.append(command.split()[1])
    assert ran == ["backup"] * 4 + ["restore", "restore", "check", "doctor"]
    assert os.listdir(tmp_path / "restored1")
