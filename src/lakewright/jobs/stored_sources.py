"""The code of tasks as it is kept here: in workspace folders and in volumes."""

from pathlib import Path
from typing import Any

from lakewright.jobs.sources import MOST_BYTES, MOST_FILES
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid, TooLarge
from lakewright.kernel.objects import Obj
from lakewright.kernel.rules import require
from lakewright.workspace import files, folders
from lakewright.workspace.folders import CAN_READ, ITEM


class StoredSources:
    """`jobs.sources.Sources`, read with the rights of the principal of the context."""

    def folder(self, ctx: Ctx, path: str, into: Path) -> None:
        """Everything in the folder, and below it, that may be read: what may not is left out, as a listing leaves it out."""
        top = folders.existing(ctx, folders.plain(path))
        require(ctx, CAN_READ, top)
        found = [item for item in objects.visible(ctx, ITEM, CAN_READ, under=top) if not folders.is_folder(item)]
        sizes = sum(item.spec.size or 0 for item in found)
        if len(found) > MOST_FILES or sizes > MOST_BYTES:
            raise TooLarge(
                f"{path} has {len(found)} files of {sizes} bytes; a task gets {MOST_FILES} and {MOST_BYTES} at most"
            )
        for item in found:
            _write(ctx, item, into / item.full_name.removeprefix(f"{top.full_name}/"))

    def file(self, ctx: Ctx, path: str, into: Path) -> Path:
        if path.startswith("/Volumes/"):
            raise Invalid(f"{path}: put the files that tasks run into the workspace")
        item = folders.existing(ctx, folders.plain(path))
        require(ctx, CAN_READ, item)
        if folders.is_folder(item):
            raise Invalid(f"{path} is a folder, and a task runs a file")
        return _write(ctx, item, into)


def _write(ctx: Ctx, item: Obj[Any], into: Path) -> Path:
    content = files.read(ctx, folders.shown(item.full_name))
    _, ending = files.written_out(item.spec, content, "AUTO")
    if item.spec.object_type == "NOTEBOOK":
        into = into.with_name(f"{into.name}.{ending}")
    into.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    into.write_bytes(content)
    return into
