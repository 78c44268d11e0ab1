"""Observing: the platform's own records, shown to those who may see them."""

from lakewright.observe import audit_trail

__all__ = ["audit_trail"]
