"""State: what the last deployment left behind, kept in the workspace beside the project's files."""

from __future__ import annotations

import base64
import json
from typing import Any, cast

from pydantic import BaseModel

from lakewright.projects.client import Client, Refused

FILE = "lakewright-state.json"


class Deployed(BaseModel):
    """One resource as it was last asked for, before its references to other resources were filled in."""

    id: str
    body: dict[str, Any]
    permissions: list[dict[str, str]] = []
    grants: dict[str, list[str]] = {}


class State(BaseModel):
    serial: int = 0
    resources: dict[str, Deployed] = {}
    files: dict[str, str] = {}
    """The hash of every uploaded file by its path in the project."""
    folder_permissions: list[dict[str, str]] = []


def read(client: Client, folder: str) -> State:
    try:
        answer = client.call("GET", "/api/2.0/workspace/export", path=f"{folder}/{FILE}", format="AUTO")
    except Refused as refused:
        if refused.missing:
            return State()
        raise
    return State.model_validate(cast("dict[str, Any]", json.loads(base64.b64decode(answer["content"]))))


def write(client: Client, folder: str, state: State) -> None:
    state.serial += 1
    put_file(client, f"{folder}/{FILE}", state.model_dump_json(indent=1).encode())


def put_file(client: Client, path: str, content: bytes) -> None:
    """As a notebook if its first line says so, else as a file."""
    body = {"path": path, "format": "AUTO", "overwrite": True, "content": base64.b64encode(content).decode()}
    client.call("POST", "/api/2.0/workspace/import", body)
