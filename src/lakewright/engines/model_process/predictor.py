"""The model itself: loaded from an MLflow directory, called the cheapest way that gives MLflow's answers.

scikit-learn and LightGBM models are loaded by their own libraries: importing MLflow would cost two seconds and
100 MB, calling through it 3 ms. A model of numbers is then tried on its own logged example both as a DataFrame and
as a bare matrix; only if the two answers are equal is the matrix used from then on. Everything else goes through
`mlflow.pyfunc`, whole.
"""

import json
import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import orjson
import yaml

from lakewright.engines.model_process import payload, signature
from lakewright.engines.model_process.payload import Refused, Rows
from lakewright.engines.model_process.signature import Array, Signature

Features = Callable[[Mapping[str, Array], int], Any]
Answer = bytes | Exception
ENCODING = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
METHODS = {"predict", "predict_proba", "predict_log_proba"}


@dataclass
class Predictor:
    signature: Signature
    call: Callable[[Any, dict[str, Any]], Any]
    features: Features
    example: Rows | None = None

    def answer(self, batch: Sequence[Rows]) -> list[Answer]:
        """One answer per request. A batch that fails is asked again one by one: nobody fails for a neighbour's row."""
        if len(batch) > 1 and all(map(self._joins, batch)):
            with suppress(Exception):
                return self._together(batch)
        return [self._alone(rows) for rows in batch]

    def warm_up(self) -> None:
        if self.example is not None:
            answer = self._alone(self.example)
            if isinstance(answer, Exception):
                raise answer

    def _joins(self, rows: Rows) -> bool:
        return rows.tensor is None and not rows.params and list(rows.columns) == self.signature.names

    def _together(self, batch: Sequence[Rows]) -> list[Answer]:
        names = cast(list[str], self.signature.names)
        joined = {name: [cell for rows in batch for cell in rows.columns[name]] for name in names}
        total = sum(rows.count for rows in batch)
        predictions = self._predict(Rows(joined, total))
        if _length(predictions) != total:
            raise ValueError("the model does not answer row by row")
        ends = np.cumsum([rows.count for rows in batch]).tolist()
        return [encode(predictions[end - rows.count : end]) for rows, end in zip(batch, ends, strict=True)]

    def _alone(self, rows: Rows) -> Answer:
        try:
            return encode(self._predict(rows))
        except Exception as error:
            return error

    def _predict(self, rows: Rows) -> Any:
        self.signature.check_params(rows.params)
        return plain(self.call(self._input(rows), rows.params))

    def _input(self, rows: Rows) -> Any:
        if self.signature.tensors:
            return signature.tensor(self.signature, rows)
        if self.signature.columns:
            return self.features(self.signature.typed(rows), rows.count)
        return frame(rows.columns, rows.count) if rows.tensor is None else _loose(rows.tensor)


def _loose(tensor: Any) -> Any:
    if isinstance(tensor, dict):
        return {name: np.asarray(value) for name, value in cast(dict[str, Any], tensor).items()}
    return np.asarray(tensor)


def frame(columns: Mapping[str, Any], count: int) -> Any:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    return pd.DataFrame(dict(columns), index=range(count))


def matrix(columns: Mapping[str, Array], count: int) -> Any:
    filled = np.empty((count, len(columns)), dtype=np.float64)
    for position, column in enumerate(columns.values()):
        filled[:, position] = column
    return filled


def plain(predictions: Any) -> Any:
    """An array, a list or a list of records, whatever the model's library answered."""
    if hasattr(predictions, "toarray"):
        predictions = predictions.toarray()
    if hasattr(predictions, "to_dict") and hasattr(predictions, "columns"):
        return predictions.to_dict(orient="records")
    if hasattr(predictions, "to_numpy"):
        predictions = predictions.to_numpy()
    if isinstance(predictions, np.ndarray):
        array = cast(Array, predictions)
        return array.tolist() if array.dtype.kind in "OUSMm" else np.ascontiguousarray(array)
    return predictions


def encode(predictions: Any) -> bytes:
    return orjson.dumps({"predictions": predictions}, option=ENCODING, default=_encode_other)


def _encode_other(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return cast(Any, value).tolist()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def _length(predictions: Any) -> int:
    return len(cast(list[Any], predictions)) if isinstance(predictions, np.ndarray | list) else -1


# ------------------------------------------------------------------ loading


def load(directory: Path) -> Predictor:
    described = cast(dict[str, Any], yaml.safe_load((directory / "MLmodel").read_text()))
    known = signature.parse(described.get("signature"))
    call = _direct(directory, described) if known.simple and known.columns and not known.params else None
    if call is None:
        return Predictor(known, _pyfunc(directory, known), frame, _example(directory, known))
    predictor = Predictor(known, call, frame, _example(directory, known))
    if known.numeric and predictor.example is not None and _same_without_names(predictor):
        predictor.features = matrix
    return predictor


def _example(directory: Path, known: Signature) -> Rows | None:
    saved = directory / "serving_input_example.json"
    try:
        return payload.read(saved.read_bytes(), known.names) if saved.exists() else None
    except Refused:
        return None


def _same_without_names(predictor: Predictor) -> bool:
    assert predictor.example is not None
    typed = predictor.signature.typed(predictor.example)
    try:
        named = np.asarray(predictor.call(frame(typed, predictor.example.count), {}))
        bare = np.asarray(predictor.call(matrix(typed, predictor.example.count), {}))
        return named.dtype == bare.dtype and bool(np.array_equal(named, bare))
    except Exception:
        return False


def _direct(directory: Path, described: Mapping[str, Any]) -> Callable[[Any, dict[str, Any]], Any] | None:
    """The library's own object, where this module knows how MLflow would have called it."""
    flavors = cast(dict[str, Any], described["flavors"])
    pyfunc = cast(dict[str, Any], flavors.get("python_function", {}))
    method = str(pyfunc.get("predict_fn", "predict"))
    if pyfunc.get("code") or method not in METHODS:
        return None
    match pyfunc.get("loader_module"):
        case "mlflow.sklearn" if "sklearn" in flavors:
            model = _unpickled(directory / flavors["sklearn"]["pickled_model"], flavors["sklearn"])
        case "mlflow.lightgbm" if "lightgbm" in flavors:
            model = _lightgbm(directory, flavors["lightgbm"])
        case _:
            return None
    warnings.filterwarnings("ignore", message=".*valid feature names.*")
    return _calling(getattr(model, method))


def _calling(predict: Callable[[Any], Any]) -> Callable[[Any, dict[str, Any]], Any]:
    def call(features: Any, params: dict[str, Any]) -> Any:
        return predict(features)

    return call


def _lightgbm(directory: Path, flavor: Mapping[str, Any]) -> Any:
    saved = directory / flavor["data"]
    if str(flavor.get("model_class", "")).endswith(".Booster"):
        import lightgbm

        return lightgbm.Booster(model_file=str(saved))
    return _unpickled(saved, flavor)


def _unpickled(saved: Path, flavor: Mapping[str, Any]) -> Any:
    match flavor.get("serialization_format", "pickle"):
        case "skops":
            from skops import io  # pyright: ignore[reportMissingTypeStubs]

            return io.load(saved, trusted=flavor.get("skops_trusted_types") or [])
        case _:
            with saved.open("rb") as file:
                return pickle.load(file)


def _pyfunc(directory: Path, known: Signature) -> Callable[[Any, dict[str, Any]], Any]:
    import os

    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    import mlflow.pyfunc  # pyright: ignore[reportMissingTypeStubs]

    model: Any = mlflow.pyfunc.load_model(str(directory))

    def call(features: Any, params: dict[str, Any]) -> Any:
        return model.predict(features, params=params) if params else model.predict(features)

    return call


def describe(predictor: Predictor) -> bytes:
    columns = [{"name": c.name, "type": c.type, "required": c.required} for c in predictor.signature.columns]
    return json.dumps({"columns": columns, "features": predictor.features.__name__}).encode()
