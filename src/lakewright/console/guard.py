"""The guard in front of the console's pages, for requests and web sockets alike.

NiceGUI's own socket accepts every origin and never looks at a session. This stands before it as plain ASGI: no page,
file or frame passes without a living session from the same origin, and a session that ends closes its sockets at the
next frame in either direction.
"""

from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urlsplit

from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lakewright.identity import credentials
from lakewright.kernel.context import Principal
from lakewright.kernel.faults import Unauthenticated
from lakewright.kernel.platform import Platform

COOKIE = "lakewright_session"
PREFIX = "/console"


class Guard:
    def __init__(self, platform: Platform, inner: ASGIApp) -> None:
        self.platform, self.inner = platform, inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        elif who(self.platform, session_of(scope)) is None:
            target = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
            await RedirectResponse(f"{PREFIX}/login?next={quote(target)}", 303)(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD") and not same_origin(scope):
            await PlainTextResponse("This request did not come from the console.", 403)(scope, receive, send)
        else:
            await self.inner(scope, receive, send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = session_of(scope)
        if not same_origin(scope) or who(self.platform, session) is None:
            await receive()
            await send({"type": "websocket.close", "code": 4401})
            return
        closed = False

        async def checked_receive() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive" and who(self.platform, session) is None:
                return {"type": "websocket.disconnect", "code": 4401}
            return message

        async def checked_send(message: Message) -> None:
            nonlocal closed
            if closed:
                return
            if message["type"] == "websocket.send" and who(self.platform, session) is None:
                closed = True
                await send({"type": "websocket.close", "code": 4401})
                return
            await send(message)

        await self.inner(scope, checked_receive, checked_send)


def who(platform: Platform, session: str) -> Principal | None:
    """The person behind a session; None when it has ended or they have been deactivated."""
    if not session:
        return None
    with platform.store.snapshot() as tx:
        try:
            return platform.authenticator(platform, tx, credentials.of_session(session))
        except Unauthenticated:
            return None


def session_of(scope: Scope) -> str:
    """The session's secret from the cookie; empty when there is none."""
    for name, value in scope["headers"]:
        if name == b"cookie":
            try:
                morsel = SimpleCookie(value.decode("latin-1")).get(COOKIE)
            except CookieError:
                return ""
            if morsel is not None:
                return morsel.value
    return ""


def same_origin(scope: Scope) -> bool:
    """Whether the page that sent this is ours: Origin must name the host that was asked."""
    headers: dict[bytes, str] = {name: value.decode("latin-1") for name, value in scope["headers"]}
    origin = headers.get(b"origin")
    return origin is not None and urlsplit(origin).netloc == headers.get(b"host")
