"""Access: granting and revoking, the same way for every kind."""

from lakewright.access import levels, privileges

__all__ = ["levels", "privileges"]
