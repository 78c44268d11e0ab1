"""Results on disk: chunks of Arrow, until an hour after the statement has ended, in the formats clients ask for."""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakewright.catalog import types
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid, NotFound, TooLarge
from lakewright.sql import shapes

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_BYTES = 8 * 2**20
INLINE_BYTES = 25 * 2**20
KEPT_MS = 3_600_000
LINK_MS = 900_000


@dataclass(frozen=True)
class Limits:
    """What the caller wants at most, and what may be kept at all."""

    rows: int | None
    bytes: int | None
    kept_bytes: int


def folder(ctx: Ctx, statement: str) -> Path:
    return ctx.settings.data_dir / "sql" / "results" / statement


def store(at: Path, reader: pa.RecordBatchReader, limits: Limits) -> dict[str, Any]:
    """Write all chunks; answers the manifest, without the format the client sees it in."""
    import pyarrow as pa

    at.mkdir(parents=True, mode=0o700)
    chunks: list[dict[str, int]] = []
    state = {"truncated": False}
    offset = 0
    size = 0
    for rows in _chunked(_limited(reader, limits, state)):
        size += sum(b.nbytes for b in rows)
        if size > limits.kept_bytes:
            raise TooLarge("[RESULT_TOO_LARGE] The result is larger than this installation keeps")
        path = at / f"{len(chunks)}.arrow"
        with pa.OSFile(str(path), "wb") as out, pa.ipc.new_stream(out, reader.schema) as writer:
            for batch in rows:
                writer.write_batch(batch)
        count = sum(b.num_rows for b in rows)
        chunks.append(
            {"chunk_index": len(chunks), "row_offset": offset, "row_count": count, "byte_count": path.stat().st_size}
        )
        offset += count
    return {
        "schema": describe(reader.schema), "chunks": chunks, "total_chunk_count": len(chunks), "total_row_count": offset,
        "total_byte_count": sum(c["byte_count"] for c in chunks), "truncated": state["truncated"],
    }  # fmt: skip


def _limited(reader: pa.RecordBatchReader, limits: Limits, state: dict[str, bool]) -> Iterator[pa.RecordBatch]:
    rows = size = 0
    for batch in reader:
        if limits.rows is not None and rows + batch.num_rows > limits.rows:
            state["truncated"] = True
            batch = batch.slice(0, limits.rows - rows)
        if limits.bytes is not None and size + batch.nbytes > limits.bytes:
            state["truncated"] = True
            batch = batch.slice(0, int(batch.num_rows * max(limits.bytes - size, 0) / max(batch.nbytes, 1)))
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if batch.num_rows:
            yield batch
        if state["truncated"]:
            return


def _chunked(batches: Iterator[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += batch.nbytes
        if size >= CHUNK_BYTES:
            yield held
            held, size = [], 0
    if held:
        yield held


def read(at: Path, chunk: int) -> pa.Table:
    import pyarrow as pa

    return pa.ipc.open_stream(io.BytesIO(stream(at, chunk))).read_all()


def stream(at: Path, chunk: int) -> bytes:
    """A chunk as an Arrow IPC stream."""
    try:
        return (at / f"{int(chunk)}.arrow").read_bytes()
    except FileNotFoundError as e:
        raise NotFound(f"There is no result chunk {chunk}; results are kept for an hour") from e


def drop(at: Path) -> None:
    shutil.rmtree(at, ignore_errors=True)


def describe(schema: pa.Schema) -> dict[str, Any]:
    columns: list[dict[str, Any]] = []
    for i, f in enumerate(schema):
        of = types.parse(shapes.text_of(f.type))
        column = {"name": f.name, "position": i, "type_name": of.name, "type_text": of.text.upper()}
        if of.name == "DECIMAL":
            column |= {"type_precision": of.precision, "type_scale": of.scale}
        columns.append(column)
    return {"column_count": len(columns), "columns": columns}


# -- JSON -------------------------------------------------------------------------------------------------------------


def json_rows(table: pa.Table) -> list[list[str | None]]:
    """Rows of texts, as the statement execution API writes every type."""
    columns = [[_text(v) for v in column.to_pylist()] for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)] if columns else []


def _text(value: Any) -> str | None:
    plain = _plain(value)
    if plain is None or isinstance(plain, str):
        return plain
    return json.dumps(plain)


def _plain(value: Any) -> Any:
    import datetime as dt
    from decimal import Decimal

    if isinstance(value, dt.datetime):
        text = value.replace(tzinfo=None).isoformat(
            timespec="milliseconds" if value.microsecond % 1000 == 0 else "microseconds"
        )
        return text + ("Z" if value.tzinfo else "")
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        if value and all(isinstance(v, tuple) and len(v) == 2 for v in value):
            return {str(_plain(k)): _plain(v) for k, v in value}
        return [_plain(v) for v in value]
    return value


# -- links that clients follow without their token ----------------------------------------------------------------------


def sealed(ctx: Ctx, statement: str, chunk: int, form: str, expires: int) -> str:
    """A link's last part: which chunk, in which form, until when; good for nothing else."""
    what = f"{statement}.{chunk}.{form}.{expires}"
    return f"{what}.{_mark(ctx, what)}"


def opened(ctx: Ctx, token: str) -> tuple[str, int, str]:
    """Statement, chunk and form; NotFound for what we did not give out or what has expired."""
    what, _, mark = token.rpartition(".")
    parts = what.split(".")
    if (
        not hmac.compare_digest(mark.encode(), _mark(ctx, what).encode())
        or len(parts) != 4
        or int(parts[3]) < ctx.now()
    ):
        raise NotFound("This link is not, or no longer, valid")
    return parts[0], int(parts[1]), parts[2]


def _mark(ctx: Ctx, what: str) -> str:
    return hmac.new(ctx.platform.keys.purpose("sql-result-links"), what.encode(), hashlib.sha256).hexdigest()


def inline_size(manifest: dict[str, Any]) -> None:
    if manifest["total_byte_count"] > INLINE_BYTES:
        raise Invalid(
            "[RESULT_TOO_LARGE] An inline result has at most 25 MiB: ask for EXTERNAL_LINKS", code="BAD_REQUEST"
        )
