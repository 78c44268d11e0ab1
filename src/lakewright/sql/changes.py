"""UPDATE, DELETE and MERGE: which rows change is found by a governed query, then only their files are written anew.

A person can change only rows that their filter shows them, and predicates and values see masked columns as masked. The
columns they do not assign keep what the file holds, not what the mask shows.
"""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakewright.engines import delta, duckdb
from lakewright.engines.duckdb import quoted
from lakewright.kernel.faults import Invalid, NotSupported
from lakewright.sql import dialect, wall
from lakewright.sql.rewrite import TARGET, Plan, Rewriter
from lakewright.sql.running import Execution, explained
from lakewright.sql.world import World

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlglot import exp

HIT, SOURCE, ACT = f"{wall.OURS}hit", f"{wall.OURS}source", f"{wall.OURS}act"
FILE, ROW = duckdb.FILE, duckdb.ROW


@dataclass
class Running:
    """What is running for a statement now, so that it can be stopped from elsewhere."""

    execution: Execution | None = None
    stopped: bool = False

    def take(self, execution: Execution) -> None:
        self.execution = execution
        if self.stopped:
            execution.stop()

    def stop(self) -> None:
        self.stopped = True
        if self.execution is not None:
            self.execution.stop()


@dataclass(frozen=True)
class Surroundings:
    """Who changes what, with which parameters, and where there is room to do it."""

    world: World
    catalog: str | None
    schema: str | None
    parameters: Mapping[str, exp.Expr]
    spill: Path
    by: str
    limits: duckdb.Limits = duckdb.MODEST
    running: Running = field(default_factory=Running)


@dataclass(frozen=True)
class Target:
    name: str
    location: str


def delete(around: Surroundings, target: Target, statement: exp.Delete | exp.TruncateTable) -> dict[str, int]:
    from sqlglot import exp

    if isinstance(statement, exp.TruncateTable):
        table, where = statement.expressions[0], None
    else:
        _only(statement, "this", "where")
        table, where = statement.this, statement.args.get("where")
    wall.check_names(statement)

    def plan(snapshot: delta.Snapshot) -> delta.Change | None:
        work = _Work(around, target, snapshot)
        hits = _select(_target(table), _places(table), where)
        with work.started(work.rewriter.prepare(hits, around.parameters, ours=True)):
            return work.change("DELETE", {}, deleting=True)

    return _metrics(delta.rewrite(target.location, plan, by=around.by))


def update(around: Surroundings, target: Target, statement: exp.Update) -> dict[str, int]:
    _only(statement, "this", "expressions", "where")
    wall.check_names(statement)

    def plan(snapshot: delta.Snapshot) -> delta.Change | None:
        work = _Work(around, target, snapshot)
        assigned = work.assignments(statement.expressions)
        shown = [*_places(statement.this), _constant(0, ACT), *_values(work, {0: assigned}, assigned)]
        hits = _select(_target(statement.this), shown, statement.args.get("where"))
        with work.started(work.rewriter.prepare(hits, around.parameters, ours=True)):
            return work.change("UPDATE", {c: [0] for c in assigned})

    return _metrics(delta.rewrite(target.location, plan, by=around.by))


def merge(around: Surroundings, target: Target, statement: exp.Merge) -> dict[str, int]:
    _only(statement, "this", "using", "on", "whens")
    wall.check_names(statement)

    def plan(snapshot: delta.Snapshot) -> delta.Change | None:
        return _Merge(_Work(around, target, snapshot), statement).change()

    return _metrics(delta.rewrite(target.location, plan, by=around.by))


# -- one attempt ------------------------------------------------------------------------------------------------------


class _Work:
    """One attempt at one snapshot of the target."""

    def __init__(self, around: Surroundings, target: Target, snapshot: delta.Snapshot) -> None:
        self.around, self.target, self.snapshot = around, target, snapshot
        self.fields = {f.name.lower(): f for f in snapshot.fields}
        self.rewriter = Rewriter(around.world, around.catalog, around.schema, opener=self._open)
        self.execution: Execution

    def _open(self, location: str, version: int | dt.datetime | None) -> delta.Snapshot:
        return (
            self.snapshot if location == self.target.location and version is None else delta.open_at(location, version)
        )

    def started(self, hits: exp.Expr) -> Execution:
        """The engine, with the rows to change in the temporary table HIT."""
        self.begin([hits])
        self.create(HIT, hits)
        return self.execution

    def begin(self, trees: Sequence[exp.Expr]) -> None:
        for tree in trees:
            self.rewriter.settle_barriers(tree)
        plan = Plan("", self.rewriter.scans, self.rewriter.governed, tuple(self.rewriter.reads))
        self.execution = Execution(plan, self.around.spill, self.around.limits)
        self.around.running.take(self.execution)

    def create(self, name: str, tree: exp.Expr) -> None:
        text = dialect.render(tree)
        with explained(self.execution.plan):
            self.execution.session.verify(text, frozenset({*self.rewriter.scans, *self.rewriter.known}))
            self.execution.session.run(f"CREATE TEMP TABLE {name} AS {text}")

    def assignments(self, expressions: Sequence[exp.Expr]) -> dict[str, exp.Expr]:
        """Column to value, as SET says it; each value as the column's type."""
        from sqlglot import exp

        found: dict[str, exp.Expr] = {}
        for each in expressions:
            if not isinstance(each, exp.EQ) or not isinstance(each.left, exp.Column):
                raise NotSupported("SET takes column = value")
            name = each.left.name.lower()
            if name in found:
                raise Invalid(f"Column {each.left.name} is set twice")
            found[self.column(name)] = each.right
        return found

    def column(self, name: str) -> str:
        if name.lower() not in self.fields:
            raise Invalid(f"[UNRESOLVED_COLUMN] {self.target.name} has no column {name}")
        return self.fields[name.lower()].name

    def type_of(self, column: str) -> exp.DataType:
        from sqlglot import exp

        of = self.fields[column.lower()].type
        return exp.DataType.build(_databricks(duckdb.type_of(of)) if isinstance(of, str) else duckdb.type_of(of),
                                  dialect="databricks" if isinstance(of, str) else "duckdb")  # fmt: skip

    def scan(self) -> str:
        """The name of the target's scan: all its columns as they are, with places."""
        return next(n for n, s in self.rewriter.scans.items() if s.with_places)

    def change(
        self, operation: str, assigned: Mapping[str, Sequence[int]], *, deleting: bool = False,
        inserted: Sequence[pa.Table] = (), deletes: Sequence[int] = (),
    ) -> delta.Change | None:  # fmt: skip
        """The files that hold a hit, and their rows with the hits changed. Everything is computed before we leave."""
        session = self.execution.session
        with explained(self.execution.plan):
            counts = session.rows(f"SELECT count(*), count(DISTINCT ({FILE}, {ROW})) FROM {HIT}")[0]
            if counts[0] != counts[1]:
                raise Invalid(
                    "[DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE] More than one source row matches a row"
                )
            hit_files = {r[0] for r in session.rows(f"SELECT DISTINCT {FILE} FROM {HIT}")}
            removed = tuple(f for f in self.snapshot.files if f.path in hit_files)
            gone = "true" if deleting else f"h.{ACT} IN ({', '.join(map(str, deletes))})" if deletes else "false"
            deleted = session.rows(f"SELECT count(*) FROM {HIT} AS h WHERE {gone}")[0][0]
            metrics = {
                "num_updated_rows": counts[0] - deleted, "num_deleted_rows": deleted,
                "num_inserted_rows": sum(t.num_rows for t in inserted),
            }  # fmt: skip
            rows = [session.table(self._rewritten(f.path, assigned, gone)) for f in removed]
        if not removed and not metrics["num_inserted_rows"]:
            return None
        return delta.Change(removed, iter([*rows, *inserted]), operation, metrics)

    def _rewritten(self, path: str, assigned: Mapping[str, Sequence[int]], gone: str) -> str:
        shown = ", ".join(self._column(f.name, assigned.get(f.name, ())) for f in self.snapshot.fields)
        return (
            f"SELECT {shown} FROM {self.scan()} AS r LEFT JOIN {HIT} AS h ON r.{FILE} = h.{FILE} AND r.{ROW} = h.{ROW}"
            f" WHERE r.{FILE} = {duckdb.text(path)} AND (h.{ROW} IS NULL OR NOT ({gone}))"
        )

    def _column(self, name: str, acts: Sequence[int]) -> str:
        if not acts:
            return f"r.{quoted(name)}"
        among = ", ".join(map(str, acts))
        return f"CASE WHEN h.{ACT} IN ({among}) THEN h.{_set(self, name)} ELSE r.{quoted(name)} END AS {quoted(name)}"


@dataclass(frozen=True)
class _Clause:
    """One WHEN … THEN of a merge."""

    condition: exp.Expr | None
    values: Mapping[str, exp.Expr] | None
    """Column to value; None: delete."""


class _Merge:
    def __init__(self, work: _Work, statement: exp.Merge) -> None:

        self.work = work
        self.table: exp.Table = statement.this
        self.on: exp.Expr = statement.args["on"]
        self.using: exp.Expr = statement.args["using"]
        self.source_alias = self.using.alias_or_name
        if not self.source_alias:
            raise Invalid("The source of a MERGE needs a name: USING (…) AS s")
        self.whens = list(statement.args["whens"].expressions)

    def change(self) -> delta.Change | None:
        """Matched pairs, target rows without a source, source rows without a target: each found once."""
        work, around = self.work, self.work.around
        source = work.rewriter.prepare(self._source(), around.parameters, ours=True)
        work.rewriter.known.add(SOURCE)
        names = _columns_of(work, source)
        matched = [self._clause(w, names) for w in self.whens if w.args.get("matched")]
        unmatched = [
            self._clause(w, names) for w in self.whens if not w.args.get("matched") and not w.args.get("source")
        ]
        orphaned = [self._clause(w, names) for w in self.whens if not w.args.get("matched") and w.args.get("source")]
        clauses = [*matched, *orphaned]
        columns = sorted({c for clause in clauses for c in clause.values or ()})
        hits = [
            self._hits(matched, 0, columns, self._joined()),
            *([self._hits(orphaned, len(matched), columns, self._apart())] if orphaned else []),
        ]
        trees = [work.rewriter.prepare(h, around.parameters, ours=True) for h in hits]
        inserts = [work.rewriter.prepare(t, around.parameters, ours=True) for t in self._inserts(unmatched)]
        work.begin([source, *trees, *inserts])
        with work.execution:
            work.create(SOURCE, source)
            for i, tree in enumerate(trees):
                work.create(f"{HIT}{i}", tree)
            parts = " UNION ALL BY NAME ".join(f"SELECT * FROM {HIT}{i}" for i in range(len(trees)))
            work.execution.session.run(f"CREATE TEMP TABLE {HIT} AS {parts}")
            inserted = [self._rows(t) for t in inserts]
            assigned = {c: [i for i, clause in enumerate(clauses) if c in (clause.values or {})] for c in columns}
            deletes = [i for i, clause in enumerate(clauses) if clause.values is None]
            return work.change("MERGE", assigned, inserted=[t for t in inserted if t.num_rows], deletes=deletes)

    def _rows(self, tree: exp.Expr) -> pa.Table:
        text = dialect.render(tree)
        with explained(self.work.execution.plan):
            self.work.execution.session.verify(text, frozenset({*self.work.rewriter.scans, SOURCE}))
            return self.work.execution.session.table(text)

    def _source(self) -> exp.Select:
        from sqlglot import exp

        return exp.select("*").from_(self.using.copy())

    def _given(self) -> exp.Table:
        """The materialised source, under the name the statement gives it."""
        from sqlglot import exp

        return exp.Table(
            this=exp.to_identifier(SOURCE), alias=exp.TableAlias(this=exp.to_identifier(self.source_alias))
        )

    def _joined(self) -> exp.Select:
        from sqlglot import exp

        return exp.select().from_(_target(self.table)).join(self._given(), on=self.on.copy(), join_type="inner")

    def _apart(self) -> exp.Select:
        from sqlglot import exp

        return exp.select().from_(_target(self.table)).where(exp.Not(this=_exists(self._given(), self.on)))

    def _hits(self, clauses: list[_Clause], first: int, columns: list[str], pairs: exp.Select) -> exp.Select:
        from sqlglot import exp

        if not clauses:
            return _select(_target(self.table), [*_places(self.table), _constant(0, ACT)], exp.Where(this=exp.false()))
        act = _first(clauses, first)
        shown: list[exp.Expr] = [*_places(self.table), exp.alias_(act, ACT)]
        for column in columns:
            values = {first + i: c.values[column] for i, c in enumerate(clauses) if c.values and column in c.values}
            shown.append(_chosen(self.work, act, values, column))
        return pairs.select(*shown).where(exp.Not(this=exp.Is(this=exp.paren(act.copy()), expression=exp.Null())))

    def _inserts(self, clauses: list[_Clause]) -> Iterator[exp.Select]:
        """Each source row without a target goes to the first clause whose condition holds."""
        from sqlglot import exp

        act = _first(clauses, 0) if clauses else None
        for i, clause in enumerate(clauses):
            values = clause.values or {}
            shown = [
                exp.alias_(
                    exp.Cast(
                        this=values[f.name].copy() if f.name in values else exp.Null(), to=self.work.type_of(f.name)
                    ),
                    f.name,
                    quoted=True,
                )
                for f in self.work.snapshot.fields
            ]
            absent = exp.Not(this=_exists(_target(self.table, places=False), self.on))
            assert act is not None
            yield (
                exp.select(*shown)
                .from_(self._given())
                .where(absent)
                .where(exp.EQ(this=exp.paren(act.copy()), expression=exp.Literal.number(i)))
            )

    def _clause(self, when: exp.When, source_columns: list[str]) -> _Clause:
        from sqlglot import exp

        then, condition = when.args["then"], when.args.get("condition")
        star = {
            self.work.column(c): exp.column(exp.to_identifier(c, quoted=True), table=self.source_alias)
            for c in source_columns
            if c.lower() in self.work.fields
        }
        if isinstance(then, exp.Update):
            if any(isinstance(e, exp.Star) for e in then.expressions):
                return _Clause(condition, star)
            return _Clause(condition, self.work.assignments(then.expressions))
        if isinstance(then, exp.Insert):
            if isinstance(then.this, exp.Star):
                return _Clause(condition, star)
            names = (
                [self.work.column(c.name) for c in then.this.expressions]
                if then.this
                else [f.name for f in self.work.snapshot.fields]
            )
            values = list(then.expression.expressions)
            if len(names) != len(values):
                raise Invalid("INSERT names another number of columns than of values")
            return _Clause(condition, dict(zip(names, values, strict=True)))
        if isinstance(then, exp.Var) and then.name.lower() == "delete":
            return _Clause(condition, None)
        raise NotSupported(f"MERGE … THEN {then.sql()} is not supported")


# -- parts of queries -------------------------------------------------------------------------------------------------


def _only(statement: exp.Expr, *known: str) -> None:
    if extra := [k for k, v in statement.args.items() if v and k not in known]:
        raise NotSupported(f"{statement.key.upper()} with {', '.join(extra).upper()} is not supported")


def _target(table: exp.Table, *, places: bool = True) -> exp.Table:
    from sqlglot import exp

    if not isinstance(table, exp.Table) or table.args.get("version"):
        raise Invalid("Only a table as it is now can be changed")
    node = table.copy()
    if not node.args.get("alias"):
        node.set("alias", exp.TableAlias(this=exp.to_identifier(table.name, quoted=True)))
    if places:
        node.meta[TARGET] = True
    return node


def _places(table: exp.Table) -> list[exp.Expr]:
    from sqlglot import exp

    return [exp.column(p, table=exp.to_identifier(table.alias_or_name, quoted=True)) for p in (FILE, ROW)]


def _select(table: exp.Table, shown: list[exp.Expr], where: exp.Where | None) -> exp.Select:
    from sqlglot import exp

    found = exp.select(*shown).from_(table)
    return found.where(where.this.copy()) if where is not None else found


def _constant(value: int, name: str) -> exp.Expr:
    from sqlglot import exp

    return exp.alias_(exp.Literal.number(value), name)


def _exists(table: exp.Table, on: exp.Expr) -> exp.Exists:
    from sqlglot import exp

    return exp.Exists(this=exp.select(exp.Literal.number(1)).from_(table).where(on.copy()))


def _first(clauses: list[_Clause], first: int) -> exp.Case:
    from sqlglot import exp

    case = exp.Case()
    for i, clause in enumerate(clauses):
        condition = clause.condition.copy() if clause.condition is not None else exp.true()
        case = case.when(condition, exp.Literal.number(first + i))
    return case


def _set(work: _Work, column: str) -> str:
    index = [f.name for f in work.snapshot.fields].index(column)
    return f"{wall.OURS}set{index}"


def _values(work: _Work, values: Mapping[int, Mapping[str, exp.Expr]], columns: Mapping[str, Any]) -> list[exp.Expr]:
    from sqlglot import exp

    return [exp.alias_(exp.Cast(this=values[0][c].copy(), to=work.type_of(c)), _set(work, c)) for c in columns]


def _chosen(work: _Work, act: exp.Case, values: Mapping[int, exp.Expr], column: str) -> exp.Expr:
    from sqlglot import exp

    case = exp.Case()
    for i, value in values.items():
        same = exp.EQ(this=exp.paren(act.copy()), expression=exp.Literal.number(i))
        case = case.when(same, exp.Cast(this=value.copy(), to=work.type_of(column)))
    return exp.alias_(case if values else exp.Cast(this=exp.Null(), to=work.type_of(column)), _set(work, column))


def _columns_of(work: _Work, source: exp.Expr) -> list[str]:
    """What the source is called column by column, found by binding it to nothing but its schema."""
    plan = Plan(dialect.render(source), work.rewriter.scans, work.rewriter.governed, ())
    with Execution(plan, work.around.spill, work.around.limits) as probe, explained(plan):
        return probe.session.columns(plan.sql)


_TYPES = {"VARCHAR": "STRING", "BLOB": "BINARY", "TIMESTAMPTZ": "TIMESTAMP", "TIMESTAMP": "TIMESTAMP_NTZ"}


def _databricks(duckdb_type: str) -> str:
    return _TYPES.get(duckdb_type, duckdb_type)


def _metrics(change: delta.Change | None) -> dict[str, int]:
    found = (
        dict(change.metrics)
        if change is not None
        else {"num_updated_rows": 0, "num_deleted_rows": 0, "num_inserted_rows": 0}
    )
    return {"num_affected_rows": sum(found.values()), **found}
