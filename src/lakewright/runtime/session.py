"""spark: PySpark's DataFrame language over the platform's governed tables, without a JVM.

A table is known by its schema until a result is asked for; then exactly the columns that the plan needs are scanned, filtered and masked by
the server for whom the task runs as, and DuckDB computes the rest here. Statements that change something are the server's.
Imports SQLFrame at once, and is therefore imported at the first use of `spark`.
"""

# pyarrow, IPython and SQLFrame have no types, or only some.
# pyright: basic
from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, cast

import sqlglot
from sqlframe.base.types import Row  # noqa: TID253
from sqlframe.duckdb.dataframe import DuckDBDataFrame  # noqa: TID253
from sqlframe.duckdb.readwriter import DuckDBDataFrameReader, DuckDBDataFrameWriter  # noqa: TID253
from sqlframe.duckdb.session import DuckDBSession  # noqa: TID253
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.pushdown_projections import pushdown_projections
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import traverse_scope

from lakewright.runtime import rest, tables


class NoSuchTable(Exception):
    """The table is not there, or not named in full."""


@dataclass
class _Known:
    full: str
    version: int | None
    columns: tuple[str, ...]
    stale: bool = False
    brought: str = ""

    def spelled(self, columns: list[str] | None) -> list[str] | None:
        """Columns as the table writes them: names are compared without case."""
        if columns is None:
            return None
        wanted = {column.lower() for column in columns}
        return [column for column in self.columns if column.lower() in wanted]


class GovernedReader(DuckDBDataFrameReader):
    def table(self, tableName: str) -> Any:
        if self.session.temp_views.get(tableName.lower()):
            return super().table(tableName)
        version = self.state_options.get("versionAsOf")
        return super().table(_quoted(self._governed.learn(tableName, None if version is None else int(version))))

    @property
    def _governed(self) -> GovernedSession:
        return cast(GovernedSession, self.session)


class GovernedWriter(DuckDBDataFrameWriter):
    """Tables are written by the server, in one commit. A path is written here, in the task's own folder."""

    def saveAsTable(self, name: str, format: str | None = None, mode: str | None = None, **options: Any) -> None:
        if refused := sorted(name for name, value in options.items() if value):
            raise NotImplementedError(f"saveAsTable does not support {', '.join(refused)}; CREATE TABLE … does")
        if format not in (None, "delta"):
            raise NotImplementedError(f"tables are Delta tables; saveAsTable(format={format!r}) is not possible")
        wanted = mode or self._mode or "error"
        full = _governed(self._session).full(name)
        if wanted in ("error", "errorifexists", "ignore") and tables.exists(full):
            if wanted == "ignore":
                return
            raise rest.Refused(
                409, "TABLE_OR_VIEW_ALREADY_EXISTS", f"the table {full} exists; say mode('overwrite') or mode('append')"
            )
        tables.write(full, self._df.toArrow(), "overwrite" if wanted == "overwrite" else "append")
        _governed(self._session).forget(full)

    def insertInto(self, tableName: str, overwrite: bool | None = None) -> None:
        """By position, as in Spark: the columns take the table's names."""
        full = _governed(self._session).full(tableName)
        data = self._df.toArrow()
        names = tables.schema(full).names
        if len(names) != data.num_columns:
            raise rest.Refused(
                400, "INSERT_COLUMN_ARITY_MISMATCH", f"{full} has {len(names)} columns, the data {data.num_columns}"
            )
        tables.write(full, data.rename_columns(names), "overwrite" if overwrite else "append")

    def format(self, source: str) -> GovernedWriter:
        return self if source == "delta" else cast(GovernedWriter, super().format(source))


class GovernedDataFrame(DuckDBDataFrame):
    def toArrow(self, batch_size: int | None = None) -> Any:
        session = _governed(self.session)
        *before, last = self._get_expressions()
        for expression in before:
            session._execute(session._to_sql(expression))
        relation = session._duckdb.sql(session.bring(session._to_sql(last)))
        return relation.to_arrow_table() if batch_size is None else relation.to_arrow_reader(batch_size)

    def toPandas(self) -> Any:
        return self.toArrow().to_pandas()


class GovernedSession(DuckDBSession):
    _reader = GovernedReader
    _writer = GovernedWriter
    _df = GovernedDataFrame
    _table = GovernedDataFrame  # without the UPDATE, DELETE and MERGE of a table of DuckDB: those are statements, and the server's

    _instantiatedSession = None
    """Where MLflow looks for a session of Spark's own, which this is not."""

    class Builder(DuckDBSession.Builder):
        @cached_property
        def session(self) -> GovernedSession:
            return cast(GovernedSession, GovernedSession(**self._session_kwargs))

    builder = Builder()

    # --- names

    def full(self, name: str) -> str:
        """A table's full name, in lower case: what is left out is the session's catalog and schema."""
        parts = [part.strip("`").lower() for part in _split(name)]
        catalog, schema = self._place()
        whole = [*[part for part in (catalog, schema)[: 3 - len(parts)] if part], *parts]
        if len(whole) != 3:
            raise NoSuchTable(
                f"name the table {name!r} as catalog.schema.table, or say USE CATALOG and USE SCHEMA first"
            )
        return ".".join(whole)

    def _place(self) -> tuple[str, str]:
        place = self.__dict__.setdefault("_lakewright_place", {})
        return (
            place.get("catalog", os.environ.get("LAKEWRIGHT_CATALOG", "")),
            place.get("schema", os.environ.get("LAKEWRIGHT_SCHEMA", "default")),
        )

    def _use(self, **place: str) -> None:
        self.__dict__.setdefault("_lakewright_place", {}).update(place)

    # --- tables

    @property
    def _duckdb(self) -> Any:
        return self._conn

    @property
    def _known(self) -> dict[str, _Known]:
        return self.__dict__.setdefault("_lakewright_known", {})

    def learn(self, name: str, version: int | None = None) -> str:
        """Makes a table known to the planner as an empty one of the same columns; answers what it is called there."""
        full = self.full(name)
        for local, known in self._known.items():
            if (known.full, known.version, known.stale) == (full, version, False):
                return local
        local = f"{full}@{len(self._known)}"
        empty = tables.read(full, where="false", version=version)
        self._keep(local, empty)
        self._known[local] = _Known(full, version, tuple(empty.schema.names))
        return local

    def forget(self, full: str) -> None:
        """The table was written, and may have other columns now; DataFrames planned before keep those they had."""
        for known in self._known.values():
            known.stale = known.stale or known.full == full

    def bring(self, text: str) -> str:
        """Scans what a statement needs of the tables it names, just before it runs; answers the statement to run.

        A temporary view of the data shadows the empty table. Columns the plan does not need are cut out of the statement first, so that
        a mistake in that would be an error and not a column of nulls.
        """
        if not any(local in text for local in self._known):
            return text
        statement = pruned(text, {local: known.columns for local, known in self._known.items()})
        for local, columns in needed(statement, set(self._known)).items():
            known = self._known[local]
            self._duckdb.register(local, tables.read(known.full, known.spelled(columns), version=known.version))
            known.brought = local
        return statement.sql(dialect="duckdb")

    def _keep(self, name: str, data: Any) -> None:
        self._duckdb.register("_lakewright_given", data)
        self._duckdb.execute(f'CREATE TABLE "{name}" AS SELECT * FROM _lakewright_given')
        self._duckdb.unregister("_lakewright_given")

    def _execute(self, sql: str) -> None:
        if sql.lstrip().upper().startswith(("CREATE", "DESCRIBE")):
            self._put_away()  # asks for the columns of a plan, not for its rows: those of the whole table
            super()._execute(sql)
        else:
            super()._execute(self.bring(sql))

    def _put_away(self) -> None:
        for known in self._known.values():
            if known.brought:
                self._duckdb.unregister(known.brought)
                known.brought = ""

    # --- statements

    def sql(self, sqlQuery: Any, dialect: Any = None, qualify: bool = True, args: Any = None, **kwargs: Any) -> Any:
        """A query is planned here over governed tables; anything else is run by the server, and its answer is the DataFrame."""
        if not isinstance(sqlQuery, str) or kwargs or args is not None or isinstance(dialect, (dict, list)):
            return super().sql(sqlQuery, dialect, qualify, args, **kwargs)
        statement = sqlglot.parse_one(sqlQuery, read="databricks")
        if isinstance(statement, exp.Use):
            return self._moved(statement)
        if not isinstance(statement, exp.Query):
            return self._by_the_server(statement)
        if self._only_the_server_knows(statement):
            return self.from_arrow(tables.sql(sqlQuery))
        self._localise(statement)
        return super().sql(statement, "databricks", qualify)

    def _only_the_server_knows(self, statement: exp.Expr) -> bool:
        """Functions of the catalog, and who is asking: here they would be unknown, or answered for DuckDB's own user."""
        if self.uses_views(statement):
            return False
        return any(isinstance(part, (exp.Anonymous, exp.CurrentUser, exp.SessionUser)) for part in statement.walk())

    def uses_views(self, statement: exp.Expr) -> bool:
        named = {table.name.lower() for table in statement.find_all(exp.Table) if not table.db}
        return bool(named & {view.lower() for view in self.temp_views})

    def _moved(self, statement: exp.Use) -> Any:
        kind = str(statement.args.get("kind") or "").upper()
        parts = _split(statement.this.sql(dialect="databricks"))
        if kind == "CATALOG":
            self._use(catalog=parts[0], schema="default")
        elif len(parts) == 2:
            self._use(catalog=parts[0], schema=parts[1])
        else:
            self._use(schema=parts[0])
        return self.createDataFrame([], "result string")

    def _by_the_server(self, statement: exp.Expr) -> Any:
        """Temporary views exist here only: an INSERT or CREATE TABLE AS that names one is a write of what it selects."""
        if self.uses_views(statement) and isinstance(statement, (exp.Insert, exp.Create)):
            data = self.sql(statement.expression.sql(dialect="databricks"))
            target = cast(exp.Expr, statement.this).find(exp.Table)
            if target is None:
                raise NotImplementedError("this statement over a temporary view")
            replaces = bool(statement.args.get("overwrite") or statement.args.get("replace"))
            tables.write(
                self.full(target.sql(dialect="databricks")), data.toArrow(), "overwrite" if replaces else "append"
            )
            return self.createDataFrame([], "num_rows bigint")
        for table in statement.find_all(exp.Table):
            if table.name and not table.catalog and not isinstance(statement, (exp.Show, exp.Command)):
                _rename(table, self.full(table.sql(dialect="databricks").split(" ")[0]))
        return self.from_arrow(tables.sql(statement.sql(dialect="databricks")))

    def _localise(self, statement: exp.Expr) -> None:
        """Full names become the names under which the planner knows the tables; what refers to them keeps its own."""
        own = {cte.alias_or_name.lower() for cte in statement.find_all(exp.CTE)} | {
            view.lower() for view in self.temp_views
        }
        for table in list(statement.find_all(exp.Table)):
            if not isinstance(table.this, exp.Identifier) or (not table.db and table.name.lower() in own):
                continue
            local = self.learn(".".join(part.name for part in table.parts))
            alias = table.alias_or_name
            table.set("this", exp.to_identifier(local, quoted=True))
            table.set("db", None)
            table.set("catalog", None)
            if not table.alias:
                table.set("alias", exp.TableAlias(this=exp.to_identifier(alias)))

    # --- data that is here already

    def from_arrow(self, data: Any) -> Any:
        """A DataFrame over Arrow data: a table of this session's own DuckDB."""
        name = self._random_id
        self._keep(name, data)
        return DuckDBDataFrameReader(self).table(name)

    def createDataFrame(
        self, data: Any, schema: Any = None, samplingRatio: Any = None, verifySchema: bool = False
    ) -> Any:
        """A pandas frame or Arrow table goes in whole; rows one by one would make a statement as long as the data."""
        import pyarrow as pa

        if schema is None or (isinstance(schema, (list, tuple)) and all(isinstance(name, str) for name in schema)):
            if hasattr(data, "iloc"):
                data = pa.Table.from_pandas(data, preserve_index=False).replace_schema_metadata()
            if isinstance(data, pa.Table):
                return self.from_arrow(data.rename_columns(list(schema)) if schema else data)
        return super().createDataFrame(data, schema, samplingRatio, verifySchema)


def pruned(text: str, known: dict[str, tuple[str, ...]]) -> exp.Expr:
    """The statement without the columns it does not need; as it is where that cannot be worked out."""
    statement = sqlglot.parse_one(text, read="duckdb")
    if not isinstance(statement, exp.Query):
        return statement
    columns: dict[str, object] = {local: dict.fromkeys(names, "unknown") for local, names in known.items()}
    try:
        qualified = qualify(
            statement.copy(), dialect="duckdb", schema=columns, validate_qualify_columns=False, expand_stars=True
        )
        return cast(exp.Expr, pushdown_projections(qualified))
    except SqlglotError:
        return statement


def needed(statement: exp.Expr, known: set[str]) -> dict[str, list[str] | None]:
    """The columns that a statement uses of each known table; None where that cannot be told, which is all."""
    query = statement if isinstance(statement, exp.Query) else statement.find(exp.Query)
    named = {table.name for table in statement.find_all(exp.Table)} & known
    if query is None or any(isinstance(star.parent, (exp.Select, exp.Column)) for star in query.find_all(exp.Star)):
        return dict.fromkeys(sorted(named))
    found: dict[str, set[str]] = {}
    for scope in traverse_scope(query):
        for alias, source in scope.sources.items():
            if isinstance(source, exp.Table) and source.name in named:
                found.setdefault(source.name, set()).update(c.name for c in scope.columns if c.table in ("", alias))
    return {name: sorted(found.get(name, ())) or None for name in sorted(named)}


def _governed(session: DuckDBSession) -> GovernedSession:
    return cast(GovernedSession, session)


def _rename(table: exp.Table, full: str) -> None:
    catalog, schema, name = full.split(".")
    for part, value in (("this", name), ("db", schema), ("catalog", catalog)):
        table.set(part, exp.to_identifier(value))


def _split(name: str) -> list[str]:
    return [part.name for part in exp.to_table(name, dialect="databricks").parts]


def _quoted(local: str) -> str:
    return f"`{local}`"


@cache
def session() -> GovernedSession:
    return cast(GovernedSession, GovernedSession.builder.getOrCreate())


__all__ = ["GovernedSession", "Row", "session"]
