"""Where the console hangs in the application: the pages for signing in and consenting, then the guarded pages.

The pages need NiceGUI, which takes a second or two to import: it is loaded at the first visit, not at start.
"""

import asyncio
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lakewright.console import cookies, doors, sessions
from lakewright.console.guard import PREFIX, Guard, Sessions, same_origin, to_sign_in
from lakewright.identity import consent, credentials
from lakewright.kernel import ids
from lakewright.kernel.context import RequestInfo
from lakewright.kernel.faults import Fault
from lakewright.kernel.operation import Operation
from lakewright.kernel.platform import Platform

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'self'; img-src data:; style-src 'self' 'unsafe-inline';"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
}
# A browser follows `form-action` through redirects: where the answer sends the person on, the directive is left out.
ONWARDS = {**HEADERS, "content-security-policy": HEADERS["content-security-policy"].replace("; form-action 'self'", "")}
FOREIGN = "This request did not come from the console."


class Console:
    """ASGI application for everything under /console, and for the short links that other answers give out."""

    def __init__(self, platform: Platform) -> None:
        self.platform, self.sessions = platform, Sessions(platform)
        self._guard = Guard(self.sessions, self._pages)
        self._loaded: ASGIApp | None = None
        self._loading = asyncio.Lock()
        self._plain: dict[str, Callable[[Request], Awaitable[Response]]] = {
            f"{PREFIX}/login": self._login, f"{PREFIX}/logout": self._logout, f"{PREFIX}/authorize": self._consent,
            f"{PREFIX}/provider": self._leave, sessions.RETURN: self._come_back,
        }  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if not path.startswith(PREFIX):
            await RedirectResponse(PREFIX + (path if path != "/" else "/"), 303)(scope, receive, send)
            return
        if scope["type"] == "http" and path in self._plain:
            await (await self._plain[path](Request(scope, receive)))(scope, receive, send)
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
        after = local(request.query_params.get("next", ""))
        if request.method != "POST":
            return self._door(after)
        if not same_origin(request.scope):
            return PlainTextResponse(FOREIGN, 403)
        form = await request.form(max_fields=5, max_files=0)
        try:
            made = await self._ask(request, sessions.sign_in, token=str(form.get("token", "")))
        except Fault as fault:
            return self._door(after, fault)
        return await self._signed_in(request, made, RedirectResponse(after, 303))

    async def _leave(self, request: Request) -> Response:
        """To the provider, with a note in this browser of what was asked there."""
        after = local(request.query_params.get("next", ""))
        if request.method != "POST" or not same_origin(request.scope):
            return PlainTextResponse(FOREIGN, 403)
        try:
            left = await self._ask(request, sessions.leave, after=after)
        except Fault as fault:
            return self._door(after, fault)
        response = RedirectResponse(left["location"], 303, {"referrer-policy": "no-referrer"})
        cookies.put(self._settings, response, cookies.UNDER_WAY, left["note"], seconds=600, strict=False)
        return response

    async def _come_back(self, request: Request) -> Response:
        """Back from the provider. The answer is a page, not a redirect: a browser that another site has sent here
        would not bring the session's cookie to where a redirect leads."""
        note, given = cookies.read(self._settings, request.scope, cookies.UNDER_WAY), request.query_params
        try:
            if "error" in given:
                return self._forget(self._door(f"{PREFIX}/", said="The provider did not sign you in."))
            twice = len(given.multi_items()) != len(given)
            made = await self._ask(
                request, sessions.come_back, note=note if not twice else "", code=given.get("code", ""),
                state=given.get("state", ""), iss=given.get("iss", ""),
            )  # fmt: skip
        except Fault as fault:
            return self._forget(self._door(f"{PREFIX}/", fault))
        onwards = HTMLResponse(doors.onwards(local(made["after"])), headers=HEADERS)
        return self._forget(await self._signed_in(request, made, onwards))

    async def _consent(self, request: Request) -> Response:
        """An application asks a person to let it act for them."""
        session = self.sessions.of(request.scope)
        person = self.sessions.who(session)
        if person is None:
            return to_sign_in(request.scope)
        await self.sessions.activity.used(person.token_id)
        asked = {name: value for name, value in request.query_params.items() if name in consent.Request.model_fields}
        try:
            if request.method != "POST":
                shown = await self._ask(request, consent.describe, credentials.of_session(session), **asked)
                return HTMLResponse(doors.consent(shown, request.url.query), headers=ONWARDS)
            if not same_origin(request.scope):
                return PlainTextResponse(FOREIGN, 403)
            form = await request.form(max_fields=5, max_files=0)
            agreed = form.get("answer") == "agree"
            said = await self._ask(request, consent.answer, credentials.of_session(session), **asked, agreed=agreed)
            return RedirectResponse(
                said["location"], 303, {"referrer-policy": "no-referrer", "cache-control": "no-store"}
            )
        except Fault as fault:
            return HTMLResponse(doors.refusal(str(fault)), fault.status, HEADERS)

    async def _logout(self, request: Request) -> Response:
        session = self.sessions.of(request.scope)
        if request.method != "POST" or not same_origin(request.scope):
            return PlainTextResponse(FOREIGN, 403)
        try:
            await self._ask(request, sessions.sign_out, credentials.of_session(session))
        except Fault:
            pass  # it had ended already, which is what was asked for
        response = RedirectResponse(f"{PREFIX}/login", 303, {"clear-site-data": '"cache", "storage"'})
        cookies.drop(self._settings, response, cookies.SESSION)
        return response

    @property
    def _settings(self) -> Any:
        return self.platform.settings

    def _door(self, after: str, fault: Fault | None = None, said: str = "") -> Response:
        status = fault.status if fault is not None else 401 if said else 200
        signin = self._settings.signin
        page = doors.sign_in(after, str(fault or said), signin.provider_name if signin.issuer else "")
        headers = dict(ONWARDS if signin.issuer else HEADERS)
        if status == 429 and fault is not None:
            headers["retry-after"] = str(fault.details.get("retry_after", 1))
        return HTMLResponse(page, status, headers)

    async def _signed_in(self, request: Request, made: dict[str, Any], response: Response) -> Response:
        old = self.sessions.of(request.scope)
        if old:  # whoever sat here before is signed out, not left behind
            try:
                await self._ask(request, sessions.sign_out, credentials.of_session(old))
            except Fault:
                pass  # it had ended already
        seconds = int(self._settings.signin.session_hours * 3600)
        cookies.put(self._settings, response, cookies.SESSION, made["session"], seconds=seconds)
        return response

    def _forget(self, response: Response) -> Response:
        cookies.drop(self._settings, response, cookies.UNDER_WAY)
        return response

    async def _ask(self, request: Request, operation: Operation[Any, Any], credential: str = "", **fields: Any) -> Any:
        return await self.platform.handle(operation, self._info(request), credential, fields)

    def _info(self, request: Request) -> RequestInfo:
        tls = self._settings.tls_certificate or request.scope.get("scheme") in ("https", "wss")
        return RequestInfo(
            ids.request(), request.client.host if request.client else "", "".join(c for c in request.headers.get("user-agent", "")[:500] if c.isprintable()),
            self._settings.public_url or f"{'https' if tls else 'http'}://{request.headers.get('host', '')}", dict(request.headers),
        )  # fmt: skip


def local(target: str) -> str:
    """Only a page of the console: a sign-in page that redirects anywhere is a gift to phishers."""
    path = target.partition("?")[0]
    proper = path.startswith(f"{PREFIX}/") and "//" not in path and ".." not in path and "\\" not in target
    return target if proper and target.isprintable() else f"{PREFIX}/"
