"""dbutils: what a notebook or script of Databricks expects around it, as far as it is true here.

A part that does not exist says so by name; nothing pretends.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import quote

from lakewright.runtime import rest
from lakewright.runtime.widgets import Widgets


class NotebookExit(BaseException):
    """`dbutils.notebook.exit(value)`: ends the notebook well, with a value. Not an Exception, so that no `except` of the notebook swallows it."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value


class NotHere(NotImplementedError):
    """A part of dbutils that this platform does not have."""


class DBUtils:
    def __init__(self, parameters: Mapping[str, object] | None = None) -> None:
        self.widgets = Widgets(parameters or {})
        self.secrets = Secrets()
        self.jobs = Jobs()
        self.fs = FileSystem()
        self.notebook = Notebook()
        self.library = Library()

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise NotHere(f"dbutils.{name} does not exist here")


# --- secrets


class Secrets:
    """A value is named to the task's supervisor before it is handed out, so that it is masked in everything the task prints."""

    def get(self, scope: str, key: str) -> str:
        return self.getBytes(scope, key).decode()

    def getBytes(self, scope: str, key: str) -> bytes:
        value = base64.b64decode(rest.get("/api/2.0/secrets/get", scope=scope, key=key)["value"])
        with suppress(UnicodeDecodeError):
            keep_out_of_output(value.decode())
        return value

    def list(self, scope: str) -> list[SecretMetadata]:
        found = rest.each(rest.get("/api/2.0/secrets/list", scope=scope), "secrets")
        return [SecretMetadata(one["key"]) for one in found]

    def listScopes(self) -> list[SecretScope]:
        found = rest.each(rest.get("/api/2.0/secrets/scopes/list"), "scopes")
        return [SecretScope(one["name"]) for one in found]


@dataclass(frozen=True)
class SecretMetadata:
    key: str


@dataclass(frozen=True)
class SecretScope:
    name: str

    def getName(self) -> str:
        return self.name


def keep_out_of_output(secret: str) -> None:
    fd = os.environ.get("LAKEWRIGHT_SECRETS_FD")
    if fd is not None:
        os.write(int(fd), secret.encode() + b"\0")


# --- jobs


class Jobs:
    def __init__(self) -> None:
        self.taskValues = TaskValues()


class TaskValues:
    _PATH = "/api/2.2/jobs/runs/task-values"

    def set(self, key: str, value: Any) -> None:
        """Outside a job it does nothing, as on Databricks: the notebook can be tried by hand."""
        if rest.task().get("run_id") is not None:
            rest.post(self._PATH, {"key": key, "value": value})

    def get(self, taskKey: str, key: str, default: Any = None, debugValue: Any = None) -> Any:
        if rest.task().get("run_id") is None:
            if debugValue is None:
                raise TypeError("outside a job, taskValues.get answers its debugValue, and none was given")
            return debugValue
        try:
            return rest.get(self._PATH, task_key=taskKey, key=key)["value"]
        except rest.Refused as refusal:
            if refusal.status != 404:
                raise
            if default is None:
                raise ValueError(f"task {taskKey!r} has set no value {key!r}, and there is no default") from refusal
            return default


# --- files of volumes


@dataclass(frozen=True)
class FileInfo:
    path: str
    name: str
    size: int
    modificationTime: int

    def isDir(self) -> bool:
        return self.path.endswith("/")

    def isFile(self) -> bool:
        return not self.isDir()


class FileSystem:
    """Files of volumes, through the Files API; a task sees no other storage of the platform."""

    def ls(self, dir: str) -> list[FileInfo]:
        return [_info(one) for one in _entries(_path(dir))]

    def head(self, file: str, maxBytes: int = 65536) -> str:
        with rest.call("GET", _url("files", _path(file))) as answer:
            return answer.read(maxBytes).decode(errors="replace")

    def put(self, file: str, contents: str, overwrite: bool = False) -> bool:
        target = f"{_url('files', _path(file))}?overwrite={str(overwrite).lower()}"
        with rest.call("PUT", target, contents.encode(), "application/octet-stream"):
            return True

    def mkdirs(self, dir: str) -> bool:
        with rest.call("PUT", _url("directories", _path(dir)), b"", "application/octet-stream"):
            return True

    def cp(self, source: str, target: str, recurse: bool = False) -> bool:
        if recurse:
            raise NotHere("dbutils.fs.cp of a folder does not exist here")
        with rest.call("GET", _url("files", _path(source))) as answer:
            data = answer.read()
        with rest.call("PUT", f"{_url('files', _path(target))}?overwrite=true", data, "application/octet-stream"):
            return True

    def mv(self, source: str, target: str, recurse: bool = False) -> bool:
        return self.cp(source, target, recurse) and self.rm(source)

    def rm(self, dir: str, recurse: bool = False) -> bool:
        path = _path(dir)
        if not recurse:
            with rest.call("DELETE", _url("files", path)):
                return True
        for one in list(_entries(path)):
            self.rm(one["path"], recurse=bool(one.get("is_directory")))
        with rest.call("DELETE", _url("directories", path)):
            return True

    def __getattr__(self, name: str) -> NoReturn:
        raise NotHere(f"dbutils.fs.{name} does not exist here")


def _path(path: str) -> str:
    plain = path.removeprefix("dbfs:")
    if not plain.startswith("/Volumes/"):
        raise NotHere(f"{path}: a task reaches files under /Volumes only")
    return plain.rstrip("/")


def _url(kind: str, path: str) -> str:
    return f"/api/2.0/fs/{kind}{quote(path)}"


def _entries(path: str) -> Iterator[rest.Json]:
    page: str | None = None
    while True:
        answer = rest.get(_url("directories", path), page_token=page)
        yield from rest.each(answer, "contents")
        page = answer.get("next_page_token")
        if not page:
            return


def _info(one: rest.Json) -> FileInfo:
    folder = "/" if one.get("is_directory") else ""
    return FileInfo(
        one["path"] + folder, one["name"] + folder, int(one.get("file_size") or 0), int(one.get("last_modified") or 0)
    )


# --- the notebook itself


class Notebook:
    def __init__(self) -> None:
        self.entry_point = _EntryPoint()
        self._run: Callable[[str, Mapping[str, str]], str] | None = None

    def exit(self, value: object = "") -> NoReturn:
        raise NotebookExit(str(value))

    def run(self, path: str, timeout_seconds: int = 0, arguments: Mapping[str, str] | None = None) -> str:
        raise NotHere(
            "dbutils.notebook.run does not exist here: make the other notebook a task of the job, or use %run"
        )

    def getContext(self) -> _Context:
        return _Context()


class _EntryPoint:
    """The way into the Java side that notebooks use to find host, token and job: `entry_point.getDbutils().notebook().getContext()`."""

    def getDbutils(self) -> _EntryPoint:
        return self

    def notebook(self) -> _EntryPoint:
        return self

    def getContext(self) -> _Context:
        return _Context()


@dataclass(frozen=True)
class _Option:
    value: str | None

    def get(self) -> str:
        if self.value is None:
            raise KeyError("None.get")
        return self.value

    def getOrElse(self, default: str) -> str:
        return default if self.value is None else self.value

    def isDefined(self) -> bool:
        return self.value is not None


class _Tags:
    def get(self, name: str) -> _Option:
        task = rest.task()
        known = {
            "jobId": task.get("job_id"),
            "jobRunId": task.get("job_run_id"),
            "runId": task.get("run_id"),
            "multitaskParentRunId": task.get("job_run_id"),
            "taskKey": task.get("task_key"),
            "browserHostName": rest.urlsplit(rest.host()).netloc,
        }
        value = known.get(name)
        return _Option(None if value is None else str(value))

    def apply(self, name: str) -> str:
        return self.get(name).get()


class _Context:
    def apiUrl(self) -> _Option:
        return _Option(rest.host())

    def apiToken(self) -> _Option:
        return _Option(rest.token())

    def notebookPath(self) -> _Option:
        return _Option(rest.task().get("notebook_path"))

    def tags(self) -> _Tags:
        return _Tags()

    def browserHostName(self) -> _Option:
        return self.tags().get("browserHostName")

    def currentRunId(self) -> _Option:
        return self.tags().get("runId")

    def extraContext(self) -> _Tags:
        return _Tags()


class Library:
    def restartPython(self) -> NoReturn:
        raise NotHere(
            "dbutils.library.restartPython does not exist here: a task's libraries belong to its environment, which is locked"
        )
