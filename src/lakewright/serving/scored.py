"""Scored rows: the request log once more, one table row per row that was scored, its features as columns.

The payload table keeps requests as they came, as text. Monitors, joins with labels and retraining want columns: the
model's signature says which, and with which types.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import yaml

from lakewright.engines.model_process import payload
from lakewright.engines.model_process.payload import MISSING, Refused

Call = Mapping[str, Any]
Columns = tuple[tuple[str, str], ...]
Typed = Callable[[Any], Any]
Rows = list[dict[str, Any]]
UNFIT = (TypeError, ValueError, OverflowError)
"""What Python and Arrow (ArrowInvalid is a ValueError, ArrowTypeError a TypeError) raise for a cell of a wrong type."""

log = logging.getLogger(__name__)
OWN = ("databricks_request_id", "row", "timestamp_ms", "scored_at", "model_id", "prediction", "prediction_json")


def table_of(payload_table: str) -> str:
    return payload_table.removesuffix("_payload") + "_scored"


def as_arrow(calls: Iterable[Call], columns_of: Callable[[str, int], Columns]) -> Any:
    """The rows of all calls that were answered, or None. Models differ in their columns; a missing one is null.

    A call whose cells no column can hold is in the payload table only: it must not keep the others out.
    """
    groups: list[Rows] = []
    types: dict[str, str] = {}
    for call in calls:
        columns = columns_of(str(call["model_name"]), int(call["model_version"]))
        if call["status_code"] == 200 and columns:
            types |= {_named(name): kind for name, kind in columns}
            groups.append(_rows(call, columns))
    try:
        return _table([row for rows in groups for row in rows], types)
    except UNFIT:
        return _table([row for rows in groups if _fits(rows, types) for row in rows], types)


def _fits(rows: Rows, types: Mapping[str, str]) -> bool:
    try:
        _table(rows, types)
    except UNFIT as error:
        log.warning("call %s is not in the table of scored rows: %s", rows[0]["databricks_request_id"], error)
        return False
    return True


def _rows(call: Call, columns: Columns) -> Rows:
    try:
        sent = payload.read(str(call["request"]).encode(), [name for name, _ in columns])
        answers = json.loads(call["response"])["predictions"]
        cells = {_named(name): _converted(sent.columns.get(name), kind) for name, kind in columns}
    except (Refused, KeyError, *UNFIT):
        return []
    if not isinstance(answers, list) or len(cast(list[Any], answers)) != sent.count:
        return []
    own = {
        "databricks_request_id": call["databricks_request_id"],
        "timestamp_ms": call["timestamp_ms"],
        "scored_at": int(call["timestamp_ms"]) * 1000,
        "model_id": f"{call['model_name']}/{call['model_version']}",
    }
    return [
        own
        | {"row": at}
        | _prediction(answer)
        | {name: column[at] if column else None for name, column in cells.items()}
        for at, answer in enumerate(cast(list[Any], answers))
    ]


def _named(name: str) -> str:
    return f"feature_{name}" if name in OWN else name


def _prediction(answer: Any) -> dict[str, Any]:
    """As one number where it is one: a score, or the probability of the second of two classes."""
    two = isinstance(answer, list) and len(cast(list[Any], answer)) == 2
    number: Any = cast(Any, answer[1] if two else answer)
    is_number = isinstance(number, int | float)
    return {"prediction": float(number) if is_number else None, "prediction_json": json.dumps(answer)}


def _converted(cells: list[Any] | None, kind: str) -> list[Any] | None:
    if cells is None:
        return None
    typed = _TYPED.get(kind, _as_json)
    return [None if cell is None or cell is MISSING else typed(cell) for cell in cells]


def _as_json(cell: Any) -> str:
    return cell if isinstance(cell, str) else json.dumps(cell)


_TYPED: dict[str, Typed] = {
    "double": float, "float": float, "long": int, "integer": int, "boolean": bool, "string": str, "datetime": str,
}  # fmt: skip


def _table(rows: Rows, types: Mapping[str, str]) -> Any:
    if not rows:
        return None
    pa: Any = import_module("pyarrow")
    arrow = {
        "double": pa.float64(), "float": pa.float64(), "long": pa.int64(), "integer": pa.int32(), "boolean": pa.bool_(),
    }  # fmt: skip
    own = {
        "databricks_request_id": pa.string(), "row": pa.int32(), "timestamp_ms": pa.int64(),
        "scored_at": pa.timestamp("us", tz="UTC"), "model_id": pa.string(), "prediction": pa.float64(),
        "prediction_json": pa.string(),
    }  # fmt: skip
    fields = own | {name: arrow.get(kind, pa.string()) for name, kind in types.items()}
    return pa.table({name: pa.array([row.get(name) for row in rows], kind) for name, kind in fields.items()})


@cache
def columns_in(directory: Path) -> Columns:
    """Names and types of a model's inputs, as it was logged; none for a model of tensors. The model is not loaded."""
    described = cast(dict[str, Any], yaml.safe_load((directory / "MLmodel").read_text()))
    signature = cast(dict[str, str], described.get("signature") or {})
    inputs = cast(list[dict[str, Any]], json.loads(signature.get("inputs") or "[]"))
    return tuple(
        (str(entry["name"]), str(entry["type"])) for entry in inputs if "name" in entry and entry["type"] != "tensor"
    )
