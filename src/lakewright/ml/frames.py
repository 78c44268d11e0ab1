"""Arrow data opened in DuckDB: one pass for a stream, no copy for a table, spilling to disk past a memory limit."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import duckdb

Frame = Any  # pyarrow Table, RecordBatchReader or Dataset, pandas or polars DataFrame: whatever DuckDB can scan
Sort = Literal["numeric", "categorical"]
WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
FLOATING = ("FLOAT", "DOUBLE")
TEMPORAL = ("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S")
TEXTUAL = ("VARCHAR", "BOOLEAN", "UUID", "ENUM")


@dataclass(frozen=True)
class Column:
    name: str
    type: str

    @property
    def sort(self) -> Sort | None:
        """None for what has no distribution worth comparing here: structs, lists, maps, bytes."""
        if self.type in WHOLE + FLOATING + TEMPORAL or self.type.startswith("DECIMAL"):
            return "numeric"
        return "categorical" if self.type.startswith(TEXTUAL) else None

    @property
    def number(self) -> str:
        """SQL for its value as a number; NaN counts as missing, a time is its seconds."""
        if self.type in FLOATING:
            return f"CASE WHEN isnan({quoted(self.name)}) THEN NULL ELSE {quoted(self.name)}::DOUBLE END"
        if self.type in TEMPORAL:
            return f"epoch({quoted(self.name)})"
        return f"{quoted(self.name)}::DOUBLE"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def opened(memory: str = "1GB", threads: int = 2, **frames: Frame) -> Generator["duckdb.DuckDBPyConnection"]:
    """Each frame becomes a table of its keyword's name."""
    import duckdb

    with TemporaryDirectory(prefix="frames") as spill:
        settings: dict[str, Any] = {"memory_limit": memory, "threads": str(threads), "temp_directory": spill}
        with duckdb.connect(":memory:", config=settings) as database:
            for name, frame in frames.items():
                attach(database, name, frame)
            # Conditions that people wrote end up in these queries: no file and no network is within their reach.
            database.execute("SET enable_external_access = false")
            yield database


def attach(database: "duckdb.DuckDBPyConnection", name: str, frame: Frame) -> None:
    """A stream can be read once, so it is kept in a table; anything else is scanned where it is."""
    if type(frame).__name__ != "RecordBatchReader":
        database.register(name, frame)
        return
    database.register(f"{name}_stream", frame)
    database.execute(f"CREATE TEMP TABLE {quoted(name)} AS SELECT * FROM {quoted(name + '_stream')}")
    database.unregister(f"{name}_stream")


def columns(database: "duckdb.DuckDBPyConnection", source: str) -> list[Column]:
    described = database.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    return [Column(str(name), str(kind)) for name, kind, *_ in described]


def one(database: "duckdb.DuckDBPyConnection", sql: str) -> Sequence[Any]:
    row = database.execute(sql).fetchone()
    assert row is not None
    return row
