"""The platform as a task sees it: its host, its own short-lived token, and the names it was given.

A task holds nothing but what its service principal was granted; everything here is a plain HTTP call that the platform judges.
"""

from __future__ import annotations

import argparse
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Names:
    """Where this target keeps its things."""

    catalog: str
    experiment: str
    endpoint: str
    job_run: str

    def table(self, name: str) -> str:
        return f"{self.catalog}.{name}"

    @property
    def landing(self) -> str:
        return f"/Volumes/{self.catalog}/raw/landing"

    @property
    def model(self) -> str:
        return f"{self.catalog}.ml.flight_lateness"


def names(arguments: list[str] | None = None) -> Names:
    return read_arguments(arguments)[0]


def read_arguments(arguments: list[str] | None = None, *more: str) -> tuple[Names, dict[str, str]]:
    parser = argparse.ArgumentParser()
    for name in ("catalog", "experiment", "endpoint", "job-run", *more):
        parser.add_argument(f"--{name}", required=True)
    given = vars(parser.parse_args(arguments))
    return Names(*(given.pop(name) for name in ("catalog", "experiment", "endpoint", "job_run"))), given


class Refused(Exception):
    """The platform said no; the message is its own."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code = status, code


def call(method: str, path: str, body: dict[str, Any] | None = None, **query: str) -> Any:
    data = None if body is None else json.dumps(body).encode()
    answer = request(method, path + (f"?{urllib.parse.urlencode(query)}" if query else ""), data)
    return json.loads(answer) if answer else {}


def request(method: str, path: str, data: bytes | None = None) -> bytes:
    headers = {"Authorization": f"Bearer {os.environ['DATABRICKS_TOKEN']}", "Content-Type": "application/json"}
    asked = urllib.request.Request(os.environ["DATABRICKS_HOST"].rstrip("/") + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=120) as answer:
            return answer.read()
    except urllib.error.HTTPError as failed:
        raise _refused(failed) from None


def _refused(failed: urllib.error.HTTPError) -> Refused:
    try:
        said = json.loads(failed.read())
    except ValueError:
        said = {}
    return Refused(failed.code, str(said.get("error_code", failed.reason)), str(said.get("message", "")))


def set_task_value(key: str, value: str) -> None:
    """Leaves a value for the tasks after this one."""
    call("POST", "/api/2.2/jobs/runs/task-values", {"key": key, "value": value})


def list_folder(folder: str) -> list[dict[str, Any]]:
    """The files of a volume's folder: path, size and time of each."""
    listed = call("GET", f"/api/2.0/fs/directories{folder}")
    return [one for one in listed.get("contents", []) if not one.get("is_directory")]


def download(paths: list[str], into: Path) -> None:
    """Copies files of a volume here, through the Files API."""
    for path in paths:
        (into / Path(path).name).write_bytes(request("GET", "/api/2.0/fs/files" + urllib.parse.quote(path)))
