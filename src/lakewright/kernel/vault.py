"""The vault: secrets sealed at rest with a key that is not in the database."""

import base64
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lakewright.kernel.keys import Keys


class Vault:
    """Seals under a data key of each secret's own, or under a key shared by what goes together (a scope of secrets)."""

    def __init__(self, keys: Keys) -> None:
        self._wrap = AESGCM(keys.purpose("vault"))

    def seal(self, secret: str) -> str:
        data_key, nonce, outer = AESGCM.generate_key(256), os.urandom(12), os.urandom(12)
        sealed = AESGCM(data_key).encrypt(nonce, secret.encode(), None)
        wrapped = self._wrap.encrypt(outer, data_key, None)
        return base64.b64encode(b"\x01" + outer + wrapped + nonce + sealed).decode()

    def open(self, sealed: str) -> str:
        raw = base64.b64decode(sealed)
        if raw[:1] != b"\x01":
            raise ValueError("not a sealed secret of this version")
        outer, wrapped, nonce, rest = raw[1:13], raw[13:61], raw[61:73], raw[73:]
        return AESGCM(self._wrap.decrypt(outer, wrapped, None)).decrypt(nonce, rest, None).decode()

    def new_key(self, of: str) -> str:
        """A key for what belongs to `of`, wrapped; it opens nothing under another name."""
        nonce = os.urandom(12)
        return base64.b64encode(nonce + self._wrap.encrypt(nonce, AESGCM.generate_key(256), of.encode())).decode()

    def under(self, wrapped: str, of: str) -> "Drawer":
        raw = base64.b64decode(wrapped)
        return Drawer(AESGCM(_decrypt(self._wrap, raw[:12], raw[12:], of)), of)


class Drawer:
    """Part of the vault with a key of its own. A sealed value opens in its own place only: one moved there from
    elsewhere in the database does not."""

    def __init__(self, key: AESGCM, of: str) -> None:
        self._key, self._of = key, of

    def seal(self, place: str, value: bytes) -> str:
        nonce = os.urandom(12)
        bound = f"{self._of}/{place}".encode()
        return base64.b64encode(b"\x02" + nonce + self._key.encrypt(nonce, value, bound)).decode()

    def open(self, place: str, sealed: str) -> bytes:
        raw = base64.b64decode(sealed)
        if raw[:1] != b"\x02":
            raise ValueError("not a sealed value of this version")
        return _decrypt(self._key, raw[1:13], raw[13:], f"{self._of}/{place}")


def is_in_drawer(sealed: str) -> bool:
    return base64.b64decode(sealed[:4])[:1] == b"\x02"


def _decrypt(key: AESGCM, nonce: bytes, data: bytes, bound: str) -> bytes:
    try:
        return key.decrypt(nonce, data, bound.encode())
    except InvalidTag as error:
        raise ValueError("a sealed value was altered or moved") from error
