"""A throw-away Postgres server: Debian's, started as an unprivileged user in a directory of its own."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path


def binaries() -> Path | None:
    """Where initdb and postgres are; None where there is no Postgres."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    installed = sorted(glob("/usr/lib/postgresql/*/bin/initdb"))
    return Path(installed[-1]).parent if installed else None


@contextmanager
def server() -> Iterator[str]:
    """A running server's URL; LAKEWRIGHT_TEST_POSTGRES_URL names one that is there already."""
    if given := os.environ.get("LAKEWRIGHT_TEST_POSTGRES_URL"):
        yield given
        return
    where = binaries()
    if where is None:
        raise RuntimeError("no Postgres here: apt-get install postgresql, or set LAKEWRIGHT_TEST_POSTGRES_URL")
    root = Path(tempfile.mkdtemp(prefix="lakewright-pg-"))
    as_user = _unprivileged(root)
    port = _free_port()
    try:
        subprocess.run(
            [where / "initdb", "-D", root / "data", "-U", "lakewright", "-A", "trust", "-E", "UTF8", "--locale=C"],
            check=True, capture_output=True, **as_user,
        )  # fmt: skip
        options = f"-p {port} -k {root} -c listen_addresses=127.0.0.1 -c max_connections=200"
        subprocess.run(
            [where / "pg_ctl", "-D", root / "data", "-l", root / "log", "-w", "-o", options, "start"],
            check=True, capture_output=True, **as_user,
        )  # fmt: skip
        yield f"postgresql://lakewright@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run(
            [where / "pg_ctl", "-D", root / "data", "-m", "immediate", "stop"],
            capture_output=True,
            check=False,
            **as_user,
        )
        shutil.rmtree(root, ignore_errors=True)


def _unprivileged(root: Path) -> dict[str, object]:
    """Postgres refuses to run as root."""
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(root, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
