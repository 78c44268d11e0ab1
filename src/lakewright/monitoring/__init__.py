"""Monitoring: tables watched for what changes in them, alerts that do not cry wolf, and retraining they may start."""

from lakewright.monitoring import alerts, monitors, refreshes

__all__ = ["alerts", "monitors", "refreshes"]
