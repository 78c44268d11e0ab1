"""Access: granting and revoking, the same way for every kind, and saying who may do what and why."""

from lakewright.access import defaults, expiry, explain, levels, privileges, requests, reviews
from lakewright.kernel.platform import Platform

__all__ = ["defaults", "explain", "levels", "privileges", "requests", "reviews"]


def install(platform: Platform) -> None:
    platform.transact(expiry.end_due)
