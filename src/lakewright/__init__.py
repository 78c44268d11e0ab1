"""Lakewright: a governed machine-learning platform that speaks the Databricks REST API."""
