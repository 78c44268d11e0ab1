"""Sources: the code of a task, fetched with the rights of whom the task runs as.

A task gets copies in its own folder, never a path into somebody else's files. Of a deployed project (…/.bundle/NAME/
TARGET/files/…) it gets the whole tree, so that its imports work; of any other file, the folder the file is in.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Protocol, runtime_checkable

from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid

MOST_FILES = 2000
MOST_BYTES = 200 * 2**20
_PROJECT = re.compile(r"(.*/\.bundle/[^/]+/[^/]+/files)/(.+)")


@runtime_checkable
class Sources(Protocol):
    """Where paths such as /Workspace/… and /Volumes/… are read, as the principal of the context."""

    def folder(self, ctx: Ctx, path: str, into: Path) -> None:
        """Copy the tree below a folder. NotFound, Denied, TooLarge."""
        ...

    def file(self, ctx: Ctx, path: str, into: Path) -> Path:
        """Copy one file (a notebook as its source) to `into`, which has its extension added; where it is now."""
        ...


def fetch(ctx: Ctx, sources: Sources, path: str, into: Path) -> Path:
    """Bring what `path` names, and what belongs to it, below `into`; where the named file is."""
    if not path.startswith("/"):
        raise Invalid(f"'{path}' is not an absolute path such as /Workspace/Users/… or /Volumes/…")
    if project := _PROJECT.fullmatch(path):
        sources.folder(ctx, project[1], into)
        return sources.file(ctx, path, into / project[2])
    at = PurePosixPath(path)
    if path.startswith("/Volumes/"):
        return sources.file(ctx, path, into / at.name)
    sources.folder(ctx, str(at.parent), into)
    return sources.file(ctx, path, into / at.name)
