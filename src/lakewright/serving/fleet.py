"""The fleet: model processes, started, warmed, watched and replaced, so that endpoints answer with what they declare.

Every node has its own processes for every endpoint. What it must know of one after a crash is in `serving_processes`:
a server that was killed finds its models still warm. A change of configuration starts the new processes beside the
old ones, moves the traffic when all of them have answered, and ends the old ones when their last request has left.
"""

import bisect
import itertools
import logging
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakewright.engines.processes import Launcher, LaunchFault, Limits, TaskSpec
from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.controllers import controller
from lakewright.kernel.faults import Fault, NotFound
from lakewright.kernel.objects import Obj
from lakewright.serving import endpoints
from lakewright.serving.endpoints import ENDPOINT, Config, Endpoint, Entity
from lakewright.serving.model_client import Address, ModelClient
from lakewright.serving.releases import Releases

if TYPE_CHECKING:
    from lakewright.kernel.platform import Platform

log = logging.getLogger(__name__)
ENTRY = "lakewright.engines.model_process.__main__:main"
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
IN_FLIGHT = {"Small": 64, "Medium": 256, "Large": 1024}
SILENCES = 3
"""Watches in a row that a process may leave unanswered before it is replaced."""


@dataclass(frozen=True)
class Process:
    """One model version, running for one endpoint on this node."""

    attempt: str
    endpoint_id: str
    model: str
    version: int
    address: Address
    state: str
    started_at: int

    @property
    def what(self) -> tuple[str, int]:
        return self.model, self.version


@dataclass
class Leg:
    """Where part of an endpoint's traffic goes."""

    entity: Entity
    attempt: str
    client: ModelClient

    @property
    def is_full(self) -> bool:
        return self.client.in_flight >= IN_FLIGHT[self.entity.workload_size]


@dataclass
class Routing:
    """An endpoint's legs and the percentages up to which each of them is chosen."""

    config: Config
    legs: list[Leg]
    upto: list[int]

    def choose(self, point: float) -> Leg:
        """`point` is a place in [0, 100)."""
        return self.legs[bisect.bisect_right(self.upto, point)]

    def uses(self, attempts: dict[tuple[str, int], str]) -> bool:
        return all(leg.attempt == attempts[leg.entity.model, leg.entity.version] for leg in self.legs)


def routing(config: Config, clients: dict[tuple[str, int], tuple[str, ModelClient]]) -> Routing:
    by_name = {entity.name: entity for entity in config.entities}
    shares = [share for share in config.shares if share.percent]
    legs = [Leg(e, *clients[e.model, e.version]) for e in (by_name[share.entity] for share in shares)]
    return Routing(config, legs, list(itertools.accumulate(share.percent for share in shares)))


@dataclass
class _Memory:
    """What this node has seen of its processes; lost with it without harm."""

    answered: set[str] = field(default_factory=set[str])
    silent: dict[str, int] = field(default_factory=dict[str, int])
    failures: dict[tuple[str, str, int], int] = field(default_factory=dict[tuple[str, str, int], int])
    not_before: dict[tuple[str, str, int], int] = field(default_factory=dict[tuple[str, str, int], int])


class Fleet:
    def __init__(self, platform: "Platform") -> None:
        self._platform = platform
        self._home = platform.settings.data_dir.absolute() / "serving"
        self._routes: dict[str, Routing] = {}
        self._clients: dict[str, ModelClient] = {}
        self._memory = _Memory()
        self._ticking = threading.Lock()

    def of(self, endpoint_id: str) -> Routing | None:
        return self._routes.get(endpoint_id)

    # ---------------------------------------------------------------- bringing about what is declared

    def tick(self) -> None:
        with self._ticking:
            declared = {endpoint.id: endpoint for endpoint in self._platform.snapshot(_declared)}
            recorded = self._platform.snapshot(self._recorded)
            running = [alive for process in recorded if (alive := self._watched(process, declared))]
            for endpoint in declared.values():
                try:
                    self._tend(endpoint, [p for p in running if p.endpoint_id == endpoint.id])
                except Exception:  # one endpoint's trouble is not the others'; a change at the same time is one
                    log.exception("endpoint %s could not be tended; it is tried again", endpoint.name)
            for process in running:
                if process.endpoint_id not in declared:
                    self._routes.pop(process.endpoint_id, None)
                    self._end(process)
            for gone in self._routes.keys() - declared.keys():
                del self._routes[gone]

    def _tend(self, endpoint: Obj[Endpoint], processes: list[Process]) -> None:
        ready = {p.what: p for p in processes if p.state == "READY"}
        spec = endpoint.spec
        if spec.pending is not None and all((e.model, e.version) in ready for e in spec.pending.entities):
            endpoint = self._promote(endpoint, spec.pending)
            spec = endpoint.spec
        wanted = _entities(spec)
        if spec.config is not None and all((e.model, e.version) in ready for e in spec.config.entities):
            self._route(endpoint.id, spec.config, ready)
        for entity in wanted.values():
            if not any(p.what == (entity.model, entity.version) for p in processes):
                self._begin(endpoint, entity)
        for process in processes:
            if process.what not in wanted and not self._is_used(process):
                self._end(process)

    def _route(self, endpoint_id: str, config: Config, ready: dict[tuple[str, int], Process]) -> None:
        current = self._routes.get(endpoint_id)
        attempts = {what: process.attempt for what, process in ready.items()}
        if current is not None and current.config.version == config.version and current.uses(attempts):
            return
        clients = {what: (p.attempt, self._client(p)) for what, p in ready.items()}
        self._routes[endpoint_id] = routing(config, clients)

    def _client(self, process: Process) -> ModelClient:
        return self._clients.setdefault(process.attempt, ModelClient(process.address))

    def _is_used(self, process: Process) -> bool:
        """A process that has lost its traffic goes on until its last answer is out."""
        current = self._routes.get(process.endpoint_id)
        routed = current is not None and any(leg.attempt == process.attempt for leg in current.legs)
        client = self._clients.get(process.attempt)
        return routed or (client is not None and client.in_flight > 0)

    def _promote(self, endpoint: Obj[Endpoint], config: Config) -> Obj[Endpoint]:
        """The new configuration takes over, if its models may still be served: approval may have been withdrawn."""

        def act(ctx: Ctx) -> Obj[Endpoint]:
            now = objects.by_id(ctx, ENDPOINT, endpoint.id)
            if now.spec.pending != config:
                return now
            try:
                for entity in config.entities:
                    endpoints.check_servable(ctx.as_principal(config.author), entity)
            except Fault as fault:
                return objects.update(ctx, now, pending=None, failed=config, failure=str(fault))
            ctx.the(Releases).goes_live(ctx.as_principal(config.author), now.name, config.traffic())
            ctx.emit("serving_endpoint_live", now.id, {"name": now.name, "config_version": config.version})
            return objects.update(ctx, now, config=config, pending=None, failed=None, failure="")

        try:
            return self._platform.transact(act, workspace=endpoint.workspace)
        except NotFound:
            return endpoint

    # ---------------------------------------------------------------- processes

    def _begin(self, endpoint: Obj[Endpoint], entity: Entity) -> None:
        key, now = (endpoint.id, entity.model, entity.version), self._platform.clock.now()
        if now < self._memory.not_before.get(key, 0):
            return
        try:
            directory = self._platform.snapshot(
                lambda ctx: self._allowed(ctx, endpoint, entity), workspace=endpoint.workspace
            )
            self._launch(endpoint, entity, directory)
        except (Fault, LaunchFault) as refusal:
            self._failed(endpoint.id, entity.model, entity.version, str(refusal))

    def _allowed(self, ctx: Ctx, endpoint: Obj[Endpoint], entity: Entity) -> Path:
        """Checked again before a model is loaded; a version already answering is only restarted."""
        spec = endpoint.spec
        if spec.pending is not None and entity in spec.pending.entities:
            endpoints.check_servable(ctx.as_principal(spec.pending.author), entity)
        return ctx.the(Releases).files(ctx, entity.model, entity.version).directory

    def _launch(self, endpoint: Obj[Endpoint], entity: Entity, directory: Path) -> None:
        settings = self._platform.settings.serving
        process = Process(
            attempt=f"model-{secrets.token_hex(8)}", endpoint_id=endpoint.id, model=entity.model,
            version=entity.version, address=Address(free_port(), secrets.token_hex(16)), state="STARTING",
            started_at=self._platform.clock.now(),
        )  # fmt: skip
        self._platform.transact(lambda ctx: self._record(ctx, process))
        where, port, secret = str(directory.absolute()), process.address.port, process.address.secret
        spec = TaskSpec(
            attempt=process.attempt, entry=ENTRY, workdir=self._home / process.attempt, readable=(Path(where),),
            argv=("--model", where, "--port", str(port), "--linger", str(settings.linger)),
            env={"LAKEWRIGHT_MODEL_SECRET": secret, **THREADS}, listen=(port,),
            limits=Limits(memory_mb=settings.model_memory_mb), redact=(secret,),
        )  # fmt: skip
        log.info("starting %s version %s for endpoint %s", entity.model, entity.version, endpoint.name)
        self._launcher.start(spec)
        threading.Thread(target=self._until_it_answers, args=(process,), daemon=True, name=process.attempt).start()

    def _record(self, ctx: Ctx, process: Process) -> None:
        ctx.tx.run(
            "INSERT INTO serving_processes (attempt, node, endpoint_id, model, version, port, secret, state, started_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            process.attempt, self._platform.node, process.endpoint_id, process.model, process.version,
            process.address.port, self._platform.vault.seal(process.address.secret), process.state, process.started_at,
        )  # fmt: skip

    def _until_it_answers(self, process: Process) -> None:
        """Loading takes as long as it takes; noticing its end should not take another tick."""
        until = time.monotonic() + self._platform.settings.serving.start_seconds
        while time.monotonic() < until and self._launcher.poll(process.attempt) is None:
            if process.address.answers():
                self._memory.answered.add(process.attempt)
                break
            time.sleep(0.05)
        self._platform.wake("serving_process")

    def _watched(self, process: Process, declared: dict[str, Obj[Endpoint]]) -> Process | None:
        """The process as it is now; None when it has ended, or had to be."""
        ended = self._launcher.poll(process.attempt)
        if ended is not None:
            return self._lost(process, declared, f"ended ({ended.reason}): {self._last_words(process)}")
        if process.state == "READY":
            return process if self._answers(process) else self._lost(process, declared, "stopped answering")
        if process.attempt in self._memory.answered or process.address.answers():
            self._set_ready(process)
            return replace(process, state="READY")
        limit = self._platform.settings.serving.start_seconds
        if self._platform.clock.now() - process.started_at < limit * 1000:
            return process
        return self._lost(process, declared, f"did not start within {limit:g} s")

    def _lost(self, process: Process, declared: dict[str, Obj[Endpoint]], why: str) -> None:
        if process.endpoint_id in declared:
            self._failed(process.endpoint_id, process.model, process.version, f"the model process {why}")
        self._end(process)

    def _answers(self, process: Process) -> bool:
        silent = 0 if process.address.answers() else self._memory.silent.get(process.attempt, 0) + 1
        self._memory.silent[process.attempt] = silent
        return silent < SILENCES

    def _set_ready(self, process: Process) -> None:
        self._memory.failures.pop((process.endpoint_id, *process.what), None)
        update = "UPDATE serving_processes SET state = 'READY' WHERE attempt = ?"
        self._platform.transact(lambda ctx: ctx.tx.run(update, process.attempt))

    def _failed(self, endpoint_id: str, model: str, version: int, why: str) -> None:
        """A configuration that cannot start is given up; one that was live is tried again, ever less often."""
        log.warning("model %s version %s of endpoint %s: %s", model, version, endpoint_id, why)
        key = endpoint_id, model, version
        count = self._memory.failures[key] = self._memory.failures.get(key, 0) + 1
        self._memory.not_before[key] = self._platform.clock.now() + min(60_000, 500 * 2**count)

        def act(ctx: Ctx) -> None:
            with suppress(NotFound):
                where = ctx.tx.scalar("SELECT workspace FROM objects WHERE id = ?", endpoint_id)
                ctx = ctx.in_workspace(str(where))
                endpoint = objects.by_id(ctx, ENDPOINT, endpoint_id)
                pending = endpoint.spec.pending
                if pending is not None and any((e.model, e.version) == (model, version) for e in pending.entities):
                    objects.update(ctx, endpoint, pending=None, failed=pending, failure=why[:2000])
                    self._memory.not_before.pop(key, None)
                elif endpoint.spec.config is not None:
                    objects.update(ctx, endpoint, failure=why[:2000])

        self._platform.transact(act)

    def _last_words(self, process: Process) -> str:
        with suppress(OSError):
            return _tail(self._launcher.output(process.attempt).stderr_path, 1000)
        return ""

    def _end(self, process: Process) -> None:
        self._launcher.kill(process.attempt)
        client = self._clients.pop(process.attempt, None)
        if client is not None and self._platform.loop is not None and self._platform.loop.is_running():
            self._platform.loop.call_soon_threadsafe(client.close)
        self._platform.transact(
            lambda ctx: ctx.tx.run("DELETE FROM serving_processes WHERE attempt = ?", process.attempt)
        )
        shutil.rmtree(self._home / process.attempt, ignore_errors=True)
        self._memory.answered.discard(process.attempt)
        self._memory.silent.pop(process.attempt, None)

    def logs(self, ctx: Ctx, endpoint_id: str, entity: Entity) -> str:
        rows = ctx.snapshot(self._recorded)
        for process in rows:
            if process.endpoint_id == endpoint_id and process.what == (entity.model, entity.version):
                output = self._launcher.output(process.attempt)
                return _tail(output.stdout_path, 50_000) + _tail(output.stderr_path, 50_000)
        return ""

    def close(self) -> None:
        """With the server's orderly end its models end, too; a crash leaves them for the next one."""
        for process in self._platform.snapshot(self._recorded):
            self._end(process)

    @property
    def _launcher(self) -> Launcher:
        return self._platform.the(Launcher)

    def _recorded(self, ctx: Ctx) -> list[Process]:
        rows = ctx.tx.all("SELECT * FROM serving_processes WHERE node = ? ORDER BY started_at", self._platform.node)
        return [
            Process(
                r["attempt"], r["endpoint_id"], r["model"], r["version"],
                Address(r["port"], self._platform.vault.open(r["secret"])), r["state"], r["started_at"],
            )
            for r in rows
        ]  # fmt: skip


def _declared(ctx: Ctx) -> Iterable[Obj[Any]]:
    rows = ctx.tx.all(
        f"SELECT {objects.COLUMNS} FROM objects WHERE kind = ? AND deleted_at IS NULL ORDER BY id", ENDPOINT.name
    )
    return [objects.loaded(ENDPOINT, row) for row in rows]


def _entities(spec: Endpoint) -> dict[tuple[str, int], Entity]:
    """Everything that has to run: what is live and what is to become live."""
    configs = [config for config in (spec.config, spec.pending) if config is not None]
    return {(entity.model, entity.version): entity for config in configs for entity in config.entities}


def _tail(path: Path, most: int) -> str:
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - most))
        return file.read().decode("utf-8", "replace").strip()


def free_port() -> int:
    """Somebody else may take it before it is used; the process then fails to start and the next one gets another."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@controller("serving.fleet", every=2.0, wakes_on=(endpoints.CHANGED, "serving_process"), on_every_node=True)
def tend(platform: "Platform") -> None:
    platform.the(Fleet).tick()
