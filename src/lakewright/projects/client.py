"""The platform from outside: a host, a token, and answers or refusals in words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self, cast

import httpx


class Refused(Exception):
    """The platform refused, or is not there. ``str()`` is what a person reads."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    @property
    def missing(self) -> bool:
        return self.status == 404


class Unreachable(Refused):
    def __init__(self, host: str, why: str):
        super().__init__(
            0, "UNREACHABLE", f"{host} does not answer ({why}). Is the platform up? Start it: lakewright up"
        )


class Client:
    """One person's or service principal's connection."""

    def __init__(self, host: str, token: str, timeout: float = 60.0):
        self.host = host.rstrip("/")
        self._http = httpx.Client(base_url=self.host, headers={"Authorization": f"Bearer {token}"}, timeout=timeout)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, /, **query: object) -> dict[str, Any]:
        """Sends JSON and answers JSON. Queries that are None are left out."""
        answer = self.send(method, path, json=body, params=_given(query))
        return cast("dict[str, Any]", answer.json()) if answer.content else {}

    def upload(self, path: str, content: bytes, /, **query: object) -> None:
        self.send("PUT", path, content=content, params=_given(query))

    def stream(self, method: str, path: str, /, **query: object) -> Iterator[bytes]:
        """The answer in pieces as they come; a long one is never held whole."""
        try:
            with self._http.stream(method, path, params=_given(query)) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    raise _refused(answer)
                yield from answer.iter_bytes()
        except httpx.TransportError as error:
            raise Unreachable(self.host, str(error) or type(error).__name__) from None

    def patience(self, seconds: float | None) -> None:
        """How long an answer may take; None: as long as it takes."""
        self._http.timeout = httpx.Timeout(seconds)

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise Unreachable(self.host, str(error) or type(error).__name__) from None
        if answer.status_code >= 400:
            raise _refused(answer)
        return answer

    def as_(self, token: str) -> Client:
        """The same platform with somebody else's eyes."""
        return Client(self.host, token, timeout=self._http.timeout.read or 60.0)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def from_environment(host: str | None = None, token: str | None = None) -> Client:
    """Flags first, then DATABRICKS_HOST and DATABRICKS_TOKEN, as every client of the API does."""
    host = host or os.environ.get("DATABRICKS_HOST") or "http://127.0.0.1:8470"
    token = token or os.environ.get("DATABRICKS_TOKEN")
    if not token:
        raise Refused(
            0, "NO_TOKEN", "No token. Set DATABRICKS_TOKEN or pass --token; `lakewright up` prints the first one."
        )
    return Client(host, token)


def _given(query: dict[str, object]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def _refused(answer: httpx.Response) -> Refused:
    try:
        said = answer.json()
    except ValueError:
        said = {}
    if not isinstance(said, dict):
        said = {}
    said = cast("dict[str, Any]", said)
    code = str(said.get("error_code") or said.get("error") or answer.reason_phrase)
    message = str(said.get("message") or said.get("error_description") or f"{answer.request.url.path} answered {code}")
    return Refused(answer.status_code, code, message)
