"""Slots: how many statements a warehouse works on at once. The others wait their turn."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from lakewright.kernel.faults import TooMany
from lakewright.sql.changes import Running

log = logging.getLogger(__name__)
LONGEST_QUEUE = 1_000


@dataclass
class Job:
    """One statement on its way. `run` must catch whatever goes wrong and write it down."""

    id: str
    warehouse: str
    run: Callable[[Job], None]
    running: Running = field(default_factory=Running)
    execution_thread: threading.Thread | None = None
    _done: threading.Event = field(default_factory=threading.Event)
    _waiting: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    def finish(self) -> None:
        self._done.set()
        for tell in self._waiting:
            tell()

    async def ended(self, seconds: float) -> bool:
        """Whether it ends within this time, without holding a thread."""
        loop, event = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            loop.call_soon_threadsafe(event.set)

        self._waiting.append(tell)
        if self._done.is_set():
            return True
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return False
        return True


class Pool:
    """All statements of this process, by warehouse."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[str, deque[Job]] = {}
        self._active: dict[str, int] = {}
        self._jobs: dict[str, Job] = {}
        self._closed = False

    def submit(self, job: Job, slots: int) -> None:
        with self._lock:
            queue = self._queues.setdefault(job.warehouse, deque())
            if len(queue) >= LONGEST_QUEUE or self._closed:
                raise TooMany("The queue of this warehouse is full")
            self._jobs[job.id] = job
            queue.append(job)
        self._dispatch(job.warehouse, slots)

    def cancel(self, statement: str) -> bool:
        """Stop it where it is; False if it is not here any more."""
        with self._lock:
            job = self._jobs.get(statement)
        if job is not None:
            job.running.stop()
        return job is not None

    def busy(self, warehouse: str) -> int:
        """How many are queued or running."""
        with self._lock:
            return self._active.get(warehouse, 0) + len(self._queues.get(warehouse, ()))

    def close(self) -> None:
        with self._lock:
            self._closed = True
            jobs = list(self._jobs.values())
            for queue in self._queues.values():
                queue.clear()
        for job in jobs:
            job.running.stop()
        for job in jobs:
            if job.execution_thread is not None:
                job.execution_thread.join(5)

    def _dispatch(self, warehouse: str, slots: int) -> None:
        while True:
            with self._lock:
                queue = self._queues.get(warehouse)
                if not queue or self._active.get(warehouse, 0) >= slots:
                    return
                job = queue.popleft()
                self._active[warehouse] = self._active.get(warehouse, 0) + 1
            job.execution_thread = threading.Thread(
                target=self._work, args=(job, slots), name=f"sql-{job.id}", daemon=True
            )
            job.execution_thread.start()

    def _work(self, job: Job, slots: int) -> None:
        try:
            job.run(job)
        except Exception:
            log.exception("statement %s could not be written down", job.id)
        finally:
            with self._lock:
                self._active[job.warehouse] -= 1
                self._jobs.pop(job.id, None)
            job.finish()
            self._dispatch(job.warehouse, slots)
