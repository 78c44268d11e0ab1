"""Names of principals in answers: each looked up once per answer, however long the list."""

from lakewright.kernel.context import Ctx


class People(dict[str, str]):
    def __init__(self, ctx: Ctx) -> None:
        super().__init__()
        self._ctx = ctx

    def __missing__(self, principal_id: str) -> str:
        name = self[principal_id] = self._ctx.name_of(principal_id)
        return name
