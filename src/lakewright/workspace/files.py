"""Importing, exporting and listing what is in a workspace's folders."""

import base64
from typing import Any, Literal

from pydantic import Field

from lakewright.kernel import objects
from lakewright.kernel.answers import Raw
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import AlreadyExists, BadState, Conflict, Fault, Invalid, NotFound, NotSupported
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.rules import EVERYONE, require
from lakewright.workspace import folders, notebooks
from lakewright.workspace.folders import (
    AT_PATH,
    AT_PATH_TO_DELETE,
    CAN_EDIT,
    CAN_MANAGE,
    CAN_READ,
    ITEM,
    KEPT,
    NEAR_PATH,
    SEE,
    Item,
    ObjectType,
    is_folder,
)
from lakewright.workspace.notebooks import Language

api = Api("workspace", "/api/2.0/workspace")

LARGEST = 10 * 2**20
ImportFormat = Literal["AUTO", "SOURCE", "RAW", "JUPYTER"]


class OnPath(Ask):
    path: str


class Listing(OnPath):
    notebooks_modified_after: int | None = None


class Import(OnPath):
    content: str = Field("", exclude=True)
    """Base64. Excluded from what is recorded: the trail says that something was imported, not what was in it."""
    format: str = "SOURCE"
    language: Language | None = None
    overwrite: bool = False


class Export(OnPath):
    format: str = "SOURCE"
    direct_download: bool = False


class Delete(OnPath):
    recursive: bool = False


@api("GET", "/get-status", audit="workspaceGetStatus", on=AT_PATH, needs=SEE, runs=SNAPSHOT)
def get_status(ctx: Ctx, item: Obj[Any], ask: OnPath) -> Reply:
    if item.kind != ITEM.name:
        return {"object_type": "DIRECTORY", "path": "/", "object_id": int(item.id)}
    return show(item)


@api("GET", "/list", audit="workspaceList", on=AT_PATH, needs=SEE, runs=SNAPSHOT)
def list_(ctx: Ctx, folder: Obj[Any], ask: Listing) -> Reply:
    """A file lists as itself. Of a folder, what the caller may see and the folders on the way to it."""
    if not is_folder(folder):
        return {"objects": [show(folder)]}
    after = ask.notebooks_modified_after
    return {"objects": [show(i) for i in _directly_in(ctx, folder) if after is None or _recent(i, after)]}


@api("POST", "/mkdirs", audit="workspaceMkdirs", on=NEAR_PATH, needs=SEE)
def mkdirs(ctx: Ctx, there: Obj[Any], ask: OnPath) -> Reply:
    """What is missing is made where the caller manages the nearest folder; nothing missing, nothing done."""
    path = folders.plain(ask.path)
    if there.full_name == path:
        if not is_folder(there):
            raise AlreadyExists(f"Path ({folders.shown(path)}) is not a folder")
        return {}
    folders.require_making(ctx, path)
    folders.make_folders(ctx, path)
    return {}


@api("POST", "/import", audit="workspaceImport", on=NEAR_PATH, needs=SEE, body="multipart", large=True)
def import_(ctx: Ctx, there: Obj[Any], ask: Import) -> Reply:
    """Into a folder that the caller manages, or over something that the caller may edit."""
    path, item, content = _read_for(ctx, there, ask)
    before = folders.nearest_seen(ctx, path)
    if before.full_name != path:
        _add(ctx, path, item, content)
        return {}
    require(ctx, CAN_EDIT, before)
    if not ask.overwrite:
        raise AlreadyExists(f"Path ({folders.shown(path)}) already exists.")
    if before.spec.object_type != item.object_type:
        raise BadState(f"Path ({folders.shown(path)}) is a {before.spec.object_type}, not a {item.object_type}")
    objects.replace_spec(ctx, before, item)
    ctx.tx.run("UPDATE workspace_content SET content = ? WHERE object_id = ?", content, before.id)
    return {}


@api("GET", "/export", audit="workspaceExport", on=AT_PATH, needs=CAN_READ, runs=SNAPSHOT)
def export(ctx: Ctx, item: Obj[Any], ask: Export) -> Reply | Raw:
    if is_folder(item):
        raise NotSupported("workspaceExport does not support folders")
    content, ending = written_out(item.spec, _content(ctx, item), ask.format)
    if ask.direct_download:
        return Raw(content, headers={"content-disposition": "attachment"})
    return {"content": base64.b64encode(content).decode(), "file_type": ending}


@api("POST", "/delete", audit="workspaceDelete", on=AT_PATH_TO_DELETE, needs=CAN_MANAGE)
def delete(ctx: Ctx, item: Obj[Any], ask: Delete) -> Reply:
    if item.kind != ITEM.name or item.full_name in KEPT:
        raise Invalid(f"Path ({folders.shown(item.full_name)}) cannot be deleted")
    if objects.children(ctx, item) and not ask.recursive:
        raise BadState(f"Folder ({folders.shown(item.full_name)}) is not empty", code="DIRECTORY_NOT_EMPTY")
    ctx.tx.run(
        "DELETE FROM workspace_content WHERE object_id IN (SELECT object_id FROM ancestry WHERE ancestor_id = ?)",
        item.id,
    )
    objects.delete(ctx, item, cascade=True)
    return {}


# ---- for the rest of the platform


def read(ctx: Ctx, path: str) -> bytes:
    """The content of the file, or the source of the notebook, at the path, if the caller may read it."""

    def look(ctx: Ctx) -> bytes:
        item = _readable(ctx, path)
        if is_folder(item):
            raise Invalid(f"Path ({path}) is a folder")
        return _content(ctx, item)

    return ctx.snapshot(look)


def status(ctx: Ctx, path: str) -> Obj[Item]:
    """What lies at the path, if the caller may read it."""
    return ctx.snapshot(lambda ctx: _readable(ctx, path))


def _readable(ctx: Ctx, path: str) -> Obj[Any]:
    item = folders.existing(ctx, folders.plain(path))
    require(ctx, CAN_READ, item)
    return item


# ---- how


def _read_for(ctx: Ctx, there: Obj[Any], ask: Import) -> tuple[str, Item, bytes]:
    """Whoever may not write there hears that first, not what is wrong with the content."""
    path = folders.plain(ask.path)
    try:
        return read_in(path, ask)
    except Fault:
        if there.full_name != path:
            folders.require_making(ctx, path)
        raise


def _add(ctx: Ctx, path: str, item: Item, content: bytes) -> None:
    parent = folders.require_making(ctx, path)
    if parent.full_name != folders.above(path):
        raise NotFound(f"The parent folder ({folders.shown(folders.above(path))}) does not exist.")
    if not is_folder(parent):
        raise Conflict(f"Path ({folders.shown(parent.full_name)}) is not a folder")
    made = objects.create(ctx, ITEM, path.rpartition("/")[2], item, under=parent)
    ctx.tx.run("INSERT INTO workspace_content (object_id, content) VALUES (?, ?)", made.id, content)


def _directly_in(ctx: Ctx, folder: Obj[Any]) -> list[Obj[Item]]:
    """By the rule, and by parent: a folder high up is listed without reading all that lies deeper."""
    condition = EVERYONE.condition(ctx) if SEE.covers(ctx, folder.id) else SEE.condition(ctx)
    rows = ctx.tx.all(
        f"SELECT {objects.COLUMNS} FROM objects o WHERE o.parent_id = ? AND o.kind = ? AND o.deleted_at IS NULL"
        f" AND {condition.sql} ORDER BY o.full_name",
        folder.id, ITEM.name, *condition.params,
    )  # fmt: skip
    return [objects.loaded(ITEM, row) for row in rows]


def _content(ctx: Ctx, item: Obj[Any]) -> bytes:
    return bytes(ctx.tx.scalar("SELECT content FROM workspace_content WHERE object_id = ?", item.id) or b"")


def read_in(path: str, ask: Import) -> tuple[str, Item, bytes]:
    """Where an import goes, what it becomes there, and its content as kept."""
    try:
        content = base64.b64decode(ask.content, validate=True)
    except ValueError as error:
        raise Invalid("content is not base64") from error
    if len(content) > LARGEST:
        raise Invalid(f"content is larger than {LARGEST} bytes", code="MAX_NOTEBOOK_SIZE_EXCEEDED")
    if not path:
        raise Invalid("the root of the workspace is a folder")
    if ask.format not in ("AUTO", "SOURCE", "RAW", "JUPYTER"):
        raise NotSupported(f"workspaceImport does not support the format {ask.format}")
    if ask.format == "RAW":
        return path, _item("FILE", content), content
    if ask.format == "JUPYTER" or (ask.format == "AUTO" and path.lower().endswith(".ipynb")):
        source, language = notebooks.from_jupyter(content)
        return path.removesuffix(".ipynb"), _item("NOTEBOOK", source.encode(), language), source.encode()
    if ask.format == "AUTO":
        return _detected(path, content)
    if ask.language is None:
        raise Invalid("language is required for the format SOURCE")
    return path, _item("NOTEBOOK", content, ask.language), content


def _detected(path: str, content: bytes) -> tuple[str, Item, bytes]:
    """A file, unless its name and first line say that it is a notebook; then the ending goes."""
    meant = notebooks.language_of(path)
    if meant and notebooks.is_notebook(content, meant[0]):
        return path.removesuffix(meant[1]), _item("NOTEBOOK", content, meant[0]), content
    return path, _item("FILE", content), content


def written_out(item: Item, content: bytes, wanted: str) -> tuple[bytes, str]:
    """What is kept, in the form asked for, and the ending such files have."""
    if item.object_type == "FILE":
        if wanted not in ("AUTO", "RAW", "SOURCE"):
            raise Invalid(f"a file cannot be exported as {wanted}")
        return content, "file"
    language: Language = item.language or "PYTHON"
    if wanted == "JUPYTER":
        return notebooks.to_jupyter(content.decode("utf-8", "replace"), language).encode(), "ipynb"
    if wanted not in ("AUTO", "SOURCE"):
        raise NotSupported(f"workspaceExport does not support the format {wanted}")
    return content, next(e for e, known in notebooks.EXTENSIONS.items() if known == language).removeprefix(".")


def _item(object_type: ObjectType, content: bytes, language: Language | None = None) -> Item:
    return Item(object_type=object_type, language=language, size=len(content))


def _recent(item: Obj[Item], after: int) -> bool:
    return item.spec.object_type != "NOTEBOOK" or item.updated_at > after


def show(item: Obj[Item]) -> Reply:
    shown: dict[str, Any] = {
        "object_type": item.spec.object_type, "path": folders.shown(item.full_name), "object_id": int(item.id),
        "resource_id": item.id, "created_at": item.created_at, "modified_at": item.updated_at,
    }  # fmt: skip
    if item.spec.language:
        shown["language"] = item.spec.language
    if item.spec.object_type == "FILE":
        shown["size"] = item.spec.size or 0
    return shown
