"""The guard in front of the console's pages, for requests and web sockets alike.

NiceGUI's own socket accepts every origin and never looks at a session. This stands before it as plain ASGI: no page,
file or frame passes without a living session from the same origin, and a session that ends closes its sockets at the
next frame in either direction.
"""

from urllib.parse import quote, urlsplit

from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lakewright.console import cookies
from lakewright.console.activity import Activity
from lakewright.identity import credentials
from lakewright.kernel.context import Principal
from lakewright.kernel.faults import Unauthenticated
from lakewright.kernel.platform import Platform

PREFIX = "/console"
EVENT = '42["event"'
"""How a socket.io frame begins that carries something a person did; others are heartbeats and acknowledgements."""


class Sessions:
    """Who is behind a request's cookie, as of now."""

    def __init__(self, platform: Platform) -> None:
        self.platform, self.activity = platform, Activity(platform)

    def of(self, scope: Scope) -> str:
        """The session's secret; empty when there is none."""
        return cookies.read(self.platform.settings, scope, cookies.SESSION)

    def who(self, session: str) -> Principal | None:
        """The person behind a session; None when it has ended, was left alone, or they have been deactivated."""
        if not session:
            return None
        with self.platform.store.snapshot() as tx:
            try:
                person = self.platform.authenticator(self.platform, tx, credentials.of_session(session))
            except Unauthenticated:
                return None
        return None if self.activity.idle(person.token_id) else person


class Guard:
    def __init__(self, sessions: Sessions, inner: ASGIApp) -> None:
        self.sessions, self.inner = sessions, inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
            return
        person = self.sessions.who(self.sessions.of(scope))
        if person is None:
            await to_sign_in(scope)(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD") and not same_origin(scope):
            await PlainTextResponse("This request did not come from the console.", 403)(scope, receive, send)
        else:
            await self.sessions.activity.used(person.token_id)
            await self.inner(scope, receive, send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = self.sessions.of(scope)
        person = self.sessions.who(session) if same_origin(scope) else None
        if person is None:
            await receive()
            await send({"type": "websocket.close", "code": 4401})
            return
        closed = False

        async def checked_receive() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive":
                if self.sessions.who(session) is None:
                    return {"type": "websocket.disconnect", "code": 4401}
                if str(message.get("text") or "").startswith(EVENT):
                    await self.sessions.activity.used(person.token_id)
            return message

        async def checked_send(message: Message) -> None:
            nonlocal closed
            if closed:
                return
            if message["type"] == "websocket.send" and self.sessions.who(session) is None:
                closed = True
                await send({"type": "websocket.close", "code": 4401})
                return
            await send(message)

        await self.inner(scope, checked_receive, checked_send)


def to_sign_in(scope: Scope) -> RedirectResponse:
    """To the sign-in page, and from there back to where this request wanted to go."""
    target = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
    return RedirectResponse(f"{PREFIX}/login?next={quote(target, safe='')}", 303)


def same_origin(scope: Scope) -> bool:
    """Whether the page that sent this is ours: Origin must name the host that was asked."""
    headers: dict[bytes, str] = {name: value.decode("latin-1") for name, value in scope["headers"]}
    origin = headers.get(b"origin")
    return origin is not None and urlsplit(origin).netloc == headers.get(b"host")
