"""A kind of object: what it is called, what it sits under, what it stores, what may be held on it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from pydantic import BaseModel

from lakewright.kernel.faults import Invalid
from lakewright.kernel.rules import MANAGE, OWNER, Right, Rule

if TYPE_CHECKING:
    from lakewright.kernel.context import Ctx
    from lakewright.kernel.objects import Obj

S = TypeVar("S", bound=BaseModel)

KINDS: "dict[str, Kind[Any]]" = {}

Ids = Literal["uuid", "number"]


class Kind(Generic[S]):
    """`ids` are random UUIDs or random 15-digit numbers. Without `unique_names` an object is addressed by its id.
    `folded` names are compared in lower case (Unity Catalog). `also_called` are the names other APIs know it by.
    """

    def __init__(
        self,
        name: str,
        *,
        example: S,
        under: "Kind[Any] | None" = None,
        ids: Ids = "uuid",
        unique_names: bool = True,
        separator: str = ".",
        folded: bool = False,
        also_called: tuple[str, ...] = (),
    ) -> None:
        for called in (name, *also_called):
            if called in KINDS:
                raise ValueError(f"two kinds are called {called!r}")
            KINDS[called] = self
        self.name, self.example, self.under = name, example, under
        self.spec: type[S] = type(example)
        self.ids, self.unique_names, self.separator, self.folded = ids, unique_names, separator, folded
        self.also_called = also_called
        self.rights: dict[str, Right] = {}
        self.uses_levels = False
        self.includes: list[Kind[Any]] = []
        """Kinds that a request may also mean by this one's name: to Unity Catalog's clients a model is a function."""
        self.inside: Rule | None = None
        """What one needs, asked of an object inside it, before that object is one's business at all."""
        self.before_delete: Callable[[Ctx, Obj[S]], None] | None = None
        """Called for each object of this kind that is about to go, also with something above it; may refuse by a Fault."""
        self.before_transfer: Callable[[Ctx, Obj[S], str], None] | None = None
        """Called before an object gets another owner (by id); may refuse by a Fault."""

    def __repr__(self) -> str:
        return f"Kind({self.name!r})"

    def privileges(self, *names: str) -> tuple[Right, ...]:
        """Unity Catalog privileges: each stands alone; ALL_PRIVILEGES implies every one."""
        return tuple(self._right(name, ("ALL_PRIVILEGES",), from_owner_above=False) for name in names)

    def levels(self, *names: str) -> tuple[Right, ...]:
        """Workspace permission levels, weakest first: each later one implies those before it."""
        self.uses_levels = True
        above = (*names, "IS_OWNER")
        return tuple(self._right(name, above[i + 1 :], from_owner_above=True) for i, name in enumerate(names))

    def _right(self, name: str, stronger: tuple[str, ...], *, from_owner_above: bool) -> Right:
        right = self.rights[name] = Right(name, self.name, stronger, from_owner_above)
        return right

    def grantable(self) -> set[str]:
        """A right may be granted on its own kind or, to be inherited, on any kind above it."""
        below = {name for kind in set(KINDS.values()) if self in kind.lineage() for name in kind.rights}
        general = {"MANAGE"} if self.uses_levels else {"MANAGE", "ALL_PRIVILEGES"}
        return below | general

    def lineage(self) -> "list[Kind[Any]]":
        return [self, *(self.under.lineage() if self.under else ())]

    def reached(self, rule: Rule) -> Rule:
        """The rule, and before it what one needs to get as far as objects of this kind."""
        inside = next((above.inside for above in self.lineage()[1:] if above.inside is not None), None)
        return rule if inside is None else inside & rule

    def held_as(self, name: str) -> Rule | None:
        """What it takes for a right of this name to be of use on objects of this kind; None when there is no such right."""
        right = {"OWNER": OWNER, "MANAGE": MANAGE, **self.rights}.get(name)
        return None if right is None else self.reached(right)

    @property
    def root(self) -> "Kind[Any]":
        return self.lineage()[-1]

    def fold(self, name: str) -> str:
        return name.lower() if self.folded else name

    def at(self, address: str) -> "Target[S]":
        """Where an operation's object is named in its request: `VOLUME.at("{full_name}")`."""
        return Target(address, self)

    def by_id(self, address: str) -> "Target[S]":
        return Target(address, self, is_id=True)


@dataclass(frozen=True)
class Target(Generic[S]):
    """The object an operation is about; its kind is fixed, or named by the request too."""

    address: str
    kind: Kind[S] | None = None
    kind_named: str = ""
    is_id: bool | None = False
    """None: by name where the kind has unique names, else by id."""
    finds: "Callable[[Ctx, str], Obj[S]] | None" = None
    """For an object that the request does not name itself, as a run names its job. Raises NotFound."""

    def of(self, fields: Mapping[str, Any]) -> tuple[Kind[Any], str]:
        if not self.address and self.kind is not None:
            return self.kind, ""
        if self.kind is not None and self._only_field:
            value = fields.get(self._only_field)
            if value is None or value == "":
                raise Invalid(f"'{self._only_field}' is required")
            return self.kind, str(value)
        filled = _Fields(fields)
        return self.kind or kind_called(self.kind_named.format_map(filled)), self.address.format_map(filled)

    @cached_property
    def _only_field(self) -> str:
        """The field whose value is the whole address, as nearly always; empty when the address is composed."""
        name = self.address[1:-1]
        return name if self.address == f"{{{name}}}" and name.isidentifier() else ""

    def written(self, full_name: str) -> str:
        """How a request for this target spells the name of an object."""
        return full_name


def kind_called(name: str) -> Kind[Any]:
    if kind := KINDS.get(name) or KINDS.get(name.lower()):
        return kind
    raise Invalid(f"no kind of object is called '{name}'")


class _Fields(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        raise Invalid(f"'{key}' is required")

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key) if key in self else self.__missing__(key)
        if value is None or value == "":
            raise Invalid(f"'{key}' is required")
        return value
