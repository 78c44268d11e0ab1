"""Objects as people write them: `tables:/main.sales.orders`, `jobs:/123`, `directories:/Users/ann`."""

from dataclasses import dataclass
from typing import Any

from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid, NotFound
from lakewright.kernel.kinds import Kind, kind_called
from lakewright.kernel.objects import Obj

LONGEST = 4200


@dataclass(frozen=True)
class Spelled:
    """An object by kind and name or id. Whether there is one is another question."""

    kind: Kind[Any]
    address: str

    def __str__(self) -> str:
        return f"{plural(self.kind)}:/{self.address}"


def parse(text: str) -> Spelled:
    called, mark, rest = text.partition(":/")
    if not mark or len(text) > LONGEST:
        raise Invalid("an object is written kind:/name, as tables:/main.sales.orders or jobs:/123")
    kind = kind_called(called.strip())
    address = rest.strip("/") if kind.separator == "/" else rest
    return Spelled(kind, kind.fold(address))


def find(ctx: Ctx, spelled: Spelled) -> Obj[Any]:
    """The object of that name, else of that id. NotFound says nothing yet to the caller: see `explain.asked`."""
    kind, address = spelled.kind, spelled.address
    if kind.unique_names or kind.under is None:
        try:
            return objects.find(ctx, kind, address)
        except NotFound:
            pass
    return objects.by_id(ctx, kind, address)


def written(obj: Obj[Any], kind: Kind[Any]) -> str:
    """The same the other way round: by name where names are unique, else by id."""
    return str(Spelled(kind, (obj.full_name or obj.name) if kind.unique_names else obj.id))


def plural(kind: Kind[Any]) -> str:
    return next((name for name in (kind.name, *kind.also_called) if name.endswith("s")), kind.name)
