"""Transfers: a version's files through the Files API, written while it is pending, only read once it is sealed."""

from pathlib import Path

from lakewright.catalog.schemas import SCHEMA
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Denied, NotFound
from lakewright.kernel.objects import Obj
from lakewright.kernel.roots import METASTORE
from lakewright.kernel.rules import Rule, denied, require
from lakewright.models import files, names, versions
from lakewright.models.names import FullName
from lakewright.models.registered import ADD, REGISTERED_MODEL, USE, RegisteredModel
from lakewright.storage import paths
from lakewright.storage.files import mount
from lakewright.storage.mounts import Access

PREFIX = "/Models"


class VersionFiles:
    """The resolver of `/Models/<catalog>/<schema>/<model>/<version>/…`."""

    def decide(self, ctx: Ctx, relative: str, access: Access) -> Path:
        parts = paths.names(relative)
        if len(parts) < 4:
            raise NotFound(f"nothing is at {PREFIX}/{relative}", code="NOT_FOUND")
        full_name, number, below = names.in_schema(*parts[:3]), parts[3], parts[4:]
        needs = USE if access == "read" else ADD
        model = _found(ctx, full_name, needs)
        require(ctx, needs, model)
        if not number.isdigit() or len(number) > 15:
            raise NotFound(f"nothing is at {PREFIX}/{relative}", code="NOT_FOUND")
        version = versions.of(ctx, model, int(number))
        folder = versions.folder(model, version)
        if version.status == versions.PENDING:
            _require_registrar(ctx, version)
            return files.pending(folder).joinpath(*below)
        if access != "read":
            raise Denied(f"version {number} of '{full_name}' is {version.status}: its files do not change any more")
        return folder.joinpath(*below)


def _found(ctx: Ctx, full_name: FullName, needs: Rule) -> Obj[RegisteredModel]:
    """The model; whether a name is taken is told only to those who would have the right if it were."""
    try:
        return objects.find(ctx, REGISTERED_MODEL, full_name)
    except NotFound as missing:
        try:
            above = objects.find(ctx, SCHEMA, full_name.schema)
        except NotFound:
            above = objects.find(ctx, METASTORE, "")
        verdict = needs.judge(ctx, above.id)
        if verdict:
            raise
        raise denied(ctx, verdict, REGISTERED_MODEL.name, full_name) from missing


def _require_registrar(ctx: Ctx, version: versions.Version) -> None:
    if version.created_by != ctx.principal.id:
        raise Denied(f"version {version.version} is being registered by {ctx.name_of(version.created_by)}; wait for it")


mount(PREFIX, VersionFiles())
