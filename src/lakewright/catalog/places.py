"""Places: where the bytes of tables and volumes lie, and who may say so.

What the platform manages lies under its own data directory, in folders named by ids, so that a rename moves nothing
and a new table never finds an old one's files. What it does not manage lies under an external location: a folder an
administrator opened, inside the roots that the settings allow.
"""

from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote, urlsplit

from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid, NotSupported
from lakewright.kernel.objects import Obj
from lakewright.kernel.roots import METASTORE

Shelf = Literal["tables", "volumes", "models"]


def managed(ctx: Ctx, schema: Obj[Any], shelf: Shelf, object_id: str) -> str:
    """The URL of a managed object of this schema."""
    catalog = objects.parent(ctx, schema)
    root = schema.spec.storage_root or catalog.spec.storage_root
    base = local(root) if root else default_root(ctx)
    return url(base / catalog.id / schema.id / shelf / object_id)


def default_root(ctx: Ctx) -> Path:
    return ctx.settings.data_dir.resolve() / "storage" / objects.find(ctx, METASTORE, "").id


def managed_root(ctx: Ctx, asked: str | None) -> str | None:
    """A catalog's or schema's own root for managed data: inside a location on which that is allowed, and nobody's yet."""
    if asked is None:
        return None
    from lakewright.catalog.locations import CREATE_MANAGED_STORAGE, claim

    path = local(asked)
    claim(ctx, path, CREATE_MANAGED_STORAGE)
    return url(path)


def local(location: str) -> Path:
    """The absolute path a location means. Only local files are storage so far."""
    scheme, host, path, query, fragment = urlsplit(location)
    if scheme not in ("", "file"):
        raise NotSupported(f"storage at {scheme}:// is not supported; use file:///…")
    if host not in ("", "localhost") or query or fragment or "?" in location or "#" in location:
        raise Invalid(f"'{location}' is not a local path")
    plain = unquote(path) if scheme else path
    names = plain.strip("/").split("/")
    if not plain.startswith("/") or any(n in ("", ".", "..") or "\x00" in n or "%" in n for n in names):
        raise Invalid(f"'{location}' is not a plain absolute path")
    return Path("/", *names)


def url(path: Path) -> str:
    return "file://" + quote(str(path))


def within(inner: Path, outer: Path) -> bool:
    return inner == outer or outer in inner.parents


def overlap(one: Path, other: Path) -> bool:
    return within(one, other) or within(other, one)
