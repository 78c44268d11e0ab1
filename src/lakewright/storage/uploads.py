"""Large uploads in parts, and the addresses that clients ask for before they send or fetch bytes.

Clients expect addresses in a cloud's store. Here the address is this server and the key that goes with it is the
caller's own token, so that it opens nothing they could not open anyway and dies with the token.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote
from uuid import uuid4

from pydantic import Field

from lakewright.kernel import objects
from lakewright.kernel.answers import Incoming, Json, Raw
from lakewright.kernel.context import Ctx
from lakewright.kernel.controllers import controller
from lakewright.kernel.faults import Invalid
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import OUTSIDE, SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.platform import Platform
from lakewright.storage import paths
from lakewright.storage.files import READING, WRITING, OnPath
from lakewright.storage.mounts import MAY_READ, MAY_WRITE, place

api = Api("filesystem", "/api/2.0/fs")

MOST_PARTS = 10_000
ABANDONED_AFTER_MS = 24 * 3_600_000


class Address(OnPath):
    expire_time: str | None = None
    """Accepted because every client sends it; the address ends with the caller's token, not before."""


class Part(Ask):
    part_number: int
    etag: str


class Multipart(OnPath):
    action: Literal["initiate-upload", "complete-upload"]
    overwrite: bool = True
    upload_type: Literal["multipart"] | None = None
    session_token: str | None = None
    parts: list[Part] = Field(default_factory=list[Part])


class Session(OnPath):
    session_token: str
    expire_time: str | None = None


class PartAddresses(Session):
    start_part_number: int = Field(ge=1, le=MOST_PARTS)
    count: int = Field(ge=1, le=1000)


class PartBytes(OnPath):
    session_token: str
    part_number: int = Field(ge=1, le=MOST_PARTS)
    body: Incoming


# ---- addresses


@api("POST", "/create-download-url", audit="createDownloadUrl", on=READING, needs=MAY_READ, runs=SNAPSHOT)
def download_address(ctx: Ctx, target: Obj[Any], ask: Address) -> Reply:
    return _address(ctx, f"/api/2.0/fs/files{_escaped(ask.path)}")


@api("POST", "/create-upload-url", audit="createUploadUrl", on=WRITING, needs=MAY_WRITE, runs=SNAPSHOT)
def upload_address(ctx: Ctx, target: Obj[Any], ask: Address) -> Reply:
    return _address(ctx, f"/api/2.0/fs/files{_escaped(ask.path)}")


@api("POST", "/create-upload-part-urls", audit="createUploadPartUrls", on=WRITING, needs=MAY_WRITE, runs=SNAPSHOT)
def part_addresses(ctx: Ctx, target: Obj[Any], ask: PartAddresses) -> Reply:
    _opened(ctx, ask.path, ask.session_token)
    numbers = range(ask.start_part_number, ask.start_part_number + ask.count)
    where = f"/api/2.0/fs/upload-parts{_escaped(ask.path)}?session_token={ask.session_token}"
    return {"upload_part_urls": [{"part_number": n, **_address(ctx, f"{where}&part_number={n}")} for n in numbers]}


@api("POST", "/create-abort-upload-url", audit="createAbortUploadUrl", on=WRITING, needs=MAY_WRITE, runs=SNAPSHOT)
def abort_address(ctx: Ctx, target: Obj[Any], ask: Session) -> Reply:
    _opened(ctx, ask.path, ask.session_token)
    where = f"/api/2.0/fs/upload-parts{_escaped(ask.path)}?session_token={ask.session_token}"
    return {"abort_upload_url": _address(ctx, where)}


# ---- parts


@api("POST", "/files/{path:rest}", audit="filesMultipart", on=WRITING, needs=MAY_WRITE, runs=OUTSIDE)
def multipart(ctx: Ctx, target: Obj[Any], ask: Multipart) -> Reply:
    """Begin an upload in parts, or put its parts together: only then is there a file, whole."""
    if ask.action == "initiate-upload":
        return {"multipart_upload": {"session_token": _begun(ctx, ask)}}
    if ask.session_token is None:
        raise Invalid("session_token is required")
    folder, overwrite = _opened(ctx, ask.path, ask.session_token)
    place(ctx, target, ask.path, "write").put(*_checked(folder, ask.parts), overwrite=overwrite)
    shutil.rmtree(folder, ignore_errors=True)
    return {}


@api("PUT", "/upload-parts/{path:rest}", audit="filesPutPart", on=WRITING, needs=MAY_WRITE, runs=OUTSIDE, body="file")
def put_part(ctx: Ctx, target: Obj[Any], ask: PartBytes) -> Json:
    """A part sent again takes the place of the first."""
    folder, _ = _opened(ctx, ask.path, ask.session_token)
    if not folder.is_dir():
        raise Invalid("this upload is finished or was given up")
    ask.body.path.rename(folder / str(ask.part_number))
    ask.body.path.touch(mode=0o600)  # the request removes its spool file when it ends
    return Json({}, headers={"etag": _etag(folder / str(ask.part_number))})


@api("DELETE", "/upload-parts/{path:rest}", audit="filesAbortMultipart", on=WRITING, needs=MAY_WRITE, runs=OUTSIDE)
def abort(ctx: Ctx, target: Obj[Any], ask: Session) -> Raw:
    folder, _ = _opened(ctx, ask.path, ask.session_token)
    shutil.rmtree(folder, ignore_errors=True)
    return Raw(b"")


@controller("storage.uploads", every=3600.0)
def sweep(platform: Platform) -> None:
    """Remove uploads that were begun a day ago and never put together."""
    before = platform.clock.now() - ABANDONED_AFTER_MS
    for folder in _shelf(platform.settings.data_dir).glob("*"):
        begun = folder.name.partition("-")[0]
        if begun.isdigit() and int(begun) < before:
            shutil.rmtree(folder, ignore_errors=True)


# ---- how


def _begun(ctx: Ctx, ask: Multipart) -> str:
    name = f"{ctx.now()}-{uuid4().hex}"
    (_shelf(ctx.settings.data_dir) / name).mkdir(parents=True, mode=0o700)
    return objects.seal_token(ctx, f"{name}:{int(ask.overwrite)}", _bound(ctx, ask.path))


def _opened(ctx: Ctx, path: str, token: str) -> tuple[Path, bool]:
    """The folder of the upload that this caller began for this path; Invalid for anybody else's token."""
    name, _, overwrite = objects.open_token(ctx, token, _bound(ctx, path)).partition(":")
    return _shelf(ctx.settings.data_dir) / name, overwrite == "1"


def _bound(ctx: Ctx, path: str) -> str:
    return f"{ctx.principal.id}:upload:{'/'.join(paths.names(path))}"


def _shelf(data_dir: Path) -> Path:
    return data_dir.resolve() / "uploads"


def _checked(folder: Path, parts: list[Part]) -> list[Path]:
    """The parts in their order, each as the client believes it is."""
    if not parts or len({p.part_number for p in parts}) != len(parts):
        raise Invalid("parts must name each part of the upload once")
    found: list[Path] = []
    for part in sorted(parts, key=lambda p: p.part_number):
        file = folder / str(part.part_number)
        if not file.is_file() or _etag(file) != part.etag:
            raise Invalid(f"part {part.part_number} is missing or is not what was sent")
        found.append(file)
    return found


def _etag(file: Path) -> str:
    with file.open("rb") as content:
        return f'"{hashlib.file_digest(content, "sha256").hexdigest()}"'


def _escaped(path: str) -> str:
    return "/" + "/".join(quote(name, safe="") for name in paths.names(path))


def _address(ctx: Ctx, where: str) -> Reply:
    own = ctx.request.headers.get("authorization", "")
    return {"url": ctx.request.base_url + where, "headers": [{"name": "Authorization", "value": own}]}
