"""Restoring: an installation as it was at a moment, in a new place, with nobody's credentials.

What was revoked after that moment cannot be known, so no token, session or client secret lives on unless that is asked
for: one new token of one administrator is the way in. Grants, memberships and deactivations are as they were then too,
which nobody can undo for the operator; it is said, loudly, and it is on record.
"""

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from lakewright.backup import databases, replication, soundness
from lakewright.backup.creating import SEALED, unseal
from lakewright.backup.repository import Repository, Set, as_of, fsync_folder, hash_of, stamp, write_private
from lakewright.identity import credentials
from lakewright.kernel import ids
from lakewright.kernel.audit import Entry
from lakewright.kernel.config import Settings
from lakewright.kernel.context import SYSTEM
from lakewright.kernel.faults import BadState, Invalid, NotFound, Unavailable
from lakewright.kernel.keys import File, Known
from lakewright.kernel.platform import Platform
from lakewright.kernel.roots import ADMINS
from lakewright.kernel.store import Tx
from lakewright.kernel.writer import Turn


@dataclass(frozen=True)
class Asked:
    source: Path
    target: Settings
    """Of the restored installation: a data directory that is not there yet, a database that is empty."""
    at: int | None = None
    log_url: str = ""
    key: bytes | None = None
    passphrase: str | None = None
    keep_tokens: bool = False
    administrator: str = ""
    database_is_there: bool = False
    """Postgres was recovered by its own means; only the files, the credentials and the record are done here."""


@dataclass
class Restored:
    database: str = ""
    """Where the database came from, and as of when."""
    files: int = 0
    unsure: int = 0
    revoked: int = 0
    token: str = ""
    administrator: str = ""
    trouble: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])


def restore(asked: Asked) -> Restored:
    before = os.umask(0o077)  # whatever is made on the way, by this process or one it starts, is its owner's alone
    try:
        return _restore(asked)
    finally:
        os.umask(before)


def _restore(asked: Asked) -> Restored:
    repository = Repository(asked.source)
    told = Restored()
    before = repository.newest(asked.at)
    after = repository.first_after(asked.at) if asked.at is not None else None
    known = before or after
    if known is None and not asked.log_url:
        raise NotFound(f"{asked.source} has no set: it takes one to bring back files, and to know which key opens it")
    data_dir = _empty(asked.target.data_dir)
    try:
        _key(asked, known, data_dir)
        _database(asked, repository, before, told)
        _files(asked, repository, before, after, data_dir, told)
        if known is not None and known.manifest.data_dir != str(data_dir):
            databases.move(asked.target.database_url, asked.target.sqlite_path, known.manifest.data_dir, str(data_dir))
        os.sync()
        _settle(asked, told)
    except BaseException:
        # Half an installation must not be started by mistake. The backup is as it was; it can be tried again.
        shutil.rmtree(data_dir, ignore_errors=True)
        raise
    told.trouble = soundness.trouble(asked.target, deep=True)
    return told


def _empty(data_dir: Path) -> Path:
    if data_dir.exists() and any(data_dir.iterdir()):
        raise BadState(f"{data_dir} is not empty: restore to a new place, look at it, and then put it into use")
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    data_dir.chmod(0o700)
    return data_dir.resolve()


# ---- the database


def _database(asked: Asked, repository: Repository, before: Set | None, told: Restored) -> None:
    if asked.target.database_url:
        _postgres(asked, before, told)
        return
    url = asked.log_url or (f"file://{repository.log.resolve()}" if repository.log.is_dir() else "")
    why = replication.restore(url, asked.target.sqlite_path, asked.at) if url else "there is no log in this backup"
    if not why:
        told.database = f"the log, as of {replication.iso(asked.at) if asked.at is not None else 'its end'}"
        _forget_litestream(asked.target.sqlite_path)
        return
    if before is None:
        raise NotFound(f"nothing in this backup reaches back to that moment: {why}")
    if asked.at is not None:
        told.notes.append(f"The log could not be used ({why}): the database is as of the last set before that moment.")
    if hash_of(before.database) != before.manifest.database_sha256:
        raise BadState(f"the database of set {before.name} is not what was backed up")
    shutil.copyfile(before.database, asked.target.sqlite_path)
    asked.target.sqlite_path.chmod(0o600)
    told.database = f"set {before.name}"


def _forget_litestream(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        for table in ("_litestream_seq", "_litestream_lock"):
            db.execute(f"DROP TABLE IF EXISTS {table}")


def _postgres(asked: Asked, before: Set | None, told: Restored) -> None:
    url = asked.target.database_url
    if asked.database_is_there:
        if not databases.tables_in(url):
            raise BadState("the database is empty: recover it first, or leave out --database-is-there")
        told.database = "Postgres as it was recovered"
        return
    if before is None:
        raise NotFound("there is no set from before that moment; recover Postgres from its own base backup and WAL")
    if before.manifest.database != "postgres":
        raise BadState("this backup is of an installation on SQLite; restore it to SQLite")
    databases.undump(before.database, url)
    told.database = f"set {before.name}"
    if asked.at is not None:
        told.notes.append("The database is as of that set; for the moment itself recover Postgres from its WAL.")


# ---- keys and files


def _key(asked: Asked, known: Set | None, data_dir: Path) -> None:
    """The master key in its file, unless it comes from the environment or a command as it did there."""
    if asked.target.keys.command or asked.target.keys.master is not None:
        return
    key = asked.key
    if key is None and asked.passphrase is not None and known is not None:
        key = unseal(_sealed(Repository(asked.source), known.manifest.master_key), asked.passphrase)
    if key is None:
        raise Unavailable(
            "the master key is needed: its own copy, or the passphrase of the one sealed in the backup. Without it"
            " no secret opens and nothing says whether the audit trail is ours"
        )
    write_private(File(data_dir).path, key)
    if known is not None and Known(key, "file").id != known.manifest.master_key:
        raise Unavailable(f"this is not the key {known.manifest.master_key} that was in use when the backup was made")


def _sealed(repository: Repository, master_key: str) -> bytes:
    """From any set that has this key: the server's own sets have none, because it knows no passphrase."""
    for one in reversed(repository.sets()):
        if one.manifest.key_sealed and one.manifest.master_key == master_key:
            return (one.folder / SEALED).read_bytes()
    raise NotFound(f"the key {master_key} is sealed in no set of this backup; give the key's own copy")


def _files(
    asked: Asked, repository: Repository, before: Set | None, after: Set | None, data_dir: Path, told: Restored
) -> None:
    chosen, told.unsure = as_of(asked.at, before, after) if asked.at is not None else as_of(0, before, None)
    for kept in chosen:
        repository.bring_back(kept, data_dir / kept.path)
    told.files = len(chosen)
    fsync_folder(data_dir)
    if asked.at is not None and after is None:
        last = before.name if before else "never"
        told.notes.append(f"No set was taken after that moment: files are as of the last one before it ({last}).")


# ---- who gets in


def _settle(asked: Asked, told: Restored) -> None:
    """Upgrade if it is older, end every credential, make one, and put all of this on record."""
    platform = Platform(asked.target)
    try:
        platform.writer.submit(lambda turn: _end_credentials(platform, turn, asked, told))
    finally:
        platform.stop()


def _end_credentials(platform: Platform, turn: Turn, asked: Asked, told: Restored) -> None:
    ctx, tx, now = platform.system(turn=turn), turn.tx, platform.clock.now()
    told.revoked = 0 if asked.keep_tokens else credentials.revoke_everything(ctx)
    admin = _administrator(tx, asked.administrator)
    told.administrator = str(admin["name"])
    told.token = credentials.issue(ctx, str(admin["id"]), "first", lifetime_seconds=None, comment="restored").secret
    turn.entries.append(
        Entry(
            at=now, request_id=ids.request(), workspace=platform.workspace, source="", user_agent="lakewright restore",
            service="backup", action="restore", who=SYSTEM.id, who_name=SYSTEM.name, decision="allowed",
            because="whoever has the backup and its key may restore it",
            ask={
                "at": stamp(asked.at) if asked.at is not None else "newest", "database": told.database, "files": told.files,
                "tokens": "kept" if asked.keep_tokens else "revoked", "revoked": told.revoked,
                "administrator": told.administrator,
            },
        )
    )  # fmt: skip


def _administrator(tx: Tx, name: str) -> dict[str, str]:
    rows = tx.all(
        "SELECT p.id, p.name FROM members m JOIN principals p ON p.id = m.member_id"
        " WHERE m.group_id = ? AND p.kind = 'user' AND p.active = 1 AND p.deleted_at IS NULL ORDER BY p.created_at",
        ADMINS,
    )
    found = [dict(row) for row in rows if not name or row["name"] == name]
    if not found:
        raise Invalid(f"{name or 'nobody'} is an active administrator in this backup; there are: "
                      + (", ".join(str(r["name"]) for r in rows) or "none"))  # fmt: skip
    return found[0]
