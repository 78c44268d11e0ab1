"""The request log: every call of an endpoint, once, in a governed Delta table, and its rows in another (`scored`).

A call is one line appended to the endpoint's open segment: it survives the death of the server, and a moment later,
synced, that of the machine. Behind the answers, segments are closed and committed to the table as the endpoint's
owner. A segment whose commit may or may not have happened when the server died is compared with the table by request
id before it is written again: no line is lost and none is there twice.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import orjson

from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.controllers import controller
from lakewright.kernel.faults import Fault, Unavailable
from lakewright.kernel.objects import Obj
from lakewright.serving import scored
from lakewright.serving.endpoints import ENDPOINT, Endpoint, Ledger
from lakewright.serving.releases import Releases

if TYPE_CHECKING:
    from lakewright.kernel.platform import Platform

Table = Any  # a pyarrow Table
Line = dict[str, Any]
log = logging.getLogger(__name__)
SYNC_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Call:
    """One row of the table; the names are those of Databricks' inference tables where it has them."""

    databricks_request_id: str
    client_request_id: str | None
    timestamp_ms: int
    status_code: int
    execution_time_ms: float
    request: str
    response: str
    requester: str
    served_entity_name: str
    model_name: str
    model_version: str


class RequestLog:
    def __init__(self, platform: "Platform") -> None:
        self._platform = platform
        self._home = platform.settings.data_dir.absolute() / "serving" / "log"
        self._open: dict[str, _Segment] = {}
        self._lock = threading.Lock()
        self._unsynced = threading.Event()
        self._closed = False
        _seal_leftovers(self._home)
        self._syncing = threading.Thread(target=self._sync_for_ever, daemon=True, name="serving.log.sync")
        self._syncing.start()

    def append(self, endpoint: Obj[Endpoint], table: str, call: Call) -> None:
        line = orjson.dumps({"table": table, **call.__dict__}, option=orjson.OPT_APPEND_NEWLINE)
        with self._lock:
            segment = self._open.get(endpoint.id)
            if segment is None:
                segment = self._open[endpoint.id] = _Segment(self._home / endpoint.id)
            if not segment.append(line):  # a full disk, say: what is half a line ends its segment
                del self._open[endpoint.id]
                segment.seal()
                raise Unavailable("the call could not be written down")
        self._unsynced.set()

    def flush(self) -> None:
        """Commit everything that is there to the tables."""
        with self._lock:
            closing, self._open = self._open, {}
        for segment in closing.values():
            segment.seal()
        for directory in sorted(self._home.iterdir()) if self._home.exists() else []:
            self._commit_all(directory)

    def close(self) -> None:
        self._closed = True
        self._unsynced.set()
        self._syncing.join(timeout=5)
        with self._lock:
            for segment in self._open.values():
                segment.seal()
            self._open.clear()

    def _commit_all(self, directory: Path) -> None:
        segments = sorted(directory.glob("*.sealed")) + sorted(directory.glob("*.writing"))
        if not segments:
            return
        endpoint = self._platform.snapshot(lambda ctx: _endpoint(ctx, directory.name))
        if endpoint is None:
            return
        try:
            ctx = self._as_owner(endpoint)
            written = sum(_commit(ctx, segment) for segment in segments)
            self._note(endpoint.id, "", written)
        except Fault as fault:
            self._waits(endpoint, directory, str(fault)[:2000])
        except Exception as error:
            log.exception("the request log of endpoint %s could not be written", endpoint.name)
            self._waits(endpoint, directory, f"{type(error).__name__}: the server's log has more")

    def _waits(self, endpoint: Obj[Endpoint], directory: Path, problem: str) -> None:
        """Calls wait on disk for the table to become writable, but they do not fill the disk: the oldest go first."""
        room = self._platform.settings.serving.log_spool_mb * 2**20
        dropped = 0
        for segment in sorted(directory.glob("*.[sw]*"), key=lambda path: path.stat().st_mtime, reverse=True):
            room -= segment.stat().st_size
            if room < 0:
                segment.unlink()
                dropped += 1
        if dropped:
            log.error("endpoint %s: %d segments of its request log were dropped: %s", endpoint.name, dropped, problem)
            problem = f"{problem} (the oldest calls were dropped)"
        self._note(endpoint.id, problem, 0)

    def _as_owner(self, endpoint: Obj[Endpoint]) -> Ctx:
        """Requests are written with the rights of the endpoint's owner, not with those of whoever asked."""
        owner = self._platform.snapshot(lambda ctx: self._platform.principal(ctx.tx, endpoint.owner))
        return replace(self._platform.system(endpoint.workspace), principal=owner)

    def _note(self, endpoint_id: str, problem: str, written: int) -> None:
        def act(ctx: Ctx) -> None:
            ctx.tx.run(
                "INSERT INTO serving_logs (endpoint_id, problem, written, updated_at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (endpoint_id) DO UPDATE SET problem = excluded.problem,"
                " written = serving_logs.written + excluded.written, updated_at = excluded.updated_at",
                endpoint_id, problem, written, ctx.now(),
            )  # fmt: skip

        self._platform.transact(act)

    def _sync_for_ever(self) -> None:
        """What was written since the last time, made to outlive a loss of power."""
        pause = threading.Event()
        while not self._closed:
            self._unsynced.wait()
            self._unsynced.clear()
            with self._lock:
                segments = list(self._open.values())
            for segment in segments:
                segment.sync()
            pause.wait(SYNC_SECONDS)


class _Segment:
    """A file of lines. Its name says how far it is: open, sealed, writing."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = directory / f"{uuid4().hex}.open"
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o600)
        self._guard = threading.Lock()
        self._is_open = True

    def append(self, line: bytes) -> bool:
        """Whether all of it was written."""
        return os.write(self._file, line) == len(line)

    def sync(self) -> None:
        with self._guard:
            if self._is_open:
                os.fsync(self._file)

    def seal(self) -> None:
        self.sync()
        with self._guard:
            self._is_open = False
            os.close(self._file)
        _renamed(self._path, ".sealed")


def _seal_leftovers(home: Path) -> None:
    for left in home.glob("*/*.open"):
        _renamed(left, ".sealed")


def _renamed(path: Path, suffix: str) -> Path:
    moved = path.with_suffix(suffix)
    path.rename(moved)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return moved


def _commit(ctx: Ctx, segment: Path) -> int:
    """Write one segment's calls; how many. `writing` means that an earlier attempt may have succeeded."""
    doubtful = segment.suffix == ".writing"
    if not doubtful:
        segment = _renamed(segment, ".writing")
    written = 0
    for table, calls in _by_table(segment).items():
        written += _append(ctx, table, calls, as_arrow, doubtful)
        as_rows = partial(scored.as_arrow, columns_of=partial(_columns_of, ctx))
        _append(ctx, scored.table_of(table), calls, as_rows, doubtful)
    segment.unlink()
    return written


def _append(ctx: Ctx, table: str, calls: list[Line], shaped: Callable[[list[Line]], Table], doubtful: bool) -> int:
    """The calls that the table does not have yet."""
    if doubtful:
        since = min(int(call["timestamp_ms"]) for call in calls)
        known = ctx.the(Ledger).known(ctx, table, {call["databricks_request_id"] for call in calls}, since)
        calls = [call for call in calls if call["databricks_request_id"] not in known]
    rows = shaped(calls) if calls else None
    if rows is not None:
        ctx.the(Ledger).append(ctx, table, rows)
    return len(calls)


def _columns_of(ctx: Ctx, model: str, version: int) -> scored.Columns:
    """Nothing for a version that is gone: its calls are in the payload table all the same."""
    try:
        return scored.columns_in(ctx.snapshot(lambda c: c.the(Releases).files(c, model, version)).directory)
    except (Fault, OSError):
        return ()


def _by_table(segment: Path) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    for call in _lines(segment):
        found.setdefault(call.pop("table"), []).append(call)
    return found


def _lines(segment: Path) -> Iterator[Line]:
    """A last line that the machine did not finish was never answered; it is left out."""
    for line in segment.read_bytes().splitlines():
        try:
            yield cast(Line, orjson.loads(line))
        except orjson.JSONDecodeError:
            log.warning("%s ends in an unfinished line", segment)


def as_arrow(calls: list[Line]) -> Table:
    pa: Any = import_module("pyarrow")

    text = pa.string()
    schema = pa.schema([
        ("databricks_request_id", text), ("client_request_id", text), ("date", pa.date32()),
        ("timestamp_ms", pa.int64()), ("status_code", pa.int32()), ("sampling_fraction", pa.float64()),
        ("execution_time_ms", pa.float64()), ("request", text), ("response", text), ("requester", text),
        ("served_entity_name", text), ("model_name", text), ("model_version", text),
    ])  # fmt: skip
    day = 86_400_000
    columns = {name: [call.get(name) for call in calls] for name in schema.names}
    columns["date"] = [int(call["timestamp_ms"]) // day for call in calls]
    columns["sampling_fraction"] = [1.0] * len(calls)
    return pa.table({field.name: pa.array(columns[field.name], field.type) for field in schema}, schema=schema)


def _endpoint(ctx: Ctx, endpoint_id: str) -> Obj[Endpoint] | None:
    """Deleted endpoints too: what was asked of them is still to be written."""
    row = ctx.tx.one(f"SELECT {objects.COLUMNS} FROM objects WHERE id = ? AND kind = ?", endpoint_id, ENDPOINT.name)
    return objects.loaded(ENDPOINT, row) if row is not None else None


@controller("serving.request_log", every=5.0, on_every_node=True)
def flush(platform: "Platform") -> None:
    platform.the(RequestLog).flush()
