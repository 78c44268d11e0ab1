"""Storage: the bytes of tables, volumes and whatever else is mounted, and the Files API over them."""

from lakewright.kernel.platform import Platform
from lakewright.storage import files, mounts, service, uploads

__all__ = ["files", "install", "mounts", "service", "uploads"]


def install(platform: Platform) -> None:
    platform.provide(service.Storage(platform.settings))
