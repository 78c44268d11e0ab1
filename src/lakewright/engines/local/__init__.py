"""Local processes: tasks as confined processes of this machine, forked warm."""

from lakewright.engines.local.launcher import Environment, LocalLauncher

__all__ = ["Environment", "LocalLauncher"]
