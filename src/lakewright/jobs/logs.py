"""What a task left behind: its logs, and from them the error it died of."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from lakewright.engines.processes import Exit, Launcher, read_result
from lakewright.jobs.rows import TaskRun
from lakewright.kernel.platform import Redacts

MOST = 5 * 2**20
"""Bytes of output the API answers."""
TAIL = 256 * 2**10
TRACEBACK = "Traceback (most recent call last):"


class Logs:
    """Reads the files of this node's attempts."""

    def __init__(self, launcher: Launcher, node: str) -> None:
        self._launcher, self._node = launcher, node

    def read(self, task: TaskRun) -> dict[str, Any]:
        """The last 5 MB it printed: standard output, then standard error."""
        if task.node is None:
            return {}
        if task.node != self._node:
            return {"info": f"The logs are on the node that ran the task ({task.node})."}
        output = self._launcher.output(task.attempt_id)
        text, cut = _last([output.stdout_path, output.stderr_path], MOST)
        return {"logs": text.rstrip("\n") + "\n" if text else "", "logs_truncated": cut}

    def left(self, attempt: str) -> dict[str, Any]:
        """What a notebook answered, and what the task died of.

        Standard error comes first: it has been through the redaction of secrets, which the task's own account
        of itself has not.
        """
        output = self._launcher.output(attempt)
        text, _ = _last([output.stderr_path], TAIL)
        own = _own_account(read_result(output, "outcome.json", MOST))
        return {**own, **error_in(text), **_returned(read_result(output, "exit", MOST + 1))}

    def mask(self, attempt: str, redacts: Redacts) -> None:
        """What an ended attempt left on the disk, without secrets that it did not look up through `dbutils`, of which
        its supervisor therefore heard nothing."""
        output = self._launcher.output(attempt)
        for path in (output.stdout_path, output.stderr_path, *output.result.iterdir()):
            with suppress(OSError):
                if path.is_file() and not path.is_symlink():
                    before = path.read_bytes()
                    if (after := redacts.values(before)) != before:
                        path.write_bytes(after)


def _returned(given: bytes | None) -> dict[str, Any]:
    """What `dbutils.notebook.exit` was given."""
    if given is None:
        return {}
    return {"notebook_output": {"result": given[:MOST].decode(errors="ignore"), "truncated": len(given) > MOST}}


def _own_account(raw: bytes | None) -> dict[str, Any]:
    """The error a task wrote of itself, which may be anything."""
    try:
        said: Any = json.loads(raw or b"{}")
        return {name: str(said[name]) for name in ("error", "error_trace") if said.get(name)}
    except (ValueError, AttributeError):
        return {}


def error_in(text: str) -> dict[str, str]:
    at = text.rfind(TRACEBACK)
    lines = [line for line in text[max(at, 0) :].splitlines() if line.strip()]
    if not lines:
        return {}
    if at < 0:
        return {"error": lines[-1].strip()}
    # A message may span lines: the error begins at the last line that is not indented, after the frames.
    frames_end = max((i for i, line in enumerate(lines) if line.startswith("  ")), default=0)
    message = lines[frames_end + 1 :] or lines[-1:]
    return {"error": "\n".join(message), "error_trace": text[at:].rstrip("\n") + "\n"}


def _last(paths: list[Path], most: int) -> tuple[str, bool]:
    """The last bytes of the files one after another, and whether anything was left out."""
    parts: list[bytes] = []
    cut = False
    for path in reversed(paths):
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                take = min(size, most - sum(map(len, parts)))
                cut = cut or take < size
                file.seek(size - take)
                parts.append(file.read(take))
        except FileNotFoundError:
            continue
    return b"".join(reversed(parts)).decode(errors="replace"), cut


def message_of(ended: Exit) -> str:
    """Why a task ended, for those who have not read its output."""
    from lakewright.jobs.engine import WORKLOAD_FAILED

    return {
        "timeout": "Task timed out.",
        "memory": "The task used more memory than it may.",
        "processes": "The task started more processes than it may.",
        "killed": "The task's process was killed.",
        "lost": "The machine that ran the task lost it.",
    }.get(ended.reason, WORKLOAD_FAILED)
