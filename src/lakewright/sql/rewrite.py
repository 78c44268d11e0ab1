"""Every table a statement names, found in its scope, authorised, and replaced by what the caller may see of it.

Filters and masks go *below* everything the caller wrote. Tables that the scopes do not explain are refused. What comes out
names only scans of ours (`__lw_s0` …), and the plan says which rows each of them stands for.
"""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from lakewright.engines import delta, duckdb
from lakewright.kernel.faults import Denied, Fault, Invalid, NotSupported
from lakewright.sql import dialect, leakproof, wall
from lakewright.sql.fold import fold, settle
from lakewright.sql.world import Policy, Relation, Routine, World

if TYPE_CHECKING:
    from sqlglot import exp

DEEPEST = 12
"""Views on views, functions in functions."""
TARGET = "lakewright.target"
"""Marks the table node that a statement changes: its scan brings along where each row lies."""
WRAPPED = "lakewright.wrapped"
"""Marks a filtered table, until it is known whether it needs a barrier."""
PLACES = (duckdb.FILE, duckdb.ROW)
Opener = Callable[[str, int | dt.datetime | None], delta.Snapshot]


@dataclass
class Scan:
    """What one of our names stands for in the rewritten statement."""

    relation: Relation
    snapshot: delta.Snapshot | None
    """None: a virtual table."""
    tests: list[delta.Test] = field(default_factory=list[delta.Test])
    with_places: bool = False


@dataclass(frozen=True)
class Plan:
    sql: str
    """As DuckDB reads it."""
    scans: Mapping[str, Scan]
    governed: bool
    """A filter or a mask applies: an engine's error text may quote what the caller must not see."""
    reads: tuple[str, ...]
    """Full names of all tables and views that were authorised, in order."""


class Rewriter:
    """One statement of one caller. Make a new one for the next."""

    def __init__(
        self, world: World, catalog: str | None = None, schema: str | None = None, *, opener: Opener = delta.open_at
    ) -> None:
        self.world, self.catalog, self.schema = world, catalog, schema
        self.scans: dict[str, Scan] = {}
        self.reads: list[str] = []
        self.governed = False
        self._in_force: dict[str, tuple[str | None, dict[str, str]]] = {}
        """By scan: the filter, and the masks by column, that hide something from this caller."""
        self.known: set[str] = set()
        """Further tables of ours that the engine will have: intermediate results."""
        self._opener = opener
        self._snapshots: dict[tuple[str, object], delta.Snapshot] = {}
        self._bodies: list[tuple[exp.Expr, bool]] = []
        self._path: list[str] = []

    # -- what callers use ---------------------------------------------------------------------------------------------

    def plan(self, tree: exp.Expr, parameters: Mapping[str, exp.Expr] | None = None) -> Plan:
        """A query as the caller wrote it, made safe and made DuckDB's."""
        return self.finish(self.prepare(tree, parameters))

    def prepare(
        self,
        tree: exp.Expr,
        parameters: Mapping[str, exp.Expr] | None = None,
        *,
        outermost: bool = True,
        ours: bool = False,
    ) -> exp.Expr:
        """Bind, settle, check and rewrite one query. `ours`: made by us around parts whose names were checked before."""
        from sqlglot import exp

        if not ours:
            wall.check_names(tree)
        if isinstance(tree, exp.Values):
            tree = exp.select("*").from_(tree)
        tree = bind(tree, parameters or {})
        return self._query(tree, None, self.catalog, self.schema, outermost=outermost)

    def finish(self, tree: exp.Expr) -> Plan:
        self.settle_barriers(tree)
        return Plan(dialect.render(tree), self.scans, self.governed, tuple(dict.fromkeys(self.reads)))

    def settle_barriers(self, tree: exp.Expr) -> None:
        """Put governed tables behind a barrier where a predicate could fail on their hidden rows."""
        from sqlglot import exp

        unsound = any(leakproof.may_leak(b, self._classes(), outermost=o) for b, o in self._bodies)
        barriers: list[exp.CTE] = []
        for node in reversed(list(tree.find_all(exp.Subquery))):  # the innermost first: CTEs see only earlier ones
            wrapped = node.meta.pop(WRAPPED, None)
            if wrapped is None or not (unsound or wrapped == "forced"):
                continue
            name = f"{wall.OURS}g{len(barriers)}"
            body = node.this
            node.set("this", exp.select("*").from_(exp.to_table(name)))
            alias = exp.TableAlias(this=exp.to_identifier(name))
            barriers.append(exp.CTE(this=body, alias=alias, materialized=True))
        if barriers:
            existing = tree.args.get("with_")
            own = list(existing.expressions) if existing else []
            recursive = bool(existing and existing.args.get("recursive"))
            tree.set("with_", exp.With(expressions=[*barriers, *own], recursive=recursive))

    def data(self) -> list[dict[str, Any]]:
        """For the record: of each table the columns that were asked for, and what hid rows or values of it."""
        from sqlglot import exp

        named, everything = set[str](), False
        for body, _ in self._bodies:
            named |= {c.name.lower() for c in body.find_all(exp.Column)}
            everything = everything or any(not isinstance(s.parent, exp.Count) for s in body.find_all(exp.Star))
        found: list[dict[str, Any]] = []
        for name, scan in self.scans.items():
            columns = self._columns(scan.relation, name) if scan.relation.columns else []
            row_filter, masks = self._in_force.get(name, (None, {}))
            found.append({
                "table": scan.relation.name,
                "columns": [c for c in columns if everything or c.lower() in named],
                **({"row_filter": row_filter} if row_filter else {}), **({"masks": masks} if masks else {}),
            })  # fmt: skip
        return found

    def target(self, table: exp.Table) -> str:
        """The full name of a table that a statement writes to."""
        return self._name(table, self.catalog, self.schema)

    # -- a query ------------------------------------------------------------------------------------------------------

    def _query(
        self, tree: exp.Expr, reader: str | None, catalog: str | None, schema: str | None, *, outermost: bool
    ) -> exp.Expr:
        tree = self._expanded(tree, reader, catalog, schema)
        wall.check_query(tree)
        self._bodies.append((tree.copy(), outermost))
        self._resolve(tree, reader, catalog, schema)
        return tree

    def _expanded(self, tree: exp.Expr, reader: str | None, catalog: str | None, schema: str | None) -> exp.Expr:
        """Entitlements settled, the catalog's functions put in place of their calls, hints dropped."""
        from sqlglot import exp

        tree = settle(tree, self.world, catalog, schema)
        for hint in list(tree.find_all(exp.Hint)):
            hint.pop()
        for call in [c for c in tree.find_all(exp.Anonymous) if _is_routine(c)]:
            whole: exp.Expr = (
                call.parent if isinstance(call.parent, exp.Dot) and call.parent.expression is call else call
            )
            if isinstance(whole.parent, exp.Table | exp.Lateral | exp.Unnest):
                raise Denied(f"[UNRESOLVED_ROUTINE] The table function {call.this} is not available")
            routine = self.world.routine(_full_name(_routine_parts(whole), catalog, schema), reader, checked=True)
            inlined = exp.paren(self._inlined(routine, list(call.expressions)))
            if whole is tree:
                tree = inlined
            else:
                whole.replace(inlined)
        return tree

    def _resolve(self, tree: exp.Expr, reader: str | None, catalog: str | None, schema: str | None) -> None:
        from sqlglot import exp
        from sqlglot.errors import SqlglotError
        from sqlglot.optimizer.scope import Scope, traverse_scope

        _lower_names(tree)
        for function in [t for t in tree.find_all(exp.Table) if isinstance(t.this, exp.Anonymous)]:
            alias = function.args.get("alias") or exp.TableAlias(this=exp.to_identifier("range"))
            if not alias.args.get("columns"):
                alias.set("columns", [exp.to_identifier("id")])  # what Databricks calls the column of range()
            function.set("alias", alias)
        try:
            scopes = cast("list[Scope]", traverse_scope(tree))
        except (SqlglotError, RecursionError, AttributeError, KeyError, TypeError, ValueError) as e:
            raise Invalid(
                "[PARSE_SYNTAX_ERROR] The tables of this statement cannot be resolved", code="BAD_REQUEST"
            ) from e
        physical = {id(s): s for scope in scopes for s in scope.sources.values() if isinstance(s, exp.Table)}
        explained = set(physical)
        for scope in scopes:
            for table in scope.tables:
                if (
                    id(table) not in physical
                    and not table.args.get("db")
                    and isinstance(scope.sources.get(table.alias_or_name), Scope)
                ):
                    explained.add(id(table))
        for table in tree.find_all(exp.Table):
            if isinstance(table.this, exp.Identifier) and id(table) not in explained and not self._ours(table):
                raise Denied(f"[TABLE_OR_VIEW_NOT_FOUND] The table {table.sql()} cannot be resolved in this place")
        where = {id(s): scope for scope in scopes for s in scope.sources.values() if isinstance(s, exp.Table)}
        tables = [t for t in physical.values() if isinstance(t.this, exp.Identifier) and not self._ours(t)]
        for column in tree.find_all(exp.Column):
            _unqualify(column, tables)
        for table in tables:
            self._replace(table, where[id(table)].expression, reader, catalog, schema)

    def _ours(self, table: exp.Table) -> bool:
        return table.name in self.scans or table.name in self.known

    def _replace(
        self, table: exp.Table, select: exp.Expr, reader: str | None, catalog: str | None, schema: str | None
    ) -> None:
        from sqlglot import exp

        name = self._name(table, catalog, schema)
        relation = self.world.relation(name, reader)
        self.reads.append(relation.name)
        alias = table.args.get("alias") or exp.TableAlias()
        alias_name = alias.this.copy() if alias.this else exp.to_identifier(table.name, quoted=True)
        shown = exp.TableAlias(this=alias_name, columns=[c.copy() for c in alias.args.get("columns") or []])
        version = self._version(table)
        if relation.kind == "view":
            if version is not None:
                raise NotSupported("Time travel on a view is not supported")
            new: exp.Expr = exp.Subquery(this=self._view(relation), alias=shown)
        else:
            scan = self._scan(relation, version)
            if table.meta.get(TARGET):
                self.scans[scan].with_places = True
            single = isinstance(select, exp.Select) and len(list(_sources(select))) == 1
            if not alias.args.get("columns") and not table.args.get("pivots"):  # a pivot renames what WHERE speaks of
                conditions = _conditions(select.args.get("where")) if isinstance(select, exp.Select) else []
                masked = set(relation.masks)
                self.scans[scan].tests += self._tests(
                    conditions, alias_name.name, self.scans[scan], masked, unqualified=single
                )
            new = self._governed(relation, scan, shown)
        for key in ("joins", "pivots", "laterals", "sample"):
            if table.args.get(key):
                new.set(key, table.args[key])
        table.replace(new)

    def _scan(self, relation: Relation, version: int | dt.datetime | None) -> str:
        snapshot = None
        if relation.kind == "table":
            key = (relation.name, version)
            if key not in self._snapshots:
                self._snapshots[key] = self._opener(relation.location, version)
            snapshot = self._snapshots[key]
        name = f"{wall.OURS}s{len(self.scans)}"
        self.scans[name] = Scan(relation, snapshot)
        return name

    # -- filters and masks --------------------------------------------------------------------------------------------

    def _governed(self, relation: Relation, scan: str, alias: exp.TableAlias) -> exp.Expr:
        """The scan itself where nothing applies to this caller, else what they may see of it."""
        from sqlglot import exp

        seen = self.visible(relation, scan, PLACES if self.scans[scan].with_places else ())
        if seen is None:
            return exp.Table(this=exp.to_identifier(scan), alias=alias)
        node = exp.Subquery(this=seen, alias=alias)
        where = seen.args.get("where")
        if where is not None:
            node.meta[WRAPPED] = "forced" if where.find(exp.Query) is not None else "if unsound"
        return node

    def visible(self, relation: Relation, scan: str, places: Iterable[str] = ()) -> exp.Select | None:
        """SELECT <masked columns> FROM <scan> WHERE <filter>; None when the caller sees the table as it is."""
        from sqlglot import exp

        if not relation.governed:
            return None
        base = f"{wall.OURS}b"
        columns = self._columns(relation, scan)
        known = {c.lower() for c in columns}
        condition = self._condition(relation, base, known)
        masks = {
            c: self._mask(relation.masks[c.lower()], c, base, known) for c in columns if c.lower() in relation.masks
        }
        masks = {c: m for c, m in masks.items() if m is not None}
        if condition is None and not masks:
            return None
        self.governed = True
        self._in_force[scan] = (
            relation.row_filter.function if relation.row_filter is not None and condition is not None else None,
            {c: relation.masks[c.lower()].function for c in masks},
        )
        shown = [exp.alias_(masks[c], c, quoted=True) if c in masks else _column(base, c) for c in columns]
        shown += [_column(base, p) for p in places]
        seen = exp.select(*shown).from_(
            exp.Table(this=exp.to_identifier(scan), alias=exp.TableAlias(this=exp.to_identifier(base)))
        )
        if condition is not None:
            everything = {c.lower() for c in columns}
            self.scans[scan].tests += (
                self._tests(_split(condition), base, self.scans[scan], set(), unqualified=False) if everything else []
            )
            seen = seen.where(condition)
        return seen

    def _columns(self, relation: Relation, scan: str) -> list[str]:
        """Columns of a governed table. An old version may hold columns that no policy speaks of any more: they stay hidden."""
        snapshot = self.scans[scan].snapshot
        if snapshot is None:
            return list(relation.columns)
        listed = {c.lower() for c in relation.columns}
        return [f.name for f in snapshot.fields if f.name.lower() in listed]

    def _condition(self, relation: Relation, base: str, known: set[str]) -> exp.Expr | None:
        from sqlglot import exp

        if relation.row_filter is None:
            return None
        condition = self._applied(relation.row_filter, relation.row_filter.columns, base, known)
        return None if isinstance(condition, exp.Boolean) and condition.this else condition

    def _mask(self, mask: Policy, column: str, base: str, known: set[str]) -> exp.Expr | None:
        from sqlglot import exp

        value = self._applied(mask, (column, *mask.columns), base, known)
        plain = isinstance(value, exp.Column) and value.name.lower() == column.lower() and value.table == base
        return None if plain else value

    def _applied(self, policy: Policy, columns: tuple[str, ...], base: str, known: set[str]) -> exp.Expr:
        """A policy that cannot be evaluated hides everything: the statement is refused."""
        try:
            if missing := [c for c in columns if c.lower() not in known]:
                raise Denied(f"columns {', '.join(missing)} are missing")
            routine = self.world.routine(policy.function, None, checked=False)
            return fold(self._inlined(routine, [_column(base, c) for c in columns]))
        except Fault as e:
            if isinstance(e, Denied) and "too deep" in str(e):
                raise
            raise Denied("A row filter or column mask of this table cannot be evaluated; its rows stay hidden") from e

    # -- views and functions ------------------------------------------------------------------------------------------

    def _view(self, view: Relation) -> exp.Expr:
        with _Step(self._path, view.name):
            body = dialect.parse(view.definition)
            wall.check_names(body)
            return self._query(body, view.owner, view.catalog or None, view.schema or None, outermost=False)

    def _inlined(self, routine: Routine, arguments: list[exp.Expr]) -> exp.Expr:
        """The body of a SQL function with its arguments in place. What it reads and calls, it does as its owner."""
        from sqlglot import exp

        if len(arguments) != len(routine.parameters):
            raise Invalid(
                f"[WRONG_NUM_ARGS] {routine.name} takes {len(routine.parameters)} arguments, not {len(arguments)}"
            )
        catalog, schema = routine.name.split(".")[:2]
        with _Step(self._path, routine.name):
            body = _expression(routine.body)
            wall.check_names(body)
            names = {n.lower(): i for i, (n, _) in enumerate(routine.parameters)}
            wrapper = exp.Select(expressions=[body])
            self._mark(wrapper, names, routine, catalog, schema)
            wrapper = self._expanded(wrapper, routine.owner, catalog, schema)
            wall.check_parts(wrapper)
            for query in [
                q
                for q in wrapper.find_all(exp.Select, exp.SetOperation)
                if q is not wrapper and q.parent_select is wrapper
            ]:
                self._resolve(query, routine.owner, catalog, schema)
        for marked in [c for c in wrapper.find_all(exp.Column) if c.table == _ARGUMENT]:
            index = names[marked.name.lower()]
            argument = arguments[index].copy()
            plain = isinstance(argument, exp.Column | exp.Literal | exp.Boolean)
            marked.replace(
                argument if plain else exp.cast(argument, routine.parameters[index][1], dialect="databricks")
            )
        return wrapper.expressions[0]

    def _mark(self, wrapper: exp.Select, names: Mapping[str, int], routine: Routine, catalog: str, schema: str) -> None:
        """Parameters are found before their values come in: a column of a table in the body hides a parameter of its name."""
        from sqlglot import exp

        last = routine.name.rpartition(".")[2]
        for column in list(wrapper.find_all(exp.Column)):
            if column.name.lower() not in names or column.args.get("db") or isinstance(column.this, exp.Star):
                continue
            if column.table and column.table.lower() != last:
                continue
            enclosing = column.parent_select
            hidden = False
            while enclosing is not None and enclosing is not wrapper and not column.table:
                if enclosing.args.get("with_"):
                    raise NotSupported("WITH inside of a function is not supported")
                hidden = hidden or column.name.lower() in self._provided(enclosing, routine, catalog, schema)
                enclosing = enclosing.parent_select
            if not hidden:
                column.set("table", exp.to_identifier(_ARGUMENT))

    def _provided(self, select: exp.Expr, routine: Routine, catalog: str, schema: str) -> set[str]:
        from sqlglot import exp

        found: set[str] = set()
        for source in _sources(select):
            if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier):
                relation = self.world.relation(self._name(source, catalog, schema), routine.owner)
                found.update(c.lower() for c in relation.columns)
            elif isinstance(source, exp.Subquery) and not source.is_star:
                found.update(n.lower() for n in source.named_selects)
            else:
                raise NotSupported("This function is too involved: name its columns with their tables")
        return found

    # -- small decisions ----------------------------------------------------------------------------------------------

    def _name(self, table: exp.Table, catalog: str | None, schema: str | None) -> str:
        if table.args.get("catalog") and not table.args.get("db"):
            raise Invalid("A table is named by catalog, schema and table")
        return _full_name([p for p in (table.catalog, table.db, table.name) if p], catalog, schema)

    def _version(self, table: exp.Table) -> int | dt.datetime | None:
        from sqlglot import exp

        version = table.args.get("version")
        if version is None:
            return None
        value = version.expression
        value = value.this if isinstance(value, exp.Cast) else value
        if not isinstance(value, exp.Literal) or version.args.get("kind") != "AS OF":
            raise Invalid("[INVALID_TIME_TRAVEL_SPEC] A version is a number, a time is a text or a date")
        try:
            if str(version.this).upper() == "VERSION":
                return int(value.this)
            moment = dt.datetime.fromisoformat(str(value.this))
            return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        except ValueError as e:
            raise Invalid("[INVALID_TIME_TRAVEL_SPEC] A version is a number, a time is a text or a date") from e

    def _classes(self) -> leakproof.Classes:
        found: dict[str, set[str]] = {}
        for scan in self.scans.values():
            if scan.snapshot is None:
                for column in scan.relation.columns:
                    found.setdefault(column.lower(), set()).update(("text", "?"))
                continue
            for f in scan.snapshot.fields:
                found.setdefault(f.name.lower(), set()).add(leakproof.class_of(f.type))
        return {name: frozenset(classes) for name, classes in found.items()}

    def _tests(
        self, conditions: list[exp.Expr], alias: str, scan: Scan, masked: set[str], *, unqualified: bool
    ) -> list[delta.Test]:
        """Conditions on the bare columns of this scan that let whole files be skipped."""
        if scan.snapshot is None:
            types = dict(scan.relation.types)
        else:
            types = {f.name.lower(): f.type for f in scan.snapshot.fields if f.name.lower() not in masked}
        found = (_test(c, alias.lower(), types, unqualified) for c in conditions)
        return [t for t in found if t is not None]


_ARGUMENT = f"{wall.OURS}argument"


@dataclass
class _Step:
    """One view or function inside another: bounded, and never inside itself."""

    path: list[str]
    name: str

    def __enter__(self) -> None:
        if self.name in self.path or len(self.path) >= DEEPEST:
            raise Denied(f"{self.name} is defined by itself, or views and functions are nested too deep")
        self.path.append(self.name)

    def __exit__(self, *_: object) -> None:
        self.path.pop()


def bind(tree: exp.Expr, parameters: Mapping[str, exp.Expr]) -> exp.Expr:
    """Named (`:name`) and positional (`?`, named "1", "2" …) parameters become typed constants."""
    from sqlglot import exp

    position = 0
    for node in list(tree.find_all(exp.Placeholder, bfs=False)):
        name = node.name
        if not name:
            position += 1
            name = str(position)
        if name not in parameters:
            raise Invalid(f"[UNBOUND_SQL_PARAMETER] Parameter {name} has no value", code="BAD_REQUEST")
        if node is tree:
            return parameters[name].copy()
        node.replace(parameters[name].copy())
    return tree


def _expression(body: str) -> exp.Expr:
    """The one expression that is a function's body."""
    from sqlglot import exp

    text = body.strip().rstrip(";")
    if text.upper().startswith("RETURN "):
        text = text[7:]
    select = dialect.parse(f"SELECT ({text}\n)")
    if (
        not isinstance(select, exp.Select)
        or {k for k, v in select.args.items() if v} - {"expressions"}
        or len(select.expressions) != 1
    ):
        raise Invalid("The body of a SQL function is one expression")
    found = select.expressions[0]
    return found.copy()


def _is_routine(call: exp.Anonymous) -> bool:
    """Not one of the functions that everybody has: those the wall knows by name."""
    from sqlglot import exp

    if isinstance(call.parent, exp.Dot):
        return True
    name = str(call.this).lower()
    return name not in dialect.ANONYMOUS and name not in dialect.CASTS


def _routine_parts(whole: exp.Expr) -> list[str]:
    from sqlglot import exp

    parts: list[str] = []
    while isinstance(whole, exp.Dot):
        parts.insert(0, str(whole.expression.this))
        whole = whole.this
    if isinstance(whole, exp.Column):
        parts[:0] = [str(p.this) for p in whole.parts]
    elif isinstance(whole, exp.Identifier | exp.Anonymous):
        parts.insert(0, str(whole.this))
    else:
        raise Denied("[UNRESOLVED_ROUTINE] This function is not available")
    return parts


def _full_name(parts: list[str], catalog: str | None, schema: str | None) -> str:
    if len(parts) == 1 and catalog and schema:
        parts = [catalog, schema, *parts]
    elif len(parts) == 2 and catalog:
        parts = [catalog, *parts]
    if len(parts) != 3:
        raise Invalid(
            f"[TABLE_OR_VIEW_NOT_FOUND] {'.'.join(parts)}: name it as catalog.schema.name", code="BAD_REQUEST"
        )
    if any(not p or "." in p for p in parts):
        raise Invalid("[INVALID_IDENTIFIER] A name must not hold dots", code="BAD_REQUEST")
    return ".".join(parts).lower()


def _lower_names(tree: exp.Expr) -> None:
    """Names of tables and CTEs mean the same in any case; columns keep theirs, for the header of the result."""
    from sqlglot import exp

    for node in tree.find_all(exp.Table, exp.CTE):
        identifiers = (
            [node.args.get("this"), node.args.get("db"), node.args.get("catalog")]
            if isinstance(node, exp.Table)
            else []
        )
        if node.args.get("alias"):
            identifiers.append(node.args["alias"].this)
        for identifier in identifiers:
            if isinstance(identifier, exp.Identifier):
                identifier.set("this", identifier.this.lower())


def _unqualify(column: exp.Column, tables: list[exp.Table]) -> None:
    """`catalog.schema.table.column` in a query means the table of that name in FROM, where it has no other alias."""
    schema, catalog = column.args.get("db"), column.args.get("catalog")
    if schema is None:
        return
    for table in tables:
        if table.args.get("alias") or table.name != column.table.lower() or table.db != schema.name.lower():
            continue
        if catalog is None or table.catalog == catalog.name.lower():
            column.set("db", None)
            column.set("catalog", None)
            return


def _sources(select: exp.Expr) -> Iterator[exp.Expr]:
    start = select.args.get("from_")
    if start is not None:
        yield start.this
    for join in select.args.get("joins") or []:
        yield join.this
    yield from select.args.get("laterals") or []


def _column(table: str, name: str) -> exp.Column:
    from sqlglot import exp

    return exp.column(exp.to_identifier(name, quoted=True), table=table)


def _conditions(where: exp.Expr | None) -> list[exp.Expr]:
    return [] if where is None else _split(where.this)


def _split(condition: exp.Expr) -> list[exp.Expr]:
    from sqlglot import exp

    condition = condition.unnest()
    if isinstance(condition, exp.And):
        return [*_split(condition.left), *_split(condition.right)]
    return [condition]


def _test(condition: exp.Expr, alias: str, types: Mapping[str, Any], unqualified: bool) -> delta.Test | None:
    from sqlglot import exp

    def column(node: exp.Expr) -> str | None:
        node = node.unnest()
        if not isinstance(node, exp.Column) or node.name.lower() not in types or node.args.get("db"):
            return None
        return node.name if node.table.lower() == alias or (not node.table and unqualified) else None

    flipped = {exp.LT: ">", exp.LTE: ">=", exp.GT: "<", exp.GTE: "<=", exp.EQ: "="}
    straight = {exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=", exp.EQ: "="}
    if type(condition) in straight:
        compared: Any = condition
        left, right = compared.left, compared.right
        name, other, ops = (column(left), right, straight) if column(left) else (column(right), left, flipped)
        value = _constant(other, types[name.lower()]) if name else None
        return delta.Test(name, cast(delta.Op, ops[type(condition)]), (value,)) if name and value is not None else None
    if isinstance(condition, exp.In) and condition.expressions and not condition.args.get("query"):
        name = column(condition.this)
        values = [_constant(e, types[name.lower()]) for e in condition.expressions] if name else [None]
        return delta.Test(name, "in", tuple(values)) if name and None not in values else None
    return None


def _constant(node: exp.Expr, type_: Any) -> Any:
    """A constant as a column of that type compares it; None when it is not certain."""
    from sqlglot import exp

    node = node.unnest()
    if (
        isinstance(node, exp.Cast)
        and isinstance(node.this, exp.Literal)
        and type_ in ("date", "timestamp", "timestamp_ntz")
    ):
        if (type_ == "date") != node.to.is_type("date"):
            return None
        node = node.this
    sign = 1
    if isinstance(node, exp.Neg):
        node, sign = node.this, -1
    if not isinstance(node, exp.Literal) or not isinstance(type_, str):
        return None
    try:
        match type_:
            case "string":
                return str(node.this) if node.is_string else None
            case "long" | "integer" | "short" | "byte":
                return sign * int(str(node.this))
            case "date":
                return dt.date.fromisoformat(str(node.this)) if node.is_string else None
            case "timestamp" | "timestamp_ntz":
                moment = dt.datetime.fromisoformat(str(node.this)) if node.is_string else None
                if moment is None or (type_ == "timestamp_ntz" and moment.tzinfo):
                    return None
                return moment.replace(tzinfo=moment.tzinfo or dt.UTC) if type_ == "timestamp" else moment
            case _:
                return None
    except ValueError:
        return None
