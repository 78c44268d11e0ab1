"""Backups: sets of database and files, the log copied as it is written, restoring, and what to look at afterwards."""

from lakewright.backup import replication, schedule
from lakewright.kernel.platform import Platform


def install(platform: Platform) -> None:
    replication.install(platform)
    schedule.install(platform)
