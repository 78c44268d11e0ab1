"""Task launch: how long from asking for a task to its first line, warm and confined, beside a fresh Python that imports the same.

Its last line is one JSON object: milliseconds to the first line (`warm_ms`, `warm_p95_ms`), to the end (`exit_ms`), and `of_fresh`, the ratio
of the first to a fresh interpreter's.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lakewright.engines.local import LocalLauncher
from lakewright.engines.processes import TaskSpec

IMPORTS = "import pandas, sklearn.ensemble, sklearn.linear_model, sklearn.model_selection, sklearn.pipeline, pyarrow.parquet, duckdb"
SCRIPT = f"import time\n{IMPORTS}\nprint(time.time_ns())\n"
ROUNDS = 30


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "task.py").write_text(SCRIPT)
        begun = time.perf_counter()
        launcher = LocalLauncher(home / "attempts")
        warmth = launcher.ready()
        warming = time.perf_counter() - begun
        rounds = [launch(launcher, home, f"t{n}") for n in range(ROUNDS)]
        fresh = [fresh_interpreter(home) for _ in range(3)]
        launcher.close()
    first, end = zip(*rounds, strict=True)
    warm = statistics.median(first)
    figures = {
        "isolation": launcher.isolation(),
        "threads_before_fork": warmth.threads,
        "warming_s": round(warming, 2),
        "warm_ms": round(warm, 1),
        "warm_p95_ms": round(sorted(first)[int(0.95 * ROUNDS)], 1),
        "exit_ms": round(statistics.median(end), 1),
        "fresh_ms": round(min(fresh), 1),
        "of_fresh": round(warm / min(fresh), 4),
    }
    print(json.dumps(figures))


def launch(launcher: LocalLauncher, home: Path, name: str) -> tuple[float, float]:
    begun = time.time_ns()
    launcher.start(
        TaskSpec(
            attempt=name,
            entry="lakewright.runtime.main:script",
            argv=(str(home / "task.py"),),
            workdir=home / "work" / name,
            readable=(home / "task.py",),
        )
    )
    while (ended := launcher.poll(name)) is None:
        time.sleep(0.002)
    first = int(launcher.output(name).stdout_path.read_text())
    assert ended.code == 0
    return (first - begun) / 1e6, (time.time_ns() - begun) / 1e6


def fresh_interpreter(home: Path) -> float:
    begun = time.time_ns()
    done = subprocess.run([sys.executable, str(home / "task.py")], capture_output=True, text=True, check=True)
    return (int(done.stdout) - begun) / 1e6


if __name__ == "__main__":
    main()
