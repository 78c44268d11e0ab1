"""Tables: governed data in and out of a task, as Arrow. What is read is already filtered and masked for whom the task runs as."""

# pyarrow, IPython and SQLFrame have no types, or only some.
# pyright: basic
from __future__ import annotations

import base64
import io
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from http.client import HTTPResponse, IncompleteRead
from typing import IO, TYPE_CHECKING, Any, Literal, cast
from urllib.parse import quote

from lakewright.runtime import rest

if TYPE_CHECKING:
    import pyarrow as pa

ARROW = "application/vnd.apache.arrow.stream"


def read(
    name: str, columns: Sequence[str] | None = None, where: str | None = None, version: int | None = None
) -> pa.Table:
    """A table, or some columns of the rows where an SQL condition holds, or as it was at a version."""
    ask = {"table": name, "columns": None if columns is None else list(columns), "where": where, "version": version}
    body = rest.json.dumps({key: value for key, value in ask.items() if value is not None}).encode()
    with rest.call("POST", "/api/2.1/lakewright/scan", body, "application/json") as answer:
        return _table(answer)


def schema(name: str) -> pa.Schema:
    return read(name, where="false").schema


def exists(name: str) -> bool:
    """Whether there is such a table to see for whom the task runs as."""
    return bool(rest.get(f"/api/2.1/unity-catalog/tables/{quote(name)}/exists")["table_exists"])


def write(name: str, data: object, mode: Literal["append", "overwrite"] = "append") -> int:
    """Appends to a table or replaces its rows, creating it if need be; answers the new version.

    `data` is anything tabular: an Arrow table or reader, a pandas or Polars frame, a DataFrame of `spark`, a list of rows as dicts.
    """
    import pyarrow as pa

    reader = _reader(data)
    with tempfile.TemporaryFile() as spooled:
        with pa.ipc.new_stream(spooled, reader.schema) as sink:
            for batch in reader:
                sink.write_batch(batch)
        path = "/api/2.1/lakewright/write?" + rest.urlencode({"table": name, "mode": mode})
        with rest.call("POST", path, cast("IO[bytes]", spooled), ARROW) as answer:
            return int(rest.json.loads(answer.read())["version"])


def sql(text: str, params: Mapping[str, object] | None = None, warehouse: str | None = None) -> pa.Table:
    """The answer to a statement, run by a warehouse of the platform. `:name` in it stands for a parameter."""
    answer = rest.post("/api/2.0/sql/statements", _statement(text, params or {}, warehouse or _warehouse()))
    pause = 0.05
    while answer["status"]["state"] in ("PENDING", "RUNNING"):
        time.sleep(pause)
        pause = min(2 * pause, 2.0)
        answer = rest.get(f"/api/2.0/sql/statements/{answer['statement_id']}")
    if answer["status"]["state"] != "SUCCEEDED":
        error = answer["status"].get("error") or {}
        raise rest.Refused(
            400, error.get("error_code") or answer["status"]["state"], error.get("message") or "no reason given"
        )
    return _answered(answer)


# --- Arrow over HTTP


class _Whole(io.RawIOBase):
    """An answer that ends early is an error: a stream of batches cut off between two of them would look like a shorter table."""

    def __init__(self, answer: HTTPResponse) -> None:
        self._answer = answer

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read = self._answer.readinto(buffer)
        if read == 0 and len(buffer) and self._answer.length:
            raise IncompleteRead(b"", self._answer.length)
        return read


def _table(answer: HTTPResponse) -> pa.Table:
    import pyarrow as pa

    with pa.ipc.open_stream(pa.PythonFile(io.BufferedReader(_Whole(answer), 1 << 20), mode="r")) as reader:
        return reader.read_all()


def _reader(data: Any) -> pa.RecordBatchReader:
    import pyarrow as pa

    for method in ("toArrow", "to_arrow"):  # a DataFrame of spark, a Polars frame
        if hasattr(data, method):
            data = getattr(data, method)()
    if isinstance(data, pa.RecordBatchReader):
        return data
    if isinstance(data, pa.Table):
        return data.to_reader()
    if isinstance(data, pa.RecordBatch):
        return pa.RecordBatchReader.from_batches(data.schema, [data])
    if hasattr(data, "columns") and hasattr(data, "index"):
        return pa.Table.from_pandas(data, preserve_index=False).replace_schema_metadata().to_reader()
    if hasattr(data, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(data)
    return pa.Table.from_pylist(list(cast("Iterable[dict[str, Any]]", data))).to_reader()


# --- statements


def _statement(text: str, params: Mapping[str, object], warehouse: str) -> rest.Json:
    given = [{"name": name, **_parameter(value)} for name, value in params.items()]
    return {
        "statement": text,
        "warehouse_id": warehouse,
        "wait_timeout": "30s",
        "format": "ARROW_STREAM",
        "disposition": "EXTERNAL_LINKS",
        **({"parameters": given} if given else {}),
    }


def _parameter(value: object) -> dict[str, str | None]:
    kinds = {
        "bool": "BOOLEAN",
        "int": "BIGINT",
        "float": "DOUBLE",
        "datetime": "TIMESTAMP",
        "date": "DATE",
        "Decimal": "DECIMAL",
    }
    if value is None:
        return {"value": None}
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return {"value": text, "type": kinds.get(type(value).__name__, "STRING")}


def _warehouse() -> str:
    given = rest.os.environ.get("LAKEWRIGHT_WAREHOUSE")
    if given:
        return given
    found = rest.get("/api/2.0/sql/warehouses").get("warehouses") or []
    if not found:
        raise rest.Refused(403, "NO_WAREHOUSE", "there is no SQL warehouse the task may use")
    return str(found[0]["id"])


def _answered(answer: rest.Json) -> pa.Table:
    """All chunks of an answer; one without rows has a manifest only."""
    import pyarrow as pa

    parts: list[pa.Table] = []
    chunk = answer.get("result") or {}
    while chunk:
        parts += _chunk(chunk)
        following = _following(chunk)
        chunk = rest.get(following) if following else {}
        chunk = chunk.get("result") or chunk
    if parts:
        return pa.concat_tables(parts)
    columns = (answer.get("manifest") or {}).get("schema", {}).get("columns") or []
    return pa.schema([(column["name"], _arrow_type(column)) for column in columns]).empty_table()


def _arrow_type(column: rest.Json) -> pa.DataType:
    import pyarrow as pa

    if column.get("type_name") == "DECIMAL":
        return pa.decimal128(column.get("type_precision") or 10, column.get("type_scale") or 0)
    plain = {
        "BOOLEAN": pa.bool_(), "BYTE": pa.int8(), "SHORT": pa.int16(), "INT": pa.int32(), "LONG": pa.int64(), "FLOAT": pa.float32(),
        "DOUBLE": pa.float64(), "DATE": pa.date32(), "TIMESTAMP": pa.timestamp("us", "UTC"), "TIMESTAMP_NTZ": pa.timestamp("us"),
        "BINARY": pa.binary(),
    }  # fmt: skip
    return plain.get(str(column.get("type_name")), pa.string())


def _chunk(chunk: rest.Json) -> list[pa.Table]:
    import pyarrow as pa

    found: list[pa.Table] = []
    if attachment := chunk.get("attachment"):
        found.append(pa.ipc.open_stream(base64.b64decode(attachment)).read_all())
    for link in chunk.get("external_links") or []:
        with rest.call("GET", link["external_link"]) as answer:
            found.append(_table(answer))
    return found


def _following(chunk: rest.Json) -> str | None:
    links = chunk.get("external_links") or [chunk]
    return links[-1].get("next_chunk_internal_link")
