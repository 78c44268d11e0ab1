"""Models of the catalog as serving sees them: released by the registry's rules, and the caller's to execute."""

from collections.abc import Sequence

from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import BadState, NotFound
from lakewright.kernel.rules import Verdict
from lakewright.models import names, release, versions
from lakewright.models.registered import REGISTERED_MODEL, USE
from lakewright.serving.releases import Files


def _target(ctx: Ctx, endpoint: str) -> str:
    """Where models are live, for their history, which all workspaces share; a name is an endpoint's only in its own."""
    return f"endpoint:{endpoint}" + (f"@{ctx.workspace}" if ctx.workspace != ctx.platform.workspace else "")


class Registry:
    def servable(self, ctx: Ctx, model: str, version: int) -> Verdict:
        try:
            found = objects.find(ctx, REGISTERED_MODEL, names.checked(model))
            mine = USE.judge(ctx, found.id)
        except NotFound:
            # The same words as for a model that exists and is not the caller's.
            return Verdict(False, f"{USE} is needed")
        if not mine:
            return Verdict(False, f"{USE} is needed")
        try:
            return release.servable(ctx, found.full_name, version)
        except NotFound as missing:
            return Verdict(False, str(missing))

    def goes_live(self, ctx: Ctx, endpoint: str, shares: Sequence[tuple[str, int, float]]) -> None:
        release.goes_live(ctx, _target(ctx, endpoint), shares)

    def files(self, ctx: Ctx, model: str, version: int) -> Files:
        found = objects.find(ctx, REGISTERED_MODEL, names.checked(model))
        ready = versions.ready(ctx, found, version)
        if not versions.intact(found, ready):
            raise BadState(f"the files of {model} version {version} are not those that were registered and approved")
        return Files(versions.folder(found, ready))
