"""What SQL has to know of the catalog: tables, their filters and masks, and the functions those are made of.

The rewriter sees the catalog only through `World`. The catalog's own answers are in `governed`; tests bring a small one.
"""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from lakewright.engines.delta import Test


@dataclass(frozen=True)
class Policy:
    """A row filter or a column mask: a function, and the columns it is called with."""

    function: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Relation:
    """Something that can stand in FROM."""

    name: str
    """catalog.schema.table, in lower case."""
    kind: Literal["table", "view", "virtual"]
    columns: tuple[str, ...] = ()
    location: str = ""
    owner: str = ""
    row_filter: Policy | None = None
    masks: Mapping[str, Policy] = field(default_factory=dict[str, Policy])
    """By column, in lower case."""
    definition: str = ""
    """The query of a view."""
    catalog: str = ""
    schema: str = ""
    """Where unqualified names in a view's query are looked up."""
    rows: Callable[[Sequence[Test]], pa.Table] | None = None
    """The rows of a virtual table, already limited to what the caller may see. Rows that fail a test may be left out."""
    types: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Column types of a virtual table, by name in lower case, as the Delta log spells them."""

    @property
    def governed(self) -> bool:
        return self.row_filter is not None or bool(self.masks)


@dataclass(frozen=True)
class Routine:
    """A SQL function of the catalog: one expression over its parameters."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    """Name and type, in order."""
    body: str
    owner: str = ""
    returns: str = ""


class World(Protocol):
    """The catalog as one caller may see it. Each method raises Denied or NotFound by itself."""

    @property
    def user(self) -> str:
        """What current_user() answers."""
        ...

    @property
    def groups(self) -> frozenset[str]:
        """Names of all groups the caller is in, nested ones included."""
        ...

    def relation(self, name: str, reader: str | None) -> Relation:
        """A relation that `reader` may SELECT from: the caller (None), or the owner of the view or function that names it."""
        ...

    def routine(self, name: str, reader: str | None, *, checked: bool) -> Routine:
        """A function that `reader` may EXECUTE, as with relations; unchecked when a filter or a mask is what calls it."""
        ...
