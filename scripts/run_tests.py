"""All the tests: checks, then the suite on SQLite, then what touches the database again on Postgres.

Gets Postgres and Chromium by apt where it may; what it cannot get it leaves out loudly, by name. Standard library only.
"""

import os
import shutil
import subprocess
import sys
import time
from glob import glob
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
PYTEST = [str(HERE / ".venv/bin/python"), "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile"]
ON_POSTGRES = [
    "tests",
    "--ignore=tests/console",
    "--ignore=tests/journeys",
    "--ignore=tests/ml",
    "--ignore=tests/engines",
    "--ignore=tests/examples",
    "--ignore=tests/campaigns",
]
"""What touches the database."""


def main(arguments: list[str]) -> int:
    found = (
        ("Postgres", postgres()), ("Chromium", chromium()), ("strace", strace()), ("the npm OpenID provider", provider()),
    )  # fmt: skip
    left_out = [name for name, ok in found if not ok]
    for name in left_out:
        print(
            f"\n*** {name} is not on this machine and could not be installed: its tests are LEFT OUT ***\n", flush=True
        )
    results = {
        "checks": run(["make", "lint"]),
        "SQLite": tested(arguments or ["tests"], "sqlite"),
    }
    if "Postgres" not in left_out:
        results["Postgres"] = tested(arguments or ON_POSTGRES, "postgres")
    print()
    for name, (code, seconds) in results.items():
        print(f"{name:10} {'passed' if code == 0 else 'FAILED'} in {seconds:.0f} s")
    for name in left_out:
        print(f"{name:10} LEFT OUT")
    failed = sum(code != 0 for code, _ in results.values())
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


def tested(which: list[str], database: str) -> tuple[int, float]:
    """The tests; what failed is run once more, alone. A test that passes only then is named: it is a bug of its own."""
    code, seconds = run([*PYTEST, *which], LAKEWRIGHT_TEST_DATABASE=database)
    if code != 1:
        return code, seconds
    print("\n*** once more, alone: what passes only now depends on its neighbours or on time, and wants mending ***\n")
    alone = [*PYTEST[:-4], "-n", "0", "-v", "--last-failed", "--last-failed-no-failures", "none", *which]
    again, more = run(alone, LAKEWRIGHT_TEST_DATABASE=database)
    return again, seconds + more


def run(command: list[str], **environment: str) -> tuple[int, float]:
    print("+", " ".join(command), *(f"{k}={v}" for k, v in environment.items()), flush=True)
    started = time.monotonic()
    code = subprocess.run(command, cwd=HERE, env={**os.environ, **environment}, check=False).returncode
    return code, time.monotonic() - started


def postgres() -> bool:
    there = lambda: bool(shutil.which("initdb") or glob("/usr/lib/postgresql/*/bin/initdb"))
    return bool(os.environ.get("LAKEWRIGHT_TEST_POSTGRES_URL")) or there() or (apt("postgresql") and there())


def chromium() -> bool:
    there = lambda: bool(shutil.which("chromium"))
    return there() or (apt("chromium") and there())


def strace() -> bool:
    """What makes the disk fail for the kill campaign."""
    there = lambda: bool(shutil.which("strace"))
    return there() or (apt("strace") and there())


def provider() -> bool:
    """What signing in is tested against: installed from npm by its lock file, into the cache folder."""
    there = lambda: bool(shutil.which("node") and shutil.which("npm"))
    install = [sys.executable, str(HERE / "tests/signin/provider/install.py")]
    return (there() or (apt("nodejs") and apt("npm") and there())) and subprocess.run(
        install, check=False
    ).returncode == 0


def apt(package: str) -> bool:
    if os.getuid() != 0 or not shutil.which("apt-get"):
        return False
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=False, env=environment, **quiet)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package]
    return subprocess.run(command, check=False, env=environment, **quiet).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
