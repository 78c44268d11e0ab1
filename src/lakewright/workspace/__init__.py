"""Workspace: folders, notebooks, files and secrets."""

from lakewright.kernel.platform import Platform
from lakewright.workspace import files, folders, master_key, secrets


def install(platform: Platform) -> None:
    folders.install(platform)
    secrets.install(platform)


__all__ = ["files", "folders", "install", "master_key", "secrets"]
