"""Signatures under what was decided: made with a key of this installation, checked with its public half alone."""

import base64

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from lakewright.kernel.keys import Keys


def signed(keys: Keys, document: bytes) -> str:
    return base64.b64encode(_private(keys).sign(document)).decode()


def public_key(keys: Keys) -> str:
    """Ed25519, as PEM."""
    return _private(keys).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def verified(public: str, document: bytes, signature: str) -> bool:
    """Needs nothing but the three: a result can be checked far from the installation that signed it."""
    key = load_pem_public_key(public.encode())
    assert isinstance(key, Ed25519PublicKey)
    try:
        key.verify(base64.b64decode(signature), document)
    except (InvalidSignature, ValueError):
        return False
    return True


def _private(keys: Keys) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(keys.purpose("access-review-signing"))
