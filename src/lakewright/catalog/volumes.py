"""Volumes: governed directories of files."""

from typing import Literal
from uuid import uuid4

from pydantic import BaseModel

from lakewright.catalog import dropped, locations, names, places
from lakewright.catalog.catalogs import BROWSING
from lakewright.catalog.people import People
from lakewright.catalog.reach import Mainly
from lakewright.catalog.schemas import EXTERNAL_USE, REACH, SCHEMA, Schema
from lakewright.catalog.schemas import SEE as SEE_SCHEMA
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.rules import MANAGE, require


class Volume(BaseModel):
    volume_type: Literal["MANAGED", "EXTERNAL"]
    storage_location: str
    comment: str | None = None


VOLUME = Kind(
    "volume", example=Volume(volume_type="MANAGED", storage_location="file:///srv/v"), under=SCHEMA, folded=True,
    also_called=("volumes",),
)  # fmt: skip
READ_VOLUME, WRITE_VOLUME = VOLUME.privileges("READ_VOLUME", "WRITE_VOLUME")
(CREATE_VOLUME,) = SCHEMA.privileges("CREATE_VOLUME")

READ = REACH & READ_VOLUME
WRITE = REACH & WRITE_VOLUME
KNOW = REACH & Mainly(READ_VOLUME, WRITE_VOLUME | MANAGE)
SEE = Mainly(KNOW, BROWSING)

api = Api("unityCatalog", "/api/2.1/unity-catalog")
BY_NAME = VOLUME.at("{name}")
IN_SCHEMA = SCHEMA.at("{catalog_name}.{schema_name}")


class CreateVolume(Ask):
    catalog_name: str
    schema_name: str
    name: str
    volume_type: Literal["MANAGED", "EXTERNAL"]
    storage_location: str | None = None
    comment: str | None = None


class Listing(Ask):
    catalog_name: str
    schema_name: str
    include_browse: bool = False
    max_results: int | None = None
    page_token: str | None = None


class Named(Ask):
    name: str


class ReadVolume(Named):
    include_browse: bool = False


class UpdateVolume(Named):
    new_name: str | None = None
    owner: str | None = None
    comment: str | None = None


class VolumeCredentials(Ask):
    volume_id: str
    operation: Literal["READ_VOLUME", "WRITE_VOLUME"] = "READ_VOLUME"


@api("POST", "/volumes", audit="createVolume", on=IN_SCHEMA, needs=REACH & CREATE_VOLUME)
def create(ctx: Ctx, schema: Obj[Schema], ask: CreateVolume) -> Reply:
    """A managed volume's folder comes into being with its first file."""
    volume_id = str(uuid4())
    spec = Volume(
        volume_type=ask.volume_type, storage_location=_place(ctx, schema, ask, volume_id), comment=ask.comment
    )
    name = names.checked(ask.name, "volume name")
    return shown(ctx, objects.create(ctx, VOLUME, name, spec, under=schema, id=volume_id))


@api("GET", "/volumes", audit="listVolumes", on=IN_SCHEMA, needs=SEE_SCHEMA, runs=SNAPSHOT)
def list_(ctx: Ctx, schema: Obj[Schema], ask: Listing) -> Reply:
    found, following = objects.page(
        ctx, VOLUME, SEE if ask.include_browse else KNOW, under=schema, size=ask.max_results, token=ask.page_token
    )
    people = People(ctx)
    return {"volumes": [show(ctx, v, people) for v in found], "next_page_token": following}


@api("GET", "/volumes/{name}", audit="getVolume", on=BY_NAME, needs=SEE, runs=SNAPSHOT)
def get(ctx: Ctx, volume: Obj[Volume], ask: ReadVolume) -> Reply:
    if not ask.include_browse:
        require(ctx, KNOW, volume)
    return shown(ctx, volume)


@api("PATCH", "/volumes/{name}", audit="updateVolume", on=BY_NAME, needs=REACH & MANAGE)
def update(ctx: Ctx, volume: Obj[Volume], ask: UpdateVolume) -> Reply:
    if ask.comment is not None:
        volume = objects.update(ctx, volume, comment=ask.comment)
    if ask.new_name is not None and (name := names.checked(ask.new_name, "new_name")) != volume.name:
        require(ctx, CREATE_VOLUME, objects.parent(ctx, volume))
        volume = objects.rename(ctx, volume, name)
    if ask.owner is not None:
        volume = objects.set_owner(ctx, volume, ctx.id_of(ask.owner))
    return shown(ctx, volume)


@api("DELETE", "/volumes/{name}", audit="deleteVolume", on=BY_NAME, needs=REACH & MANAGE)
def delete(ctx: Ctx, volume: Obj[Volume], ask: Named) -> Reply:
    dropped.drop(ctx, volume)
    return {}


@api(
    "POST", "/temporary-volume-credentials", audit="generateTemporaryVolumeCredential", needs=READ & EXTERNAL_USE,
    on=VOLUME.by_id("{volume_id}"), also=("/api/2.0/unity-catalog/temporary-volume-credentials",),
)  # fmt: skip
def credentials(ctx: Ctx, volume: Obj[Volume], ask: VolumeCredentials) -> Reply:
    """The place and no secret: local files need no key beyond being on this machine."""
    if ask.operation == "WRITE_VOLUME":
        require(ctx, WRITE, volume)
        if volume.spec.volume_type == "EXTERNAL":
            locations.require_writable(ctx, volume)
    return {"url": volume.spec.storage_location, "expiration_time": ctx.now() + 3_600_000}


def _place(ctx: Ctx, schema: Obj[Schema], ask: CreateVolume, volume_id: str) -> str:
    """An external volume brings its own place; a managed one is given one under its schema."""
    if ask.volume_type == "MANAGED":
        if ask.storage_location:
            raise Invalid("storage_location cannot be chosen for a MANAGED volume")
        return places.managed(ctx, schema, "volumes", volume_id)
    if not ask.storage_location:
        raise Invalid("storage_location is required for an EXTERNAL volume")
    path = places.local(ask.storage_location)
    locations.claim(ctx, path, locations.CREATE_EXTERNAL_VOLUME)
    return places.url(path)


def shown(ctx: Ctx, volume: Obj[Volume]) -> Reply:
    return show(ctx, volume, People(ctx))


def show(ctx: Ctx, volume: Obj[Volume], people: People) -> Reply:
    """Where its files lie is for whoever may take them there themselves; everybody else uses /Volumes/…."""
    catalog_name, schema_name, name = volume.full_name.split(".")
    reply = {
        "catalog_name": catalog_name, "schema_name": schema_name, "name": name, "full_name": volume.full_name,
        "volume_id": volume.id, "volume_type": volume.spec.volume_type, "comment": volume.spec.comment,
        "owner": people[volume.owner], "metastore_id": people.metastore_id,
        "created_at": volume.created_at, "created_by": people[volume.created_by],
        "updated_at": volume.updated_at, "updated_by": people[volume.updated_by],
    }  # fmt: skip
    if READ.judge(ctx, volume.id):
        reply["storage_location"] = volume.spec.storage_location
    return reply
