"""Serving: released models answer requests, each in a process of its own."""

from lakewright.kernel.platform import Platform
from lakewright.serving import endpoints, fleet, gateway, request_log
from lakewright.serving.endpoints import Ledger
from lakewright.serving.ledger import Governed
from lakewright.serving.registry import Registry
from lakewright.serving.releases import Releases

__all__ = ["endpoints", "fleet", "gateway", "install", "request_log"]


def install(platform: Platform) -> None:
    platform.provide(Registry(), as_type=Releases)
    platform.provide(Governed(), as_type=Ledger)
    platform.provide(fleet.Fleet(platform))
    platform.provide(request_log.RequestLog(platform))
    platform.closes(platform.the(fleet.Fleet).close)
    platform.closes(platform.the(request_log.RequestLog).close)
