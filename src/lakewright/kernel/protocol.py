"""HTTP/1.1 on the wire: uvicorn's llhttp protocol, with what a server on an open port must add to it.

llhttp costs a third of a pure Python parser per request (docs/decisions/0006-http-parser.md) and is as strict, but
leaves two things to its user: it has no limit on the size of a head, and it stops at a request that offers another
protocol. Java's client sends such an offer (`Upgrade: h2c`) with its first request; RFC 9110, 7.8 lets a server
ignore it, and then the request and its body must be read as if the offer were not there.
"""

from functools import partial
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from lakewright.kernel.config import HttpLimits

HEAD_BYTES = 64 * 1024
"""The request line and headers together."""
HEADERS = 200
DISCARDED = 16 * 2**20
"""Bytes of a body that are read and dropped after its request has been answered."""

WHOLE = "lakewright.whole_answer"
"""The extension of ASGI that the edge uses for its common answer: status line, headers and body as one write."""

_OFFER = (b"upgrade", b"http2-settings")


class HeadTooLarge(Exception):
    """The request line and headers pass `HEAD_BYTES` or `HEADERS`."""


class Protocol(HttpToolsProtocol):
    limits = HttpLimits()

    @classmethod
    def within(cls, limits: HttpLimits) -> "type[Protocol]":
        """The protocol of a server with these limits."""
        return type("Protocol", (cls,), {"limits": limits})

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._in_head, self._waiting, self._headed = False, 0, 0
        self._offered = False
        self._in_body, self._received, self._discarded = False, 0, 0
        self._seen: tuple[object, float, int] = (None, 0.0, 0)

    # how long a client may take: one timer per connection, nothing per request

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._seen = (None, self.loop.time(), 0)
        self.loop.call_later(self.limits.look_seconds, self._look)

    def _look(self) -> None:
        """Close a connection whose client has taken too long over a head, or sends a body too slowly."""
        if self.transport.is_closing() or self not in self.connections:
            return
        now, waiting_for = self.loop.time(), self._waiting_for()
        before, since, received = self._seen
        if waiting_for != before or (self._in_body and self.flow.read_paused):
            self._seen = (waiting_for, now, self._received)
        elif waiting_for is not None and self._too_slow(now - since, self._received - received):
            self._refuse(408, "Request Timeout", "the request took too long to arrive")
            return
        self.loop.call_later(self.limits.look_seconds, self._look)

    def _waiting_for(self) -> object:
        """The message that the client is in the middle of; None when it is our turn, or nobody's."""
        if self._in_head or self._in_body:
            return (id(self.scope), self._in_body)
        return "the first" if self.scope is None else None  # type: ignore[reportUnnecessaryComparison]

    def _too_slow(self, seconds: float, received: int) -> bool:
        if not self._in_body:
            return seconds > self.limits.head_seconds
        return seconds > self.limits.body_seconds and received < self.limits.body_rate * seconds

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
            if self._in_head:
                self._waiting += len(data)
                if self._waiting > HEAD_BYTES:
                    raise HeadTooLarge
        except (HeadTooLarge, httptools.HttpParserError) as error:
            if isinstance(error, HeadTooLarge) or isinstance(error.__context__, HeadTooLarge):
                self._refuse(
                    431, "Request Header Fields Too Large", f"the head of the request passes {HEAD_BYTES} bytes"
                )
            else:
                self._refuse(400, "Bad Request", "this is not a valid HTTP/1.1 request")

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                if self._should_upgrade():
                    self.handle_websocket_upgrade()
                    return
                method = self.parser.get_method()
                if method == b"CONNECT":
                    raise httptools.HttpParserInvalidMethodError("CONNECT") from offer
                # Once more without the offer, then what came after its head.
                data = self._without_offer(method) + data[offer.args[0] :]
                self.parser = httptools.HttpRequestParser(self)

    def _without_offer(self, method: bytes) -> bytes:
        lines = [method + b" " + self.url + b" HTTP/" + self.parser.get_http_version().encode()]
        lines += [name + b": " + value for name, value in self.headers if name not in _OFFER]
        return b"\r\n".join([*lines, b"", b""])

    # what llhttp calls

    def on_message_begin(self) -> None:
        self._in_head, self._waiting, self._headed, self._offered = True, 0, 0, False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headed += len(name) + len(value)
        if self._headed > HEAD_BYTES or len(self.headers) >= HEADERS:
            raise HeadTooLarge
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body, self._discarded = False, True, 0
        self._offered = self.parser.should_upgrade() and not self._should_upgrade()
        if not self._offered:
            super().on_headers_complete()
            if self.cycle is not None and self.cycle.scope is self.scope:  # type: ignore[reportUnnecessaryComparison]
                self.scope["extensions"] = {WHOLE: partial(_answer, self.cycle)}  # type: ignore[reportGeneralTypeIssues]

    def on_body(self, body: bytes) -> None:
        if self._offered:
            return
        if self.cycle.response_complete:
            # Refused before it was read. A client that reads only after sending must find the answer: but not for ever.
            self._discarded += len(body)
            if self._discarded > DISCARDED:
                self.transport.close()
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        if not self._offered:
            super().on_message_complete()

    def _refuse(self, status: int, reason: str, why: str) -> None:
        """Answer and close, unless another answer is under way or due before: then nothing may come between."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_started and not self.pipeline:  # type: ignore[reportUnnecessaryComparison]
            cycle.disconnected = True  # to the operation, the client has gone
            cycle.message_event.set()
            cycle = None
        if cycle is None or cycle.response_complete:  # type: ignore[reportUnnecessaryComparison]
            body = b'{"error_code":"MALFORMED_REQUEST","message":"%s"}' % why.encode()
            head = f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()


def _answer(cycle: RequestResponseCycle, head: bytes, body: bytes) -> bool:
    """A whole answer in one write; False when the way is not clear and it must go through ASGI's messages."""
    if cycle.response_started or cycle.disconnected or cycle.flow.write_paused or not cycle.keep_alive:
        return False
    ours = b"".join(name + b": " + value + b"\r\n" for name, value in cycle.default_headers)
    cycle.transport.write(b"".join((head, ours, b"\r\n", body)))
    cycle.waiting_for_100_continue = False
    cycle.response_started = cycle.response_complete = True
    cycle.message_event.set()
    cycle.on_response()
    return True
