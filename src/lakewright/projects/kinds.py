"""Kinds: how each kind of resource in a project file is created, changed, found and destroyed through the REST API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from lakewright.projects.client import Client

Tree = dict[str, Any]
UNITY = "/api/2.1/unity-catalog"


@dataclass(frozen=True)
class ResourceKind:
    """One kind. Its ``id`` is what the API addresses it by: a number for jobs, a full name for what lives in a catalog."""

    name: str
    create: Callable[[Client, Tree], str]
    update: Callable[[Client, str, Tree], str]
    delete: Callable[[Client, str], None]
    read: Callable[[Client, str], Tree]
    fixed: frozenset[str] = frozenset()
    """Fields that cannot change: another value means a new one in place of the old."""
    permissions: str | None = None
    """Its name in the permissions API, for kinds with permission levels."""
    owned: bool = False
    """Whether its permissions name exactly one owner: whoever deploys."""
    securable: str | None = None
    """Its name in the grants API, for kinds with privileges."""
    levels: tuple[tuple[str, str], ...] = ()
    """What the project-wide levels mean here."""


def _job_settings(body: Tree) -> Tree:
    return {"format": "MULTI_TASK", "max_concurrent_runs": 1, "queue": {"enabled": True}, **body}


def _create_job(client: Client, body: Tree) -> str:
    return str(client.call("POST", "/api/2.2/jobs/create", _job_settings(body))["job_id"])


def _update_job(client: Client, id: str, body: Tree) -> str:
    client.call("POST", "/api/2.2/jobs/reset", {"job_id": int(id), "new_settings": _job_settings(body)})
    return id


def _delete_job(client: Client, id: str) -> None:
    client.call("POST", "/api/2.2/jobs/delete", {"job_id": int(id)})


def _read_job(client: Client, id: str) -> Tree:
    return client.call("GET", "/api/2.2/jobs/get", job_id=id)


def _create_experiment(client: Client, body: Tree) -> str:
    return str(client.call("POST", "/api/2.0/mlflow/experiments/create", body)["experiment_id"])


def _update_experiment(client: Client, id: str, body: Tree) -> str:
    client.call("POST", "/api/2.0/mlflow/experiments/update", {"experiment_id": id, "new_name": body["name"]})
    return id


def _delete_experiment(client: Client, id: str) -> None:
    client.call("POST", "/api/2.0/mlflow/experiments/delete", {"experiment_id": id})


def _read_experiment(client: Client, id: str) -> Tree:
    """A deleted experiment is still answered; to a project it is gone."""
    from lakewright.projects.client import Refused

    found = client.call("GET", "/api/2.0/mlflow/experiments/get", experiment_id=id)["experiment"]
    if found.get("lifecycle_stage") == "deleted":
        raise Refused(404, "RESOURCE_DOES_NOT_EXIST", f"Experiment {id} was deleted.")
    return found


def _create_endpoint(client: Client, body: Tree) -> str:
    return str(client.call("POST", "/api/2.0/serving-endpoints", body)["name"])


def _update_endpoint(client: Client, id: str, body: Tree) -> str:
    client.call("PUT", f"/api/2.0/serving-endpoints/{quote(id)}/config", body["config"])
    return id


def _delete_endpoint(client: Client, id: str) -> None:
    client.call("DELETE", f"/api/2.0/serving-endpoints/{quote(id)}")


def _read_endpoint(client: Client, id: str) -> Tree:
    return client.call("GET", f"/api/2.0/serving-endpoints/{quote(id)}")


def _in_catalog(name: str, path: str, securable: str, fixed: tuple[str, ...], *, force: bool = False) -> ResourceKind:
    """Catalogs and what lives in them share one form: POST to the collection, then everything by full name."""
    at = f"{UNITY}/{path}"

    def full_name(answer: Tree) -> str:
        return str(answer.get("full_name") or answer["name"])

    def create(client: Client, body: Tree) -> str:
        return full_name(client.call("POST", at, body))

    def update(client: Client, id: str, body: Tree) -> str:
        changed = {key: value for key, value in body.items() if key not in fixed and key != "name"}
        client.call("PATCH", f"{at}/{quote(id)}", changed)
        return id

    def delete(client: Client, id: str) -> None:
        client.call("DELETE", f"{at}/{quote(id)}", force="true" if force else None)

    def read(client: Client, id: str) -> Tree:
        return client.call("GET", f"{at}/{quote(id)}")

    return ResourceKind(name, create, update, delete, read, frozenset({"name", *fixed}), securable=securable)


KINDS: dict[str, ResourceKind] = {
    kind.name: kind
    for kind in (
        _in_catalog("catalogs", "catalogs", "catalog", ("storage_root",), force=True),
        _in_catalog("schemas", "schemas", "schema", ("catalog_name", "storage_root"), force=True),
        _in_catalog("volumes", "volumes", "volume", ("catalog_name", "schema_name", "volume_type", "storage_location")),
        _in_catalog(
            "registered_models", "models", "registered_model", ("catalog_name", "schema_name", "storage_location")
        ),
        ResourceKind(
            "experiments",
            _create_experiment,
            _update_experiment,
            _delete_experiment,
            _read_experiment,
            frozenset({"artifact_location"}),
            permissions="experiments",
            levels=(("CAN_MANAGE", "CAN_MANAGE"), ("CAN_RUN", "CAN_EDIT"), ("CAN_VIEW", "CAN_READ")),
        ),
        ResourceKind(
            "jobs",
            _create_job,
            _update_job,
            _delete_job,
            _read_job,
            permissions="jobs",
            owned=True,
            levels=(("CAN_MANAGE", "CAN_MANAGE"), ("CAN_RUN", "CAN_MANAGE_RUN"), ("CAN_VIEW", "CAN_VIEW")),
        ),
        ResourceKind(
            "model_serving_endpoints",
            _create_endpoint,
            _update_endpoint,
            _delete_endpoint,
            _read_endpoint,
            frozenset({"name"}),
            permissions="serving-endpoints",
            levels=(("CAN_MANAGE", "CAN_MANAGE"), ("CAN_RUN", "CAN_QUERY"), ("CAN_VIEW", "CAN_VIEW")),
        ),
    )
}
"""In the order in which they are created; destroyed the other way round."""
