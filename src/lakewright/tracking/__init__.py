"""Tracking: MLflow experiments, runs, metrics, logged models and their artifacts, under the platform's permissions."""
