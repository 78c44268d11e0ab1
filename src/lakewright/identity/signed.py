"""Signed tokens of others: what is believed of a JWT somebody brings, and why the rest is not.

joserfc does the cryptography; around it everything the sender could choose is taken away: only asymmetric algorithms,
keys only from where the issuer was configured to keep them, no header that points to or brings a key, nothing nested,
nothing twice, nothing large. One verifier for both doors: subject tokens of workloads, id tokens of people's provider.
"""

import binascii
import json
import math
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

ALGORITHMS = frozenset({
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
})  # fmt: skip
LARGEST = 16 * 1024
DEEPEST = 8
LEEWAY = 60
"""Seconds by which two clocks may differ."""
SMALLEST_RSA = 2048

_SEGMENT = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_HEADERS = frozenset({"alg", "kid", "typ", "x5t", "x5t#S256"})
"""All a header may say. Certificate thumbprints are names that nobody looks up."""


class Untrusted(Exception):
    """Why a token is not believed; for the log and the audit trail of those who configured its issuer."""


class UnknownKey(Untrusted):
    """No key of that id: the issuer may have made a new one since its keys were read."""


@dataclass(frozen=True)
class Expected:
    """Whom a token must come from and whom it must be meant for."""

    issuer: str
    audiences: frozenset[str]


Keys = list[dict[str, Any]]


def claims(token: str, keys: Keys, expected: Expected, *, now: int) -> dict[str, Any]:
    """The claims of a token that is signed by one of the keys, and is from, for and in time. `now` in ms."""
    said = _object(_payload(token, keys))
    _check_time(said, now / 1000)
    if said.get("iss") != expected.issuer:
        raise Untrusted("it is from another issuer")
    if not expected.audiences or expected.audiences.isdisjoint(_audiences(said)):
        raise Untrusted("it is meant for another audience")
    return said


def issuer(token: str) -> str:
    """Who a token says it is from, before anything of it is believed: to find whose keys to ask."""
    parts = _segments(token)
    _header(parts[0])
    claimed = _object(_bytes(parts[1])).get("iss")
    if not isinstance(claimed, str):
        raise Untrusted("it names no issuer")
    return claimed


def key_set(document: Any) -> Keys:
    """The usable public keys of a JWKS document."""
    listed = cast("Mapping[str, Any]", document).get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise Untrusted("that is not a set of keys")
    keys = [cast("dict[str, Any]", key) for key in cast("list[Any]", listed) if isinstance(key, dict)]
    if any(key.get("kty") == "oct" for key in keys):
        raise Untrusted("a set of public keys holds a symmetric one")
    if not all(isinstance(key.get("kid", ""), str) for key in keys):
        raise Untrusted("a key's id is not a text")
    ids = [key["kid"] for key in keys if "kid" in key]
    if len(ids) != len(set(ids)):
        raise Untrusted("two keys have the same id")
    return keys


def _payload(token: str, keys: Keys) -> bytes:
    """What the signature covers, once it is found good."""
    from joserfc import jws  # an eighth of a second to import, and most servers never see a foreign token
    from joserfc.errors import JoseError
    from joserfc.jwk import import_key

    parts = _segments(token)
    header = _header(parts[0])
    key = _key(header, keys)
    try:
        found = import_key(key)  # type: ignore[arg-type]
        if header["alg"].startswith(("RS", "PS")):
            _check_rsa(int.from_bytes(_bytes(str(key["n"])), "big"))
        return jws.deserialize_compact(token.encode(), found, registry=_registry(header["alg"])).payload
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise Untrusted(f"its signature is not good ({type(error).__name__})") from error


def _registry(algorithm: str) -> Any:
    from joserfc.jws import JWSRegistry

    registry = JWSRegistry(algorithms=[algorithm])
    registry.max_header_length = 2048
    registry.max_payload_length = LARGEST
    return registry


def _segments(token: str) -> list[str]:
    if len(token) > LARGEST:
        raise Untrusted("it is too large")
    parts = token.split(".")
    if len(parts) != 3 or not all(_SEGMENT.fullmatch(part) for part in parts):
        raise Untrusted("it is not a signed JWT in its compact form")
    for part in parts:
        _bytes(part)
    return parts


def _header(segment: str) -> dict[str, Any]:
    header = _object(_bytes(segment))
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise Untrusted("its algorithm is not accepted")
    if not set(header) <= _HEADERS:
        raise Untrusted(f"its header says more than it may: {', '.join(sorted(set(header) - _HEADERS))}"[:200])
    kid, kind = header.get("kid", ""), header.get("typ", "JWT")
    if not isinstance(kid, str) or len(kid) > 255 or not isinstance(kind, str) or kind.upper() != "JWT":
        raise Untrusted("its header is malformed")
    return header


def _key(header: dict[str, Any], keys: Keys) -> dict[str, Any]:
    """The one key it can have been signed with: by id, or the only one that fits."""
    fitting = [
        key for key in keys if _fits(header["alg"], key) and ("kid" not in header or key.get("kid") == header["kid"])
    ]
    if len(fitting) != 1:
        raise UnknownKey("none, or more than one, of its issuer's keys can have signed it")
    return {name: value for name, value in fitting[0].items() if name in ("kty", "n", "e", "crv", "x", "y", "kid")}


def _fits(algorithm: str, key: dict[str, Any]) -> bool:
    operations = key.get("key_ops")
    if key.get("use", "sig") != "sig" or (operations is not None and "verify" not in operations):
        return False
    if key.get("alg", algorithm) != algorithm:
        return False
    if algorithm in _CURVES:
        return key.get("kty") == "EC" and key.get("crv") == _CURVES[algorithm]
    if algorithm in ("EdDSA", "Ed25519"):
        return key.get("kty") == "OKP" and key.get("crv") == "Ed25519"
    return key.get("kty") == "RSA"


def _check_rsa(modulus: int) -> None:
    if modulus.bit_length() < SMALLEST_RSA:
        raise Untrusted("its issuer's RSA key is too small")
    if all(modulus % prime in powers for prime, powers in _ROCA.items()):
        raise Untrusted("its issuer's RSA key was made by a faulty generator (CVE-2017-15361)")


_ROCA = {
    prime: frozenset(pow(65537, power, prime) for power in range(prime))
    for prime in (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)
}
"""Moduli of that generator are powers of 65537 modulo every small prime; another modulus is so once in 2^27."""


def _bytes(segment: str) -> bytes:
    """Base64url as it must be: no padding, no stray bits at the end that would let two texts mean one thing."""
    try:
        raw = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except (binascii.Error, ValueError) as error:
        raise Untrusted("it is not base64url") from error
    from base64 import urlsafe_b64encode

    if urlsafe_b64encode(raw).rstrip(b"=").decode() != segment:
        raise Untrusted("it is not canonical base64url")
    return raw


def _object(raw: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise Untrusted("it says something twice")
        return dict(pairs)

    def no_constant(name: str) -> Any:
        raise Untrusted(f"{name} is no JSON")

    try:
        if raw.count(b"{") + raw.count(b"[") > 200:
            raise Untrusted("it is nested too deeply")
        found = json.loads(raw.decode("utf-8"), object_pairs_hook=once, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise Untrusted("it holds no JSON") from error
    if not isinstance(found, dict) or _depth(found) > DEEPEST:
        raise Untrusted("it is not an object, or nested too deeply")
    return cast("dict[str, Any]", found)


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(v) for v in cast("dict[str, Any]", value).values()), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(v) for v in cast("list[Any]", value)), default=0)
    return 0


def _check_time(said: dict[str, Any], now: float) -> None:
    expires = _number(said, "exp")
    if expires is None:
        raise Untrusted("it does not say when it ends")
    if expires <= now - LEEWAY:
        raise Untrusted("it has expired")
    for name in ("nbf", "iat"):
        at = _number(said, name)
        if at is not None and at > now + LEEWAY:
            raise Untrusted("it is not valid yet")


def _number(said: dict[str, Any], name: str) -> float | None:
    value = said.get(name)
    if value is None and name not in said:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise Untrusted(f"its {name} is not a time")
    return float(value)


def _audiences(said: dict[str, Any]) -> Iterable[str]:
    given = said.get("aud")
    if isinstance(given, str):
        return [given]
    listed = cast("list[Any]", given) if isinstance(given, list) else []
    if not listed or not all(isinstance(each, str) for each in listed):
        raise Untrusted("it is meant for nobody")
    return listed
