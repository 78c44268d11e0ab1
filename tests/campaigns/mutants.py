"""Every list filter and every write to the trail, taken away one at a time: some test must fail.

    python -m tests.campaigns.mutants [--only filters|audits] [--sample 5 --seed 1]

The mutants are found in the source, so a new list or a new way to record is tried without being named here. Rules of
operations are taken away in process, all of them, by tests/conformance/test_guards_matter.py; the guard's own lines are
in tests/campaigns/test_mutants.py.
"""

import argparse
import ast
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lakewright

SOURCE = Path(lakewright.__file__).parent
TESTS = Path(__file__).parent.parent
CAMPAIGN = "attacks/test_campaign.py"
EVERYONE = '__import__("lakewright.kernel.rules", fromlist=["_"]).EVERYONE'

ALSO = {"jobs/sources.py": ("jobs/test_sources.py", "jobs/test_governed.py")}
"""Where a list is not read by a request but by what a run is given."""
IN_TRUSTED_HANDS = {
    "catalog/locations.py": "looks for the location above a path among all; what it finds is judged by its caller",
}
"""Files whose lists are for the platform itself: nobody is shown them."""


@dataclass(frozen=True)
class Mutant:
    sort: str
    file: str
    line: int
    start: int
    end: int
    instead: str
    noticed_by: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.sort} {self.file}:{self.line}"


def filters() -> Iterator[Mutant]:
    """The rule of each `objects.page` and `objects.visible`, replaced by everyone's."""
    for path in sorted(SOURCE.rglob("*.py")):
        file, text = str(path.relative_to(SOURCE)), path.read_text()
        if file in IN_TRUSTED_HANDS or "objects." not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("objects.page", "objects.visible"):
                start, end = _span(text, node.args[2])
                yield Mutant("filter", file, node.lineno, start, end, EVERYONE, (CAMPAIGN, *ALSO.get(file, ())))


def audits() -> Iterator[Mutant]:
    """Each statement of the platform that records a request, left out."""
    file = "kernel/platform.py"
    text = (SOURCE / file).read_text()
    for node in ast.walk(ast.parse(text)):
        written = ast.unparse(node) if isinstance(node, ast.Expr) else ""
        if "entries.append(" in written or "call.record" in written or "call.finish" in written:
            start, end = _span(text, node)
            yield Mutant(
                "audit", file, node.lineno, start, end, "pass", (CAMPAIGN, "audit", "kernel/test_writer.py", "kernel")
            )


def _span(text: str, node: ast.AST) -> tuple[int, int]:
    lines = text.splitlines(keepends=True)
    at = lambda line, column: sum(map(len, lines[: line - 1])) + len(lines[line - 1].encode()[:column].decode())
    return at(node.lineno, node.col_offset), at(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]


def survives(mutant: Mutant) -> bool:
    """Whether the tests pass without it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "lakewright"
        shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        text = (copy / mutant.file).read_text()
        (copy / mutant.file).write_text(text[: mutant.start] + mutant.instead + text[mutant.end :])
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")} | {"PYTHONPATH": folder}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "--timeout=120",
            *mutant.noticed_by,
        ]
        done = subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{mutant.name}: {done.stdout[-3000:]}{done.stderr[-1000:]}")
        return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=("filters", "audits"))
    parser.add_argument("--file", default="", help="only in files whose path holds this")
    parser.add_argument("--sample", type=int, default=0, help="as many, drawn by the seed; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    found = [*(filters() if arguments.only != "audits" else ()), *(audits() if arguments.only != "filters" else ())]
    found = [mutant for mutant in found if arguments.file in mutant.file]
    if arguments.sample:
        found = random.Random(arguments.seed).sample(found, min(arguments.sample, len(found)))
    started, survivors = time.monotonic(), []
    for mutant in found:
        lives = survives(mutant)
        survivors += [mutant.name] if lives else []
        print(f"{mutant.name}: {'SURVIVED' if lives else 'found'}", file=sys.stderr, flush=True)
    seconds = round(time.monotonic() - started)
    print(json.dumps({"campaign": "mutants", "mutants": len(found), "survived": survivors, "seconds": seconds}))
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
