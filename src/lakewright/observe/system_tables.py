"""System tables: the platform's own records as tables of the catalog `system`, for SQL, dashboards and alerts.

They belong to the administrators. Others read them once granted: USE_CATALOG on system, and USE_SCHEMA and SELECT on
its schemas, like any other data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from lakewright.catalog.catalogs import CATALOG, Catalog
from lakewright.catalog.schemas import SCHEMA, Schema
from lakewright.engines.delta import Test
from lakewright.kernel import audit, objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import NotFound
from lakewright.kernel.roots import ACCOUNT, ADMINS, METASTORE
from lakewright.sql import virtual

AUDIT = (
    ("account_id", "string"), ("workspace_id", "string"), ("version", "string"), ("event_time", "timestamp"),
    ("event_date", "date"), ("source_ip_address", "string"), ("user_agent", "string"), ("session_id", "string"),
    ("user_identity", "struct<email:string,subject_name:string>"), ("service_name", "string"), ("action_name", "string"),
    ("request_id", "string"), ("request_params", "map<string,string>"),
    ("response", "struct<status_code:int,error_message:string,result:string>"), ("audit_level", "string"),
    ("event_id", "string"), ("identity_metadata", "struct<run_by:string,run_as:string>"),
    # The same told flatly, and what only Lakewright knows: on what, and why it was allowed or refused.
    ("user_name", "string"), ("securable_kind", "string"), ("securable", "string"), ("status_code", "int"),
    ("because", "string"), ("error_message", "string"), ("decision", "string"), ("run_by", "string"),
    ("client_request_id", "string"), ("data", "string"),
)  # fmt: skip

HISTORY = (
    ("account_id", "string"), ("workspace_id", "string"), ("statement_id", "string"), ("session_id", "string"),
    ("execution_status", "string"), ("compute", "struct<type:string,warehouse_id:string>"), ("executed_by_user_id", "string"),
    ("executed_by", "string"), ("statement_text", "string"), ("statement_type", "string"), ("error_message", "string"),
    ("start_time", "timestamp"), ("end_time", "timestamp"), ("update_time", "timestamp"), ("total_duration_ms", "bigint"),
    ("waiting_at_capacity_duration_ms", "bigint"), ("execution_duration_ms", "bigint"), ("produced_rows", "bigint"),
    ("read_bytes", "bigint"), ("read_tables", "array<string>"),
)  # fmt: skip


def audit_trail(ctx: Ctx, tests: Sequence[Test]) -> Iterator[dict[str, Any]]:
    """One row per request, refused ones too, and one per statement that ended."""
    low, high = _limits(tests, "event_time", "event_date")
    account = objects.find(ctx, ACCOUNT, "").id
    for row in ctx.tx.all(
        f"SELECT seq, {', '.join(audit.FIELDS)} FROM audit WHERE at >= ? AND at <= ? ORDER BY seq", low, high
    ):
        error = row["error"] or None
        yield {
            "account_id": account, "workspace_id": row["workspace"], "version": "2.0", "event_time": row["at"],
            "event_date": row["at"], "source_ip_address": row["source"], "user_agent": row["user_agent"], "session_id": None,
            "user_identity": {"email": row["who_name"], "subject_name": row["who"]}, "service_name": row["service"],
            "action_name": row["action"], "request_id": row["request_id"], "request_params": _params(row["ask"]),
            "response": {"status_code": row["status"], "error_message": error, "result": None},
            "audit_level": "WORKSPACE_LEVEL" if row["workspace"] else "ACCOUNT_LEVEL", "event_id": str(row["seq"]),
            "identity_metadata": {"run_by": row["run_by"] or row["who_name"], "run_as": row["run_as"] or None},
            "user_name": row["who_name"], "securable_kind": row["kind"] or None, "securable": row["address"] or None,
            "status_code": row["status"], "because": row["because"] or None, "error_message": error, "decision": row["decision"] or None,
            "run_by": row["run_by"] or None, "client_request_id": row["client_request_id"] or None, "data": row["data"] or None,
        }  # fmt: skip


def query_history(ctx: Ctx, tests: Sequence[Test]) -> Iterator[dict[str, Any]]:
    """Every statement sent to a warehouse."""
    low, high = _limits(tests, "start_time")
    account = objects.find(ctx, ACCOUNT, "").id
    for row in ctx.tx.all(
        "SELECT * FROM sql_statements WHERE submitted_at >= ? AND submitted_at <= ? ORDER BY submitted_at", low, high
    ):
        started, ended, submitted = row["started_at"], row["ended_at"], row["submitted_at"]
        yield {
            "account_id": account, "workspace_id": row["workspace"], "statement_id": row["id"], "session_id": None,
            "execution_status": _STATUS.get(row["state"], row["state"]),
            "compute": {"type": "WAREHOUSE", "warehouse_id": row["warehouse_id"]}, "executed_by_user_id": row["who"],
            "executed_by": row["who_name"], "statement_text": row["text"], "statement_type": row["text"].split(None, 1)[0].upper()[:40] if row["text"].strip() else None,
            "error_message": row["error"], "start_time": submitted, "end_time": ended, "update_time": ended or started or submitted,
            "total_duration_ms": ended - submitted if ended else None,
            "waiting_at_capacity_duration_ms": started - submitted if started else None,
            "execution_duration_ms": ended - started if ended and started else None,
            "produced_rows": row["rows"], "read_bytes": row["bytes_read"], "read_tables": json.loads(row["reads"]),
        }  # fmt: skip


_STATUS = {"SUCCEEDED": "FINISHED", "CLOSED": "FINISHED", "PENDING": "QUEUED"}


def _limits(tests: Sequence[Test], *columns: str) -> tuple[int, int]:
    found = [virtual.between(tests, c) for c in columns]
    return max(low for low, _ in found), min(high for _, high in found)


def _params(ask: Any) -> list[tuple[str, str]]:
    found = json.loads(ask) if isinstance(ask, str) else ask
    return [(str(k), v if isinstance(v, str) else json.dumps(v)) for k, v in found.items()]


virtual.table("system.access.audit", AUDIT, audit_trail, comment="One row per request.")
virtual.table("system.query.history", HISTORY, query_history, comment="One row per statement.")


def plant(ctx: Ctx) -> None:
    """The catalog `system` and a schema for each virtual table there is, so that they can be granted on."""
    try:
        catalog = objects.find(ctx, CATALOG, virtual.CATALOG)
    except NotFound:
        metastore = objects.find(ctx, METASTORE, "")
        made = Catalog(comment="What the platform records of itself")
        catalog = objects.create(ctx, CATALOG, virtual.CATALOG, made, under=metastore, owner=ADMINS)
    for name in sorted({n.split(".")[1] for n in virtual.TABLES}):
        try:
            objects.find(ctx, SCHEMA, f"{virtual.CATALOG}.{name}")
        except NotFound:
            objects.create(ctx, SCHEMA, name, Schema(), under=catalog, owner=ADMINS)
