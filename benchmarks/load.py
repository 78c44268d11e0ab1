"""What the benchmarks share: a server in a process of its own, wrk against it, and the CPU it used."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

PERCENTILE = r"^\s*%d%%\s+([\d.]+)(us|ms|s)"
RATE = re.compile(r"^Requests/sec:\s+([\d.]+)", re.MULTILINE)
FAILED = re.compile(r"^\s*Non-2xx or 3xx responses:\s+(\d+)", re.MULTILINE)
TO_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True)
class Load:
    per_second: float
    cpu_ms: float
    """Server CPU per request, user and system, all threads."""
    p99_ms: float
    p50_ms: float
    failed: int


@contextlib.contextmanager
def served(module: str, *arguments: str) -> Iterator[tuple[str, int]]:
    """Start `python -m module --serve …`, which prints its URL on its first line; yields the URL and the pid."""
    command = [sys.executable, "-m", module, "--serve", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise RuntimeError(f"{module} did not start")
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(20)


def wrk(url: str, pid: int, script: str, *, connections: int = 64, seconds: int = 8, warm: int = 2) -> Load:
    """Drive the server with wrk and a Lua script; a short warm-up is not counted."""
    if not shutil.which("wrk"):
        raise SystemExit("this benchmark needs wrk: apt-get install wrk")
    with tempfile.TemporaryDirectory() as directory:
        lua = Path(directory) / "load.lua"
        lua.write_text(script)
        command = ["wrk", "-t1", f"-c{connections}", "--latency", "-s", str(lua)]
        subprocess.run([*command, f"-d{warm}s", url], capture_output=True, text=True, check=True)
        before = cpu_seconds(pid)
        done = subprocess.run([*command, f"-d{seconds}s", url], capture_output=True, text=True, check=True).stdout
        used = cpu_seconds(pid) - before
    rate = float(RATE.search(done).group(1))  # type: ignore[union-attr]
    failed = FAILED.search(done)
    return Load(
        per_second=rate, cpu_ms=used * 1000 / (rate * seconds), p99_ms=percentile(done, 99),
        p50_ms=percentile(done, 50), failed=int(failed.group(1)) if failed else 0,
    )  # fmt: skip


def percentile(printed: str, which: int) -> float:
    """Milliseconds, of what wrk printed."""
    amount, unit = re.search(PERCENTILE % which, printed, re.MULTILINE).groups()  # type: ignore[union-attr]
    return float(amount) * TO_MS[unit]


def cpu_seconds(pid: int) -> float:
    """User and system CPU of a process with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text).group(1)) / 1024  # type: ignore[union-attr]


def wait_for(url: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=2).status_code == 200:
                return
        time.sleep(0.01)
    raise RuntimeError(f"{url} did not answer in {seconds} s")


def report(**figures: object) -> None:
    """The last line of a benchmark."""
    print(json.dumps(figures))
