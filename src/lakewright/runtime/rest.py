"""The way back: how a task calls the platform, as whom it runs, with the token it was given."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any, cast
from urllib.parse import urlencode, urljoin, urlsplit

Json = dict[str, Any]
PATIENCE = 60.0


class Refused(Exception):
    """The platform's own answer: `error_code` and what it said."""

    def __init__(self, status: int, error_code: str, message: str) -> None:
        super().__init__(f"{error_code}: {message}")
        self.status, self.error_code, self.message = status, error_code, message


class NoPlatform(Exception):
    """There is no platform to call: this is not a task, and no host and token were given."""


def task() -> Json:
    """What this task is: job_id, run_id, task_key, parameters, attempt; empty outside a task."""
    return json.loads(os.environ.get("LAKEWRIGHT_TASK") or "{}")


def host() -> str:
    try:
        return os.environ["DATABRICKS_HOST"].rstrip("/")
    except KeyError:
        raise NoPlatform("set DATABRICKS_HOST and DATABRICKS_TOKEN, or run this as a task") from None


def token() -> str:
    return os.environ.get("DATABRICKS_TOKEN", "")


def get(path: str, **query: Any) -> Json:
    given = {name: value for name, value in query.items() if value is not None}
    with call("GET", f"{path}?{urlencode(given)}" if given else path) as answer:
        return _json(answer)


def each(answer: Json, field: str) -> list[Json]:
    """The objects under a field of an answer; none when it is left out."""
    return cast("list[Json]", answer.get(field) or [])


def post(path: str, body: Mapping[str, Any]) -> Json:
    with call("POST", path, json.dumps(body).encode(), "application/json") as answer:
        return _json(answer)


@contextmanager
def call(
    verb: str, path: str, body: bytes | IO[bytes] | None = None, media_type: str = ""
) -> Generator[http.client.HTTPResponse]:
    """One call; its answer is read inside. A server that is busy or just restarting is asked again, for a minute."""
    connection, answer = _asked(verb, urljoin(host() + "/", path), body, media_type)
    try:
        yield answer
    finally:
        connection.close()


def _asked(
    verb: str, url: str, body: bytes | IO[bytes] | None, media_type: str
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    deadline, pause = time.monotonic() + PATIENCE, 0.1
    while True:
        connection = _connection(url)
        try:
            answer = _send(connection, verb, url, body, media_type)
            if answer.status < 400:
                return connection, answer
            fault: Exception = _refusal(answer)
            again = answer.status in (429, 503)
        except (ConnectionRefusedError, http.client.RemoteDisconnected, ConnectionResetError) as error:
            # Refused: it never arrived. Broken off: it may have, so only a question may be asked twice.
            fault, again = error, isinstance(error, ConnectionRefusedError) or verb == "GET"
        connection.close()
        if not again or time.monotonic() > deadline:
            raise fault
        time.sleep(pause)
        pause = min(2 * pause, 5)


def _connection(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=600)


def _send(
    connection: http.client.HTTPConnection, verb: str, url: str, body: bytes | IO[bytes] | None, media_type: str
) -> http.client.HTTPResponse:
    parts = urlsplit(url)
    headers = {"Accept": "*/*", "User-Agent": "lakewright-runtime"}
    if url.startswith(host() + "/"):  # a link to elsewhere carries its own permission, and must not get ours
        headers["Authorization"] = f"Bearer {token()}"
    if body is not None:
        headers["Content-Type"] = media_type
        if not isinstance(body, bytes):
            headers["Content-Length"] = str(body.seek(0, os.SEEK_END))
            body.seek(0)
    connection.request(verb, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, headers)
    return connection.getresponse()


def _refusal(answer: http.client.HTTPResponse) -> Refused:
    text = answer.read().decode(errors="replace")
    said: Json = {}
    with suppress(ValueError):
        said = json.loads(text)
    return Refused(
        answer.status, said.get("error_code") or str(answer.status), said.get("message") or text or answer.reason
    )


def _json(answer: http.client.HTTPResponse) -> Json:
    text = answer.read()
    return cast(Json, json.loads(text)) if text else {}
