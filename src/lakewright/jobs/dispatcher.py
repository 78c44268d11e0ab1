"""The dispatcher: starts the tasks that are ready, notices those that ended, and kills those that are to stop.

It runs on every node and owns what its node runs; everything it has to remember is in rows. A claim is committed
before a process is started and an attempt is started at most once (the launcher's promise), so after a crash each
claimed attempt is either found running and taken up again, or known never to have run and made anew.
"""

import logging
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lakewright.engines.processes import AlreadyStarted, Exit, Launcher, LaunchFault
from lakewright.jobs import children, engine, gates, iterations, launching, rows, states, stopping
from lakewright.jobs.engine import Claim
from lakewright.jobs.logs import Logs, message_of
from lakewright.jobs.rows import TaskRun
from lakewright.kernel import leases
from lakewright.kernel.context import Ctx
from lakewright.kernel.controllers import controller
from lakewright.kernel.faults import Fault, Unavailable
from lakewright.kernel.platform import Platform

T = TypeVar("T")
log = logging.getLogger(__name__)

ROUNDS = 50
"""Most rounds of one tick: what ends makes something else ready at once."""
WITHOUT_PROCESS = {"approval_task": gates.look, "run_job_task": children.start, "for_each_task": iterations.start}
"""How tasks begin that run by waiting for somebody else."""
GLANCE = 0.03
"""Seconds between looks at whether a process has ended."""


@dataclass(frozen=True)
class View:
    """What there is to do, as one reading of the rows says."""

    expired: bool
    retries: bool
    ready: list[tuple[TaskRun, str]]
    """With the kind of task each is."""
    waiting: list[TaskRun]
    mine: list[TaskRun]
    """Attempts of this node that may have a process."""
    theirs: list[TaskRun]


class Dispatcher:
    def __init__(self, platform: Platform, launcher: Launcher, folder: Path) -> None:
        self._platform, self._launcher, self._folder = platform, launcher, folder
        self._logs = Logs(launcher, platform.node)
        self._watched: set[str] = set()
        self._watching = threading.Condition()
        self._watcher: threading.Thread | None = None
        self._stopped = False
        self._settled = False
        platform.provide(self._logs)
        platform.closes(self.close)

    def close(self) -> None:
        """Stop looking; the tasks go on and are found again."""
        with self._watching:
            self._stopped = True
            self._watching.notify_all()

    def tick(self) -> None:
        """Do everything there is to do now."""
        self._beat()
        if not self._settled:
            self._settled = True
            # Others start processes with the same launcher (a model's, for one): those are theirs to end.
            running = {attempt.attempt for attempt in self._launcher.live()}
            self._disown({attempt for attempt in running if rows.run_id_of(attempt)})
        for _ in range(ROUNDS):
            if not self._round():
                return

    def _round(self) -> bool:
        """One pass over everything; whether it changed anything."""
        with self._watching:
            watched = set(self._watched)
        view = self._platform.snapshot(self._look)
        self._disown(watched - {task.attempt_id for task in view.mine})
        changed = view.expired or view.retries
        if view.expired:
            self._do(stopping.expire)
        if view.retries:
            self._do(engine.ready_again)
        for task in view.mine:
            changed |= self._safely(task, self._attend)
        for task in view.theirs:
            changed |= self._safely(task, self._take_over)
        for task in view.waiting:
            changed |= self._safely(task, self._inquire)
        room = self._platform.settings.jobs.parallel_tasks - sum(t.state in states.ALIVE for t in view.mine)
        for task, kind in view.ready:
            if kind in WITHOUT_PROCESS:
                changed |= self._safely(task, lambda task, kind=kind: self._begin_waiting(task, kind))
            elif room > 0:
                room -= 1
                changed |= self._safely(task, self._begin)
        return changed

    def _safely(self, task: TaskRun, act: Callable[[TaskRun], bool]) -> bool:
        """A mistake of ours about one task ends that task, not the work for all others."""
        try:
            return act(task)
        except Unavailable:
            raise
        except Exception as error:
            log.exception("task run %s made the dispatcher fail", task.run_id)
            self._fail(task, f"the platform failed to run this task: {type(error).__name__}", "INTERNAL_ERROR")
            return True

    def _look(self, ctx: Ctx) -> View:
        now, node = ctx.now(), self._platform.node
        alive = rows.tasks(ctx.tx, "state IN (?, ?, ?) ORDER BY claimed_at", *sorted(states.ALIVE))
        return View(
            expired=_any(
                ctx,
                "SELECT 1 FROM job_run WHERE state IN ('PENDING', 'RUNNING', 'TERMINATING') AND deadline <= ?"
                " UNION ALL SELECT 1 FROM job_run WHERE state = 'QUEUED' AND created_at <= ?"
                " UNION ALL SELECT 1 FROM task_run WHERE state IN ('RUNNING', 'WAITING') AND deadline <= ?",
                now, now - stopping.QUEUE_MS, now,
            ),
            retries=_any(ctx, "SELECT 1 FROM task_run WHERE state = 'WAITING_FOR_RETRY' AND due_at <= ?", now),
            ready=_with_kinds(ctx, rows.tasks(ctx.tx, "state = 'PENDING' ORDER BY due_at, created_at, run_id LIMIT 500")),
            waiting=rows.tasks(ctx.tx, "state = 'WAITING' ORDER BY started_at"),
            mine=[task for task in alive if task.node == node],
            theirs=[task for task in alive if task.node != node],
        )  # fmt: skip

    # --- attempts of this node ---

    def _attend(self, task: TaskRun) -> bool:
        """One attempt that may be running: take it up, kill it, or note its end."""
        ended = self._launcher.poll(task.attempt_id)
        if ended is not None:
            self._forget(task)
            redacts = self._platform.snapshot(lambda ctx: ctx.platform.redacting(ctx.tx, task.token_id or ""))
            if redacts is not None:
                self._logs.mask(task.attempt_id, redacts)
            left = self._logs.left(task.attempt_id)
            return self._do(lambda ctx: self._record_end(_home(ctx, task), task, ended, left))
        self._watch(task.attempt_id)
        if task.state == states.TERMINATING:
            self._launcher.kill(task.attempt_id)
        elif task.state == states.STARTING:
            # Its process runs, but the server that started it did not live to say so.
            return self._do(lambda ctx: engine.started(_home(ctx, task), task))
        return False

    def _record_end(self, ctx: Ctx, task: TaskRun, ended: Exit, left: dict[str, Any]) -> bool:
        now_at = rows.task(ctx.tx, task.run_id) or task
        if now_at.stopped_for:
            return engine.finish(ctx, task, now_at.stopped_for, now_at.message)
        if ended.reason == "exited" and ended.code == 0:
            answered = {name: left[name] for name in ("notebook_output",) if name in left}
            return engine.finish(ctx, task, states.SUCCESS, output=answered)
        if ended.reason == "lost":
            return engine.finish(ctx, task, states.FAILED, message_of(ended), code="CLOUD_FAILURE", lost=True)
        result = states.TIMEDOUT if ended.reason == "timeout" else states.FAILED
        return engine.finish(ctx, task, result, message_of(ended), output=left)

    def _disown(self, attempts: set[str]) -> None:
        """Kill what runs here although its row is over: this node was silent so long that another took its place."""
        for attempt in attempts:
            task = self._platform.snapshot(lambda ctx, attempt=attempt: rows.task(ctx.tx, rows.run_id_of(attempt)))
            if task is None or task.state not in states.ALIVE or task.node != self._platform.node:
                self._launcher.kill(attempt)
                with self._watching:
                    self._watched.discard(attempt)

    def _forget(self, task: TaskRun) -> None:
        with self._watching:
            self._watched.discard(task.attempt_id)
        shutil.rmtree(self._folder / task.attempt_id, ignore_errors=True)

    # --- ready tasks ---

    def _begin_waiting(self, task: TaskRun, kind: str) -> bool:
        self._do(lambda ctx: WITHOUT_PROCESS[kind](_home(ctx, task), task))
        return True

    def _begin(self, task: TaskRun) -> bool:
        claim = self._do(lambda ctx: engine.claim(_home(ctx, task), self._platform.node, task))
        if claim is not None:
            self._launch(claim)
        return True

    def _launch(self, claim: Claim) -> None:
        task, launcher = claim.task, self._launcher
        try:
            spec = launching.prepare(self._platform, claim, self._folder / task.attempt_id)
            launcher.start(spec)
        except AlreadyStarted:
            return  # the next round attends to it
        except Fault as fault:
            code = {403: "UNAUTHORIZED_ERROR", 404: "RESOURCE_NOT_FOUND"}.get(fault.status, "INVALID_RUN_CONFIGURATION")
            self._fail(task, str(fault), code)
            return
        except LaunchFault as fault:
            self._fail(task, str(fault), "CLUSTER_ERROR")
            return
        if self._do(lambda ctx: engine.started(_home(ctx, task), task)):
            self._watch(task.attempt_id)
        else:
            launcher.kill(task.attempt_id)

    def _fail(self, task: TaskRun, message: str, code: str) -> None:
        shutil.rmtree(self._folder / task.attempt_id, ignore_errors=True)
        self._do(lambda ctx: engine.finish(_home(ctx, task), task, states.FAILED, message, code=code))

    # --- tasks that wait for somebody ---

    def _inquire(self, task: TaskRun) -> bool:
        """A look that only reads; what was decided is then acted upon in a transaction."""
        if task.child_run_id is not None:
            if self._platform.snapshot(lambda ctx: _child_ended(ctx, task)):
                self._do(lambda ctx: children.look(_home(ctx, task), task))
                return True
            return False
        if self._platform.snapshot(lambda ctx: _decided(_home(ctx, task), task)):
            self._do(lambda ctx: gates.look(_home(ctx, task), task))
            return True
        return False

    # --- other nodes ---

    def _beat(self) -> None:
        """Show that this node lives."""
        if not self._platform.sole:
            node, ttl = self._platform.node, int(self._platform.settings.jobs.node_silence_seconds * 1000)
            self._do(lambda ctx: leases.acquire(ctx.tx, _node(node), node, now=ctx.now(), ttl_ms=ttl))

    def _take_over(self, task: TaskRun) -> bool:
        """An attempt of a node that fell silent is lost. Its token ends with it, so what may still run there can do nothing."""

        def act(ctx: Ctx) -> bool:
            ctx = _home(ctx, task)
            until = ctx.tx.scalar("SELECT until FROM leases WHERE name = ?", _node(task.node or ""))
            if until is not None and until > ctx.now():
                return False
            fresh = rows.task(ctx.tx, task.run_id) or task
            if fresh.stopped_for:
                return engine.finish(ctx, task, fresh.stopped_for, fresh.message)
            return engine.finish(
                ctx, task, states.FAILED, "The node that ran the task is gone.", code="CLOUD_FAILURE", lost=True
            )

        return self._do(act)

    # --- noticing ends ---

    def _watch(self, attempt: str) -> None:
        """Look at this process often, so that its end is acted upon at once and not at the next tick."""
        with self._watching:
            self._watched.add(attempt)
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._keep_watch, name="jobs.watch", daemon=True)
                self._watcher.start()
            self._watching.notify_all()

    def _keep_watch(self) -> None:
        while True:
            with self._watching:
                self._watching.wait_for(lambda: self._watched or self._stopped)
                if self._stopped:
                    return
                looked_at = set(self._watched)
            if any(self._over(attempt) for attempt in looked_at):
                with self._watching:
                    self._watched -= looked_at
                self._platform.wake("task_run")
            with self._watching:
                self._watching.wait_for(lambda: self._stopped, timeout=GLANCE)

    def _over(self, attempt: str) -> bool:
        """Whatever is wrong with one attempt, the others are still looked at; the tick meets the same and says so."""
        try:
            return self._launcher.poll(attempt) is not None
        except Exception:
            log.exception("attempt %s cannot be looked at", attempt)
            return True

    def _do(self, act: Callable[[Ctx], T]) -> T:
        return self._platform.transact(act)


def _home(ctx: Ctx, task: TaskRun) -> Ctx:
    """In the workspace that the task's run belongs to: the dispatcher works for all of them."""
    return ctx.in_workspace(rows.workspace(ctx.tx, task.job_run_id))


def _any(ctx: Ctx, sql: str, *params: int) -> bool:
    return ctx.tx.one(f"{sql} LIMIT 1", *params) is not None


def _with_kinds(ctx: Ctx, tasks: list[TaskRun]) -> list[tuple[TaskRun, str]]:
    of_run = {number: rows.run(ctx.tx, number) for number in {task.job_run_id for task in tasks}}
    return [(task, run.definition.task(task.task_key).kind) for task in tasks if (run := of_run[task.job_run_id])]


def _child_ended(ctx: Ctx, task: TaskRun) -> bool:
    child = rows.run(ctx.tx, task.child_run_id or 0)
    return child is not None and child.state in states.OVER


def _decided(ctx: Ctx, task: TaskRun) -> bool:
    run = rows.run(ctx.tx, task.job_run_id)
    if run is None:
        return False
    try:
        return gates.ask(ctx, gates.question(ctx, run, task)).decided != "pending"
    except Fault:
        return True  # it cannot be asked any more: the transaction will say why


def _node(node: str) -> str:
    return f"jobs.node:{node}"


@controller("jobs.dispatcher", every=1.0, wakes_on=("job_run", "task_run", "approval"), on_every_node=True)
def tick(platform: Platform) -> None:
    platform.the(Dispatcher).tick()
