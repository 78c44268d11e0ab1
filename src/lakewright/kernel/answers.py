"""What an operation may answer besides a JSON object, and what it may be sent besides one."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any


@dataclass(frozen=True)
class Json:
    """A JSON answer with a status or headers of its own."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Raw:
    body: bytes
    media_type: str = "application/octet-stream"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class FileAnswer:
    """A file's bytes, or the part that the caller's Range header asks for."""

    path: Path
    media_type: str = "application/octet-stream"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Stream:
    chunks: Iterator[bytes] | AsyncIterator[bytes]
    media_type: str = "application/octet-stream"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


Answer = dict[str, Any] | Json | Raw | FileAnswer | Stream


@dataclass(frozen=True)
class Incoming:
    """An uploaded body, spooled to a private file that disappears with the request."""

    path: Path
    size: int

    def open(self) -> IO[bytes]:
        return self.path.open("rb")

    def read(self) -> bytes:
        return self.path.read_bytes()
