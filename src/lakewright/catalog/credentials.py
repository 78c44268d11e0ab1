"""Storage credentials: as whom the server reaches data it does not manage.

So far that is the server's own account on its own disks, which the API calls a service account of the platform. Keys
of clouds are refused rather than kept unused.
"""

from typing import Literal

from pydantic import BaseModel

from lakewright.catalog import names
from lakewright.catalog.people import People
from lakewright.catalog.reach import Mainly
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import BadState
from lakewright.kernel.kinds import Kind
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Nothing, Reply
from lakewright.kernel.roots import IN_METASTORE, METASTORE, Root
from lakewright.kernel.rules import MANAGE, PER_ROW, require


class StorageCredential(BaseModel):
    comment: str | None = None
    read_only: bool = False


STORAGE_CREDENTIAL = Kind(
    "storage_credential", example=StorageCredential(), under=METASTORE, folded=True,
    also_called=("storage-credentials",),
)  # fmt: skip
(CREATE_STORAGE_CREDENTIAL,) = METASTORE.privileges("CREATE_STORAGE_CREDENTIAL")
(CREATE_EXTERNAL_LOCATION,) = STORAGE_CREDENTIAL.privileges("CREATE_EXTERNAL_LOCATION")
SEE = Mainly(CREATE_EXTERNAL_LOCATION, MANAGE)

api = Api("unityCatalog", "/api/2.1/unity-catalog/storage-credentials")
BY_NAME = STORAGE_CREDENTIAL.at("{name}")


class CreateCredential(Ask):
    name: str
    databricks_gcp_service_account: Nothing
    """Empty: the server's own account."""
    comment: str | None = None
    read_only: bool = False
    skip_validation: bool = False


class Listing(Ask):
    include_unbound: bool = False
    max_results: int | None = None
    page_token: str | None = None


class Named(Ask):
    name: str


class UpdateCredential(Named):
    new_name: str | None = None
    owner: str | None = None
    comment: str | None = None
    isolation_mode: Literal["ISOLATION_MODE_OPEN"] | None = None


class DeleteCredential(Named):
    force: bool = False


@api("POST", audit="createStorageCredential", on=IN_METASTORE, needs=CREATE_STORAGE_CREDENTIAL)
def create(ctx: Ctx, metastore: Obj[Root], ask: CreateCredential) -> Reply:
    spec = StorageCredential(comment=ask.comment, read_only=ask.read_only)
    name = names.checked(ask.name, "credential name")
    return show(ctx, objects.create(ctx, STORAGE_CREDENTIAL, name, spec, under=metastore), People(ctx))


@api("GET", audit="listStorageCredentials", on=IN_METASTORE, needs=PER_ROW)
def list_(ctx: Ctx, metastore: Obj[Root], ask: Listing) -> Reply:
    found, following = objects.page(ctx, STORAGE_CREDENTIAL, SEE, size=ask.max_results, token=ask.page_token)
    people = People(ctx)
    return {"storage_credentials": [show(ctx, c, people) for c in found], "next_page_token": following}


@api("GET", "/{name}", audit="getStorageCredential", on=BY_NAME, needs=SEE, runs=SNAPSHOT)
def get(ctx: Ctx, credential: Obj[StorageCredential], ask: Named) -> Reply:
    return show(ctx, credential, People(ctx))


@api("PATCH", "/{name}", audit="updateStorageCredential", on=BY_NAME, needs=MANAGE)
def update(ctx: Ctx, credential: Obj[StorageCredential], ask: UpdateCredential) -> Reply:
    if ask.comment is not None:
        credential = objects.update(ctx, credential, comment=ask.comment)
    if ask.new_name is not None:
        require(ctx, CREATE_STORAGE_CREDENTIAL, objects.parent(ctx, credential))
        credential = objects.rename(ctx, credential, names.checked(ask.new_name, "new_name"))
    if ask.owner is not None:
        credential = objects.set_owner(ctx, credential, ctx.id_of(ask.owner))
    return show(ctx, credential, People(ctx))


@api("DELETE", "/{name}", audit="deleteStorageCredential", on=BY_NAME, needs=MANAGE)
def delete(ctx: Ctx, credential: Obj[StorageCredential], ask: DeleteCredential) -> Reply:
    """Locations keep pointing at it by id; while there are any it stays."""
    used = ctx.tx.scalar(
        "SELECT COUNT(*) FROM objects WHERE kind = 'external_location' AND deleted_at IS NULL AND spec LIKE ?",
        f'%"credential_id":"{credential.id}"%',
    )
    if used:
        raise BadState(f"storage credential '{credential.name}' is used by {used} external locations")
    objects.delete(ctx, credential)
    return {}


def show(ctx: Ctx, credential: Obj[StorageCredential], people: People) -> Reply:
    return {
        "id": credential.id, "name": credential.name, "full_name": credential.full_name,
        "owner": people[credential.owner], "comment": credential.spec.comment, "read_only": credential.spec.read_only,
        "databricks_gcp_service_account": {"credential_id": credential.id}, "metastore_id": people.metastore_id,
        "isolation_mode": "ISOLATION_MODE_OPEN",
        "created_at": credential.created_at, "created_by": people[credential.created_by],
        "updated_at": credential.updated_at, "updated_by": people[credential.updated_by],
    }  # fmt: skip
