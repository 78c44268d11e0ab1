"""The statement execution API: one statement to a warehouse, its state, and its result in chunks."""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import threading
from dataclasses import replace
from typing import Any, Literal
from uuid import uuid4

from pydantic import Field

from lakewright.engines import duckdb
from lakewright.kernel import objects
from lakewright.kernel.answers import Raw
from lakewright.kernel.audit import Entry
from lakewright.kernel.context import Ctx
from lakewright.kernel.controllers import controller
from lakewright.kernel.faults import Fault, Invalid, NotFound
from lakewright.kernel.kinds import Target
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import ASYNC, OUTSIDE, Api, Ask, Reply
from lakewright.kernel.platform import Platform
from lakewright.kernel.roots import IN_WORKSPACE, Root
from lakewright.kernel.rules import PUBLIC
from lakewright.kernel.store import Row
from lakewright.sql import parameters, results, statement
from lakewright.sql.pool import Job, Pool
from lakewright.sql.warehouses import CAN_MANAGE, CAN_USE, SIZES, WAREHOUSE, Warehouse, use

log = logging.getLogger(__name__)
api = Api("databrickssql", "/api/2.0/sql/statements")

Disposition = Literal["INLINE", "EXTERNAL_LINKS", "INLINE_OR_EXTERNAL_LINKS"]


class Parameter(Ask):
    name: str
    value: str | None = None
    type: str | None = None


class Execute(Ask):
    statement: str = Field(min_length=1)
    warehouse_id: str
    catalog: str | None = None
    schema_: str | None = Field(None, alias="schema")
    parameters: list[Parameter] = Field(default_factory=list[Parameter])
    format: Literal["JSON_ARRAY", "ARROW_STREAM"] = "JSON_ARRAY"
    disposition: Disposition = "INLINE"
    wait_timeout: str = "10s"
    on_wait_timeout: Literal["CONTINUE", "CANCEL"] = "CONTINUE"
    row_limit: int | None = Field(None, ge=1)
    byte_limit: int | None = Field(None, ge=1)


class ById(Ask):
    statement_id: str


class OfChunk(ById):
    chunk_index: int


class Link(Ask):
    token: str


def _warehouse_of(ctx: Ctx, statement_id: str) -> Obj[Warehouse]:
    row = ctx.tx.one(
        "SELECT warehouse_id FROM sql_statements WHERE id = ? AND workspace = ?", statement_id, ctx.workspace
    )
    if row is None:
        raise NotFound(f"statement '{statement_id}' does not exist")
    return objects.by_id(ctx, WAREHOUSE, str(row["warehouse_id"]))


OF_STATEMENT: Target[Warehouse] = Target("{statement_id}", WAREHOUSE, finds=_warehouse_of)


@api(
    "POST",
    audit="executeStatement",
    on=WAREHOUSE.by_id("{warehouse_id}"),
    needs=CAN_USE,
    runs=ASYNC,
    verbatim=True,
    large=True,
)
async def execute(ctx: Ctx, warehouse: Obj[Warehouse], ask: Execute) -> Reply:
    """Runs as the caller; answers when it has ended or the caller has waited long enough."""
    seconds = _seconds(ask)
    loop = asyncio.get_running_loop()
    job = await loop.run_in_executor(None, _submit, ctx, warehouse, ask)
    if not await job.ended(seconds) and seconds and ask.on_wait_timeout == "CANCEL":
        job.running.stop()
        await job.ended(30)
    return await loop.run_in_executor(None, _shown, ctx, job.id)


@api("GET", "/{statement_id}", audit="getStatement", on=OF_STATEMENT, needs=CAN_USE, runs=OUTSIDE)
def get(ctx: Ctx, warehouse: Obj[Warehouse], ask: ById) -> Reply:
    return _shown(ctx, ask.statement_id)


@api(
    "GET",
    "/{statement_id}/result/chunks/{chunk_index}",
    audit="getStatementResult",
    on=OF_STATEMENT,
    needs=CAN_USE,
    runs=OUTSIDE,
)
def get_chunk(ctx: Ctx, warehouse: Obj[Warehouse], ask: OfChunk) -> Reply:
    row = _mine(ctx, ask.statement_id)
    if row["state"] != "SUCCEEDED":
        raise Invalid(f"statement '{ask.statement_id}' has no result: it is {row['state']}")
    return chunk(ctx, row, ask.chunk_index)


@api("POST", "/{statement_id}/cancel", audit="cancelStatement", on=OF_STATEMENT, needs=CAN_USE, runs=OUTSIDE)
def cancel(ctx: Ctx, warehouse: Obj[Warehouse], ask: ById) -> Reply:
    """By who sent it, or by who manages the warehouse. One that has ended stays as it is."""
    row = _row(ctx, ask.statement_id)
    if row["who"] != ctx.principal.id and not ctx.snapshot(lambda c: CAN_MANAGE.judge(c, warehouse.id)):
        raise NotFound(f"statement '{ask.statement_id}' does not exist")
    ctx.the(Pool).cancel(ask.statement_id)
    return {}


links = Api("databrickssql", "/api/2.1/lakewright/statement-results")


@links("GET", "/{token}", audit="downloadStatementResult", on=IN_WORKSPACE, needs=PUBLIC, runs=OUTSIDE)
def download(ctx: Ctx, workspace: Obj[Root], ask: Link) -> Raw:
    """Open: clients follow result links without their token, as they would to an object store. The link itself is
    signed for one chunk and a quarter of an hour, and dies with its owner's account."""
    statement_id, index, form = results.opened(ctx, ask.token)
    row = _row(ctx, statement_id)
    ctx.snapshot(lambda c: c.platform.principal(c.tx, str(row["who"])))
    at = results.folder(ctx, statement_id)
    if form == "JSON_ARRAY":
        return Raw(json.dumps(results.json_rows(results.read(at, index))).encode(), "application/json")
    return Raw(results.stream(at, index), "application/vnd.apache.arrow.stream")


# -- running ----------------------------------------------------------------------------------------------------------


def _seconds(ask: Execute) -> float:
    found = re.fullmatch(r"(\d{1,3})s", ask.wait_timeout.strip())
    seconds = int(found.group(1)) if found else -1
    if seconds != 0 and not 5 <= seconds <= 50:
        raise Invalid("wait_timeout is 0s, or between 5s and 50s")
    return float(seconds)


def _submit(ctx: Ctx, warehouse: Obj[Warehouse], ask: Execute) -> Job:
    constants = {
        p.name: parameters.typed(p.value, p.type) if p.value is not None else parameters.constant(None)
        for p in ask.parameters
    }
    statement_id = str(uuid4())

    def note(ctx: Ctx) -> None:
        use(ctx, objects.again(ctx, warehouse))
        ctx.tx.run(
            "INSERT INTO sql_statements (id, workspace, warehouse_id, node, who, who_name, text, format, disposition, state,"
            " submitted_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'PENDING', ?)",
            statement_id, ctx.workspace, warehouse.id, ctx.platform.node, ctx.principal.id, ctx.principal.name,
            ctx.redacted(ask.statement[:100_000]), ask.format, ask.disposition, ctx.now(),
        )  # fmt: skip

    ctx.transact(note)
    job = Job(statement_id, warehouse.id, lambda job: _run(ctx, job, warehouse, ask, constants))
    try:
        ctx.the(Pool).submit(job, warehouse.spec.slots)
    except Fault as fault:
        _end(ctx, job, warehouse, fault=fault)
        raise
    return job


def _run(ctx: Ctx, job: Job, warehouse: Obj[Warehouse], ask: Execute, constants: dict[str, Any]) -> None:
    """On the statement's own thread. Whatever happens is written down before anybody is told that it ended."""
    late = threading.Timer(ctx.settings.sql.statement_seconds, job.running.stop)
    late.daemon = True
    late.start()
    try:
        if job.running.stopped:
            raise duckdb.Stopped
        # It may have queued for long: the caller is who they are now, not who they were.
        principal = ctx.snapshot(lambda c: c.platform.principal(
            c.tx, ctx.principal.id, scopes=ctx.principal.scopes, token_id=ctx.principal.token_id,
            run_by=ctx.principal.run_by,
        ))  # fmt: skip
        ctx = replace(ctx, principal=principal)
        ctx.transact(lambda c: _state(c, job.id, "RUNNING", started_at=c.now()))
        desk = statement.Desk(ctx, ask.catalog, ask.schema_, constants, job.running, _limits(ctx, warehouse.spec))
        found = statement.run(desk, ask.statement)
        try:
            limits = results.Limits(ask.row_limit, ask.byte_limit, ctx.settings.sql.result_mb * 2**20)
            manifest = results.store(results.folder(ctx, job.id), found.reader, limits)
        finally:
            found.close()
        if ask.disposition == "INLINE":
            results.inline_size(manifest)
        _end(ctx, job, warehouse, manifest=manifest, reads=found.reads, bytes_read=found.bytes_read)
    except duckdb.Stopped:
        _end(ctx, job, warehouse, stopped=True)
    except Fault as fault:
        _end(ctx, job, warehouse, stopped=job.running.stopped, fault=fault)
    except Exception as error:
        log.exception("statement %s failed in a way nobody planned for", job.id)
        _end(
            ctx,
            job,
            warehouse,
            stopped=job.running.stopped,
            fault=Fault(f"The statement failed: {type(error).__name__}"),
        )
    finally:
        late.cancel()


def _limits(ctx: Ctx, spec: Warehouse) -> duckdb.Limits:
    """A bigger size gives each statement more memory, never more than the machine's setting allows."""
    memory = ctx.settings.sql.memory_mb
    return duckdb.Limits(
        memory_mb=min(memory, memory // 4 * 2 ** SIZES.index(spec.cluster_size)), threads=ctx.settings.sql.threads
    )


def _state(ctx: Ctx, statement_id: str, state: str, **more: Any) -> None:
    columns = ", ".join(f"{c} = ?" for c in ("state", *more))
    ctx.tx.run(f"UPDATE sql_statements SET {columns} WHERE id = ?", state, *more.values(), statement_id)


def _end(
    ctx: Ctx, job: Job, warehouse: Obj[Warehouse], *, manifest: dict[str, Any] | None = None, reads: tuple[str, ...] = (),
    bytes_read: int = 0, stopped: bool = False, fault: Fault | None = None,
) -> None:  # fmt: skip
    """The end of a statement, with what it read, is on the audit trail: it may have been refused long after its request."""
    state = "SUCCEEDED" if manifest is not None else "CANCELED" if stopped else "FAILED"
    if state != "SUCCEEDED":
        results.drop(results.folder(ctx, job.id))
    more: dict[str, Any] = {"ended_at": ctx.now(), "reads": json.dumps(reads), "bytes_read": bytes_read}
    if manifest is not None:
        more |= {"manifest": json.dumps(manifest), "rows": manifest["total_row_count"]}
    elif fault is not None and not stopped:
        more |= {"error_code": _code(fault), "error": ctx.redacted(str(fault)[:4000])}

    asked = ctx.entry  # of the request that sent it, which may have been answered long ago
    code = 499 if state == "CANCELED" else fault.status if fault is not None else 200

    def write(ctx: Ctx) -> None:
        _state(ctx, job.id, state, **more)
        assert ctx.turn is not None
        ctx.turn.entries.append(Entry(
            at=ctx.now(), request_id=ctx.request.request_id, workspace=ctx.workspace, source=ctx.request.source, user_agent="",
            service="databrickssql", action="commandFinish", who=ctx.principal.id, who_name=ctx.principal.name,
            kind="warehouse", object_id=warehouse.id, address=job.id, ask={"reads": list(reads), "state": state},
            status=code, because="submitter",
            error=ctx.redacted(str(fault)[:2000]) if fault is not None else "", run_by=ctx.principal.run_by,
            data=asked.data if asked is not None else None,
            run_as=ctx.principal.name if ctx.principal.run_by else "", decision="refused" if code == 403 else "allowed",
        ))  # fmt: skip

    ctx.transact(write)


def _code(fault: Fault) -> str:
    """Of the few codes that the API has for a statement."""
    known = {
        401: "UNAUTHENTICATED",
        404: "NOT_FOUND",
        409: "ABORTED",
        413: "RESOURCE_EXHAUSTED",
        429: "RESOURCE_EXHAUSTED",
        500: "INTERNAL_ERROR",
    }
    if fault.status == 409 and "EXIST" in fault.code:
        return "ALREADY_EXISTS"
    return known.get(fault.status, "BAD_REQUEST")


def recover(ctx: Ctx) -> None:
    """Statements that a crash cut off have failed; nobody is working on them any more."""
    ctx.tx.run(
        "UPDATE sql_statements SET state = 'FAILED', ended_at = ?, error_code = 'ABORTED', error = ?"
        " WHERE node = ? AND state IN ('PENDING', 'RUNNING')",
        ctx.now(), "The server stopped while the statement ran", ctx.platform.node,
    )  # fmt: skip


@controller("sql.results", every=60.0, on_every_node=True)
def forget(platform: Platform) -> None:
    """Results go an hour after their statement has ended; what the statement was stays."""

    def old(ctx: Ctx) -> list[str]:
        rows = ctx.tx.all(
            "SELECT id FROM sql_statements WHERE node = ? AND state = 'SUCCEEDED' AND ended_at < ?",
            platform.node, ctx.now() - results.KEPT_MS,
        )  # fmt: skip
        return [str(r["id"]) for r in rows]

    ctx = platform.system()
    expired = platform.snapshot(old)
    for statement_id in expired:
        results.drop(results.folder(ctx, statement_id))

    def close(ctx: Ctx) -> None:
        for statement_id in expired:
            _state(ctx, statement_id, "CLOSED")

    if expired:
        platform.transact(close)


# -- answers ----------------------------------------------------------------------------------------------------------


def _row(ctx: Ctx, statement_id: str) -> Row:
    row = ctx.snapshot(
        lambda c: c.tx.one("SELECT * FROM sql_statements WHERE id = ? AND workspace = ?", statement_id, c.workspace)
    )
    if row is None:
        raise NotFound(f"statement '{statement_id}' does not exist")
    return row


def _mine(ctx: Ctx, statement_id: str) -> Row:
    """A result is its sender's and nobody else's: it was computed under their filters."""
    row = _row(ctx, statement_id)
    if row["who"] != ctx.principal.id:
        raise NotFound(f"statement '{statement_id}' does not exist")
    return row


def _shown(ctx: Ctx, statement_id: str) -> Reply:
    row = _mine(ctx, statement_id)
    status: dict[str, Any] = {"state": row["state"]}
    if row["error"]:
        status["error"] = {"error_code": row["error_code"], "message": row["error"]}
    shown: Reply = {"statement_id": statement_id, "status": status}
    if row["state"] == "SUCCEEDED":
        shown["manifest"] = {"format": row["format"], **json.loads(row["manifest"])}
        shown["result"] = chunk(ctx, row, 0)
    return shown


def chunk(ctx: Ctx, row: Row, index: int) -> dict[str, Any]:
    """One chunk, inline or as a link, with the way to the next."""
    manifest = json.loads(row["manifest"])
    chunks = manifest["chunks"]
    if not chunks and index == 0:
        return {
            "chunk_index": 0,
            "row_offset": 0,
            "row_count": 0,
            **({"data_array": []} if row["format"] == "JSON_ARRAY" else {}),
        }
    if not 0 <= index < len(chunks):
        raise Invalid(f"there is no chunk {index}: the result has {len(chunks)}")
    facts = {**chunks[index], **_next(row, index, len(chunks))}
    if row["disposition"] == "EXTERNAL_LINKS" or (
        row["disposition"] == "INLINE_OR_EXTERNAL_LINKS" and manifest["total_byte_count"] > results.INLINE_BYTES
    ):
        return {"external_links": [{**facts, **_link(ctx, row, index)}]}
    at = results.folder(ctx, str(row["id"]))
    if row["format"] == "JSON_ARRAY":
        return {**facts, "data_array": results.json_rows(results.read(at, index))}
    return {**facts, "attachment": base64.b64encode(results.stream(at, index)).decode()}


def _next(row: Row, index: int, count: int) -> dict[str, Any]:
    if index + 1 >= count:
        return {}
    return {
        "next_chunk_index": index + 1,
        "next_chunk_internal_link": f"/api/2.0/sql/statements/{row['id']}/result/chunks/{index + 1}",
    }


def _link(ctx: Ctx, row: Row, index: int) -> dict[str, Any]:
    import datetime as dt

    expires = ctx.now() + results.LINK_MS
    token = results.sealed(ctx, str(row["id"]), index, str(row["format"]), expires)
    base = ctx.request.base_url.rstrip("/") or ctx.settings.public_url.rstrip("/")
    return {
        "external_link": f"{base}/api/2.1/lakewright/statement-results/{token}",
        "expiration": dt.datetime.fromtimestamp(expires / 1000, dt.UTC).isoformat().replace("+00:00", "Z"),
    }
