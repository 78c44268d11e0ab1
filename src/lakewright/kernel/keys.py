"""Keys of this installation: made at first start, kept beside the database, never in it."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


@dataclass(frozen=True)
class Keys:
    """Purpose-bound keys derived from one root key, so that none can stand in for another."""

    root: bytes

    def purpose(self, name: str, length: int = 32) -> bytes:
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


def load(data_dir: Path) -> Keys:
    """Read the root key; make it, readable by this user only, when there is none."""
    path = data_dir / "root.key"
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    root = path.read_bytes()
    if len(root) != 32:
        raise ValueError(f"{path} is not a 32-byte key; restore it from the backup made with this database")
    return Keys(root)
