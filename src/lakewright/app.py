"""The whole platform in one process: this lists the capabilities, nothing else."""

from lakewright import identity
from lakewright.kernel.clock import Clock
from lakewright.kernel.config import Settings
from lakewright.kernel.http import Edge
from lakewright.kernel.platform import Platform

CAPABILITIES = (identity,)
"""Importing a capability declares its operations. Lower ones first: `install` may use what those provide."""


def build(settings: Settings | None = None, clock: Clock | None = None) -> Platform:
    """The platform with its services, not yet started."""
    platform = Platform(settings or Settings(), clock)
    for capability in CAPABILITIES:
        install = getattr(capability, "install", None)
        if install is not None:
            install(platform)
    return platform


def serve(platform: Platform) -> Edge:
    """The ASGI application of a built platform."""
    return Edge(platform)
