"""Serving: the endpoint that answers with the champion and writes down what it was asked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from flight_delays import workspace

if TYPE_CHECKING:
    from flight_delays.workspace import Names

ENDPOINTS = "/api/2.0/serving-endpoints"
PATIENCE_SECONDS = 120


def put_live(names: Names, version: int, readers: str) -> None:
    """Creates the endpoint for a group of readers, or moves it to this version, and waits until it answers with it."""
    try:
        made = workspace.call("POST", ENDPOINTS, {"name": names.endpoint, "config": _config(names, version)})
    except workspace.Refused as refused:
        if refused.code != "RESOURCE_ALREADY_EXISTS":
            raise
        workspace.call("PUT", f"{ENDPOINTS}/{names.endpoint}/config", _config(names, version))
    else:
        access = {"access_control_list": [{"group_name": readers, "permission_level": "CAN_QUERY"}]}
        workspace.call("PATCH", f"/api/2.0/permissions/serving-endpoints/{made['id']}", access)
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        state = _state(names)
        if state.get("config_update") == "UPDATE_FAILED":
            raise SystemExit(f"Endpoint {names.endpoint} could not be updated: {state}")
        if state.get("ready") == "READY" and state.get("config_update") == "NOT_UPDATING":
            return
        time.sleep(0.3)
    raise SystemExit(f"Endpoint {names.endpoint} was not ready within {PATIENCE_SECONDS} seconds.")


def _config(names: Names, version: int) -> dict[str, Any]:
    served = {
        "name": f"flight_lateness-{version}",
        "entity_name": names.model,
        "entity_version": str(version),
        "workload_size": "Small",
        "scale_to_zero_enabled": False,
    }
    return {
        "served_entities": [served],
        "traffic_config": {"routes": [{"served_model_name": served["name"], "traffic_percentage": 100}]},
        "auto_capture_config": {
            "enabled": True,
            "catalog_name": names.catalog,
            "schema_name": "ml",
            "table_name_prefix": "lateness",
        },
    }


def _state(names: Names) -> dict[str, Any]:
    return workspace.call("GET", f"{ENDPOINTS}/{names.endpoint}")["state"]
