"""The vault: secrets sealed at rest with a key that is not in the database."""

import base64
import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lakewright.kernel.keys import Keys


class Vault:
    """Envelope encryption: every secret has a data key of its own, sealed with the installation's key."""

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
