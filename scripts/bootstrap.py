"""From a bare Python 3.11 to this project's environment: gets uv, then the locked packages. Standard library only.

    python3 scripts/bootstrap.py [uv sync arguments …]

uv comes from the PATH when it is there, else through pip into .bootstrap/, else (Debian without pip) as the wheel
itself. The result is .venv, made from uv.lock and nothing else.
"""

import hashlib
import json
import os
import platform
import shutil
import stat
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
TOOLS = HERE / ".bootstrap"
UV_VERSION = "0.13.8"


def main(arguments: list[str]) -> int:
    uv = find_uv()
    command = [str(uv), "sync", "--locked", "--python", sys.executable, *arguments]
    return subprocess.run(
        command, cwd=HERE, env={**os.environ, "UV_PROJECT_ENVIRONMENT": ".venv"}, check=False
    ).returncode


def find_uv() -> Path:
    found = shutil.which("uv")
    if found:
        return Path(found)
    local = TOOLS / "bin" / "uv"
    if not local.exists():
        TOOLS.mkdir(exist_ok=True)
        if not by_pip():
            by_wheel(local)
    return local


def by_pip() -> bool:
    """pip knows the proxies and mirrors of this machine, so it is asked first."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(TOOLS), f"uv=={UV_VERSION}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return False
    return done.returncode == 0 and (TOOLS / "bin" / "uv").exists()


def by_wheel(to: Path) -> None:
    machine = {"x86_64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}[platform.machine()]
    with urllib.request.urlopen(f"https://pypi.org/pypi/uv/{UV_VERSION}/json") as answer:
        files = json.load(answer)["urls"]
    wheel = next(
        f for f in files if f["filename"].endswith(".whl") and "manylinux" in f["filename"] and machine in f["filename"]
    )
    with urllib.request.urlopen(wheel["url"]) as answer:
        data = answer.read()
    if hashlib.sha256(data).hexdigest() != wheel["digests"]["sha256"]:
        raise SystemExit("the uv wheel is not what PyPI says it is")
    archive = TOOLS / wheel["filename"]
    archive.write_bytes(data)
    with zipfile.ZipFile(archive) as opened:
        member = next(n for n in opened.namelist() if n.endswith("/scripts/uv"))
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(opened.read(member))
    to.chmod(to.stat().st_mode | stat.S_IXUSR)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
