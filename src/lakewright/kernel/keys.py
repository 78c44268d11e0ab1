"""Keys of this installation: one root, wrapped in the database by a master key that is not in it.

    master key     a file (`root.key`, readable by its owner only), the environment, or a command that asks a KMS
      └ root       made once, kept in the table `keyring`, wrapped; it never changes
          ├ one key per purpose: token hashes, page tokens, the audit chain, …
          └ the vault's key, which wraps a key of every secret scope, which seals its secrets

A new master key therefore wraps one row anew, and nothing else has to change.
"""

import base64
import binascii
import fcntl
import hashlib
import os
import secrets
import shlex
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lakewright.kernel.config import Settings
from lakewright.kernel.faults import BadState, Unavailable
from lakewright.kernel.store import Row, Store, Tx

LENGTH = 32


@dataclass(frozen=True)
class Keys:
    """Purpose-bound keys derived from one root key, so that none can stand in for another."""

    root: bytes

    def purpose(self, name: str, length: int = LENGTH) -> bytes:
        return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=name.encode()).derive(self.root)

    @property
    def audit(self) -> bytes:
        return self._cached("audit-head")

    @property
    def pages(self) -> bytes:
        return self._cached("page-tokens")

    @property
    def tokens(self) -> bytes:
        return self._cached("token-hash")

    def _cached(self, name: str) -> bytes:
        found = _DERIVED.get((self.root, name))
        if found is None:
            found = _DERIVED[(self.root, name)] = self.purpose(name)
        return found


_DERIVED: dict[tuple[bytes, str], bytes] = {}


# ---- master keys


class Master(Protocol):
    """Something outside the database that wraps a key. `id` says which one, and gives nothing away."""

    @property
    def id(self) -> str: ...
    @property
    def source(self) -> str: ...
    def wrap(self, key: bytes) -> str: ...
    def unwrap(self, wrapped: str) -> bytes: ...


@dataclass(frozen=True)
class Known:
    """A master key that this process holds itself."""

    key: bytes
    source: str

    @property
    def id(self) -> str:
        return hashlib.sha256(b"lakewright-master-key" + self.key).hexdigest()[:16]

    def wrap(self, key: bytes) -> str:
        nonce = os.urandom(12)
        return base64.b64encode(nonce + AESGCM(self.key).encrypt(nonce, key, b"root")).decode()

    def unwrap(self, wrapped: str) -> bytes:
        raw = base64.b64decode(wrapped)
        try:
            return AESGCM(self.key).decrypt(raw[:12], raw[12:], b"root")
        except InvalidTag as error:
            raise Unavailable("the wrapped root key was altered") from error


@dataclass(frozen=True)
class Command:
    """A master key that stays where it is: a command wraps and unwraps, base64 in, one line of text out."""

    line: str
    source: str = "command"

    @property
    def id(self) -> str:
        return "command"

    def wrap(self, key: bytes) -> str:
        return self._ask("wrap", base64.b64encode(key).decode())

    def unwrap(self, wrapped: str) -> bytes:
        return base64.b64decode(self._ask("unwrap", wrapped))

    def _ask(self, verb: str, text: str) -> str:
        try:
            done = subprocess.run(
                [*shlex.split(self.line), verb], input=text, capture_output=True, text=True, timeout=60, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"the key command cannot be asked to {verb}: {type(error).__name__}") from error
        if done.returncode or not done.stdout.strip():
            raise Unavailable(f"the key command did not {verb}: it ended with {done.returncode}")
        return done.stdout.strip()


class File:
    """The master key in a file of the data directory, and while it is being changed the next one beside it."""

    def __init__(self, data_dir: Path) -> None:
        self.path, self.next = data_dir / "root.key", data_dir / "root.key.next"

    def known(self) -> Iterator[Known]:
        for path in (self.path, self.next):
            if path.exists():
                yield Known(_checked(path.read_bytes(), str(path)), "file")

    def make(self) -> Known:
        self._write(self.path)
        return next(self.known())

    def make_next(self) -> Known:
        self._write(self.next)
        return Known(self.next.read_bytes(), "file")

    def settle(self, used: str) -> None:
        """After a change, or one that a crash cut off: the key in use is the file's, the other one is gone."""
        if not self.next.exists():
            return
        if Known(self.next.read_bytes(), "file").id == used:
            os.replace(self.next, self.path)
        else:
            self.next.unlink()
        _sync(self.path.parent)

    def _write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(path.name + ".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(LENGTH))
            file.flush()
            os.fsync(file.fileno())
        os.rename(draft, path)
        _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _checked(key: bytes, where: str) -> bytes:
    if len(key) != LENGTH:
        raise Unavailable(f"{where} is not a {LENGTH}-byte key; restore it from the copy kept with this database")
    return key


def masters(settings: Settings) -> list[Master]:
    """All that are configured here, the one to wrap with first."""
    found: list[Master] = []
    if settings.keys.command:
        found.append(Command(settings.keys.command))
    if settings.keys.master is not None:
        for text in settings.keys.master.get_secret_value().split(","):
            try:
                key = base64.b64decode(text.strip(), validate=True)
            except binascii.Error as error:
                raise Unavailable("LAKEWRIGHT_KEYS__MASTER is not base64") from error
            found.append(Known(_checked(key, "LAKEWRIGHT_KEYS__MASTER"), "environment"))
    return [*found, *File(settings.data_dir).known()]


# ---- the ring


def load(settings: Settings, store: Store) -> Keys:
    """The installation's keys; made, with a master key in a file unless one is configured, for a new database."""
    raw = store.connect(write=True)
    try:
        raw.begin(write=True)
        keys = _load(settings, Tx(raw))
        raw.commit()
        return keys
    finally:
        raw.close()


def _load(settings: Settings, tx: Tx) -> Keys:
    row = _row(tx)
    if row is None:
        known = masters(settings)
        if not known and _has_data(tx):
            raise Unavailable(
                f"this database belongs to a key that is not here: bring back {settings.data_dir}/root.key"
            )
        master = known[0] if known else File(settings.data_dir).make()
        # Before there was a ring, the file's key was the root itself.
        root = master.key if isinstance(master, Known) and _has_data(tx) else secrets.token_bytes(LENGTH)
        tx.run(
            "INSERT INTO keyring (name, wrapped, master) VALUES ('root', ?, ?) ON CONFLICT (name) DO NOTHING",
            master.wrap(root), master.id,
        )  # fmt: skip
        row = _row(tx)
        assert row is not None
    root = _master_of(settings, row).unwrap(str(row["wrapped"]))
    if not settings.keys.command and settings.keys.master is None:
        File(settings.data_dir).settle(str(row["master"]))
    return Keys(root)


def _row(tx: Tx) -> Row | None:
    return tx.one("SELECT wrapped, master FROM keyring WHERE name = 'root'")


def _has_data(tx: Tx) -> bool:
    return tx.scalar("SELECT COUNT(*) FROM audit_head") > 0


def _master_of(settings: Settings, row: Row) -> Master:
    known = masters(settings)
    for master in known:
        if master.id == row["master"]:
            return master
    here = ", ".join(f"{m.id} ({m.source})" for m in known) or "none"
    raise Unavailable(f"this database needs the master key {row['master']}; configured here: {here}")


def current(settings: Settings, tx: Tx) -> Master:
    row = _row(tx)
    assert row is not None
    return _master_of(settings, row)


class Rotating:
    """A change of the master key in three steps; a crash between any two leaves a key that fits the database."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._file = File(settings.data_dir)
        self._by_file = not settings.keys.command and settings.keys.master is None

    @contextmanager
    def alone(self) -> Generator[None]:
        """Two changes at once could each throw away the other's key."""
        with (self._settings.data_dir / "root.key.lock").open("a") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise BadState("the master key is being changed at this moment") from error
            yield

    def prepare(self, before: Master) -> Master:
        """The next master key, durable beside the one in use."""
        if self._by_file:
            self._file.settle(before.id)  # what an earlier change may have left
            return self._file.make_next()
        first = masters(self._settings)[0]
        if first.id == before.id and not isinstance(first, Command):
            raise BadState(
                "LAKEWRIGHT_KEYS__MASTER names one key: put the new one before it, separated by a comma, and start again"
            )
        return first

    def settle(self, after: Master) -> None:
        if self._by_file:
            self._file.settle(after.id)


def swap(tx: Tx, before: Master, after: Master, wrapped: str) -> None:
    done = tx.run(
        "UPDATE keyring SET wrapped = ?, master = ? WHERE name = 'root' AND master = ?", wrapped, after.id, before.id
    )
    if not done:
        raise BadState("somebody else has just changed the master key")
