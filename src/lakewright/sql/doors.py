"""Tables as Arrow over HTTP: the way of the runtime, and of any program that wants rows rather than SQL."""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from lakewright.catalog.tables import READ, TABLE, Table
from lakewright.kernel.answers import Incoming, Stream
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import OUTSIDE, Api, Ask, Reply
from lakewright.kernel.roots import IN_METASTORE, Root
from lakewright.kernel.rules import EVERYONE
from lakewright.sql import governed

ARROW = "application/vnd.apache.arrow.stream"
api = Api("unityCatalog", "/api/2.1/lakewright")


class Scan(Ask):
    table: str
    columns: list[str] | None = None
    where: str | None = None
    version: int | None = None


class Write(Ask):
    table: str
    mode: Literal["append", "overwrite"] = "append"
    merge_schema: bool = False
    body: Incoming


@api("POST", "/scan", audit="scanTable", on=TABLE.at("{table}"), needs=READ, runs=OUTSIDE, verbatim=True)
def scan(ctx: Ctx, table: Obj[Table], ask: Scan) -> Stream:
    """The rows the caller may see, as an Arrow IPC stream."""
    reader = governed.scan(ctx, ask.table, ask.columns, ask.where, ask.version)
    return Stream(_ipc(reader), ARROW)


@api("POST", "/write", audit="writeTable", on=IN_METASTORE, needs=EVERYONE, runs=OUTSIDE, body="file")
def write(ctx: Ctx, metastore: Obj[Root], ask: Write) -> Reply:
    """Open to every signed-in caller because the table may not exist yet: MODIFY on it, or CREATE_TABLE on its schema,
    is asked before a row is read."""
    import pyarrow as pa

    with pa.OSFile(str(ask.body.path)) as file:
        try:
            reader = pa.ipc.open_stream(file)
        except (pa.ArrowInvalid, OSError) as e:
            raise Invalid("The body is not an Arrow IPC stream") from e
        counted = _Counted(reader)
        version = governed.write(ctx, ask.table, counted.reader, ask.mode, merge_schema=ask.merge_schema)
    return {"version": version, "num_rows": counted.rows}


class _Counted:
    def __init__(self, reader: Any) -> None:
        import pyarrow as pa

        self.rows = 0
        self.reader = pa.RecordBatchReader.from_batches(reader.schema, self._batches(reader))

    def _batches(self, reader: Any) -> Iterator[Any]:
        import pyarrow as pa

        try:
            for batch in reader:
                batch.validate(full=True)  # lengths may lie
                self.rows += batch.num_rows
                yield batch
        except (pa.ArrowInvalid, OSError) as e:
            raise Invalid("The body is not a valid Arrow IPC stream") from e


def _ipc(reader: Any) -> Iterator[bytes]:
    import pyarrow as pa

    sink = _Sink()
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), reader.schema) as writer:
        yield sink.taken()
        for batch in reader:
            writer.write_batch(batch)
            yield sink.taken()
    yield sink.taken()


class _Sink:
    """What the writer wrote since it was last asked."""

    closed = False

    def __init__(self) -> None:
        self._held = bytearray()

    def write(self, data: Any) -> int:
        self._held += bytes(data)
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def taken(self) -> bytes:
        found = bytes(self._held)
        self._held.clear()
        return found
