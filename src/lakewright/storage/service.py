"""Storage as a service of the platform: where the managed bytes of tables and volumes lie."""

from pathlib import Path
from typing import Any

from lakewright.catalog import places
from lakewright.catalog.volumes import Volume
from lakewright.kernel.config import Settings
from lakewright.kernel.context import Ctx
from lakewright.kernel.objects import Obj
from lakewright.storage import paths


class Storage:
    def __init__(self, settings: Settings) -> None:
        self.root = settings.data_dir.resolve() / "storage"

    def table_location(self, ctx: Ctx, schema: Obj[Any], table_id: str) -> Path:
        return places.local(places.managed(ctx, schema, "tables", table_id))

    def model_location(self, ctx: Ctx, schema: Obj[Any], model_id: str) -> Path:
        return places.local(places.managed(ctx, schema, "models", model_id))

    def volume_path(self, volume: Obj[Volume], relative: str) -> Path:
        """A path for the platform's own use. What a caller names is opened through `paths.Place` instead."""
        return places.local(volume.spec.storage_location).joinpath(*paths.names(relative))
