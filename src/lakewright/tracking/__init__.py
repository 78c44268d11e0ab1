"""Tracking: MLflow experiments, runs, metrics, logged models and their artifacts, under the platform's permissions."""

from lakewright.tracking import artifacts, experiments, inputs, logged_models, metrics, runs, searching, traces

__all__ = ["artifacts", "experiments", "inputs", "logged_models", "metrics", "runs", "searching", "traces"]
