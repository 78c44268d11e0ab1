"""Workspace: folders, notebooks, files and secrets."""

from lakewright.workspace import files, folders, secrets
from lakewright.workspace.folders import install

__all__ = ["files", "folders", "install", "secrets"]
