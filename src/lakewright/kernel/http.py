"""Operations over HTTP. Nothing else can be reached, save what `app` mounts behind a guard of its own (the console)."""

import asyncio
import logging
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args, get_origin
from urllib.parse import urlsplit

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lakewright.kernel import bodies, front, hosts, ids, multipart
from lakewright.kernel import operation as operations
from lakewright.kernel.answers import Answer, FileAnswer, Incoming, Json, Raw
from lakewright.kernel.config import Settings
from lakewright.kernel.context import RequestInfo
from lakewright.kernel.dialects import databricks, scim
from lakewright.kernel.faults import (
    Aborted,
    Fault,
    Invalid,
    NoEndpoint,
    NotSupported,
    TooLarge,
    UnknownEncoding,
    honest,
)
from lakewright.kernel.operation import Operation
from lakewright.kernel.platform import Platform
from lakewright.kernel.protocol import WHOLE
from lakewright.kernel.routes import Routes

log = logging.getLogger(__name__)
Op = Operation[Any, Any]

SECURITY_HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
INERT = {
    **SECURITY_HEADERS, "content-disposition": "attachment",
    "content-security-policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
}  # fmt: skip
"""Of answers whose bytes somebody else may have written: a browser saves them, and runs nothing of them here."""
MEDIA_TYPES = ("application/json", "application/vnd.apache.arrow.stream", "text/plain")
"""What an answer may call itself. Anything else goes out as application/octet-stream."""
HSTS = (b"strict-transport-security", b"max-age=31536000")


class Edge:
    """The ASGI application over all declared operations. Paths under `mounts` go to other applications."""

    def __init__(
        self,
        platform: Platform,
        mounts: dict[str, ASGIApp] | None = None,
        known: Iterable[tuple[str, str, str]] = (),
    ) -> None:
        """`known`: (name, verb, path) of operations that clients have and this server does not: answered 501."""
        self.platform, self.mounts = platform, mounts or {}
        self.routes = Routes((o, o.routes) for o in operations.OPERATIONS)
        self.unbuilt = Routes((name, ((verb, path),)) for name, verb, path in known)
        self._lists = {id(op): _list_fields(op) for op in operations.OPERATIONS}
        self._spool = platform.settings.data_dir / "spool"
        self._limits = platform.settings.http
        self._origins = frozenset(self._limits.cors_origins)
        self.front = front.Front(platform.settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if self.front.behind_proxies:
            scope = _forwarded(scope, self.front)
        if self._origins or self.platform.settings.tls_certificate:
            send = self._adorned(scope, send)
            scope = {**scope, "extensions": {}}  # no way around what is sent
        refusal = self.front.refuses(scope["headers"], scope.get("http_version", "1.1"))
        if refusal is None:
            for prefix, app in self.mounts.items():
                if scope["path"] == (prefix or "/") or (prefix and scope["path"].startswith(prefix + "/")):
                    await app(scope, receive, send)
                    return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        request = Request(scope, receive)
        info = _info(scope, self.platform)
        response = await self._respond(request, info, refusal)
        if isinstance(response, Response):
            response.headers["x-databricks-org-id"] = info.workspace
        await response(scope, receive, send)

    def _adorned(self, scope: Scope, send: Send) -> Send:
        """With the headers that only some installations send: HSTS over TLS, CORS for the origins that are set."""
        more: list[tuple[bytes, bytes]] = [HSTS] if self.platform.settings.tls_certificate else []
        if (origin := self._origin(scope)) is not None:
            more += [(b"access-control-allow-origin", origin), (b"vary", b"origin")]

        async def adorned(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *more]}
            await send(message)

        return adorned

    def _origin(self, scope: Scope) -> bytes | None:
        """The calling page's origin, if it is one that may call."""
        found = [value for name, value in scope["headers"] if name == b"origin"]
        return found[0] if len(found) == 1 and found[0].decode("latin-1") in self._origins else None

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.platform.loop = asyncio.get_running_loop()
                await send({"type": "lifespan.startup.complete"})
            else:
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _respond(self, request: Request, info: RequestInfo, refusal: Fault | None) -> ASGIApp:
        method, raw_path = request.method, _raw_path(request.scope)
        if refusal is None and len(info.headers) != len(request.scope["headers"]):
            refusal = front.twice(request.scope["headers"])
        if refusal is None and method == "OPTIONS" and self._origins and self._origin(request.scope) is not None:
            await self.platform.record_stray(info, _credential(info), method, request.url.path, None)
            return _preflight()
        found = self.routes.match(method, raw_path)
        if found is None and method == "HEAD":
            found = self.routes.match("GET", raw_path)
        if found is None or refusal is not None:
            path = request.url.path.replace("\0", "\ufffd")
            fault = refusal or self._unbuilt(method, raw_path, path)
            try:
                await self.platform.record_stray(info, _credential(info), method, path, fault)
            except Fault as unrecorded:
                fault = unrecorded
            return _refusal(fault, databricks, info)
        operation, in_path = found
        fields = await self._fields(operation, request, info, in_path)
        try:
            answer = await self.platform.handle(operation, info, _credential(info), fields)
            return _rendered(answer, info.workspace)
        except Fault as fault:
            return _refusal(fault, operation.dialect, info)
        except Exception:
            return _refusal(_bug(operation, info), operation.dialect, info)
        finally:
            if operation.body == "file" and isinstance(fields, dict):
                _drop(fields.get("body"))

    def _unbuilt(self, method: str, raw_path: str, path: str) -> Fault:
        known = self.unbuilt.match(method, raw_path)
        if known is not None:
            return NotSupported(f"{known[0]} is not built yet")
        return NoEndpoint(f"No API found for '{method} {path}'")

    async def _fields(
        self, operation: Op, request: Request, info: RequestInfo, in_path: dict[str, str]
    ) -> dict[str, Any] | Fault:
        """Path, query and body as one set of fields; a name given twice with different values is refused.

        What is wrong with them is answered, not raised: such a request too is somebody's, and goes on record as theirs.
        """
        try:
            fields = self._query(operation, request)
            bodies.refuse_nul([*in_path.values()])
            if info.headers.get("content-encoding", "identity") != "identity":
                raise UnknownEncoding("a body is sent as it is, without a Content-Encoding")
            if operation.body == "file":
                bodies.merge(fields, in_path)
                fields["body"] = Incoming(self._spool / "withheld", 0)
                # Nobody fills the disk who would be refused anyway.
                if not await self.platform.would_refuse(operation, info, _credential(info), fields):
                    fields["body"] = await self._spooled(request, info)
                return fields
            if operation.body == "raw":
                fields["body"] = await self._bytes(operation, request, info)
            elif request.method not in ("GET", "HEAD"):
                bodies.merge(fields, await self._body(operation, request, info))
            bodies.merge(fields, in_path)
            return fields
        except Fault as fault:
            return fault
        except ClientDisconnect:
            return Aborted("the client went away before its request was complete")
        except Exception as error:
            return denied if isinstance(denied := honest(error), Fault) else _bug(operation, info)

    def _query(self, operation: Op, request: Request) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        lists = self._lists[id(operation)]
        raw: bytes = request.scope.get("query_string", b"")
        for name, value in bodies.pairs(raw, "query string") if raw else ():
            if name in lists:
                fields.setdefault(name, []).append(value)
            elif name in fields and fields[name] != value:
                raise Invalid(f"'{name}' is given twice with different values")
            else:
                fields[name] = value
        return fields

    async def _body(self, operation: Op, request: Request, info: RequestInfo) -> dict[str, Any]:
        raw = await self._bytes(operation, request, info)
        if not raw:
            return {}
        if operation.body == "form":
            return dict(bodies.form(raw))
        content_type = info.headers.get("content-type", "")
        if operation.body == "multipart" and content_type.startswith("multipart/form-data"):
            return dict(multipart.fields(raw, content_type))
        return bodies.json_object(raw, self._limits)

    async def _bytes(self, operation: Op, request: Request, info: RequestInfo) -> bytes:
        limit = self._limits.large_body_bytes if operation.large else self._limits.body_bytes
        if operation.body == "form":
            limit = self._limits.form_bytes
        _check_length(info, limit)
        chunks, size = list[bytes](), 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise TooLarge(f"the body is larger than {limit} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    async def _spooled(self, request: Request, info: RequestInfo) -> Incoming:
        limit = self._limits.upload_bytes
        _check_length(info, limit)
        self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._spool)
        size = 0
        try:
            with os.fdopen(descriptor, "wb") as file:
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > limit:
                        raise TooLarge(f"the upload is larger than {limit} bytes")
                    file.write(chunk)
        except BaseException:
            os.unlink(name)
            raise
        return Incoming(Path(name), size)


class JsonBody:
    """The common answer, 200 with a JSON object: its head is ready made, and it goes out in one piece where it can."""

    def __init__(self, body: bytes, workspace: str) -> None:
        self.body, self.workspace = body, workspace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length, workspace = b"%d" % len(self.body), self.workspace.encode()
        if scope["method"] != "HEAD" and (whole := scope.get("extensions", _NONE).get(WHOLE)) is not None:
            head = b"".join((_JSON_HEAD, length, b"\r\nx-databricks-org-id: ", workspace, b"\r\n"))
            if whole(head, self.body):
                return
        own = [(b"content-length", length), (b"x-databricks-org-id", workspace)]
        await send({"type": "http.response.start", "status": 200, "headers": [*_JSON_HEADERS, *own]})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else self.body})


_NONE: dict[str, Any] = {}
_JSON_HEADERS = [
    (b"content-type", b"application/json"), *((k.encode(), v.encode()) for k, v in SECURITY_HEADERS.items()),
]  # fmt: skip
_JSON_HEAD = b"".join(
    (b"HTTP/1.1 200 OK\r\n", *(k + b": " + v + b"\r\n" for k, v in _JSON_HEADERS), b"content-length: ")
)


def _check_length(info: RequestInfo, limit: int) -> None:
    """By what the request announces, before any of it is read."""
    announced = info.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise TooLarge(f"the body is larger than {limit} bytes")


def _drop(body: Any) -> None:
    if isinstance(body, Incoming):
        body.path.unlink(missing_ok=True)


def _forwarded(scope: Scope, front: front.Front) -> Scope:
    """The request as a trusted proxy says that it arrived."""
    client = scope.get("client")
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    came = front.forwarded(client[0] if client else "", scope["scheme"], headers)
    named = [(name, came.host.encode("latin-1") if name == b"host" else value) for name, value in scope["headers"]]
    return {**scope, "client": (came.source, 0), "scheme": came.scheme, "headers": named}


def _preflight() -> Response:
    headers = {
        "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
        "access-control-allow-headers": "authorization, content-type", "access-control-max-age": "600",
    }  # fmt: skip
    return Response(status_code=204, headers=headers)


def _list_fields(operation: Op) -> frozenset[str]:
    """Query parameters that may be repeated, by name and alias."""
    names: set[str] = set()
    for name, info in operation.ask.model_fields.items():
        if _is_list(info.annotation):
            names |= {name, *([info.alias] if info.alias else [])}
    return frozenset(names)


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) in (list, tuple, set) or any(_is_list(arg) for arg in get_args(annotation))


def _raw_path(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.split(b"?", 1)[0].decode("latin-1")


def _credential(info: RequestInfo) -> str:
    """The Authorization header as sent: its scheme is for the authenticator to judge."""
    return info.headers.get("authorization", "")


def _info(scope: Scope, platform: Platform) -> RequestInfo:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    client, settings = scope.get("client"), platform.settings
    scheme = "https" if settings.tls_certificate or scope.get("scheme") in ("https", "wss") else "http"
    host = headers.get("host") or f"{settings.host}:{settings.port}"
    return RequestInfo(
        request_id=ids.request(), source=client[0] if client else "", user_agent=_said(headers, "user-agent", 500),
        base_url=_base_url(scheme, host, settings), headers=headers, client_request_id=_said(headers, "x-request-id", 128),
        account=hosts.account_in(scope["path"]),
    )  # fmt: skip


def _base_url(scheme: str, host: str, settings: Settings) -> str:
    """This server as the caller wrote it. Only hosts that are ours come so far that an answer names them."""
    if settings.public_url and hosts.is_plain(host, settings):
        return settings.public_url
    return f"{urlsplit(settings.public_url).scheme or scheme}://{host}"


def _said(headers: dict[str, str], name: str, most: int) -> str:
    """What a client says of itself, as one line: nothing in it can look like a second record."""
    said = headers.get(name, "")[:most]
    return said if said.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in said)


def _bug(operation: Op, info: RequestInfo) -> Fault:
    """What is told of an exception that nobody planned for; call it where it is handled."""
    log.exception("%s failed (request %s)", operation.name, info.request_id)
    return Fault(f"{operation.audit} failed inside the server; its log has request {info.request_id}")


def _refusal(fault: Fault, dialect: Any, info: RequestInfo) -> Response:
    headers = {**SECURITY_HEADERS, "x-request-id": info.request_id}
    if fault.status == 401:
        headers["www-authenticate"] = 'Bearer realm="lakewright"'
    if fault.status in (429, 503):
        headers["retry-after"] = str(fault.details.get("retry_after", 1))
    accepted = info.headers.get("accept", "application/json")
    media_type = (
        "application/scim+json" if dialect is scim and "application/json" not in accepted else "application/json"
    )
    return Response(orjson.dumps(dialect(fault), default=str), fault.status, headers, media_type)


def _rendered(answer: Answer, workspace: str) -> ASGIApp:
    if isinstance(answer, dict):
        return JsonBody(orjson.dumps(answer), workspace)
    if isinstance(answer, Json):
        headers = {**SECURITY_HEADERS, **answer.headers}
        return Response(orjson.dumps(answer.body), answer.status, headers, "application/json")
    media_type = answer.media_type if answer.media_type in MEDIA_TYPES else "application/octet-stream"
    headers = {**(SECURITY_HEADERS if media_type == "application/json" else INERT), **answer.headers}
    if isinstance(answer, Raw):
        return Response(answer.body, answer.status, headers, media_type)
    if isinstance(answer, FileAnswer):
        return FileResponse(answer.path, 200, headers, media_type)
    return StreamingResponse(answer.chunks, answer.status, headers, media_type)
