"""Candidates: the estimators that compete, all behind one face: a table of features in, a probability of being late out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from flight_delays.features import CATEGORIES, FEATURES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True)
class Candidate:
    estimator: Callable[[], Any]
    parameters: dict[str, float | int]
    packages: tuple[str, ...]

    def requirements(self) -> list[str]:
        """Exactly what is installed here. Said outright, because inferring it would import the model in another process."""
        return [f"{package}=={metadata.version(package)}" for package in self.packages]


def inputs(rows: pa.Table) -> pd.DataFrame:
    return rows.select(FEATURES).to_pandas()


def labels(rows: pa.Table) -> np.ndarray:
    return rows["late"].to_numpy(zero_copy_only=False).astype("int8")


def fit(candidate: Candidate, rows: pa.Table) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder
    from threadpoolctl import threadpool_limits

    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    columns = ColumnTransformer([("codes", codes, CATEGORIES)], remainder="passthrough")
    # One thread each: the candidates train side by side, and OpenMP's threads spin when they must share a core.
    with threadpool_limits(1):
        return make_pipeline(columns, candidate.estimator()).fit(inputs(rows), labels(rows))


def late_probability(model: Any, frame: pd.DataFrame) -> np.ndarray:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return model.predict_proba(frame)[:, 1]


_SKLEARN = {
    "max_iter": 120,
    "learning_rate": 0.08,
    "max_leaf_nodes": 31,
    "min_samples_leaf": 200,
    "l2_regularization": 1.0,
}
_LIGHTGBM = {"n_estimators": 150, "learning_rate": 0.06, "num_leaves": 31, "min_child_samples": 200, "reg_lambda": 1.0}


def _sklearn() -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    # Categories stay codes: told of them, this class pickles a function, and the release gate trusts only classes.
    return HistGradientBoostingClassifier(**_SKLEARN, random_state=7)


def _lightgbm() -> Any:
    from lightgbm import LGBMClassifier

    sampling = {"subsample": 0.8, "subsample_freq": 1, "colsample_bytree": 0.7}
    return LGBMClassifier(**_LIGHTGBM, **sampling, n_jobs=1, deterministic=True, verbose=-1, random_state=7)


_COMMON = ("mlflow", "scikit-learn", "pandas", "numpy", "cloudpickle")
CANDIDATES = {
    "sklearn": Candidate(_sklearn, dict(_SKLEARN), _COMMON),
    "lightgbm": Candidate(_lightgbm, dict(_LIGHTGBM), (*_COMMON, "lightgbm")),
}
