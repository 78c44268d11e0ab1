"""Redaction: a secret that a task prints is masked before it reaches a file, however the task wrote it.

Covered: the value itself, its base64 (every alignment), URL-encoding, hexadecimal, reversal, JSON and Python escapes, the long lines of
a value of several lines; across any boundary between two writes. Not covered: a task that transforms a value on purpose (one character
per line, a cipher). Values shorter than four bytes would turn every log into asterisks, and are left alone.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

MASK = b"[REDACTED]"
SHORTEST = 4


def forms(secret: str) -> set[bytes]:
    """Every spelling of a secret that is looked for."""
    whole = secret.encode()
    if len(whole) < SHORTEST:
        return set()
    lines = [line.strip().encode() for line in secret.splitlines() if len(line.strip()) >= 8]
    found = {form for value in {whole, *lines} for form in _spellings(value)}
    return {form for form in found if len(form) >= SHORTEST}


def _spellings(value: bytes) -> Iterator[bytes]:
    text = value.decode()
    yield value
    yield text[::-1].encode()
    yield quote(text).encode()
    yield quote(text, safe="").encode()
    yield quote_plus(text).encode()
    yield json.dumps(text)[1:-1].encode()
    yield repr(text)[1:-1].encode()
    yield value.hex().encode()
    yield value.hex().upper().encode()
    yield from _base64_cores(value)


def _base64_cores(value: bytes) -> Iterator[bytes]:
    """The characters of base64 that depend on the secret alone, for each place it can have in what was encoded around it."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + value)
        first = -(-before * 8 // 6)
        last = (before + len(value)) * 8 // 6
        core = encoded[first:last]
        if len(core) >= 6 or before == 0:
            yield core
            yield core.replace(b"+", b"-").replace(b"/", b"_")


class Redactor:
    """A stream in, the same stream masked out: what might be the beginning of a secret is held back until the next bytes decide."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: set[bytes] = set()
        self._pattern: re.Pattern[bytes] | None = None
        self._held = b""
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        for secret in secrets:
            self._forms |= forms(secret)
        ordered = sorted(self._forms, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(re.escape(form) for form in ordered)) if ordered else None

    def feed(self, data: bytes) -> bytes:
        if self._pattern is None:
            return data
        text = self._pattern.sub(MASK, self._held + data)
        keep = self._undecided(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def close(self) -> bytes:
        held, self._held = self._held, b""
        return held

    def whole(self, data: bytes) -> bytes:
        return self._pattern.sub(MASK, data) if self._pattern else data

    def _undecided(self, text: bytes) -> int:
        """How many bytes at the end may be the beginning of a secret."""
        return max((_overlap(text, form) for form in self._forms), default=0)


def _overlap(text: bytes, form: bytes) -> int:
    start = max(0, len(text) - len(form) + 1)
    while (at := text.find(form[:1], start)) != -1:
        if form.startswith(text[at:]):
            return len(text) - at
        start = at + 1
    return 0
