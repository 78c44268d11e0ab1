"""Runs as MLflow's clients read them: their info, latest metrics, params, tags, inputs and outputs."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from lakewright.kernel.faults import NotFound
from lakewright.kernel.store import Row, Tx

Shown = dict[str, Any]

CHUNK = 500
"""Ids per query: every driver takes so many parameters."""


def row(tx: Tx, run_id: str) -> Row:
    found = tx.one("SELECT * FROM runs WHERE run_uuid = ?", run_id)
    if found is None:
        raise NotFound(f"Run with id={run_id} not found")
    return found


def info(run: Row) -> Shown:
    shown = {
        "run_id": run["run_uuid"],
        "run_uuid": run["run_uuid"],
        "run_name": run["name"] or "",
        "experiment_id": str(run["experiment_id"]),
        "user_id": run["user_id"] or "",
        "status": run["status"],
        "start_time": run["start_time"],
        "artifact_uri": run["artifact_uri"],
        "lifecycle_stage": run["lifecycle_stage"],
    }
    if run["end_time"] is not None:
        shown["end_time"] = run["end_time"]
    return shown


def whole(tx: Tx, runs: Sequence[Row]) -> list[Shown]:
    """The runs with all that is logged to them, in their order; a fixed number of queries for 500 runs."""
    metrics, params, tags = (
        defaultdict[str, list[Shown]](list),
        defaultdict[str, list[Shown]](list),
        defaultdict[str, list[Shown]](list),
    )
    datasets, used, made = _datasets(tx, runs), defaultdict[str, list[Shown]](list), defaultdict[str, list[Shown]](list)
    for ids, marks in _chunks(runs):
        for each in tx.all(f"SELECT * FROM latest_metrics WHERE run_uuid IN ({marks}) ORDER BY key", *ids):
            metrics[each["run_uuid"]].append(metric(each))
        for each in tx.all(f"SELECT run_uuid, key, value FROM params WHERE run_uuid IN ({marks}) ORDER BY key", *ids):
            params[each["run_uuid"]].append({"key": each["key"], "value": each["value"]})
        for each in tx.all(f"SELECT run_uuid, key, value FROM tags WHERE run_uuid IN ({marks}) ORDER BY key", *ids):
            tags[each["run_uuid"]].append({"key": each["key"], "value": each["value"] or ""})
        for each in tx.all(
            f"SELECT source_id, source_type, destination_id, step FROM inputs WHERE source_id IN ({marks})"
            " AND source_type IN ('RUN_INPUT', 'RUN_OUTPUT') ORDER BY destination_id",
            *ids,
        ):
            if each["source_type"] == "RUN_INPUT":
                used[each["source_id"]].append({"model_id": each["destination_id"]})
            else:
                made[each["source_id"]].append({"model_id": each["destination_id"], "step": each["step"]})
    return [
        {
            "info": info(run),
            "data": {
                "metrics": metrics[run["run_uuid"]],
                "params": params[run["run_uuid"]],
                "tags": tags[run["run_uuid"]],
            },
            "inputs": {"dataset_inputs": datasets[run["run_uuid"]], "model_inputs": used[run["run_uuid"]]},
            "outputs": {"model_outputs": made[run["run_uuid"]]},
        }
        for run in runs
    ]


def metric(stored: Row) -> Shown:
    return {
        "key": stored["key"],
        # JSON has no NaN; protobuf's JSON, which the clients read, writes it as a text.
        "value": "NaN" if stored["is_nan"] else stored["value"],
        "timestamp": stored["timestamp"],
        "step": stored["step"],
    }


def _datasets(tx: Tx, runs: Sequence[Row]) -> defaultdict[str, list[Shown]]:
    found = defaultdict[str, list[Shown]](list)
    by_input: dict[str, Shown] = {}
    for ids, marks in _chunks(runs):
        for each in tx.all(
            "SELECT i.input_uuid, i.destination_id, d.* FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id"
            f" WHERE i.destination_type = 'RUN' AND i.destination_id IN ({marks}) ORDER BY d.name, d.digest",
            *ids,
        ):
            shown = by_input[each["input_uuid"]] = {"tags": [], "dataset": _dataset(each)}
            found[each["destination_id"]].append(shown)
    if by_input:
        for ids, marks in parts(list(by_input)):
            for tag in tx.all(f"SELECT * FROM input_tags WHERE input_uuid IN ({marks}) ORDER BY name", *ids):
                by_input[tag["input_uuid"]]["tags"].append({"key": tag["name"], "value": tag["value"]})
    return found


def _dataset(stored: Row) -> Shown:
    shown = {
        "name": stored["name"],
        "digest": stored["digest"],
        "source_type": stored["dataset_source_type"],
        "source": stored["dataset_source"],
        "schema": stored["dataset_schema"],
        "profile": stored["dataset_profile"],
    }
    return {name: value for name, value in shown.items() if value is not None}


def _chunks(runs: Sequence[Row]) -> Iterator[tuple[list[str], str]]:
    return parts([str(run["run_uuid"]) for run in runs])


def parts(ids: list[str]) -> Iterator[tuple[list[str], str]]:
    for start in range(0, len(ids), CHUNK):
        part = ids[start : start + CHUNK]
        yield part, ", ".join("?" * len(part))
