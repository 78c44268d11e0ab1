"""Refreshes: a monitor's looks at its table, by hand or by schedule.

What a refresh writes depends on the table and the time only, and replaces what an earlier one wrote about the same
windows: one that a crash cut off is simply done again.
"""

import logging
import secrets
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lakewright.catalog.tables import READ, TABLE, Table
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.controllers import controller
from lakewright.kernel.faults import BadState, Fault, NotFound
from lakewright.kernel.objects import Obj
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.store import Row
from lakewright.monitoring import alerts, monitors, tables
from lakewright.monitoring.analysis import Outcome, analyse, drift_table, ended_by, profile_table
from lakewright.monitoring.monitors import CHANGED, CONFIGURE, OF_TABLE, Monitor, Named

if TYPE_CHECKING:
    from lakewright.kernel.platform import Platform

log = logging.getLogger(__name__)
api = Api("unityCatalog", "/api/2.1/unity-catalog/tables/{table_name}/monitor/refreshes")
PENDING, RUNNING, SUCCESS, FAILED, CANCELED = "PENDING", "RUNNING", "SUCCESS", "FAILED", "CANCELED"


class One(Ask):
    table_name: str
    refresh_id: int


@api("POST", audit="runQualityMonitorRefresh", on=OF_TABLE, needs=CONFIGURE)
def run(ctx: Ctx, table: Obj[Table], ask: Named) -> Reply:
    monitors.of(ctx, table)
    waiting = ctx.tx.one("SELECT * FROM monitor_refreshes WHERE table_id = ? AND state = 'PENDING'", table.id)
    return show(waiting if waiting is not None else _asked(ctx, table.id, "MANUAL"))


@api("GET", audit="listQualityMonitorRefreshes", on=OF_TABLE, needs=READ, runs=SNAPSHOT)
def list_(ctx: Ctx, table: Obj[Table], ask: Named) -> Reply:
    rows = ctx.tx.all(
        "SELECT * FROM monitor_refreshes WHERE table_id = ? ORDER BY started_at DESC, id LIMIT 200", table.id
    )
    return {"refreshes": [show(row) for row in rows]}


@api("GET", "/{refresh_id}", audit="getQualityMonitorRefresh", on=OF_TABLE, needs=READ, runs=SNAPSHOT)
def get(ctx: Ctx, table: Obj[Table], ask: One) -> Reply:
    return show(_one(ctx, table, ask.refresh_id))


@api("POST", "/{refresh_id}/cancel", audit="cancelQualityMonitorRefresh", on=OF_TABLE, needs=CONFIGURE)
def cancel(ctx: Ctx, table: Obj[Table], ask: One) -> Reply:
    """One that waits is cancelled; one that runs is soon over."""
    if _one(ctx, table, ask.refresh_id)["state"] != PENDING:
        raise BadState(f"refresh {ask.refresh_id} is not waiting any more")
    ctx.tx.run("UPDATE monitor_refreshes SET state = 'CANCELED', ended_at = ? WHERE id = ?", ctx.now(), ask.refresh_id)
    return {}


def _one(ctx: Ctx, table: Obj[Table], refresh_id: int) -> Row:
    row = ctx.tx.one("SELECT * FROM monitor_refreshes WHERE table_id = ? AND id = ?", table.id, refresh_id)
    if row is None:
        raise NotFound(f"table '{table.full_name}' has no refresh {refresh_id}")
    return row


def _asked(ctx: Ctx, table_id: str, trigger: str) -> Row:
    refresh_id = secrets.randbelow(9 * 10**14) + 10**14
    ctx.tx.run(
        'INSERT INTO monitor_refreshes (id, table_id, state, "trigger", message, started_at, "by")'
        " VALUES (?, ?, 'PENDING', ?, '', ?, ?)",
        refresh_id, table_id, trigger, ctx.now(), ctx.principal.id,
    )  # fmt: skip
    ctx.emit(CHANGED, table_id, {"refresh_id": refresh_id})
    row = ctx.tx.one("SELECT * FROM monitor_refreshes WHERE id = ?", refresh_id)
    assert row is not None
    return row


def show(row: Row) -> Reply:
    ended: dict[str, Any] = {"end_time_ms": row["ended_at"]} if row["ended_at"] is not None else {}
    return {
        "refresh_id": row["id"], "state": row["state"], "trigger": row["trigger"], "message": row["message"],
        "start_time_ms": row["started_at"], **ended,
    }  # fmt: skip


# ------------------------------------------------------------------ doing it


@controller("monitoring.refreshes", every=5.0, wakes_on=(CHANGED,))
def refresh_all(platform: "Platform") -> None:
    platform.transact(_schedule)
    while (taken := platform.transact(_take)) is not None:
        refresh_id, monitor = taken
        _refresh(platform, refresh_id, monitor)
    alerts.start_jobs(platform)


def _schedule(ctx: Ctx) -> None:
    """Ask for what is due. A monitor that was due several times while nobody looked is refreshed once."""
    for row in ctx.tx.all("SELECT * FROM monitors WHERE due_at IS NOT NULL AND due_at <= ?", ctx.now()):
        monitor = monitors.loaded(row)
        if ctx.tx.scalar("SELECT deleted_at FROM objects WHERE id = ?", monitor.table_id) is not None:
            ctx.tx.run("UPDATE monitors SET due_at = NULL WHERE table_id = ?", monitor.table_id)
            continue
        _asked(ctx, monitor.table_id, "SCHEDULE")
        due = monitors.due_after(monitor.spec, ctx.now())
        ctx.tx.run("UPDATE monitors SET due_at = ? WHERE table_id = ?", due, monitor.table_id)


def _take(ctx: Ctx) -> tuple[int, Monitor] | None:
    """The next that waits, or that ran when the server stopped: this controller runs one at a time, on one node."""
    row = ctx.tx.one(
        "SELECT id, table_id FROM monitor_refreshes WHERE state IN ('PENDING', 'RUNNING') ORDER BY started_at, id LIMIT 1"
    )
    if row is None:
        return None
    monitor = monitors.found(ctx, row["table_id"])
    if monitor is None:
        ctx.tx.run("DELETE FROM monitor_refreshes WHERE id = ?", row["id"])
        return None
    ctx.tx.run("UPDATE monitor_refreshes SET state = 'RUNNING' WHERE id = ?", row["id"])
    return int(row["id"]), monitor


def _refresh(platform: "Platform", refresh_id: int, monitor: Monitor) -> None:
    try:
        outcome = _look(platform, monitor)
    except Exception as error:
        why = str(error) if isinstance(error, Fault) else f"{type(error).__name__}: the server's log has more"
        log.warning("the refresh of %s failed", monitor.table_name, exc_info=not isinstance(error, Fault))
        platform.transact(lambda ctx: _ended(ctx, refresh_id, monitor, FAILED, why))
        return
    said = f"{len(outcome.windows)} windows, {len(outcome.drifted)} drifted columns"
    platform.transact(lambda ctx: _succeeded(ctx, refresh_id, monitor, outcome, said))


def _look(platform: "Platform", monitor: Monitor) -> Outcome:
    """Read, analyse and write, all as the monitor's author."""
    who = platform.snapshot(lambda ctx: platform.principal(ctx.tx, monitor.author))
    ctx = replace(platform.system(), principal=who)
    name = ctx.snapshot(lambda c: objects.by_id(c, TABLE, monitor.table_id).full_name)
    spec = monitor.spec
    data = tables.scan(ctx, name)
    if data is None:
        raise NotFound(f"table '{name}' does not exist")
    baseline = tables.scan(ctx, spec.baseline_table_name) if spec.baseline_table_name else None
    outcome = analyse(monitor.plan(), data, baseline, ctx.now())
    version = {"monitor_version": monitor.version}
    _put(ctx, spec.profile_table, profile_table([row | version for row in outcome.profiles]))
    _put(ctx, spec.drift_table, drift_table([row | version for row in outcome.drifts]))
    return outcome


def _put(ctx: Ctx, table: str, rows: Any) -> None:
    """The new rows instead of what was known of the same windows."""
    pa: Any = import_module("pyarrow")
    if not rows.num_rows:
        return
    kept = tables.scan(ctx, table)
    if kept is not None:
        kept = kept.read_all() if hasattr(kept, "read_all") else kept
        again = {_window(row) for row in rows.select(["window", "granularity"]).to_pylist()}
        mask = [_window(row) not in again for row in kept.select(["window", "granularity"]).to_pylist()]
        rows = pa.concat_tables([kept.filter(pa.array(mask, pa.bool_())), rows], promote_options="permissive")
    tables.replace(ctx, table, rows)


def _window(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["window"]["start"].timestamp(), row["window"]["end"].timestamp(), row["granularity"]


def _succeeded(ctx: Ctx, refresh_id: int, monitor: Monitor, outcome: Outcome, said: str) -> None:
    ctx.tx.run(
        "UPDATE monitors SET looked_until = ? WHERE table_id = ? AND version = ?",
        max(monitor.looked_until, ended_by(outcome.windows, ctx.now())), monitor.table_id, monitor.version,
    )  # fmt: skip
    alerts.raise_all(ctx, monitor, refresh_id, outcome.drifted)
    _ended(ctx, refresh_id, monitor, SUCCESS, said)


def _ended(ctx: Ctx, refresh_id: int, monitor: Monitor, state: str, message: str) -> None:
    ctx.tx.run(
        "UPDATE monitor_refreshes SET state = ?, message = ?, ended_at = ? WHERE id = ?",
        state, message[:2000], ctx.now(), refresh_id,
    )  # fmt: skip
    failure = message[:2000] if state == FAILED else ""
    ctx.tx.run("UPDATE monitors SET failure = ? WHERE table_id = ?", failure, monitor.table_id)
    ctx.emit("quality_monitor_refreshed", monitor.table_id, {"refresh_id": refresh_id, "state": state})
