"""DuckDB as a calculator: one locked instance per statement that can see exactly the rows it was given, and nothing else.

The wall that keeps people's SQL in bounds is `lakewright.sql.wall`, on the parsed statement. What is here is the second
one: no files but the listed ones, no settings, no extensions, and `verify`, which asks DuckDB's own parser whether the
text that reaches it names only the scans that were meant.
"""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from lakewright.engines import delta
from lakewright.kernel.faults import Denied, NotSupported

if TYPE_CHECKING:
    import pyarrow as pa

_WORDS = {
    "string": "VARCHAR", "long": "BIGINT", "integer": "INTEGER", "short": "SMALLINT", "byte": "TINYINT",
    "float": "FLOAT", "double": "DOUBLE", "boolean": "BOOLEAN", "binary": "BLOB", "date": "DATE",
    "timestamp": "TIMESTAMPTZ", "timestamp_ntz": "TIMESTAMP",
}  # fmt: skip
FILE, ROW = "__lw_file", "__lw_row"
"""Where a row lies: the hidden columns of a scan made `with_places`."""
_TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series"})
_FORBIDDEN = re.compile(
    r"^(read_|parquet_|duckdb_|pragma_|sniff_|glob$|getenv|getvariable|current_setting|query|json_execute|json_serialize_sql"
    r"|nextval|currval|write_|set_|arrow_scan|seq_scan|sqlite_|test_|which_secret|copy_|from_substrait|checkpoint|force_"
    r"|current_database|current_schema|current_query|version|txid|user$|session_user|in_search_path|add_parquet_key|storage_info)"
)


@dataclass(frozen=True)
class Files:
    """Rows of a Delta snapshot, read from the files that were not pruned."""

    snapshot: delta.Snapshot
    files: tuple[delta.DataFile, ...]
    with_places: bool = False


@dataclass(frozen=True)
class Rows:
    """Rows in memory: virtual tables, request bodies, tables that only delta-rs can read."""

    table: pa.Table


Source = Files | Rows


@dataclass(frozen=True)
class Limits:
    memory_mb: int = 2048
    threads: int = 2


MODEST = Limits()


class Stopped(Exception):
    """The statement was cancelled while it ran."""


class Session:
    """One statement's engine. `sources` are the only tables it can name; use it as a context manager."""

    def __init__(
        self, sources: Mapping[str, Source], *, spill: Path, limits: Limits = MODEST, setup: Sequence[str] = ()
    ) -> None:
        import duckdb

        spill.mkdir(parents=True, exist_ok=True)
        self._con = duckdb.connect(":memory:", config={"threads": str(limits.threads)})
        self._stopped = threading.Event()
        con = self._con
        con.execute("SET temp_directory = ?", [str(spill)])
        con.execute(
            f"SET memory_limit = '{limits.memory_mb}MB'; SET TimeZone = 'UTC'; SET python_enable_replacements = false;"
            "SET autoinstall_known_extensions = false; SET autoload_known_extensions = false;"
            "SET preserve_insertion_order = true; SET errors_as_json = false"
        )
        for statement in setup:
            con.execute(statement)
        allowed = [f.path for s in sources.values() if isinstance(s, Files) for f in s.files]
        con.execute("SET allowed_paths = ?", [allowed])
        con.execute("SET enable_external_access = false; SET lock_configuration = true")
        for name, source in sources.items():
            self._bind(name, source)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._con.close()

    def stop(self) -> None:
        """From any thread: the statement ends at once with Stopped."""
        self._stopped.set()
        self._con.interrupt()

    def run(self, sql: str) -> None:
        """A statement of ours (temporary tables in between), never a person's text."""
        self._guarded(lambda: self._con.execute(sql))

    def reader(self, sql: str, *, batch: int = 65_536) -> pa.RecordBatchReader:
        """The rows of a query, as they are computed. The session must stay open until they are read."""
        import pyarrow as pa

        relation = self._guarded(lambda: self._con.sql(sql))
        huge = [i for i, t in enumerate(relation.types) if str(t) == "HUGEINT"]
        reader = self._guarded(lambda: relation.to_arrow_reader(batch))
        schema = reader.schema
        for i in huge:  # sums of whole numbers: BIGINT to everybody else
            schema = schema.set(i, pa.field(schema.field(i).name, pa.int64()))

        def batches() -> Iterator[pa.RecordBatch]:
            while True:
                found = self._guarded(lambda: next(reader, None))
                if found is None:
                    return
                yield found.cast(schema) if huge else found

        return pa.RecordBatchReader.from_batches(schema, batches())

    def table(self, sql: str) -> pa.Table:
        return self._guarded(lambda: self._con.sql(sql).to_arrow_table())

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self._guarded(lambda: self._con.execute(sql).fetchall())

    def columns(self, sql: str) -> list[str]:
        """What the columns of a query are called, without running it."""
        return self._guarded(lambda: list(self._con.sql(sql).columns))

    def verify(self, sql: str, names: frozenset[str]) -> None:
        """DuckDB's own reading of the text must name only these tables, and no function that looks outside."""
        found = cast("list[tuple[str]]", self._con.execute("SELECT json_serialize_sql(?)", [sql]).fetchall())[0][0]
        _verify(json.loads(found), names)

    def _guarded(self, act: Callable[[], Any]) -> Any:
        import duckdb

        if self._stopped.is_set():
            raise Stopped()
        try:
            return act()
        except duckdb.InterruptException as e:
            raise Stopped() from e
        except Exception as e:
            if self._stopped.is_set() or "INTERRUPT" in str(e):
                raise Stopped() from e
            raise

    def _bind(self, name: str, source: Source) -> None:
        if isinstance(source, Rows):
            self._con.register(name, source.table)
        elif source.snapshot.needs_reader:
            if source.with_places:
                raise NotSupported("Rows of a table with deletion vectors or column mapping cannot be changed in place")
            self._con.register(name, delta.read_through_deltalake(source.snapshot))
        else:
            self._con.execute(f"CREATE VIEW {quoted(name)} AS {_scan(source)}")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def type_of(delta_type: Any) -> str:
    """A column type of the Delta log as DuckDB writes it."""
    if isinstance(delta_type, str):
        if delta_type.startswith("decimal"):
            return delta_type.upper()
        if delta_type in _WORDS:
            return _WORDS[delta_type]
        raise NotSupported(f"Columns of type {delta_type} are not supported")
    match delta_type["type"]:
        case "array":
            return f"{type_of(delta_type['elementType'])}[]"
        case "map":
            return f"MAP({type_of(delta_type['keyType'])}, {type_of(delta_type['valueType'])})"
        case "struct":
            inner = ", ".join(f"{quoted(f['name'])} {type_of(f['type'])}" for f in delta_type["fields"])
            return f"STRUCT({inner})"
        case other:
            raise NotSupported(f"Columns of type {other} are not supported")


def _scan(source: Files) -> str:
    """Every column of the table with its type, also where an older file lacks it, in the order of the schema."""
    snapshot = source.snapshot
    types = {f.name: type_of(f.type) for f in snapshot.fields}
    names = ", ".join(quoted(n) for n in types)
    places = f", filename AS {FILE}, file_row_number AS {ROW}" if source.with_places else ""
    typed = ", ".join(f"NULL::{t} AS {quoted(n)}" for n, t in types.items())
    if not source.files:
        nowhere = f", NULL::VARCHAR AS {FILE}, NULL::BIGINT AS {ROW}" if source.with_places else ""
        return f"SELECT {typed}{nowhere} WHERE false"
    files = "[" + ", ".join(text(f.path) for f in source.files) + "]"
    options = ", filename = true, file_row_number = true" if source.with_places else ""
    if not snapshot.partition_columns:
        entries = ", ".join(
            f"{text(n)}: {{name: {text(n)}, type: {text(t)}, default_value: NULL}}" for n, t in types.items()
        )
        return f"SELECT {names}{places} FROM read_parquet({files}, schema = MAP {{{entries}}}, hive_partitioning = false{options})"
    partitions = ", ".join(f"{text(c)}: {types[c]}" for c in snapshot.partition_columns)
    if "=" not in snapshot.location and all(_names_its_partition(f, snapshot.partition_columns) for f in source.files):
        options += f", union_by_name = true, hive_partitioning = true, hive_types = {{{partitions}}}"
        read = f"SELECT * FROM read_parquet({files}{options})"
    else:
        read = _joined_with_partitions(source, files, types)
    empty = f"SELECT {typed}, NULL::VARCHAR AS filename, NULL::BIGINT AS file_row_number WHERE false"
    return f"SELECT {names}{places} FROM ({empty} UNION ALL BY NAME {read})"


def _names_its_partition(file: delta.DataFile, columns: tuple[str, ...]) -> bool:
    return [part.partition("=")[0] for part in file.logged.split("/")[:-1]] == list(columns)


def _joined_with_partitions(source: Files, files: str, types: Mapping[str, str]) -> str:
    """Some writers put partitions into folders with other names: the values then come from the log."""
    columns = source.snapshot.partition_columns
    values = ", ".join(
        "(" + ", ".join([text(f.path), *(_literal(f.partition[c], types[c]) for c in columns)]) + ")"
        for f in source.files
    )
    heads = ", ".join(["__lw_path", *(quoted(c) for c in columns)])
    return (
        f"SELECT r.*, p.* EXCLUDE (__lw_path) FROM read_parquet({files}, union_by_name = true, filename = true, "
        f"file_row_number = true, hive_partitioning = false) r JOIN (VALUES {values}) p({heads}) ON r.filename = p.__lw_path"
    )


def _literal(value: str | None, type_: str) -> str:
    return f"NULL::{type_}" if value is None else f"{text(value)}::{type_}"


def _verify(tree: dict[str, Any], names: frozenset[str]) -> None:
    if tree.get("error") or len(tree["statements"]) != 1:
        raise Denied("This statement is not a query that can be allowed")
    ctes: set[str] = set()
    tables: set[str] = set()
    for node in _nodes(tree):
        if "cte_map" in node:
            ctes.update(entry["key"].lower() for entry in node["cte_map"]["map"])
        kind = node.get("type")
        if kind == "BASE_TABLE":
            if node.get("schema_name") or node.get("catalog_name"):
                raise Denied("This statement names a table outside of the catalog")
            tables.add(node["table_name"].lower())
        if kind == "TABLE_FUNCTION" and node["function"]["function_name"].lower() not in _TABLE_FUNCTIONS:
            raise Denied("This statement uses a table function that is not allowed")
        if _FORBIDDEN.match(str(node.get("function_name", "")).lower()):
            raise Denied("This statement uses a function that is not allowed")
    if tables - ctes - {n.lower() for n in names}:
        raise Denied("This statement names a table outside of the catalog")


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            found = cast(dict[str, Any], item)
            yield found
            pending.extend(found.values())
        elif isinstance(item, list):
            pending.extend(cast(list[Any], item))
