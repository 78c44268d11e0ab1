"""Where the console hangs in the application: the sign-in page, then the guarded pages.

The pages need NiceGUI, which takes a second or two to import: it is loaded at the first visit, not at start.
"""

import asyncio
import html
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lakewright.console import sessions
from lakewright.console.guard import COOKIE, PREFIX, Guard, same_origin, session_of, who
from lakewright.kernel import ids
from lakewright.kernel.context import RequestInfo
from lakewright.kernel.faults import Fault
from lakewright.kernel.platform import Platform

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'self'; img-src data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
}


class Console:
    """ASGI application for everything under /console, and for the short links that other answers give out."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self._guard = Guard(platform, self._pages)
        self._loaded: ASGIApp | None = None
        self._loading = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if not path.startswith(PREFIX):
            await RedirectResponse(PREFIX + (path if path != "/" else "/"), 303)(scope, receive, send)
            return
        plain: dict[str, Callable[[Request], Awaitable[Response]]] = {
            f"{PREFIX}/login": self._login, f"{PREFIX}/logout": self._logout,
        }  # fmt: skip
        if scope["type"] == "http" and path in plain:
            await (await plain[path](Request(scope, receive)))(scope, receive, send)
        elif find_spec("nicegui") is None:
            text = "The console is not installed: pip install 'lakewright[console]'"
            await PlainTextResponse(text, 501)(scope, receive, send)
        else:
            await self._guard(scope, receive, send)

    async def _pages(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._loaded is None:
            async with self._loading:
                if self._loaded is None:
                    self._loaded = await self._load()
        await self._loaded({**scope, "root_path": PREFIX}, receive, send)

    async def _load(self) -> ASGIApp:
        from lakewright.console import pages  # brings NiceGUI

        return await pages.load(self.platform)

    async def _login(self, request: Request) -> Response:
        after = _local(request.query_params.get("next", ""))
        if request.method != "POST":
            return HTMLResponse(_page(after), headers=HEADERS)
        if not same_origin(request.scope):
            return PlainTextResponse("This request did not come from the console.", 403)
        form = await request.form(max_fields=5, max_files=0)
        info = RequestInfo(
            ids.request(), request.client.host if request.client else "", request.headers.get("user-agent", "")
        )
        try:
            made = await self.platform.handle(sessions.sign_in, info, "", {"token": str(form.get("token", ""))})
        except Fault as fault:
            return HTMLResponse(_page(after, str(fault)), fault.status, HEADERS)
        assert isinstance(made, dict)
        response = RedirectResponse(after, 303)
        response.set_cookie(
            COOKIE, made["session"], max_age=int(self.platform.settings.signin.session_hours * 3600), path=PREFIX, httponly=True, samesite="strict",
            secure=self.platform.settings.tls_certificate is not None,
        )  # fmt: skip
        return response

    async def _logout(self, request: Request) -> Response:
        person = who(self.platform, session_of(request.scope))
        if person is not None and same_origin(request.scope):
            info = RequestInfo(ids.request(), request.client.host if request.client else "")
            try:
                await self.platform.handle(sessions.sign_out, info, person, {})
            except Fault:
                pass  # it had ended already, which is what was asked for
        response = RedirectResponse(f"{PREFIX}/login", 303)
        response.delete_cookie(COOKIE, path=PREFIX)
        return response


def _local(target: str) -> str:
    """Only a path of the console: a sign-in page that redirects anywhere is a gift to phishers."""
    return target if target.startswith(f"{PREFIX}/") and "//" not in target and "\\" not in target else f"{PREFIX}/"


def _page(after: str, refusal: str = "") -> str:
    said = f'<p role="alert">{html.escape(refusal)}</p>' if refusal else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Lakewright · sign in</title>
<link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; background: #f4f6f8; color: #17242f; display: grid; place-items: center;
  min-height: 100vh; margin: 0 }}
main {{ background: #fff; padding: 2rem 2.25rem; border-radius: 10px; box-shadow: 0 1px 8px #0002; width: 22rem }}
h1 {{ font-size: 1.35rem; margin: 0 0 .25rem }} p {{ margin: 0 0 1rem; color: #4b5d6b }}
[role=alert] {{ color: #a32015 }} label {{ font-weight: 600 }}
input {{ width: 100%; box-sizing: border-box; padding: .55rem; font: inherit; margin: .3rem 0 1rem;
  border: 1px solid #9aa9b5; border-radius: 6px }}
button {{ width: 100%; padding: .6rem; font: inherit; font-weight: 600; color: #fff; background: #0b6b78; border: 0;
  border-radius: 6px; cursor: pointer }}
</style></head><body><main><h1>Lakewright</h1><p>Sign in with a personal token.</p>{said}
<form method="post" action="{PREFIX}/login?next={quote(after)}">
<label for="token">Token</label><input id="token" name="token" type="password" autocomplete="off" required autofocus>
<button>Sign in</button></form></main></body></html>"""
