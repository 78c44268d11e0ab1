"""External locations: folders outside the managed storage that an administrator opened, and for whom."""

import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from lakewright.catalog import names, places
from lakewright.catalog.credentials import CREATE_EXTERNAL_LOCATION as ON_CREDENTIAL
from lakewright.catalog.credentials import STORAGE_CREDENTIAL, StorageCredential
from lakewright.catalog.people import People
from lakewright.catalog.reach import Mainly
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import AlreadyExists, BadState, Denied, Invalid
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.roots import IN_METASTORE, METASTORE, Root
from lakewright.kernel.rules import EVERYONE, MANAGE, PER_ROW, Right, Rule, require


class ExternalLocation(BaseModel):
    url: str
    credential_id: str
    comment: str | None = None
    read_only: bool = False


EXTERNAL_LOCATION = Kind(
    "external_location", example=ExternalLocation(url="file:///srv/landing", credential_id="c"), under=METASTORE,
    folded=True, also_called=("external-locations",),
)  # fmt: skip
(CREATE_EXTERNAL_LOCATION,) = METASTORE.privileges("CREATE_EXTERNAL_LOCATION")
READ_FILES, WRITE_FILES, CREATE_EXTERNAL_TABLE, CREATE_EXTERNAL_VOLUME, CREATE_MANAGED_STORAGE = (
    EXTERNAL_LOCATION.privileges(
        "READ_FILES", "WRITE_FILES", "CREATE_EXTERNAL_TABLE", "CREATE_EXTERNAL_VOLUME", "CREATE_MANAGED_STORAGE"
    )
)
BROWSE_LOCATION = EXTERNAL_LOCATION.rights["BROWSE"] = Right("BROWSE", "external_location", ("ALL_PRIVILEGES",))
CREATING = CREATE_EXTERNAL_TABLE | CREATE_EXTERNAL_VOLUME | CREATE_MANAGED_STORAGE
KNOW = Mainly(READ_FILES, WRITE_FILES | CREATING | MANAGE)
SEE = Mainly(KNOW, BROWSE_LOCATION)

api = Api("unityCatalog", "/api/2.1/unity-catalog/external-locations")
BY_NAME = EXTERNAL_LOCATION.at("{name}")


class CreateLocation(Ask):
    name: str
    url: str
    credential_name: str
    comment: str | None = None
    read_only: bool = False
    skip_validation: bool = False


class Listing(Ask):
    include_browse: bool = False
    include_unbound: bool = False
    max_results: int | None = None
    page_token: str | None = None


class Named(Ask):
    name: str


class ReadLocation(Named):
    include_browse: bool = False


class UpdateLocation(Named):
    new_name: str | None = None
    owner: str | None = None
    comment: str | None = None
    read_only: bool | None = None
    isolation_mode: Literal["ISOLATION_MODE_OPEN"] | None = None


class DeleteLocation(Named):
    force: bool = False


@api("POST", audit="createExternalLocation", on=IN_METASTORE, needs=CREATE_EXTERNAL_LOCATION)
def create(ctx: Ctx, metastore: Obj[Root], ask: CreateLocation) -> Reply:
    credential = objects.find(ctx, STORAGE_CREDENTIAL, ask.credential_name)
    require(ctx, ON_CREDENTIAL, credential)
    path = places.local(ask.url)
    allow(path, ctx.settings.storage.external_roots, ctx.settings.data_dir.resolve())
    for other in _all(ctx):
        if places.overlap(path, places.local(other.spec.url)):
            raise AlreadyExists(f"'{ask.url}' overlaps an external location that is there already")
    spec = ExternalLocation(
        url=places.url(path), credential_id=credential.id, comment=ask.comment,
        read_only=ask.read_only or credential.spec.read_only,
    )  # fmt: skip
    name = names.checked(ask.name, "location name")
    return show(ctx, objects.create(ctx, EXTERNAL_LOCATION, name, spec, under=metastore), People(ctx))


@api("GET", audit="listExternalLocations", on=IN_METASTORE, needs=PER_ROW)
def list_(ctx: Ctx, metastore: Obj[Root], ask: Listing) -> Reply:
    found, following = objects.page(
        ctx, EXTERNAL_LOCATION, SEE if ask.include_browse else KNOW, size=ask.max_results, token=ask.page_token
    )
    people = People(ctx)
    return {"external_locations": [show(ctx, x, people) for x in found], "next_page_token": following}


@api("GET", "/{name}", audit="getExternalLocation", on=BY_NAME, needs=SEE, runs=SNAPSHOT)
def get(ctx: Ctx, location: Obj[ExternalLocation], ask: ReadLocation) -> Reply:
    if not ask.include_browse:
        require(ctx, KNOW, location)
    return show(ctx, location, People(ctx))


@api("PATCH", "/{name}", audit="updateExternalLocation", on=BY_NAME, needs=MANAGE)
def update(ctx: Ctx, location: Obj[ExternalLocation], ask: UpdateLocation) -> Reply:
    changed = {k: v for k in ("comment", "read_only") if (v := getattr(ask, k)) is not None}
    if changed.get("read_only") is False and _credential(ctx, location).spec.read_only:
        raise BadState("its storage credential is read-only")
    if changed:
        location = objects.update(ctx, location, **changed)
    if ask.new_name is not None:
        require(ctx, CREATE_EXTERNAL_LOCATION, objects.parent(ctx, location))
        location = objects.rename(ctx, location, names.checked(ask.new_name, "new_name"))
    if ask.owner is not None:
        location = objects.set_owner(ctx, location, ctx.id_of(ask.owner))
    return show(ctx, location, People(ctx))


@api("DELETE", "/{name}", audit="deleteExternalLocation", on=BY_NAME, needs=MANAGE)
def delete(ctx: Ctx, location: Obj[ExternalLocation], ask: DeleteLocation) -> Reply:
    """Data below it that the catalog knows keeps it there; there is no forcing tables into nowhere."""
    if inside := occupants(ctx, places.local(location.spec.url)):
        raise BadState(f"{len(inside)} tables, volumes or catalogs lie in external location '{location.name}'")
    objects.delete(ctx, location)
    return {}


# ---- what lies where


def covering(ctx: Ctx, path: Path, right: Rule) -> Obj[ExternalLocation]:
    """The location that `path` lies in, if the caller holds `right` on it. The refusal says nothing about what exists."""
    for location in _all(ctx):
        if places.within(path, places.local(location.spec.url)) and right.judge(ctx, location.id):
            if location.spec.read_only and right in (CREATE_MANAGED_STORAGE, WRITE_FILES):
                raise BadState(f"external location '{location.name}' is read-only")
            return location
    raise Denied(f"{ctx.principal.name} needs {right} that covers '{places.url(path)}'")


def claim(ctx: Ctx, path: Path, right: Rule) -> None:
    """Let a new table or volume have `path`, or say why not: no right, a link on the way, or somebody is there."""
    covering(ctx, path, right)
    _literal(path)
    if Path(os.path.realpath(path)) != path:
        raise Invalid(f"'{places.url(path)}' leads through a link")
    if occupants(ctx, path):
        raise AlreadyExists(f"'{places.url(path)}' overlaps a table or volume that is there already")


def require_writable(ctx: Ctx, obj: Obj[Any]) -> None:
    """BadState if the external table or volume lies where nobody may write."""
    path = places.local(obj.spec.storage_location)
    if not any(places.within(path, places.local(x.spec.url)) and not x.spec.read_only for x in _all(ctx)):
        raise BadState(f"{obj.kind} '{obj.full_name}' lies in a read-only external location")


def occupants(ctx: Ctx, path: Path) -> list[str]:
    """Full names of what the catalog already has at, above or below `path`."""
    rows = ctx.tx.all(
        "SELECT full_name, spec FROM objects WHERE kind IN ('table', 'volume', 'catalog', 'schema')"
        " AND deleted_at IS NULL AND spec LIKE '%\":\"file://%'"
    )
    return [row["full_name"] for row in rows if any(places.overlap(path, p) for p in _paths(row["spec"]))]


def allow(path: Path, roots: list[Path], data_dir: Path) -> None:
    """Decide where a location may be: below a root of the settings, not through a link, clear of our own data."""
    if not any(places.within(path, Path(os.path.realpath(root))) for root in roots):
        allowed = ", ".join(str(root) for root in roots) or "none: set LAKEWRIGHT_STORAGE__EXTERNAL_ROOTS"
        raise Denied(f"'{path}' is outside the folders this server may open ({allowed})")
    _literal(path)
    if Path(os.path.realpath(path)) != path:
        raise Invalid(f"'{path}' leads through a link")
    if places.overlap(path, data_dir):
        raise Denied(f"'{path}' overlaps the server's own data")


def _literal(path: Path) -> None:
    """Engines read some signs as patterns: a table at `/landing/*` would be a table of everybody's files."""
    if bad := next((c for c in str(path) if c in "*?[]{}$\\" or ord(c) < 32), None):
        raise Invalid(f"a location may not contain {bad!r}")


def withheld(full_name: str) -> Denied:
    return Denied(
        f"the files of '{full_name}' are not handed out: a row filter or column mask applies; "
        "read it through SQL or POST /api/2.1/lakewright/scan"
    )


def _paths(spec_json: str) -> list[Path]:
    spec: dict[str, Any] = json.loads(spec_json)
    return [places.local(spec[k]) for k in ("storage_location", "storage_root") if spec.get(k)]


def _all(ctx: Ctx) -> list[Obj[ExternalLocation]]:
    return objects.visible(ctx, EXTERNAL_LOCATION, EVERYONE)


def _credential(ctx: Ctx, location: Obj[ExternalLocation]) -> Obj[StorageCredential]:
    return objects.by_id(ctx, STORAGE_CREDENTIAL, location.spec.credential_id)


def show(ctx: Ctx, location: Obj[ExternalLocation], people: People) -> Reply:
    return {
        "name": location.name, "url": location.spec.url, "comment": location.spec.comment,
        "read_only": location.spec.read_only, "credential_id": location.spec.credential_id,
        "credential_name": _credential(ctx, location).name, "owner": people[location.owner],
        "metastore_id": people.metastore_id, "isolation_mode": "ISOLATION_MODE_OPEN",
        "created_at": location.created_at, "created_by": people[location.created_by],
        "updated_at": location.updated_at, "updated_by": people[location.updated_by],
    }  # fmt: skip
