"""Tracking: how this project's tasks find each other's work in MLflow. Every run carries the job run it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flight_delays.candidates import Candidate, inputs
from flight_delays.features import CATEGORIES, FEATURES

if TYPE_CHECKING:
    import pyarrow as pa
    from mlflow.entities import Run
    from mlflow.models import ModelSignature

    from flight_delays.workspace import Names

JOB_RUN = "flight_delays.job_run"
ROLE = "flight_delays.role"
MODEL_ID = "flight_delays.model_id"


def runs_of(names: Names, role: str) -> list[Run]:
    from mlflow import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name(names.experiment)
    if experiment is None:
        return []
    mine = f"tags.`{JOB_RUN}` = '{names.job_run}' and tags.`{ROLE}` = '{role}'"
    return list(client.search_runs([experiment.experiment_id], mine))


def start_run(names: Names, role: str, name: str) -> Any:
    import mlflow

    mlflow.set_experiment(names.experiment)
    return mlflow.start_run(run_name=name, tags={JOB_RUN: names.job_run, ROLE: role})


def log_source(table: str, rows: pa.Table) -> None:
    """Puts on record which table the run learnt from, and a digest of exactly which flights."""
    import hashlib

    import mlflow
    from mlflow.data.delta_dataset_source import DeltaDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    ids = "\n".join(rows["flight_id"].to_pylist()).encode()
    source = DeltaDatasetSource(delta_table_name=table)
    mlflow.log_input(MetaDataset(source, name=table, digest=hashlib.sha256(ids).hexdigest()[:8]), context="training")


def log_model(estimator: Any, candidate: Candidate, rows: pa.Table) -> str:
    """Logs the fitted pipeline, which answers probabilities, and answers the logged model's id.

    A pipeline of scikit-learn's and LightGBM's own classes: the release gate reads the pickle and knows each of them.
    """
    import mlflow

    logged = mlflow.sklearn.log_model(
        estimator,
        name="model",
        serialization_format="cloudpickle",
        pyfunc_predict_fn="predict_proba",
        signature=signature(),
        input_example=inputs(rows.slice(0, 3)),
        pip_requirements=candidate.requirements(),
    )
    return str(logged.model_id)


def signature() -> ModelSignature:
    """Said rather than inferred: every number may be missing (no gust, an unknown plane), no category may."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    columns = [
        ColSpec(DataType.string if name in CATEGORIES else DataType.double, name, required=name in CATEGORIES)
        for name in FEATURES
    ]
    # Per flight two probabilities: on time, late.
    return ModelSignature(inputs=Schema(columns), outputs=Schema([TensorSpec(np.dtype("float64"), (-1, 2))]))
