"""What a long answer says over and over, looked up once: names of principals, and the metastore's id."""

from functools import cached_property

from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.roots import METASTORE


class People(dict[str, str]):
    def __init__(self, ctx: Ctx) -> None:
        super().__init__()
        self._ctx = ctx

    def __missing__(self, principal_id: str) -> str:
        name = self[principal_id] = self._ctx.name_of(principal_id)
        return name

    @cached_property
    def metastore_id(self) -> str:
        return objects.find(self._ctx, METASTORE, "").id
