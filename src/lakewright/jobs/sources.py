"""Sources: the code of a task, fetched with the rights of whom the task runs as.

A task gets copies in its own folder, never a path into somebody else's files. Of a deployed project (…/.bundle/NAME/
TARGET/files/…) it gets the whole tree, so that its imports work; of any other file, the folder the file is in.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, cast, runtime_checkable

from lakewright.kernel import objects
from lakewright.kernel.answers import Stream
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid, NotFound, TooLarge
from lakewright.kernel.objects import Obj
from lakewright.storage.files import download
from lakewright.workspace import files, folders
from lakewright.workspace.folders import CAN_READ, ITEM, Item

MOST_FILES = 2000
MOST_BYTES = 200 * 2**20
VOLUMES = "/Volumes/"
_PROJECT = re.compile(r"(.*/\.bundle/[^/]+/[^/]+/files)/(.+)")


@runtime_checkable
class Sources(Protocol):
    """Where paths are read, as the principal of the context, which has no transaction open."""

    def folder(self, ctx: Ctx, path: str, into: Path) -> None:
        """Copy the tree below a folder, as far as the principal may read it. TooLarge."""
        ...

    def file(self, ctx: Ctx, path: str, into: Path) -> Path:
        """Copy one file to `into`; a notebook as source, its ending added. Where it is now. NotFound, Denied."""
        ...


def fetch(ctx: Ctx, sources: Sources, path: str, into: Path) -> Path:
    """Bring what `path` names, and what belongs to it, below `into`; where the named file is."""
    path = path.removeprefix("file:").removeprefix("dbfs:")
    if not path.startswith("/") or ".." in path.split("/"):
        raise Invalid(f"'{path}' is not an absolute path such as /Workspace/Users/… or /Volumes/…")
    if project := _PROJECT.fullmatch(path):
        sources.folder(ctx, project[1], into)
        below = into / project[2]
        below.parent.mkdir(parents=True, exist_ok=True)
        return sources.file(ctx, path, below)
    at = PurePosixPath(path)
    if not path.startswith(VOLUMES):
        sources.folder(ctx, str(at.parent), into)
    return sources.file(ctx, path, into / at.name)


class KeptSources:
    """The files and notebooks of the workspace, and the files of volumes."""

    def folder(self, ctx: Ctx, path: str, into: Path) -> None:
        base, total = folders.plain(path), 0
        found = ctx.snapshot(lambda ctx: _below(ctx, base))
        if len(found) > MOST_FILES:
            raise TooLarge(
                f"{path} holds {len(found)} files; a task gets {MOST_FILES}. Put its code in a folder of its own"
            )
        for item in found:
            content, name = _written(ctx, item)
            total += len(content)
            if total > MOST_BYTES:
                raise TooLarge(f"{path} holds more than the {MOST_BYTES} bytes a task gets as its code")
            at = into / (item.full_name[len(base) :].strip("/").rpartition("/")[0]) / name
            at.parent.mkdir(parents=True, exist_ok=True)
            at.write_bytes(content)

    def file(self, ctx: Ctx, path: str, into: Path) -> Path:
        if path.startswith(VOLUMES):
            return _from_volume(ctx, path, into)
        content, name = _written(ctx, _named(ctx, path))
        at = into.with_name(name)
        at.write_bytes(content)
        return at


def _below(ctx: Ctx, base: str) -> list[Obj[Item]]:
    """What is in the folder at any depth and may be read; nothing when the folder itself is not there to see."""
    try:
        under = objects.find(ctx, ITEM, base) if base else None
    except NotFound:
        return []
    return [item for item in objects.visible(ctx, ITEM, CAN_READ, under=under) if item.spec.object_type != "DIRECTORY"]


def _named(ctx: Ctx, path: str) -> Obj[Item]:
    """The file of that name; a notebook may be named by its name or by the file it was imported from."""
    for name in (path, re.sub(r"\.(py|ipynb|sql)$", "", path)):
        try:
            return files.status(ctx, name)
        except NotFound as error:
            missing = error
    raise NotFound(f"Path ({path}) doesn't exist.") from missing


def _written(ctx: Ctx, item: Obj[Item]) -> tuple[bytes, str]:
    """The content, and the name a task finds it under."""
    kept = files.read(ctx, folders.shown(item.full_name))
    content, ending = files.written_out(item.spec, kept, "SOURCE")
    if item.spec.object_type == "FILE" or item.name.endswith(f".{ending}"):
        return content, item.name
    return content, f"{item.name}.{ending}"


def _from_volume(ctx: Ctx, path: str, into: Path) -> Path:
    answer: Any = ctx.call(download, path=path.lstrip("/"))
    assert isinstance(answer, Stream)
    chunks = cast("Iterator[bytes]", answer.chunks)
    size = 0
    with into.open("wb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > MOST_BYTES:
                raise TooLarge(f"{path} is larger than the {MOST_BYTES} bytes a task gets as its code")
            file.write(chunk)
    return into
