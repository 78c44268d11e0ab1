"""HTTP/1.1 between the gateway and a model: one request at a time per connection, bodies with a known length.

Only the gateway speaks to this door, over the loopback, with a secret made for this one process;
so the parser takes what the gateway sends and closes the connection on anything else.
"""

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from lakewright.engines.model_process import payload
from lakewright.engines.model_process.batching import Batcher
from lakewright.engines.model_process.payload import Refused
from lakewright.engines.model_process.predictor import Predictor, describe

LARGEST_HEAD = 16 * 1024
LARGEST_BODY = 64 * 1024 * 1024
REASONS = {
    200: b"OK", 400: b"Bad Request", 403: b"Forbidden", 404: b"Not Found",
    413: b"Content Too Large", 500: b"Internal Server Error",
}  # fmt: skip


class Malformed(Exception):
    """Not a request the gateway would have sent."""


@dataclass(slots=True)
class Head:
    verb: bytes
    path: bytes
    length: int
    secret: bytes


def head(raw: bytes) -> Head:
    first, *lines = raw.split(b"\r\n")
    try:
        verb, path, version = first.split(b" ")
    except ValueError:
        raise Malformed("request line") from None
    if version != b"HTTP/1.1":
        raise Malformed("version")
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or name in fields:
            raise Malformed("header")
        fields[name] = value.strip()
    length = fields.get(b"content-length", b"0")
    if b"transfer-encoding" in fields or not length.isdigit():
        raise Malformed("length")
    return Head(verb, path, int(length), fields.get(b"x-model-secret", b""))


class Door:
    """What stands behind every connection: the secret, the model and the time anybody last asked."""

    def __init__(self, predictor: Predictor, batcher: Batcher, secret: str) -> None:
        self.predictor, self.batcher = predictor, batcher
        self._secret = secret.encode()
        self.asked_at = asyncio.get_running_loop().time()

    def open_to(self, offered: bytes) -> bool:
        return hmac.compare_digest(offered, self._secret)

    def handle(self, request: Head, body: bytes, reply: Callable[[int, bytes], None]) -> None:
        self.asked_at = asyncio.get_running_loop().time()
        match request.verb, request.path:
            case b"POST", b"/invocations":
                self._invoke(body, reply)
            case b"GET", b"/ping":
                reply(200, describe(self.predictor))
            case _:
                reply(404, b"no such path")

    def _invoke(self, body: bytes, reply: Callable[[int, bytes], None]) -> None:
        try:
            rows = payload.read(body, self.predictor.signature.names)
        except Refused as refusal:
            return reply(400, str(refusal).encode())

        def done(answer: bytes | Exception) -> None:
            if isinstance(answer, bytes):
                reply(200, answer)
            elif isinstance(answer, Refused):
                reply(400, str(answer).encode())
            else:
                reply(500, f"{type(answer).__name__}: {answer}".encode())

        self.batcher.submit(rows, done)


class Connection(asyncio.Protocol):
    def __init__(self, door: Door) -> None:
        self._door = door
        self._buffer = bytearray()
        self._head: Head | None = None
        self._answering = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._advance()

    def _advance(self) -> None:
        if self._answering:
            return
        try:
            if self._head is None:
                self._head = self._read_head()
        except Malformed:
            return self._close()
        request = self._head
        if request is None or len(self._buffer) < request.length:
            return
        body = bytes(self._buffer[: request.length])
        del self._buffer[: request.length]
        self._head, self._answering = None, True
        self._door.handle(request, body, self._reply)

    def _read_head(self) -> Head | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > LARGEST_HEAD:
                raise Malformed("head")
            return None
        request = head(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        if not self._door.open_to(request.secret):
            self._reply(403, b"wrong secret")
            raise Malformed("secret")
        if request.length > LARGEST_BODY:
            self._reply(413, b"the body is too large")
            raise Malformed("body")
        return request

    def _reply(self, status: int, body: bytes) -> None:
        self._answering = False
        if self._transport is None:
            return
        kind = b"application/json" if status == 200 else b"text/plain"
        self._transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b"
            % (status, REASONS[status], kind, len(body), body)
        )
        if self._buffer:
            asyncio.get_running_loop().call_soon(self._advance)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()
