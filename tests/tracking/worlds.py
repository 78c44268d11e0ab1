"""Ann's experiment and the people around it, for tests of who may do what."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

V2 = "/api/2.0/mlflow"
FILES = "/api/2.0/fs/files/WorkspaceInternal/Mlflow/Artifacts"
FOLDERS = "/api/2.0/fs/directories/WorkspaceInternal/Mlflow/Artifacts"

Call = Callable[..., httpx.Response]


def caller(server: Any, person: Any) -> Call:
    def call(verb: str, path: str, content: bytes | None = None, /, **fields: Any) -> httpx.Response:
        where: dict[str, Any] = (
            {"params": fields} if verb in ("GET", "HEAD") or content is not None else {"json": fields}
        )
        if content is not None:
            where["content"] = content
        headers = {"authorization": f"Bearer {person.token}"}
        return httpx.request(verb, server.url + path, headers=headers, timeout=30, **where)

    return call


@dataclass
class World:
    """Ann's experiment with a run, a model, a file and secrets in each; others hold one level on it each."""

    experiment: str
    run: str
    model: str
    canary: str
    ann: Call
    reader: Call
    editor: Call
    manager: Call
    stranger: Call
    owner: Any


def make_world(server: Any, people: Any) -> World:
    owner = people.person("ann")
    ann, canary = caller(server, owner), f"canary-{uuid4().hex}"
    experiment = ann("POST", f"{V2}/experiments/create", name=f"/Users/ann/{canary}").json()["experiment_id"]
    run = ann("POST", f"{V2}/runs/create", experiment_id=experiment, run_name=canary).json()["run"]["info"]["run_id"]
    ann("POST", f"{V2}/runs/log-parameter", run_id=run, key="secret", value=canary)
    ann("POST", f"{V2}/runs/log-metric", run_id=run, key="auc", value=0.9, timestamp=1)
    made = ann("POST", f"{V2}/logged-models", experiment_id=experiment, name=canary, source_run_id=run)
    model = made.json()["model"]["info"]["model_id"]
    assert ann("PUT", f"{FILES}/{experiment}/Runs/{run}/artifacts/a.txt", canary.encode()).status_code == 204
    for name, level in (("reader", "CAN_READ"), ("editor", "CAN_EDIT"), ("manager", "CAN_MANAGE")):
        people.person(name)
        ann(
            "PATCH", f"/api/2.0/permissions/experiments/{experiment}",
            access_control_list=[{"user_name": name, "permission_level": level}],
        ).raise_for_status()  # fmt: skip
    return World(
        experiment, run, model, canary, ann, *(caller(server, people.person(n)) for n in ("reader", "editor", "manager", "stranger")),
        owner=owner,
    )  # fmt: skip
