"""Delta tables as files: which files a query must read, and commits that are on the disk when they are acknowledged.

deltalake appends and overwrites. It never calls fsync, and its UPDATE and DELETE know only a small dialect of
predicates; both are done here. Reading is left to the caller: `Snapshot.files` says what to read and `prune` what to skip.
"""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

import datetime as dt
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import quote, unquote

from lakewright.kernel.faults import BadState, Conflict, Fault, Invalid, NotFound, NotSupported

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

READABLE = frozenset(
    {"timestampNtz", "columnMapping", "deletionVectors", "appendOnly", "invariants", "vacuumProtocolCheck"}
)
REWRITABLE = frozenset(
    {"timestampNtz", "appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns"}
)
ATTEMPTS = 20
Op = Literal["=", "<", "<=", ">", ">=", "in", "is null", "is not null"]


@dataclass(frozen=True)
class Field:
    name: str
    type: Any
    """The type as the Delta log writes it: a word, or a dict for arrays, maps and structs."""
    nullable: bool = True


@dataclass(frozen=True)
class DataFile:
    path: str
    """Absolute."""
    logged: str
    """As the log spells it: relative and URL-quoted."""
    size: int
    rows: int | None
    partition: Mapping[str, str | None]


@dataclass(frozen=True)
class Test:
    """One condition that every wanted row meets; used only to skip files that can hold no such row."""

    column: str
    op: Op
    values: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    location: str
    version: int
    fields: tuple[Field, ...]
    partition_columns: tuple[str, ...]
    configuration: Mapping[str, str]
    files: tuple[DataFile, ...]
    statistics: Mapping[str, list[Any]] = field(repr=False)
    """Column-wise minima, maxima and null counts, in the order of `files`."""
    needs_reader: bool = False
    """Deletion vectors or mapped columns: the Parquet files alone do not tell the rows, delta-rs has to read them."""
    unwritable: str = ""
    """Why rows of this table may not be rewritten by us; empty when they may."""


# -- reading ----------------------------------------------------------------------------------------------------------


def open_at(location: str | Path, version: int | dt.datetime | None = None) -> Snapshot:
    """What the table is at a version (or at a time), without its rows."""
    table = _table(location, version)
    protocol, metadata = table.protocol(), table.metadata()
    features = set(protocol.reader_features or ()) | set(protocol.writer_features or ())
    if unknown := set(protocol.reader_features or ()) - READABLE:
        raise NotSupported(f"This table uses Delta features that are not supported: {', '.join(sorted(unknown))}")
    raw_fields = cast(list[dict[str, Any]], json.loads(table.schema().to_json())["fields"])
    configuration = dict(metadata.configuration)
    mapped = configuration.get("delta.columnMapping.mode", "none") != "none"
    files, statistics = _files(table, Path(location))
    return Snapshot(
        location=str(location),
        version=table.version(),
        fields=tuple(Field(str(f["name"]), f["type"], bool(f["nullable"])) for f in raw_fields),
        partition_columns=tuple(metadata.partition_columns),
        configuration=configuration,
        files=files,
        statistics=statistics,
        needs_reader=mapped or "deletionVectors" in features or "columnMapping" in features,
        unwritable=_unwritable(set(protocol.writer_features or ()), configuration, raw_fields),
    )


def read_through_deltalake(snapshot: Snapshot) -> pa.Table:
    """All rows of a table whose files cannot be read alone (deletion vectors, mapped columns)."""
    import pyarrow as pa

    return pa.table(_table(snapshot.location, snapshot.version).scan())


def exists(location: str | Path) -> bool:
    return (Path(location) / "_delta_log").is_dir()


def arrow_schema(location: str | Path) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(_table(location, None).schema())


def history(location: str | Path, limit: int | None = None) -> list[dict[str, Any]]:
    return _table(location, None).history(limit)


def prune(snapshot: Snapshot, tests: Iterable[Test]) -> tuple[DataFile, ...]:
    """The files that may hold a row that meets every test."""
    kept = range(len(snapshot.files))
    types = {f.name.lower(): (f.name, f.type) for f in snapshot.fields}
    for test in tests:
        name, type_ = types.get(test.column.lower(), ("", None))
        if not name or not isinstance(type_, str):
            continue
        if name in snapshot.partition_columns:
            kept = [i for i in kept if _partition_may_match(snapshot.files[i].partition.get(name), type_, test)]
        elif f"min.{name}" in snapshot.statistics:
            kept = [i for i in kept if _file_may_match(snapshot, i, name, type_, test)]
    return tuple(snapshot.files[i] for i in kept)


def _table(location: str | Path, version: int | dt.datetime | None) -> DeltaTable:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    if isinstance(version, int) and (version < 0 or -1 < _newest(location) < version):
        raise Invalid(f"The table has no version {version}")
    try:
        table = DeltaTable(str(location), version=version if isinstance(version, int) else None)
        if isinstance(version, dt.datetime):
            table.load_as_version(version)
        return table
    except TableNotFoundError as e:
        raise NotFound("The table has no data: its Delta log was not found") from e
    except (DeltaError, ValueError, OSError) as e:
        if version is not None:
            raise Invalid(f"The table has no version {version}") from e
        raise BadState("The Delta log of this table cannot be read") from e


def _newest(location: str | Path) -> int:
    """The highest version in the log; -1 without one. The reader of logs would count up to whatever it is asked for,
    in time that grows with the number."""
    try:
        names = os.listdir(Path(location) / "_delta_log")
    except OSError:
        return -1
    return max((int(name[:20]) for name in names if name[:20].isdecimal()), default=-1)


def _files(table: DeltaTable, root: Path) -> tuple[tuple[DataFile, ...], dict[str, list[Any]]]:
    import pyarrow as pa

    adds = pa.table(table.get_add_actions(flatten=True))
    columns = {name: adds.column(name).to_pylist() for name in adds.column_names}
    real, known = os.path.realpath(root), dict[str, bool]()
    for logged in columns["path"]:
        if not _inside(real, root, unquote(logged), known):
            raise BadState("The Delta log of this table names files outside of the table")
    partitions = {n.removeprefix("partition."): c for n, c in columns.items() if n.startswith("partition.")}
    files = tuple(
        DataFile(
            path=str(root / unquote(logged)),
            logged=logged,
            size=size,
            rows=rows,
            partition={name: _partition_text(values[i]) for name, values in partitions.items()},
        )
        for i, (logged, size, rows) in enumerate(
            zip(
                columns["path"],
                columns["size_bytes"],
                columns.get("num_records") or [None] * adds.num_rows,
                strict=True,
            )
        )
    )
    statistics = {n: c for n, c in columns.items() if n.startswith(("min.", "max.", "null_count."))}
    return files, statistics


def _inside(real: str, root: Path, relative: str, known: dict[str, bool]) -> bool:
    """A log, which its writer may have made up, must not lead to somebody else's files."""
    path = root / relative
    if path.is_symlink():
        return False
    folder = str(path.parent)
    if folder not in known:
        known[folder] = os.path.realpath(folder) == real or os.path.realpath(folder).startswith(real + os.sep)
    return known[folder]


def _unwritable(features: set[str], configuration: Mapping[str, str], raw_fields: list[dict[str, Any]]) -> str:
    if unknown := features - REWRITABLE:
        return f"it uses {', '.join(sorted(unknown))}"
    if configuration.get("delta.appendOnly", "false").lower() == "true":
        return "it is append-only (delta.appendOnly)"
    if configuration.get("delta.enableChangeDataFeed", "false").lower() == "true":
        return "it keeps a change data feed"
    if any(name.startswith("delta.constraints.") for name in configuration):
        return "it has check constraints"
    if any(
        key in f.get("metadata", {}) for f in raw_fields for key in ("delta.generationExpression", "delta.invariants")
    ):
        return "it has generated columns or invariants"
    return ""


def _partition_may_match(text: str | None, type_: str, test: Test) -> bool:
    if test.op == "is null":
        return text is None
    if text is None:
        return False
    if test.op == "is not null":
        return True
    value = _parsed(text, type_)
    return value is None or _between(value, value, test)


def _file_may_match(snapshot: Snapshot, i: int, name: str, type_: str, test: Test) -> bool:
    nulls = snapshot.statistics.get(f"null_count.{name}", [None] * (i + 1))[i]
    if test.op == "is null":
        return nulls is None or nulls > 0
    if test.op == "is not null":
        return nulls is None or nulls != snapshot.files[i].rows
    if type_ not in _PRUNED:
        return True
    low, high = snapshot.statistics[f"min.{name}"][i], snapshot.statistics[f"max.{name}"][i]
    if low is None or high is None:
        return True
    if isinstance(high, dt.datetime):
        high += dt.timedelta(milliseconds=1)  # writers may cut the fraction off the maximum
    return _between(low, high, test)


# Floats are left out: a NaN is in no minimum or maximum, and yet greater than everything.
_PRUNED = frozenset({"string", "long", "integer", "short", "byte", "date", "timestamp", "timestamp_ntz"})


def _between(low: Any, high: Any, test: Test) -> bool:
    try:
        values = test.values
        match test.op:
            case "=" | "in":
                return any(low <= v <= high for v in values)
            case "<":
                return low < values[0]
            case "<=":
                return low <= values[0]
            case ">":
                return high > values[0]
            case ">=":
                return high >= values[0]
            case _:
                return True
    except TypeError:  # not comparable: the test says nothing about this column
        return True


def _parsed(text: str, type_: str) -> Any:
    try:
        match type_:
            case "string":
                return text
            case "long" | "integer" | "short" | "byte":
                return int(text)
            case "date":
                return dt.date.fromisoformat(text)
            case "boolean":
                return text == "true"
            case _:
                return None
    except ValueError:
        return None


def _partition_text(value: Any) -> str | None:
    """A partition value as the log spells it."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    return str(value)


# -- writing ----------------------------------------------------------------------------------------------------------


def create(
    location: str | Path,
    schema: pa.Schema,
    *,
    partition_by: Sequence[str] = (),
    configuration: Mapping[str, str] | None = None,
    by: str = "",
) -> int:
    """A new, empty table."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    Path(location).mkdir(parents=True, exist_ok=True)
    try:
        with _lock(location):
            table = DeltaTable.create(
                str(location), schema, partition_by=list(partition_by) or None,
                configuration=dict(configuration or {}), commit_properties=_signed(by),
            )  # fmt: skip
            make_durable(location, table.version())
            return table.version()
    except DeltaError as e:
        raise _refusal(e) from e


def write(
    location: str | Path,
    data: Any,
    *,
    mode: Literal["append", "overwrite"] = "append",
    schema: Literal["keep", "merge", "replace"] = "keep",
    by: str = "",
) -> int:
    """Append or replace rows (anything that speaks Arrow); answers the version, which is on the disk by then."""
    from deltalake import write_deltalake
    from deltalake.exceptions import DeltaError

    modes: dict[str, Literal["merge", "overwrite"] | None] = {"keep": None, "merge": "merge", "replace": "overwrite"}
    failed: list[Exception] = []
    try:
        with _lock(location):
            table = _table(location, None)
            write_deltalake(
                table, _watched(data, failed), mode=mode, schema_mode=modes[schema], commit_properties=_signed(by)
            )
            version = table.version()
            make_durable(location, version)
            return version
    except Exception as e:
        if failed:  # the rows themselves could not be had; delta-rs would only say that something did
            raise failed[0] from e
        # Arrow errors of the stream surface with their own classes; arrow is not imported just to name them.
        if isinstance(e, DeltaError | ValueError | TypeError) or _is_arrow(e):
            raise _refusal(e) from e
        raise


def _watched(data: Any, failed: list[Exception]) -> Any:
    """The same rows; what goes wrong while they are computed is kept."""
    import pyarrow as pa

    reader = data.to_reader() if isinstance(data, pa.Table) else data
    if not isinstance(reader, pa.RecordBatchReader):
        return data

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from reader
        except Exception as e:
            failed.append(e)
            raise

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def _is_arrow(error: Exception) -> bool:
    return type(error).__module__.split(".")[0] in ("pyarrow", "arro3", "_internal")


def add_columns(location: str | Path, columns: Sequence[Mapping[str, Any]], *, by: str = "") -> int:
    """Further columns (fields as the log spells them), NULL in the rows there are."""
    from deltalake import Field as DeltaField
    from deltalake.exceptions import DeltaError

    fields = [DeltaField.from_json(json.dumps(c)) for c in columns]
    try:
        with _lock(location):
            table = _table(location, None)
            table.alter.add_columns(fields, commit_properties=_signed(by))
            make_durable(location, table.version())
            return table.version()
    except DeltaError as e:
        raise _refusal(e) from e


def set_properties(location: str | Path, properties: Mapping[str, str]) -> int:
    from deltalake.exceptions import DeltaError

    try:
        with _lock(location):
            table = _table(location, None)
            table.alter.set_table_properties(dict(properties))
            make_durable(location, table.version())
            return table.version()
    except DeltaError as e:
        raise _refusal(e) from e


@dataclass(frozen=True)
class Change:
    """What a rewrite does to a snapshot: files that go, and the rows that take their place."""

    removed: tuple[DataFile, ...]
    rows: Iterator[pa.Table]
    operation: str
    metrics: Mapping[str, int]


def rewrite(location: str | Path, plan: Callable[[Snapshot], Change | None], *, by: str = "") -> Change | None:
    """Copy on write. The plan is made anew whenever somebody else committed in between, so that its predicate is
    always judged on the rows it replaces. None from the plan: nothing to do, nothing committed."""
    for _ in range(ATTEMPTS):
        with _lock(location):
            snapshot = open_at(location)
            if snapshot.unwritable:
                raise NotSupported(f"Rows of this table cannot be changed in place: {snapshot.unwritable}")
            change = plan(snapshot)
            if change is None:
                return None
            added = [a for rows in change.rows for a in _write_files(snapshot, rows)]
            if _commit(snapshot, change, added, by):
                make_durable(location, snapshot.version + 1)
                return change
            for action in added:
                Path(snapshot.location, unquote(action["path"])).unlink(missing_ok=True)
    raise Conflict("The table was changed by others each time this change was about to be committed")


def make_durable(location: str | Path, version: int) -> None:
    """fsync what a commit wrote: data files, log entries up to it, checkpoints, and the directories that name them."""
    root, log = Path(location), Path(location) / "_delta_log"
    key = os.path.realpath(root)
    first = _durable.get(key, version - 1) + 1
    dirs = {log, root}
    for v in range(min(first, version), version + 1):
        entry = log / f"{v:020d}.json"
        if not entry.exists():  # cleaned up after a checkpoint
            continue
        for line in entry.read_bytes().splitlines():
            action = json.loads(line)
            if "add" in action:
                data = root / unquote(action["add"]["path"])
                _fsync(data)
                dirs.update(p for p in data.parents if p != root and p.is_relative_to(root))
        _fsync(entry)
    for extra in (*log.glob("*.checkpoint*.parquet"), log / "_last_checkpoint"):
        if extra.exists() and (key not in _durable or extra.stat().st_mtime > time.time() - 60):
            _fsync(extra)
    for directory in sorted(dirs, key=lambda p: -len(p.parts)):
        _fsync(directory)
    if version == 0:
        for parent in list(root.parents)[:4]:  # the folders of a new table: table, tables, schema, catalog
            _fsync(parent)
    _durable[key] = max(version, _durable.get(key, 0))


_durable: dict[str, int] = {}
_locks: dict[str, threading.RLock] = {}
_locks_guard = threading.Lock()


def _lock(location: str | Path) -> threading.RLock:
    """Writers in this process take turns on a table; other processes are met by put-if-absent on the log."""
    with _locks_guard:
        return _locks.setdefault(os.path.realpath(location), threading.RLock())


def _fsync(path: Path) -> None:
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    except PermissionError:
        if path.is_dir():  # a parent that is not ours was not changed by us either
            return
        raise
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _signed(by: str) -> Any:
    from deltalake import CommitProperties

    return CommitProperties(custom_metadata={"userName": by} if by else None)


def _refusal(error: Exception) -> Fault:
    """delta-rs quotes rejected rows in its messages; they must not reach a caller or a log."""
    from deltalake.exceptions import CommitFailedError, SchemaMismatchError

    text = str(error).lower()
    if isinstance(error, CommitFailedError):
        return Conflict("The table was changed by somebody else at the same time")
    if "append-only" in text or "appendonly" in text or "append only" in text:
        return BadState("This table is append-only (delta.appendOnly)")
    if "already exists" in text:
        return Conflict("There is already a Delta table at this location")
    if "check" in text or "constraint" in text or "invariant" in text:
        return Invalid("DELTA_VIOLATE_CONSTRAINT_WITH_VALUES: a row violates a constraint of the table")
    if "null" in text and "not" in text:
        return Invalid("DELTA_NOT_NULL_CONSTRAINT_VIOLATED: a row holds NULL in a column that must not")
    if isinstance(error, SchemaMismatchError) or "schema" in text or "cast" in text or "type" in text:
        return Invalid("DELTA_SCHEMA_MISMATCH: the columns written do not fit the columns of the table")
    return Invalid("The rows could not be written to this table")


def _write_files(snapshot: Snapshot, rows: pa.Table) -> list[dict[str, Any]]:
    import pyarrow as pa

    schema = pa.schema(_table(snapshot.location, snapshot.version).schema())
    for f in snapshot.fields:
        if not f.nullable and rows.column(f.name).null_count:
            raise Invalid(f"DELTA_NOT_NULL_CONSTRAINT_VIOLATED: column {f.name} must not hold NULL")
    try:
        rows = rows.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as e:
        raise Invalid("DELTA_SCHEMA_MISMATCH: the new values do not fit the columns of the table") from e
    return [_write_file(snapshot, values, part) for values, part in _by_partition(snapshot, rows) if part.num_rows]


def _by_partition(snapshot: Snapshot, rows: pa.Table) -> Iterator[tuple[dict[str, Any], pa.Table]]:
    import pyarrow as pa
    from pyarrow import compute

    pc: Any = compute

    if not snapshot.partition_columns:
        yield {}, rows
        return
    keys = list(snapshot.partition_columns)
    for values in rows.select(keys).group_by(keys).aggregate([]).to_pylist():
        mask: Any = pa.scalar(True)
        for key in keys:
            column = rows.column(key)
            same = pc.is_null(column) if values[key] is None else pc.fill_null(pc.equal(column, values[key]), False)
            mask = pc.and_(mask, same)
        yield values, rows.filter(mask).drop_columns(keys)


def _write_file(snapshot: Snapshot, values: dict[str, Any], rows: pa.Table) -> dict[str, Any]:
    import pyarrow.parquet as pq

    texts = {name: _partition_text(values[name]) for name in snapshot.partition_columns}
    folders = [f"{quote(k, safe='')}={_hive(v)}" for k, v in texts.items()]
    relative = "/".join([*folders, f"part-00000-{uuid.uuid4()}-c000.zstd.parquet"])
    path = Path(snapshot.location, relative)
    path.parent.mkdir(parents=True, exist_ok=True)
    written: list[Any] = []
    pq.write_table(rows, path, compression="zstd", metadata_collector=written)
    return {
        "path": quote(relative, safe="/=-_.~"),
        "partitionValues": texts,
        "size": path.stat().st_size,
        "modificationTime": int(path.stat().st_mtime * 1000),
        "dataChange": True,
        "stats": json.dumps(_statistics(rows, written[0])),
    }


def _hive(text: str | None) -> str:
    return "__HIVE_DEFAULT_PARTITION__" if text is None else quote(text, safe=" -_.,()")


def _statistics(rows: pa.Table, metadata: Any) -> dict[str, Any]:
    groups = [metadata.row_group(g) for g in range(metadata.num_row_groups)]
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    for c in range(metadata.num_columns):
        name = metadata.schema.column(c).path
        all_stats = [g.column(c).statistics for g in groups]
        if name not in rows.column_names or any(s is None or not s.has_min_max for s in all_stats):
            continue
        least, most = _json_value(min(s.min for s in all_stats)), _json_value(max(s.max for s in all_stats), up=True)
        if least is not None and most is not None:
            low[name], high[name] = least, most
    # Counts for nested columns have to be nested too: a plain number there makes the whole table unreadable.
    nulls = {f.name: rows.column(f.name).null_count for f in rows.schema if f.type.num_fields == 0}
    return {"numRecords": rows.num_rows, "minValues": low, "maxValues": high, "nullCount": nulls}


def _json_value(value: Any, *, up: bool = False) -> Any:
    """A statistic as the log writes it; None: not worth or not possible to write."""
    if isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return value if len(value) <= 64 else None
    if isinstance(value, dt.datetime):
        cut = value.replace(microsecond=value.microsecond // 1000 * 1000)
        rounded = cut + dt.timedelta(milliseconds=1) if up and cut != value else cut
        zone = "" if value.tzinfo is None else "Z"
        return rounded.replace(tzinfo=None).isoformat(timespec="milliseconds") + zone
    return value.isoformat() if isinstance(value, dt.date) else None


def _commit(snapshot: Snapshot, change: Change, added: list[dict[str, Any]], by: str) -> bool:
    """Put the next log entry if nobody has: link() fails where rename() would overwrite."""
    now = int(time.time() * 1000)
    info = {
        "timestamp": now, "operation": change.operation, "operationParameters": {}, "readVersion": snapshot.version,
        "operationMetrics": {k: str(v) for k, v in change.metrics.items()}, "isBlindAppend": False,
        "engineInfo": "lakewright", "userName": by,
    }  # fmt: skip
    removes = [
        {
            "path": f.logged, "deletionTimestamp": now, "dataChange": True, "extendedFileMetadata": True,
            "partitionValues": dict(f.partition), "size": f.size,
        }
        for f in change.removed
    ]  # fmt: skip
    lines = [{"commitInfo": info}, *({"remove": r} for r in removes), *({"add": a} for a in added)]
    log = Path(snapshot.location, "_delta_log")
    temporary = log / f".{uuid.uuid4()}.json.tmp"
    for action in added:
        _fsync(Path(snapshot.location, unquote(action["path"])))
    with open(temporary, "xb") as out:
        out.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        out.flush()
        os.fsync(out.fileno())
    try:
        os.link(temporary, log / f"{snapshot.version + 1:020d}.json")
        return True
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
