"""What a model was logged with: named, typed columns (or tensors), checked without building a DataFrame.

The promise is MLflow's: a missing column, a text where a number belongs or a fraction where a whole number belongs
is refused, integers may become doubles, columns the model does not know are ignored. A refusal names the column and
the row. Checking happens on whole columns, so its cost is per batch and not per request.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lakewright.engines.model_process.payload import MISSING, Missing, Refused, Rows

Array = NDArray[Any]
NONE = type(None)
NUMERIC = {"boolean", "integer", "long", "float", "double"}


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    required: bool = True


@dataclass(frozen=True)
class Tensor:
    name: str | None
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Signature:
    columns: tuple[Column, ...] = ()
    tensors: tuple[Tensor, ...] = ()
    params: Mapping[str, Any] | None = None

    @property
    def names(self) -> list[str] | None:
        return [column.name for column in self.columns] if self.columns else None

    @property
    def numeric(self) -> bool:
        return bool(self.columns) and all(column.type in NUMERIC for column in self.columns)

    @property
    def simple(self) -> bool:
        """Whether every column has a type this module converts; arrays, maps and objects are left to MLflow."""
        return all(column.type in CONVERT for column in self.columns)

    def typed(self, rows: Rows) -> dict[str, Array]:
        """The model's columns in the model's order."""
        given: dict[str, Array] = {}
        for column in self.columns:
            cells = rows.columns.get(column.name)
            if cells is None:
                if column.required:
                    raise Refused(f"column '{column.name}' ({column.type}) is missing")
                continue
            given[column.name] = convert(column, cells)
        return given

    def check_params(self, params: Mapping[str, Any]) -> None:
        if unknown := params.keys() - (self.params or {}).keys():
            raise Refused(f"field 'params.{min(unknown)}': the model takes no such parameter")


def parse(recorded: Mapping[str, Any] | None) -> Signature:
    """The `signature` block of an MLmodel file."""
    if not recorded or not recorded.get("inputs"):
        return Signature()
    inputs = cast(list[dict[str, Any]], json.loads(recorded["inputs"]))
    params = {p["name"]: p.get("default") for p in json.loads(recorded["params"])} if recorded.get("params") else None
    if any(entry["type"] == "tensor" for entry in inputs):
        return Signature(tensors=tuple(_tensor(entry) for entry in inputs), params=params)
    if any("name" not in entry for entry in inputs):
        return Signature(params=params)
    return Signature(columns=tuple(_column(entry) for entry in inputs), params=params)


def _column(entry: Mapping[str, Any]) -> Column:
    required = entry.get("required", not entry.get("optional", False))
    return Column(str(entry["name"]), str(entry["type"]), bool(required))


def _tensor(entry: Mapping[str, Any]) -> Tensor:
    spec = entry["tensor-spec"]
    return Tensor(entry.get("name"), str(spec["dtype"]), tuple(spec["shape"]))


def convert(column: Column, cells: list[Any]) -> Array:
    to = CONVERT.get(column.type, _anything)
    try:
        return to(cells)
    except (TypeError, ValueError, OverflowError, binascii.Error):
        raise Refused(_complaint(column, cells, to)) from None


def _complaint(column: Column, cells: Sequence[Any], to: Callable[[list[Any]], Array]) -> str:
    """Only a refused column pays for finding the row that spoiled it."""
    for number, cell in enumerate(cells):
        if cell is MISSING:
            return f"column '{column.name}' ({column.type}) is missing in row {number}"
        try:
            to([cell])
        except (TypeError, ValueError, OverflowError, binascii.Error):
            shown = json.dumps(cell, default=str)[:80]
            return f"column '{column.name}' must be {column.type}, row {number} has {shown}"
    return f"column '{column.name}' must be {column.type}"


def _only(cells: list[Any], *allowed: type) -> None:
    if not set(map(type, cells)).issubset(allowed):
        raise TypeError


def _floating(dtype: Any) -> Callable[[list[Any]], Array]:
    def to(cells: list[Any]) -> Array:
        _only(cells, float, int, NONE)
        return np.array(cells, dtype=dtype)

    return to


def _whole(dtype: Any) -> Callable[[list[Any]], Array]:
    def to(cells: list[Any]) -> Array:
        _only(cells, int)
        return np.array(cells, dtype=dtype)

    return to


def _booleans(cells: list[Any]) -> Array:
    _only(cells, bool)
    return np.array(cells, dtype=np.bool_)


def _strings(cells: list[Any]) -> Array:
    _only(cells, str, NONE)
    return _objects(cells)


def _times(cells: list[Any]) -> Array:
    _only(cells, str, NONE)
    try:
        return np.array(cells, dtype="datetime64[ns]")
    except ValueError:
        return _zoned(cells)


def _zoned(cells: list[Any]) -> Array:
    """numpy knows no time zones; pandas does, and is only imported when somebody sends one."""
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    pandas: Any = pd
    parsed = pandas.to_datetime(pandas.Series(cells), utc=True, format="ISO8601")
    return parsed.dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")


def _bytes(cells: list[Any]) -> Array:
    _only(cells, str, NONE)
    return _objects([None if cell is None else base64.b64decode(cell, validate=True) for cell in cells])


def _anything(cells: list[Any]) -> Array:
    if Missing in set(map(type, cells)):
        raise TypeError
    return _objects(cells)


def _objects(cells: list[Any]) -> Array:
    column = np.empty(len(cells), dtype=object)
    column[:] = cells
    return column


CONVERT: dict[str, Callable[[list[Any]], Array]] = {
    "double": _floating(np.float64),
    "float": _floating(np.float32),
    "long": _whole(np.int64),
    "integer": _whole(np.int32),
    "boolean": _booleans,
    "string": _strings,
    "datetime": _times,
    "binary": _bytes,
}


def tensor(signature: Signature, rows: Rows) -> Any:
    """The array (or the named arrays) of a model that takes tensors."""
    named_given = isinstance(rows.tensor, dict)
    if len(signature.tensors) == 1 and signature.tensors[0].name is None:
        if named_given:
            raise Refused("field 'inputs' must be one tensor: this model's input has no name")
        return _shaped(signature.tensors[0], rows.tensor)
    if not named_given:
        raise Refused("field 'inputs' must be an object of named tensors")
    given: dict[str, Any] = rows.tensor
    named: dict[str, Array] = {}
    for spec in signature.tensors:
        if spec.name not in given:
            raise Refused(f"tensor '{spec.name}' ({spec.dtype}) is missing")
        named[str(spec.name)] = _shaped(spec, given[spec.name])
    return named


def _shaped(spec: Tensor, value: Any) -> Array:
    called = f"tensor '{spec.name}'" if spec.name else "the tensor"
    try:
        array = np.asarray(value)
    except ValueError:
        raise Refused(f"{called} is ragged: every row must have the same length") from None
    wanted = np.dtype(spec.dtype)
    if array.size and not _castable(array, wanted):
        raise Refused(f"{called} must be {spec.dtype}, got {array.dtype}")
    array = array.astype(wanted)
    fits = len(array.shape) == len(spec.shape) and all(
        want in (-1, got) for want, got in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise Refused(f"{called} must have shape {list(spec.shape)}, got {list(array.shape)}")
    return array


def _castable(array: Array, wanted: Any) -> bool:
    """JSON has one kind of number: whole numbers fit any numeric tensor, fractions any floating one."""
    ranks = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
    if array.dtype.kind not in ranks or wanted.kind not in ranks:
        return array.dtype.kind == wanted.kind or wanted.kind == "O"
    return ranks[array.dtype.kind] <= ranks[wanted.kind] and (array.dtype.kind == "b") == (wanted.kind == "b")
