"""Workspace: folders, notebooks, files and secrets."""

from lakewright.workspace import files, folders, master_key, secrets
from lakewright.workspace.folders import install

__all__ = ["files", "folders", "install", "master_key", "secrets"]
