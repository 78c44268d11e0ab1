"""Issuers: where the keys of those whose tokens we believe are read, and for how long they are remembered."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, cast

from lakewright.identity import fetching, signed
from lakewright.identity.fetching import Unreachable
from lakewright.identity.signed import Expected, Keys, UnknownKey, Untrusted
from lakewright.kernel.clock import Clock

FRESH = 600_000
"""Milliseconds for which keys and metadata are not read again."""
AGAIN = 30_000
"""Milliseconds after which an unknown key makes us look again: new keys are found, and a flood of tokens with made-up
key ids does not become a flood of requests to the issuer."""
LARGEST = 200


@dataclass(frozen=True)
class Remembered:
    value: Any
    at: int


class Issuers:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._documents: OrderedDict[str, Remembered] = OrderedDict()
        self._lock = threading.Lock()

    def claims(self, token: str, expected: Expected, *, jwks_uri: str = "", internal: bool = False) -> dict[str, Any]:
        """The claims of a token of this issuer, by the keys it publishes. Untrusted, or Unreachable."""
        where = jwks_uri or str(self.metadata(expected.issuer, internal=internal).get("jwks_uri", ""))
        now = self._clock.now()
        try:
            return signed.claims(token, self._keys(where, internal, FRESH), expected, now=now)
        except UnknownKey:
            return signed.claims(token, self._keys(where, internal, AGAIN), expected, now=now)

    def metadata(self, issuer: str, *, internal: bool) -> dict[str, Any]:
        """What the issuer says about itself; it must be the issuer who says it."""
        said = self._document(f"{issuer.rstrip('/')}/.well-known/openid-configuration", internal, FRESH)
        if not isinstance(said, dict) or cast("dict[str, Any]", said).get("issuer") != issuer:
            raise Untrusted("the issuer's metadata is that of another")
        return cast("dict[str, Any]", said)

    def _keys(self, url: str, internal: bool, fresh: int) -> Keys:
        return signed.key_set(self._document(url, internal, fresh))

    def _document(self, url: str, internal: bool, fresh: int) -> Any:
        now = self._clock.now()
        with self._lock:
            found = self._documents.get(url)
        if found is not None and now - found.at < (AGAIN if isinstance(found.value, Unreachable) else fresh):
            return _given(found.value)
        try:
            document = fetching.get(url, internal=internal)
        except Unreachable as error:
            document = error  # remembered too: an issuer that is away is not asked again by every caller
        with self._lock:
            self._documents[url] = Remembered(document, now)
            self._documents.move_to_end(url)
            while len(self._documents) > LARGEST:
                self._documents.popitem(last=False)
        return _given(document)


def _given(document: Any) -> Any:
    if isinstance(document, Unreachable):
        raise Unreachable(str(document))
    return document


__all__ = ["Expected", "Issuers", "Unreachable", "Untrusted"]
