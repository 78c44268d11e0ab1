"""`lakewright doctor`: what is weak about an installation and the machine it is on, and what this cannot know.

It looks at settings, files, disk, clock, certificate and backups, beside the running server, and changes nothing.
"""

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from lakewright.backup import replication
from lakewright.backup.databases import Looking
from lakewright.backup.repository import Repository
from lakewright.kernel import audit, keys, migrate
from lakewright.kernel.config import Settings
from lakewright.kernel.faults import Fault
from lakewright.kernel.keys import Keys
from lakewright.kernel.socket import check_exposure

Level = Literal["ok", "weak", "wrong", "unknown"]
REMOTE = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs"}
GIB = 2**30


@dataclass(frozen=True)
class Finding:
    level: Level
    what: str


def examine(settings: Settings) -> list[Finding]:
    found: list[Finding] = []
    for look in LOOKS:
        try:
            found += look(settings)
        except (Fault, OSError) as error:
            found.append(Finding("wrong", str(error)))
    return found


# ---- settings


def exposure(settings: Settings) -> Iterator[Finding]:
    try:
        check_exposure(settings)
    except ValueError as error:
        yield Finding("wrong", str(error))
    if settings.insecure_public:
        yield Finding(
            "weak", "insecure_public: tokens cross the network in the clear unless a proxy in front ends TLS; name it in"
            " LAKEWRIGHT_HTTP__TRUSTED_PROXIES",
        )  # fmt: skip
    if "*" in settings.http.cors_origins:
        yield Finding("weak", "http.cors_origins lets pages of every site call this server")


def first_token(settings: Settings) -> Iterator[Finding]:
    if settings.admin_token is None:
        return
    if len(settings.admin_token.get_secret_value()) < 32:
        yield Finding(
            "weak", "the administrator's token in LAKEWRIGHT_ADMIN_TOKEN has less than 32 characters: it can be guessed"
        )
    yield Finding("weak", "LAKEWRIGHT_ADMIN_TOKEN is only needed at the first start: take it out of the environment")


def database_url(settings: Settings) -> Iterator[Finding]:
    if not settings.database_url:
        return
    url = urlsplit(settings.database_url)
    if url.hostname not in (None, "localhost", "127.0.0.1", "::1") and "sslmode=verify-full" not in url.query:
        yield Finding("weak", "the connection to Postgres is not verified: add sslmode=verify-full to the URL")


def certificate(settings: Settings) -> Iterator[Finding]:
    if settings.tls_certificate is None:
        return
    from cryptography import x509

    ends = x509.load_pem_x509_certificates(settings.tls_certificate.read_bytes())[0].not_valid_after_utc
    left = (ends - datetime.now(UTC)).days
    yield Finding("wrong" if left < 0 else "weak" if left < 21 else "ok", f"the TLS certificate ends {ends:%Y-%m-%d}")
    if settings.tls_key is not None:
        yield from _private(settings.tls_key, "the TLS key")


# ---- files


def permissions(settings: Settings) -> Iterator[Finding]:
    data = settings.data_dir
    yield from _private(data, "the data directory")
    for name in ("root.key", "root.key.next", "lakewright.db", "lakewright.db-wal", "backup", "before-upgrade"):
        if (data / name).exists():
            yield from _private(data / name, name)
    if settings.backup.directory is not None and settings.backup.directory.exists():
        yield from _private(settings.backup.directory, "the backup directory")


def _private(path: Path, called: str) -> Iterator[Finding]:
    found = path.stat()
    if stat.S_IMODE(found.st_mode) & 0o077:
        yield Finding("wrong", f"{called} ({path}) can be read by others: chmod go-rwx it")
    if found.st_uid not in (os.getuid(), 0):
        yield Finding("wrong", f"{called} ({path}) belongs to another user (uid {found.st_uid})")


def key(settings: Settings) -> Iterator[Finding]:
    looking = Looking(settings.database_url, settings.sqlite_path)
    try:
        with looking.snapshot() as tx:
            master = keys.current(settings, tx)
            ring = Keys(master.unwrap(str(tx.scalar("SELECT wrapped FROM keyring WHERE name = 'root'"))))
            head = audit.head(tx)
            signed = head is not None and head.is_ours(audit.chain_of(ring.audit))
            newest = int(tx.scalar("SELECT MAX(at) FROM audit") or 0)
            unknown = {str(r["version_num"]) for r in tx.all(f"SELECT version_num FROM {migrate.VERSION_TABLE}")}
    finally:
        looking.close()
    if master.source == "file":
        yield Finding(
            "weak", "the master key lies beside the database: whoever copies the disk has both (LAKEWRIGHT_KEYS__…)"
        )
    yield Finding("ok" if signed else "wrong", "the head of the audit trail is signed by us" if signed else
                  "the head of the audit trail is not signed by us: run lakewright check")  # fmt: skip
    if newest > time.time() * 1000 + 60_000:
        yield Finding("wrong", "the clock went back: the audit trail has rows from the future; tokens end too late")
    if unknown - migrate.revisions():
        yield Finding("wrong", "a newer version has upgraded this database")


def disk(settings: Settings) -> Iterator[Finding]:
    for path, called in ((settings.data_dir, "data"), (settings.backup.directory, "backup")):
        if path is None or not path.exists():
            continue
        used = shutil.disk_usage(path)
        low = used.free < 2 * GIB or used.free / used.total < 0.05
        yield Finding("weak" if low else "ok", f"{used.free / GIB:.0f} GiB free for {called} ({path})")
    kind = _filesystem(settings.data_dir)
    if not settings.database_url and kind in REMOTE:
        yield Finding("wrong", f"SQLite on {kind}: its locks cannot be trusted there; use a local disk, or Postgres")


def _filesystem(path: Path) -> str:
    """The type of the file system that holds `path`; empty where /proc does not say."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return ""
    holding = [m for m in mounts if path.resolve().is_relative_to(m[1].replace("\\040", " "))]
    return max(holding, key=lambda m: len(m[1]))[2] if holding else ""


# ---- backups


def backups(settings: Settings) -> Iterator[Finding]:
    backup = settings.backup
    if backup.directory is None:
        yield Finding("weak", "the server keeps no backup of itself (LAKEWRIGHT_BACKUP__DIRECTORY)")
        return
    if backup.directory.exists() and backup.directory.stat().st_dev == settings.data_dir.stat().st_dev:
        yield Finding("weak", "backups are on the same disk as what they are of")
    newest = Repository(backup.directory).newest()
    age = (time.time() * 1000 - newest.manifest.taken_at) / 3_600_000 if newest else None
    late = age is None or age > 2 * backup.every_hours
    yield Finding(
        "wrong" if late else "ok", "there is no set yet" if age is None else f"the newest set is {age:.1f} hours old"
    )
    if replication.wanted(settings) and not backup.log_url:
        pieces = [p.stat().st_mtime for p in (backup.directory / "log").rglob("*.ltx")]
        changed = max((p.stat().st_mtime for p in settings.data_dir.glob("lakewright.db*")), default=0.0)
        behind = changed - max(pieces, default=0.0)
        yield (
            Finding("wrong", f"the log was copied last {behind:.0f} s before the database changed last")
            if behind > 60
            else (Finding("ok", "the log is copied as it is written"))
        )


# ---- what this cannot know


def unknown(settings: Settings) -> Iterator[Finding]:
    count = sum(1 for _ in distributions())
    yield Finding(
        "unknown",
        f"whether any of the {count} installed packages has a known vulnerability: that needs the network (uvx pip-audit)",
    )
    yield Finding("unknown", "whether the clock is right: run chronyc tracking or timedatectl on this machine")
    if settings.keys.command:
        yield Finding("unknown", "who else may use the key that the command asks for")


LOOKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    exposure, first_token, database_url, certificate, permissions, key, disk, backups, unknown,
)  # fmt: skip
