"""The Files API: reading and writing files by path, in volumes and wherever else something is mounted."""

import os
from collections.abc import Iterator
from email.utils import formatdate, parsedate_to_datetime
from typing import IO, Any
from urllib.parse import quote

from lakewright.kernel import objects
from lakewright.kernel.answers import Incoming, Raw, Stream
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid, NotFound
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import OUTSIDE, Api, Ask, Reply
from lakewright.storage import paths, ranges
from lakewright.storage.mounts import MAY_READ, MAY_WRITE, Resolver, at, mount, place
from lakewright.storage.paths import Entry

__all__ = ["Resolver", "mount"]

api = Api("filesystem", "/api/2.0/fs")

READING, WRITING, DELETING = at("read"), at("write"), at("delete")
CHUNK = 1 << 20
MOST_PER_PAGE = 1000


class OnPath(Ask):
    path: str


class Upload(OnPath):
    body: Incoming
    overwrite: bool = True


class Listing(OnPath):
    page_size: int | None = None
    page_token: str | None = None


# ---- files


@api("GET", "/files/{path:rest}", audit="filesGet", on=READING, needs=MAY_READ, runs=OUTSIDE)
def download(ctx: Ctx, target: Obj[Any], ask: OnPath) -> Stream:
    file = os.fdopen(place(ctx, target, ask.path, "read").open(), "rb")
    found = os.fstat(file.fileno())
    _unless_changed(ctx.request.headers.get("if-unmodified-since"), found.st_mtime)
    part = ranges.wanted(ctx.request.headers.get("range"), found.st_size)
    headers = _headers(ask.path, part.length, found.st_mtime)
    if not part.whole:
        headers["content-range"] = f"bytes {part.start}-{part.start + part.length - 1}/{found.st_size}"
    return Stream(_chunks(file, part), status=200 if part.whole else 206, headers=headers)


@api("HEAD", "/files/{path:rest}", audit="filesHead", on=READING, needs=MAY_READ, runs=OUTSIDE)
def describe(ctx: Ctx, target: Obj[Any], ask: OnPath) -> Raw:
    found = place(ctx, target, ask.path, "read").entry()
    if found.is_directory:
        raise NotFound(f"/{ask.path} is a folder", code="NOT_FOUND")
    return Raw(b"", headers=_headers(ask.path, found.size, found.modified_at / 1000))


@api("PUT", "/files/{path:rest}", audit="filesPut", on=WRITING, needs=MAY_WRITE, runs=OUTSIDE, body="file")
def upload(ctx: Ctx, target: Obj[Any], ask: Upload) -> Raw:
    """The whole file or none of it, on disk when this answers."""
    place(ctx, target, ask.path, "write").put(ask.body.path, overwrite=ask.overwrite)
    return Raw(b"", status=204)


@api("DELETE", "/files/{path:rest}", audit="filesDelete", on=DELETING, needs=MAY_WRITE, runs=OUTSIDE)
def remove(ctx: Ctx, target: Obj[Any], ask: OnPath) -> Raw:
    place(ctx, target, ask.path, "delete").remove()
    return Raw(b"", status=204)


# ---- folders


@api("PUT", "/directories/{path:rest}", audit="directoriesPut", on=WRITING, needs=MAY_WRITE, runs=OUTSIDE)
def make_folder(ctx: Ctx, target: Obj[Any], ask: OnPath) -> Raw:
    place(ctx, target, ask.path, "write").make()
    return Raw(b"", status=204)


@api("GET", "/directories/{path:rest}", audit="directoriesList", on=READING, needs=MAY_READ, runs=OUTSIDE)
def list_folder(ctx: Ctx, target: Obj[Any], ask: Listing) -> Reply:
    here = "/" + "/".join(paths.names(ask.path))
    bound = f"{ctx.principal.id}:directory:{here}"
    after = objects.open_token(ctx, ask.page_token, bound) if ask.page_token else ""
    found = [e for e in _entries(ctx, target, ask.path) if e.name > after]
    size = min(ask.page_size or MOST_PER_PAGE, MOST_PER_PAGE)
    if size < 1:
        raise Invalid("page_size must be at least 1")
    following = objects.seal_token(ctx, found[size - 1].name, bound) if len(found) > size else None
    return {"contents": [_show(here, e) for e in found[:size]], "next_page_token": following}


@api("HEAD", "/directories/{path:rest}", audit="directoriesHead", on=READING, needs=MAY_READ, runs=OUTSIDE)
def describe_folder(ctx: Ctx, target: Obj[Any], ask: OnPath) -> Raw:
    where = place(ctx, target, ask.path, "read")
    if not _is_unused_root(where) and not where.entry().is_directory:
        raise NotFound(f"/{ask.path} is a file", code="NOT_FOUND")
    return Raw(b"")


@api("DELETE", "/directories/{path:rest}", audit="directoriesDelete", on=DELETING, needs=MAY_WRITE, runs=OUTSIDE)
def remove_folder(ctx: Ctx, target: Obj[Any], ask: OnPath) -> Raw:
    place(ctx, target, ask.path, "delete").remove_folder()
    return Raw(b"", status=204)


# ---- how


def _entries(ctx: Ctx, target: Obj[Any], path: str) -> list[Entry]:
    where = place(ctx, target, path, "read")
    return [] if _is_unused_root(where) else where.entries()


def _is_unused_root(where: paths.Place) -> bool:
    """A managed volume has no folder until something is written; it is empty, not missing."""
    return not where.below and not where.root.exists()


def _headers(path: str, length: int, modified: float) -> dict[str, str]:
    """Never shown by a browser as a page of this origin: always an attachment of no particular type."""
    name = quote(path.rstrip("/").rpartition("/")[2], safe="")
    return {
        "content-length": str(length), "last-modified": formatdate(modified, usegmt=True), "accept-ranges": "bytes",
        "content-disposition": f"attachment; filename*=UTF-8''{name}",
        "content-security-policy": "sandbox; default-src 'none'", "cache-control": "no-store",
    }  # fmt: skip


def _chunks(file: IO[bytes], part: ranges.Part) -> Iterator[bytes]:
    with file:
        file.seek(part.start)
        left = part.length
        while left and (chunk := file.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk


def _unless_changed(since: str | None, modified: float) -> None:
    """A client that resumes a download must not get the rest of another file."""
    if since is None:
        return
    try:
        then = parsedate_to_datetime(since).timestamp()
    except ValueError:
        return
    if int(modified) > then:
        raise ranges.Changed("the file has changed")


def _show(here: str, entry: Entry) -> Reply:
    return {
        "name": entry.name, "path": f"{here.rstrip('/')}/{entry.name}", "is_directory": entry.is_directory,
        "file_size": entry.size, "last_modified": entry.modified_at,
    }  # fmt: skip
