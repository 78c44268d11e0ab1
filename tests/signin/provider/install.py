"""Installs the tests' OpenID provider from npm by its lock file, once per lock file. Standard library only."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FILES = ("package.json", "package-lock.json", "server.mjs")


def installed() -> Path | None:
    """The folder with the provider and its modules; None without a node that can load it, npm or a registry."""
    if not (shutil.which("node") and shutil.which("npm")):
        return None
    digest = hashlib.sha256(b"".join((HERE / file).read_bytes() for file in FILES)).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "lakewright-tests" / f"provider-{digest[:16]}"
    if not (folder / "ready").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for file in FILES:
            shutil.copy(HERE / file, folder)
        install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        loads = ["node", "--input-type=module", "-e", "await import('oidc-provider')"]  # an old node may not
        if not all(_succeeds(command, folder) for command in (install, loads)):
            return None
        (folder / "ready").touch()
    return folder


def _succeeds(command: list[str], folder: Path) -> bool:
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, timeout=110, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


if __name__ == "__main__":
    sys.exit(0 if installed() else 1)
