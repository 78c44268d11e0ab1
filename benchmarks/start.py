"""Start to first answer of the whole platform, and its memory when idle.

    make bench BENCH=start

At most 2 s on a database that exists, and 250 MB resident. The very first start also makes the database.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks import load


def main() -> None:
    directory = tempfile.mkdtemp(prefix="lakewright-start-")
    first, _ = started(directory, 18471)
    runs = [started(directory, 18472 + i) for i in range(5)]
    seconds = statistics.median(r[0] for r in runs)
    memory = max(r[1] for r in runs)
    print(f"first start {first:.2f} s; later starts {seconds:.2f} s; idle {memory:.0f} MB")
    load.report(benchmark="start", first_seconds=round(first, 2), seconds=round(seconds, 2), idle_mb=round(memory))


def started(directory: str, port: int) -> tuple[float, float]:
    """Seconds until /health answers, and resident memory three seconds later."""
    environment = {**os.environ, "LAKEWRIGHT_DATA_DIR": directory, "LAKEWRIGHT_PORT": str(port)}
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "lakewright.cli.main", "up"], env=environment, stdout=subprocess.DEVNULL
    )
    try:
        load.wait_for(f"http://127.0.0.1:{port}/health")
        seconds = time.monotonic() - begun
        time.sleep(3)
        return seconds, load.resident_mb(process.pid)
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    main()
