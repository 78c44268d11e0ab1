"""What holds for every answer of the console, whoever gives it: the sign-in page, a page, a file, a redirect.

NiceGUI needs two things that a stricter policy would forbid: it hands the page's elements to the browser in an inline
script, and Vue compiles the templates of tables in the browser (`unsafe-eval`). What a person typed somewhere reaches
a page only as JSON inside that script or as text, both escaped; the policy sees to it that even what got through
could load nothing from, and send nothing to, another host.
"""

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lakewright.kernel.config import HttpLimits

POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-src 'none'; object-src 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class Sealed:
    """The console behind headers that browsers enforce, and with the limits that every request has."""

    def __init__(self, inner: ASGIApp, limits: HttpLimits) -> None:
        self._inner, self._limits = inner, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                _seal(MutableHeaders(raw=message.setdefault("headers", [])))
            await send(message)

        headers = {name: value for name, value in scope["headers"]}
        if scope["method"] not in ("GET", "HEAD") and headers.get(b"sec-fetch-site") == b"cross-site":
            await PlainTextResponse("This request did not come from the console.", 403)(scope, receive, sealed)
            return
        limit = self._limits.body_bytes
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > limit:
            await PlainTextResponse("This is larger than the console takes.", 413)(scope, receive, sealed)
            return
        left = limit

        async def limited() -> Message:
            """More than the limit is as if the client had gone: it announced less, or nothing."""
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            return message if left >= 0 else {"type": "http.disconnect"}

        await self._inner(scope, limited, sealed)


def _seal(headers: MutableHeaders) -> None:
    for name, value in HEADERS.items():
        headers[name] = value
    headers.setdefault("content-security-policy", POLICY)
    if headers.get("content-type", "").startswith("text/html"):
        headers["cache-control"] = "no-store"
