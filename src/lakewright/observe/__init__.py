"""Observing: the platform's own records, shown to those who may see them."""

from lakewright.kernel.platform import Platform
from lakewright.observe import api_document, audit_trail, system_tables

__all__ = ["api_document", "audit_trail", "install", "system_tables"]


def install(platform: Platform) -> None:
    platform.transact(system_tables.plant)
