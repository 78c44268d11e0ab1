"""A catalog small enough to read: tables, views, functions and who may read what. The real one is in `lakewright.catalog`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from lakewright.engines import delta
from lakewright.kernel.faults import Denied, NotFound
from lakewright.sql import dialect
from lakewright.sql.rewrite import Plan, Rewriter
from lakewright.sql.running import Execution
from lakewright.sql.world import Policy, Relation, Routine

PEOPLE = {
    "olga": frozenset({"admins"}),
    "ann": frozenset({"eu_team"}),
    "bob": frozenset[str](),
    "eve": frozenset({"eu_team"}),
}


@dataclass
class Catalog:
    root: Path
    relations: dict[str, Relation] = field(default_factory=dict)
    routines: dict[str, Routine] = field(default_factory=dict)
    may_read: set[tuple[str, str]] = field(default_factory=set)
    """(person, relation); owners may read what they own."""

    def table(self, name: str, rows: pa.Table, **policies: Any) -> None:
        location = self.root / name
        delta.create(location, rows.schema)
        delta.write(location, rows)
        self.relations[name] = Relation(
            name, "table", tuple(rows.column_names), str(location), owner="olga", **policies
        )

    def view(self, name: str, definition: str, owner: str = "olga") -> None:
        self.relations[name] = Relation(name, "view", owner=owner, definition=definition, catalog="m", schema="s")

    def function(self, name: str, parameters: dict[str, str], body: str, owner: str = "olga") -> None:
        self.routines[name] = Routine(name, tuple(parameters.items()), body, owner)

    def policy(self, name: str, **changes: Any) -> None:
        self.relations[name] = replace(self.relations[name], **changes)

    def grant(self, person: str, *names: str) -> None:
        self.may_read.update((person, n) for n in names)


@dataclass(frozen=True)
class Person:
    """The catalog as one person sees it."""

    catalog: Catalog
    user: str

    @property
    def groups(self) -> frozenset[str]:
        return PEOPLE[self.user]

    def relation(self, name: str, reader: str | None) -> Relation:
        found = self.catalog.relations.get(name)
        who = reader or self.user
        if found is None or not (found.owner == who or (who, name) in self.catalog.may_read):
            raise Denied(f"[TABLE_OR_VIEW_NOT_FOUND] {who} needs SELECT on {name}")
        return found

    def routine(self, name: str, reader: str | None, *, checked: bool) -> Routine:
        if name not in self.catalog.routines:
            raise NotFound(f"There is no function {name}")
        return self.catalog.routines[name]

    def plan(self, sql: str) -> Plan:
        return Rewriter(self, "m", "s").plan(dialect.parse(sql))

    def ask(self, sql: str) -> pa.Table:
        with Execution(self.plan(sql), self.catalog.root / "spill") as run:
            return run.reader().read_all()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(r.values()) for r in self.ask(sql).to_pylist()]


def policy(function: str, *columns: str) -> Policy:
    return Policy(function, columns)
