"""Taking a set: the database first, then the files it speaks of, while the server goes on.

Files are only ever added before the database says so, and are kept for days after it has forgotten them: so all that
the copied database refers to is there when the files are copied after it.
"""

import os
import time
from importlib.metadata import version
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from lakewright.backup import databases
from lakewright.backup.repository import Manifest, Repository, Set, hash_of, write_private
from lakewright.kernel import keys
from lakewright.kernel.config import Settings
from lakewright.kernel.faults import BadState, Invalid, Unavailable
from lakewright.kernel.keys import Known, Master
from lakewright.kernel.migrate import VERSION_TABLE

SEALED = "master.key.sealed"


def create(settings: Settings, repository: Repository, *, passphrase: str | None = None, now: int | None = None) -> Set:
    """Take a set. With a passphrase the master key goes with it, sealed; without, it is not in it."""
    data_dir = settings.data_dir.resolve()
    _refuse_inside(data_dir, repository.directory.resolve())
    repository.make()
    with repository.alone(), repository.drafting() as draft:
        taken_at = now if now is not None else int(time.time() * 1000)
        name = _copied_database(settings, draft)
        master, revisions = _about(settings)
        if passphrase is not None:
            write_private(draft / SEALED, seal(_held(master), passphrase))
        files, skipped = repository.store(data_dir, repository.newest())
        return repository.finish(
            draft,
            Manifest(
                taken_at=taken_at, lakewright=version("lakewright"), data_dir=str(data_dir),
                database="postgres" if settings.database_url else "sqlite", database_file=name,
                database_sha256=hash_of(draft / name), schema_revisions=revisions, master_key=master.id,
                key_sealed=passphrase is not None, files=files, skipped=skipped,
            ),
        )  # fmt: skip


def _refuse_inside(data_dir: Path, directory: Path) -> None:
    if directory == data_dir or data_dir in directory.parents or directory in data_dir.parents:
        raise Invalid(f"a backup in {directory} would be lost together with {data_dir}, or contain itself")


def _copied_database(settings: Settings, draft: Path) -> str:
    if settings.database_url:
        databases.dump(settings.database_url, draft / "database.dump")
        return "database.dump"
    databases.copy_sqlite(settings.sqlite_path, draft / "database.db")
    return "database.db"


def _about(settings: Settings) -> tuple[Master, list[str]]:
    looking = databases.Looking(settings.database_url, settings.sqlite_path)
    try:
        with looking.snapshot() as tx:
            revisions = [str(r["version_num"]) for r in tx.all(f"SELECT version_num FROM {VERSION_TABLE} ORDER BY 1")]
            return keys.current(settings, tx), revisions
    finally:
        looking.close()


def _held(master: Master) -> bytes:
    if not isinstance(master, Known):
        raise BadState("the master key is held by a command (a KMS) and cannot be put into a backup; back it up there")
    return master.key


# ---- the master key, sealed


def seal(key: bytes, passphrase: str) -> bytes:
    if len(passphrase) < 12:
        raise Invalid(
            "the passphrase must have 12 characters at least: whoever has the backup may try as often as they like"
        )
    salt, nonce = os.urandom(16), os.urandom(12)
    return b"\x01" + salt + nonce + AESGCM(_stretched(passphrase, salt)).encrypt(nonce, key, b"lakewright-master-key")


def unseal(sealed: bytes, passphrase: str) -> bytes:
    from cryptography.exceptions import InvalidTag

    salt, nonce, rest = sealed[1:17], sealed[17:29], sealed[29:]
    try:
        return AESGCM(_stretched(passphrase, salt)).decrypt(nonce, rest, b"lakewright-master-key")
    except InvalidTag as error:
        raise Unavailable("the passphrase does not open the sealed master key of this backup") from error


def _stretched(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(passphrase.encode())
