"""Redaction: a secret that a task prints is masked before it reaches a file, however the task wrote it.

Covered: the value itself, its base64 (every alignment), URL-encoding, hexadecimal, reversal, JSON, Python and HTML escapes, the long
lines of a value of several lines; across any boundary between two writes, and where secrets overlap. Not covered: a task that transforms
a value on purpose (one character per line, a cipher). Values shorter than four characters would turn every log into asterisks, and are
left alone.

All spellings are looked for at once (Aho-Corasick): a megabyte of output takes ten milliseconds, for one secret or for a thousand.
"""

from __future__ import annotations

import base64
import html
import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from ahocorasick_rs import BytesAhoCorasick

MASK = b"[REDACTED]"
SHORTEST = 4
PIECE = 4096
"""A longer spelling is looked for in pieces: what may be the beginning of one has to be held back."""


def forms(secret: str) -> set[bytes]:
    """Every spelling of a secret that is looked for."""
    whole = secret.encode(errors="surrogatepass")
    if len(whole) < SHORTEST:
        return set()
    lines = [line.strip().encode(errors="surrogatepass") for line in secret.splitlines() if len(line.strip()) >= 8]
    found = {form for value in {whole, *lines} for form in _spellings(value)}
    return {piece for form in found for piece in _pieces(form) if len(piece) >= SHORTEST}


def _pieces(form: bytes) -> Iterator[bytes]:
    for start in range(0, len(form), PIECE):
        piece = form[start : start + PIECE]
        yield piece if len(piece) >= 64 or start == 0 else form[-64:]  # a short last piece would be found everywhere


def _spellings(value: bytes) -> Iterator[bytes]:
    text = value.decode(errors="surrogatepass")
    yield value
    yield text[::-1].encode(errors="surrogatepass")
    for quoted in (quote(value), quote(value, safe=""), quote_plus(value)):
        yield quoted.encode()
        yield _lower_escapes(quoted).encode()
    yield json.dumps(text)[1:-1].encode()
    yield json.dumps(text, ensure_ascii=False)[1:-1].encode(errors="surrogatepass")
    yield json.dumps(text)[1:-1].replace("/", "\\/").encode()
    yield repr(text)[1:-1].encode(errors="surrogatepass")
    yield html.escape(text).encode(errors="surrogatepass")
    yield value.hex().encode()
    yield value.hex().upper().encode()
    yield from _base64_cores(value)


def _lower_escapes(quoted: str) -> str:
    head, *rest = quoted.split("%")
    return head + "".join("%" + part[:2].lower() + part[2:] for part in rest)


def _base64_cores(value: bytes) -> Iterator[bytes]:
    """The characters of base64 that depend on the secret alone, for each place it can have in what was encoded around it."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + value)
        first = -(-before * 8 // 6)
        last = (before + len(value)) * 8 // 6
        core = encoded[first:last]
        ending = encoded[first:].rstrip(b"=")  # with the character that the end of the secret shares with padding
        if len(core) >= 6 or before == 0:
            for form in (core, ending):
                yield form
                yield form.replace(b"+", b"-").replace(b"/", b"_")


class Redactor:
    """A stream in, the same stream masked out: what might be the beginning of a secret is held back until the next bytes decide."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: list[bytes] = []
        self._starts: frozenset[int] = frozenset()
        self._longest = 0
        self._automaton: BytesAhoCorasick | None = None
        self._held = b""
        self._masked = 0
        """How many bytes of what is held a mask that is out already stands for."""
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        found = {*self._forms, *(form for secret in secrets for form in forms(secret))}
        if len(found) == len(self._forms):
            return
        from ahocorasick_rs import BytesAhoCorasick

        self._forms = sorted(found)
        self._starts = frozenset(form[0] for form in found)
        self._longest = max(map(len, found))
        self._automaton = BytesAhoCorasick(self._forms)

    def feed(self, data: bytes) -> bytes:
        if self._automaton is None:
            return data
        text = self._held + data
        end = len(text) - self._undecided(text)
        out, self._masked = self._masked_to(text, end)
        self._held = text[end:]
        return out

    def close(self) -> bytes:
        out, _ = self._masked_to(self._held, len(self._held))
        self._held, self._masked = b"", 0
        return out

    def whole(self, data: bytes) -> bytes:
        return Redactor._masked_to(self._fresh(), data, len(data))[0]

    def text(self, data: str) -> str:
        if self._automaton is None:
            return data
        before = data.encode(errors="surrogatepass")
        after = self.whole(before)
        return data if after == before else after.decode(errors="replace")

    def values(self, value: Any) -> Any:
        """A JSON value with all its texts masked, names included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            return self.whole(value)
        if isinstance(value, dict):
            return {self.values(k): self.values(v) for k, v in value.items()}  # type: ignore[reportUnknownVariableType]
        if isinstance(value, list):
            return [self.values(v) for v in value]  # type: ignore[reportUnknownVariableType]
        return value

    def _fresh(self) -> Redactor:
        """The same secrets, nothing held."""
        fresh = Redactor()
        fresh._forms, fresh._starts, fresh._longest = self._forms, self._starts, self._longest
        fresh._automaton = self._automaton
        return fresh

    def _masked_to(self, text: bytes, end: int) -> tuple[bytes, int]:
        """`text` up to `end` with a mask for every stretch of secrets, and how far the last stretch reaches beyond."""
        if self._automaton is None:
            return text[:end], 0
        out, open_to = list[bytes](), self._masked
        at = min(open_to, end)
        found = self._automaton.find_matches_as_indexes(text, overlapping=True)
        for start, stop in sorted((start, stop) for _, start, stop in found):
            if start >= end and start >= open_to:
                break
            if start < open_to:
                open_to = max(open_to, stop)
                at = max(at, min(open_to, end))
                continue
            out += [text[at:start], MASK]
            open_to = stop
            at = min(open_to, end)
        out.append(text[at:end])
        return b"".join(out), max(0, open_to - end)

    def _undecided(self, text: bytes) -> int:
        """How many bytes at the end may be the beginning of a secret."""
        for at in range(max(0, len(text) - self._longest + 1), len(text)):
            if text[at] in self._starts:
                rest = text[at:]
                near = bisect_left(self._forms, rest)
                if near < len(self._forms) and self._forms[near].startswith(rest) and self._forms[near] != rest:
                    return len(rest)
                # the spelling itself may be complete here and yet begin a longer one
                if near + 1 < len(self._forms) and self._forms[near] == rest and self._forms[near + 1].startswith(rest):
                    return len(rest)
        return 0
