"""Operations over HTTP. Nothing else can be reached, save what `app` mounts behind a guard of its own (the console)."""

import asyncio
import logging
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args, get_origin
from urllib.parse import parse_qsl

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lakewright.kernel import ids, multipart
from lakewright.kernel import operation as operations
from lakewright.kernel.answers import Answer, FileAnswer, Incoming, Json, Raw
from lakewright.kernel.context import RequestInfo
from lakewright.kernel.dialects import databricks
from lakewright.kernel.faults import (
    Aborted,
    Fault,
    Invalid,
    Malformed,
    NoEndpoint,
    NotSupported,
    TooLarge,
    Unauthenticated,
)
from lakewright.kernel.operation import Operation
from lakewright.kernel.platform import Platform
from lakewright.kernel.protocol import WHOLE
from lakewright.kernel.routes import Routes
from lakewright.kernel.rules import PUBLIC

log = logging.getLogger(__name__)
Op = Operation[Any, Any]

SECURITY_HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        for prefix, app in self.mounts.items():
            if scope["path"] == (prefix or "/") or (prefix and scope["path"].startswith(prefix + "/")):
                await app(scope, receive, send)
                return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        request = Request(scope, receive)
        response = await self._respond(request)
        if isinstance(response, Response):
            response.headers["x-databricks-org-id"] = self.platform.workspace
        await response(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.platform.loop = asyncio.get_running_loop()
                await send({"type": "lifespan.startup.complete"})
            else:
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _respond(self, request: Request) -> ASGIApp:
        info = _info(request.scope, self.platform)
        method, raw_path = request.method, _raw_path(request.scope)
        found = self.routes.match(method, raw_path)
        if found is None and method == "HEAD":
            found = self.routes.match("GET", raw_path)
        if found is None:
            path = request.url.path.replace("\0", "\ufffd")
            fault = self._unbuilt(method, raw_path, path)
            try:
                await self.platform.record_stray(info, _credential(info), method, path, fault)
            except Fault as unrecorded:
                fault = unrecorded
            return _refusal(fault, databricks, info)
        operation, in_path = found
        fields = await self._fields(operation, request, in_path, info)
        try:
            answer = await self.platform.handle(operation, info, _credential(info), fields)
            return _rendered(answer, self.platform.workspace)
        except Fault as fault:
            return _refusal(fault, operation.dialect, info)
        except Exception:
            return _refusal(_bug(operation, info), operation.dialect, info)
        finally:
            if isinstance(fields, dict) and isinstance(body := fields.get("body"), Incoming):
                body.path.unlink(missing_ok=True)

    def _unbuilt(self, method: str, raw_path: str, path: str) -> Fault:
        known = self.unbuilt.match(method, raw_path)
        if known is not None:
            return NotSupported(f"{known[0]} is not built yet")
        return NoEndpoint(f"No API found for '{method} {path}'")

    def _check_credential(self, operation: Op, info: RequestInfo) -> None:
        """Nobody may fill the disk without at least claiming to be somebody; the claim is checked by the guard."""
        if operation.needs is not PUBLIC and not _credential(info):
            raise Unauthenticated("a bearer token is required")

    async def _fields(
        self, operation: Op, request: Request, in_path: dict[str, str], info: RequestInfo
    ) -> dict[str, Any] | Fault:
        """Path, query and body as one set of fields; a name given twice with different values is refused.

        What is wrong with them is answered, not raised: such a request too is somebody's, and goes on record as theirs.
        """
        body: Incoming | None = None
        try:
            fields = self._query(operation, request)
            if operation.body == "file":
                self._check_credential(operation, info)
                fields["body"] = body = await self._spooled(request)
            elif operation.body == "raw":
                fields["body"] = await self._bytes(request)
            elif request.method not in ("GET", "HEAD"):
                sent = await self._body(operation, request)
                _merge(fields, sent)
            _merge(fields, in_path)
            _refuse_nul([*in_path.values()])
            return fields
        except Fault as fault:
            refusal = fault
        except ClientDisconnect:
            refusal = Aborted("the client went away before its request was complete")
        except Exception:
            refusal = _bug(operation, info)
        if body is not None:
            body.path.unlink(missing_ok=True)
        return refusal

    def _query(self, operation: Op, request: Request) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        lists = self._lists[id(operation)]
        raw: bytes = request.scope.get("query_string", b"")
        try:
            pairs = parse_qsl(raw.decode("latin-1"), keep_blank_values=True, errors="strict", max_num_fields=1000)
        except ValueError as error:
            raise Malformed("the query string is not valid UTF-8 form data") from error
        for name, value in pairs:
            if name in lists:
                fields.setdefault(name, []).append(value)
            elif name in fields and fields[name] != value:
                raise Invalid(f"'{name}' is given twice with different values")
            else:
                fields[name] = value
        _refuse_nul(fields)
        return fields

    async def _body(self, operation: Op, request: Request) -> dict[str, Any]:
        raw = await self._bytes(request)
        if not raw:
            return {}
        if operation.body == "form":
            form = dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True, max_num_fields=100))
            _refuse_nul(form)
            return form
        content_type = request.headers.get("content-type", "")
        if operation.body == "multipart" and content_type.startswith("multipart/form-data"):
            return multipart.fields(raw, content_type)
        try:
            sent = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise Malformed(f"the body is not valid JSON: {error}") from error
        if not isinstance(sent, dict):
            raise Malformed("the body must be a JSON object")
        _check_depth(sent, self.platform.settings.http.json_depth)  # type: ignore[arg-type]
        if b"\\u0000" in raw:
            _refuse_nul(sent)
        return sent  # type: ignore[return-value]

    async def _bytes(self, request: Request) -> bytes:
        limit = self.platform.settings.http.body_bytes
        chunks, size = list[bytes](), 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise TooLarge(f"the body is larger than {limit} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    async def _spooled(self, request: Request) -> Incoming:
        limit = self.platform.settings.http.upload_bytes
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


def _merge(fields: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        if name in fields and str(fields[name]) != str(value):
            raise Invalid(f"'{name}' is given twice with different values")
        fields[name] = value


def _refuse_nul(value: Any) -> None:
    """Postgres holds no NUL in a text: one that got as far as the audit row would fail its whole batch."""
    left: list[Any] = [value]
    while left:
        each = left.pop()
        if isinstance(each, str) and "\0" in each:
            raise Malformed("texts may not hold NUL characters")
        if isinstance(each, dict):
            left += [*each.keys(), *each.values()]  # type: ignore[reportUnknownArgumentType]
        elif isinstance(each, list):
            left += each


def _check_depth(value: Any, limit: int) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > limit:
            raise Malformed(f"the body is nested deeper than {limit} levels")
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += [v for v in each.values() if isinstance(v, (dict, list))]  # type: ignore[reportUnknownVariableType]
            elif isinstance(each, list):
                below += [v for v in each if isinstance(v, (dict, list))]  # type: ignore[reportUnknownVariableType]
        level = below


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
    scheme = "https" if settings.tls_certificate else "http"
    host = headers.get("host") or f"{settings.host}:{settings.port}"
    return RequestInfo(
        request_id=ids.request(), source=client[0] if client else "", user_agent=_said(headers, "user-agent", 500),
        base_url=settings.public_url or f"{scheme}://{host}", headers=headers,
        client_request_id=_said(headers, "x-request-id", 128),
    )  # fmt: skip


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
        headers["retry-after"] = "1"
    return Response(orjson.dumps(dialect(fault), default=str), fault.status, headers, "application/json")


def _rendered(answer: Answer, workspace: str) -> ASGIApp:
    if isinstance(answer, dict):
        return JsonBody(orjson.dumps(answer), workspace)
    if isinstance(answer, Json):
        headers = {**SECURITY_HEADERS, **answer.headers}
        return Response(orjson.dumps(answer.body), answer.status, headers, "application/json")
    headers = {"x-content-type-options": "nosniff", **answer.headers}
    if isinstance(answer, Raw):
        return Response(answer.body, answer.status, headers, answer.media_type)
    if isinstance(answer, FileAnswer):
        return FileResponse(answer.path, 200, headers, answer.media_type)
    return StreamingResponse(answer.chunks, answer.status, headers, answer.media_type)
