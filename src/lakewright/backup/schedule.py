"""Sets that the server takes of itself, when a directory is set, and the old ones it lets go."""

import logging

from lakewright.backup.creating import create
from lakewright.backup.repository import Repository
from lakewright.kernel.controllers import controller
from lakewright.kernel.faults import Fault
from lakewright.kernel.platform import Platform

log = logging.getLogger(__name__)


def install(platform: Platform) -> None:
    """A directory that cannot be used is found out at the start, not on the day it is needed."""
    if platform.settings.backup.directory is not None:
        Repository(platform.settings.backup.directory).make()


@controller("backup.sets", every=60.0)
def tick(platform: Platform) -> None:
    settings = platform.settings.backup
    if settings.directory is None:
        return
    repository = Repository(settings.directory)
    newest = repository.newest()
    if newest is not None and platform.clock.now() - newest.manifest.taken_at < settings.every_hours * 3_600_000:
        return
    try:
        made = create(platform.settings, repository, now=platform.clock.now())
    except Fault as fault:
        log.error("no backup was made: %s", fault)
        return
    repository.prune(settings.keep)
    log.info("backup %s: %d files", made.name, len(made.manifest.files))
