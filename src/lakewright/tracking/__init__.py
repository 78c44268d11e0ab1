"""Tracking: MLflow experiments, runs, metrics, logged models and their artifacts, under the platform's permissions."""

from lakewright.tracking import experiments, inputs, metrics, runs, searching

__all__ = ["experiments", "inputs", "metrics", "runs", "searching"]
