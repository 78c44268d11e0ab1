"""The gateway's line to one model process: kept-open loopback connections, answered on the event loop.

Written by hand because a general HTTP client costs more than the prediction: half a millisecond against 40 µs.
"""

import asyncio
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

LARGEST_ANSWER = 256 * 2**20


class Unreachable(Exception):
    """The process does not answer: it is starting, gone or stuck."""


class TooSlow(Unreachable):
    """It took the request and did not answer in time."""


@dataclass(frozen=True)
class Answered:
    status: int
    body: bytes


@dataclass(frozen=True)
class Address:
    """Where a model process listens, and what it wants to hear."""

    port: int
    secret: str

    def ask(self, verb: str, path: str, body: bytes = b"", timeout: float = 2.0) -> Answered:
        """One blocking request on a connection of its own: for watching a process, not for serving."""
        line = HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            line.request(verb, path, body, {"X-Model-Secret": self.secret})
            answer = line.getresponse()
            return Answered(answer.status, answer.read())
        except TimeoutError:
            raise TooSlow(f"no answer within {timeout:g} s") from None
        except (OSError, HTTPException) as error:
            raise Unreachable(f"the model process does not answer: {error}") from None
        finally:
            line.close()

    def answers(self, timeout: float = 2.0) -> bool:
        try:
            return self.ask("GET", "/ping", timeout=timeout).status == 200
        except Unreachable:
            return False


class ModelClient:
    """Used on one event loop only; `in_flight` may be read from anywhere."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.in_flight = 0
        self._idle: list[_Line] = []
        self._head = f"POST /invocations HTTP/1.1\r\nx-model-secret: {address.secret}\r\ncontent-length: ".encode()

    async def invoke(self, body: bytes, timeout: float) -> Answered:
        self.in_flight += 1
        try:
            async with asyncio.timeout(timeout):
                return await self._exchange(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
        except TimeoutError:
            raise TooSlow(f"the model did not answer within {timeout:g} s") from None
        finally:
            self.in_flight -= 1

    async def _exchange(self, request: bytes) -> Answered:
        line = self._kept()
        if line is not None:
            try:
                return await self._over(line, request)
            except Unreachable:
                # Closed while it was idle, most likely. A prediction changes nothing, so asking twice is safe.
                pass
        return await self._over(await self._connected(), request)

    async def _over(self, line: "_Line", request: bytes) -> Answered:
        try:
            answered = await line.exchange(request)
        except BaseException:
            line.close()
            raise
        self._idle.append(line)
        return answered

    def _kept(self) -> "_Line | None":
        while self._idle:
            if (line := self._idle.pop()).is_open:
                return line
        return None

    async def _connected(self) -> "_Line":
        loop = asyncio.get_running_loop()
        try:
            _, line = await loop.create_connection(_Line, "127.0.0.1", self.address.port)
        except OSError as error:
            raise Unreachable(f"the model process does not listen: {error.strerror or error}") from None
        return line

    def close(self) -> None:
        for line in self._idle:
            line.close()
        self._idle.clear()


class _Line(asyncio.Protocol):
    """One connection: a request, then its answer, then the next."""

    def __init__(self) -> None:
        self._transport: asyncio.BaseTransport | None = None
        self._received = bytearray()
        self._answer: asyncio.Future[Answered] | None = None

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: bytes) -> Answered:
        if not self.is_open:
            raise Unreachable("the model process closed the connection")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)  # type: ignore[union-attr] (open: there is one, and TCP's can be written to)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Unreachable("the model process ended while it was answering"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        status = int(self._received[9:12])
        length = int(self._received[self._received.rindex(b"content-length:", 0, end) + 15 : end])
        if length > LARGEST_ANSWER:
            self.close()
            return
        start = end + 4
        if len(self._received) >= start + length:
            body = bytes(self._received[start : start + length])
            self._received.clear()
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(Answered(status, body))
