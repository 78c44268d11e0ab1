"""The whole platform in one process: this lists the capabilities, nothing else."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from lakewright import (
    access,
    backup,
    catalog,
    identity,
    jobs,
    models,
    monitoring,
    observe,
    serving,
    sql,
    storage,
    tracking,
    workspace,
)
from lakewright.console import Console
from lakewright.console.sealed import Sealed
from lakewright.kernel.clock import Clock
from lakewright.kernel.config import Settings
from lakewright.kernel.http import Edge
from lakewright.kernel.platform import Platform

CAPABILITIES = (
    identity,
    catalog,
    storage,
    access,
    workspace,
    sql,
    observe,
    jobs,
    tracking,
    models,
    serving,
    monitoring,
    backup,
)
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
    console = Sealed(Console(platform), platform.settings.http)
    return Edge(platform, mounts={"/console": console, "/jobs": console, "": console}, known=_sdk_operations())


def _sdk_operations() -> Iterator[tuple[str, str, str]]:
    """What the SDK can ask for; paths that differ only in a parameter's name are the same route, named once."""
    seen: set[tuple[str, str]] = set()
    with Path(__file__).with_name("sdk-operations.csv").open() as file:
        for row in csv.DictReader(file):
            route = (row["verb"], re.sub(r"{[^}]*}", "{}", row["path"]))
            if route not in seen:
                seen.add(route)
                yield f"{row['service']}.{row['method']}", row["verb"], row["path"]
