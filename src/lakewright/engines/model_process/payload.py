"""What a caller sends to a model, turned into columns.

The four shapes are MLflow's and Databricks': `dataframe_split`, `dataframe_records`, `inputs` and `instances`.
Columns stay plain Python lists here; the signature gives them types, once for a whole batch.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

SHAPES = ("dataframe_split", "dataframe_records", "inputs", "instances")
BESIDE = {"params", "client_request_id"}


class Refused(Exception):
    """The caller's payload cannot be used; the message names the field."""


class Missing:
    """A cell that a record did not have, as opposed to one that was null."""

    def __repr__(self) -> str:
        return "nothing"


MISSING = Missing()


@dataclass(slots=True)
class Rows:
    """Named columns of equal length. Without names (`tensor` is set) the payload was not tabular."""

    columns: dict[str, list[Any]]
    count: int
    tensor: Any = None
    params: dict[str, Any] = field(default_factory=dict[str, Any])


def read(body: bytes, names: Sequence[str] | None) -> Rows:
    """`names` are the signature's columns: they order unnamed rows and decide which cells of a record matter."""
    sent = _object(body)
    shapes = [shape for shape in SHAPES if shape in sent]
    if len(shapes) != 1:
        raise Refused(f"send exactly one of {', '.join(SHAPES)}; got {', '.join(shapes) or 'none of them'}")
    if unknown := sent.keys() - BESIDE - {shapes[0]}:
        raise Refused(f"field '{min(unknown)}' is not supported beside '{shapes[0]}'")
    rows = _READERS[shapes[0]](sent[shapes[0]], names)
    params = sent.get("params")
    if params is not None:
        if not isinstance(params, dict):
            raise Refused("field 'params' must be an object")
        rows.params = cast(dict[str, Any], params)
    return rows


def _object(body: bytes) -> dict[str, Any]:
    try:
        sent = orjson.loads(body)
    except orjson.JSONDecodeError:
        sent = _with_nan(body)
    if not isinstance(sent, dict):
        raise Refused("the body must be a JSON object")
    return cast(dict[str, Any], sent)


def _with_nan(body: bytes) -> Any:
    """Python clients write NaN and Infinity, which JSON does not have; only the slower parser takes them."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(f"the body is not JSON: {error}") from None


def _split(frame: Any, names: Sequence[str] | None) -> Rows:
    if not isinstance(frame, dict) or not isinstance(frame.get("data"), list):  # pyright: ignore[reportUnknownMemberType]
        raise Refused("field 'dataframe_split' must be an object with 'columns' and 'data'")
    frame = cast(dict[str, Any], frame)
    if unknown := frame.keys() - {"columns", "data", "index"}:
        raise Refused(f"field 'dataframe_split.{min(unknown)}' is not supported")
    columns = frame.get("columns")
    if columns is None:
        columns = names
    if columns is None:
        raise Refused("field 'dataframe_split.columns' is required: this model was logged without a signature")
    return _table([str(name) for name in columns], frame["data"], "dataframe_split.data")


def _table(names: Sequence[str], data: list[Any], where: str) -> Rows:
    if len(set(names)) != len(names):
        raise Refused(f"field '{where}' names a column twice")
    width = len(names)
    for number, row in enumerate(data):
        if not isinstance(row, list) or len(cast(list[Any], row)) != width:
            raise Refused(f"field '{where}': row {number} must be a list of {width} values")
    if not data:
        return Rows({name: [] for name in names}, 0)
    return Rows(dict(zip(names, map(list, zip(*data, strict=True)), strict=True)), len(data))


def _records(records: Any, names: Sequence[str] | None, where: str = "dataframe_records") -> Rows:
    if not isinstance(records, list):
        raise Refused(f"field '{where}' must be a list of objects")
    rows = cast(list[dict[str, Any]], records)
    for number, row in enumerate(rows):
        if not isinstance(row, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise Refused(f"field '{where}': row {number} must be an object")
    found = names if names is not None else list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name, MISSING) for row in rows] for name in found}
    return Rows({name: cells for name, cells in columns.items() if not _absent(cells)}, len(rows))


def _absent(cells: list[Any]) -> bool:
    return bool(cells) and all(cell is MISSING for cell in cells)


def _inputs(value: Any, names: Sequence[str] | None) -> Rows:
    """Column-wise: an object of lists. A list is rows where the model has named columns, a tensor where it has not."""
    if isinstance(value, dict):
        columns = cast(Mapping[str, Any], value)
        if names is None:
            return Rows({}, _length(next(iter(columns.values()), None)), tensor=dict(columns))
        cells = {name: _cells(name, column) for name, column in columns.items()}
        lengths = {len(column) for column in cells.values()}
        if len(lengths) > 1:
            raise Refused("field 'inputs': every column must have the same number of values")
        return Rows(cells, lengths.pop() if lengths else 0)
    return _rowwise(value, names, "inputs")


def _cells(name: str, column: Any) -> list[Any]:
    if isinstance(column, list):
        return cast(list[Any], column)
    if isinstance(column, dict):
        raise Refused(f"field 'inputs.{name}' must be a value or a list of values")
    return [column]


def _instances(value: Any, names: Sequence[str] | None) -> Rows:
    return _rowwise(value, names, "instances")


def _rowwise(value: Any, names: Sequence[str] | None, where: str) -> Rows:
    if not isinstance(value, list):
        raise Refused(f"field '{where}' must be a list")
    rows = cast(list[Any], value)
    if rows and isinstance(rows[0], dict):
        return _records(rows, names, where)
    if names is None:
        return Rows({}, len(rows), tensor=rows)
    if rows and not isinstance(rows[0], list):
        rows = [rows] if len(names) > 1 else [[cell] for cell in rows]
    return _table(list(names), rows, where)


def _length(value: Any) -> int:
    return len(cast(list[Any], value)) if isinstance(value, list) else 1


_READERS = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "inputs": _inputs,
    "instances": _instances,
}
