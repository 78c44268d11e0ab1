"""The writer: one thread per process that commits whatever is queued together.

Each request is a *turn*: a function of the transaction. The turns of a batch run one after another in one
transaction, their audit rows are chained and appended, one COMMIT makes all of it durable, and only then is anybody
answered. A refusal that wrote nothing costs nothing; a turn that fails after writing makes the batch start over with
a savepoint around each turn, so it is undone alone. If the COMMIT fails, everyone is told 503, nothing is kept, and the
connection is closed: after a failed fsync nothing that it remembers can be trusted.

The thread outlives whatever a batch raises. What no exception can say (a disk that never answers) its watch notices:
then everybody who waits is told 503, and so is everybody who comes, until the batch at last ends.

Turns must therefore be repeatable: they may touch the transaction and nothing else.
"""

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from lakewright.kernel.audit import Entry
from lakewright.kernel.faults import Fault, Unavailable
from lakewright.kernel.store import RawConnection, Store, Tx

T = TypeVar("T")
log = logging.getLogger(__name__)

BATCH = 64
"""Turns per commit: past this the commit's share is already small and the wait of the last one grows."""

PATIENCE = 20
"""Looks of the watch, one a second, at one and the same batch before it counts as stuck. Looks and not seconds: a
process that was frozen and goes on has lost no time by its own count."""

CLOSING = "the server is shutting down"
STUCK = "the database has not answered for a while; whether the change was made is not known"


@dataclass
class Turn:
    """What a request may do in its place in the batch."""

    tx: Tx
    entries: list[Entry] = field(default_factory=list[Entry])
    topics: set[str] = field(default_factory=set[str])
    after_commit: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])


class Answer(Protocol):
    """Where the result of a turn goes."""

    def deliver(self, result: Any, error: BaseException | None) -> None: ...


class Blocking(Generic[T]):
    """A thread waits for the result."""

    def __init__(self) -> None:
        self.future: Future[T] = Future()

    def deliver(self, result: Any, error: BaseException | None) -> None:
        # The watch may have given up on this one just now; the first word stands.
        with contextlib.suppress(InvalidStateError):
            if error is not None:
                self.future.set_exception(error)
            else:
                self.future.set_result(result)


class Awaiting:
    """A coroutine waits; the writer wakes its loop once per batch, not once per answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self._outcome: tuple[Any, BaseException | None] | None = None

    def deliver(self, result: Any, error: BaseException | None) -> None:
        if self._outcome is None:
            self._outcome = (result, error)

    def settle(self) -> None:
        if self.future.done() or self._outcome is None:
            return
        result, error = self._outcome
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


@dataclass
class _Job:
    work: Callable[[Turn], Any]
    answer: Answer
    result: Any = None
    error: BaseException | None = None


Seal = Callable[[Tx, Sequence[Entry]], None]


class Writer:
    """`seal` appends a batch's audit entries; `committed` and `rolled_back` are told what became of it."""

    def __init__(
        self,
        store: Store,
        seal: Seal,
        *,
        committed: Callable[[set[str]], None],
        rolled_back: Callable[[], None],
        patience: int = PATIENCE,
    ) -> None:
        self._store, self._seal = store, seal
        self._committed, self._rolled_back = committed, rolled_back
        self._patience = patience
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._raw: RawConnection | None = None
        self._thread = threading.Thread(target=self._loop, name="writer", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name="writer.watch", daemon=True)
        self._batch: list[_Job] = []
        self._refusing = ""
        self._stopping = threading.Event()
        self._over = False

    def start(self) -> None:
        self._raw = self._store.connect(write=True)
        self._thread.start()
        self._watcher.start()

    def stop(self) -> None:
        self._refusing = CLOSING
        self._stopping.set()
        self._queue.put(None)
        self._thread.join(timeout=30)

    @property
    def depth(self) -> int:
        return self._queue.qsize()

    def submit(self, work: Callable[[Turn], T]) -> T:
        """Run `work` in the next batch and wait for its commit. Not for the writer's own thread."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("a turn cannot wait for another turn: call it inside the transaction you have")
        self._check_open()
        answer: Blocking[T] = Blocking()
        self._queue.put(_Job(work, answer))
        if self._over:
            self._refuse_waiting(CLOSING)
        return answer.future.result()

    async def submit_async(self, work: Callable[[Turn], T]) -> T:
        self._check_open()
        answer = Awaiting(asyncio.get_running_loop())
        self._queue.put(_Job(work, answer))
        if self._over:
            self._refuse_waiting(CLOSING)
        return await answer.future

    def _check_open(self) -> None:
        if self._refusing:
            raise Unavailable(self._refusing)

    def _loop(self) -> None:
        last = False
        while not last:
            self._batch, last = self._take()
            if self._batch:
                try:
                    self._commit(self._batch)
                except BaseException as error:
                    log.critical("the writer failed around a batch of %d and goes on", len(self._batch), exc_info=True)
                    self._give_up(self._batch, f"what became of the change is not known: {type(error).__name__}")
        self._batch = []
        self._over = True  # from here on whoever still puts something into the queue takes it out again
        self._refuse_waiting(CLOSING)
        if self._raw is not None:
            self._raw.close()

    def _take(self) -> tuple[list[_Job], bool]:
        """Wait for something to do and take all of it, up to a batch; whether it was the last."""
        self._batch = []
        first = self._queue.get()
        if first is None:
            return [], True
        batch = [first]
        while len(batch) < BATCH:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return batch, True
            batch.append(job)
        return batch, False

    def _watch(self) -> None:
        """Notice a batch that does not end, and let nobody wait for it for ever."""
        seen: list[_Job] = []
        looks = 0
        while not self._stopping.wait(1.0):
            batch = self._batch
            looks = looks + 1 if batch and batch is seen else 0
            seen = batch
            if looks >= self._patience:
                if not self._refusing:
                    log.critical(
                        "a batch of %d has not ended for %d s: refusing changes until it does", len(batch), looks
                    )
                self._refusing = self._refusing or STUCK
                self._give_up(batch, STUCK)
                self._refuse_waiting(STUCK)
            elif self._refusing == STUCK:
                log.warning("the database answers again")
                self._refusing = ""

    def _give_up(self, jobs: Sequence[_Job], why: str) -> None:
        for job in jobs:
            job.answer.deliver(None, Unavailable(why))
        self._wake(jobs)

    def _refuse_waiting(self, why: str) -> None:
        self._give_up(self._drain(), why)

    def _drain(self) -> list[_Job]:
        left: list[_Job] = []
        with contextlib.suppress(queue.Empty):
            while True:
                job = self._queue.get_nowait()
                if job is not None:
                    left.append(job)
        return left

    def _commit(self, batch: list[_Job]) -> None:
        turns: list[Turn] = []
        try:
            turns = self._attempt(batch, guarded=False) or self._attempt(batch, guarded=True) or []
            topics = {topic for turn in turns for topic in turn.topics}
        except BaseException as error:  # commit, audit or connection failed: nothing of this batch happened
            log.exception("a batch of %d could not be committed", len(batch))
            self._reconnect()
            for job in batch:
                job.result, job.error = (
                    None,
                    Unavailable(f"the change could not be made durable: {type(error).__name__}"),
                )
            topics = set[str]()
        self._answer(batch)
        if topics:
            self._committed(topics)
        for turn in turns:
            for act in turn.after_commit:
                try:
                    act()
                except Exception:
                    log.exception("an after-commit action failed")

    def _attempt(self, batch: list[_Job], *, guarded: bool) -> list[Turn] | None:
        """Run and commit the batch; None when a turn failed half-way and the batch must be run guarded."""
        assert self._raw is not None
        raw, turns = self._raw, list[Turn]()
        raw.begin(write=True)
        tx = Tx(raw)
        for job in batch:
            turn = Turn(tx)
            turns.append(turn)
            tx.wrote = False
            if guarded:
                raw.savepoint()
            try:
                job.result, job.error = job.work(turn), None
            except BaseException as error:
                job.result, job.error = None, error
                turn.topics.clear()
                turn.after_commit.clear()
                poisoned = tx.wrote or not isinstance(error, Fault)
                if poisoned and not guarded:
                    raw.rollback()
                    self._rolled_back()
                    return None
                if guarded:
                    _undone(turn, error)
                    raw.rollback_to()
                    tx.epoch = None
                    self._rolled_back()
            else:
                if guarded:
                    raw.release()
        self._seal(tx, [entry for turn in turns for entry in turn.entries])
        topics = {topic for turn in turns for topic in turn.topics}
        if topics:
            raw.notify(sorted(topics))
        raw.commit()
        return turns

    def _reconnect(self) -> None:
        self._rolled_back()
        try:
            if self._raw is not None:
                self._raw.close()
        except Exception:
            log.debug("closing a broken connection failed", exc_info=True)
        try:
            self._raw = self._store.connect(write=True)
        except Exception:
            log.exception("the database cannot be reached")

    def _answer(self, batch: list[_Job]) -> None:
        for job in batch:
            job.answer.deliver(job.result, job.error)
        self._wake(batch)

    def _wake(self, jobs: Sequence[_Job]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[Awaiting]] = {}
        for job in jobs:
            if isinstance(job.answer, Awaiting):
                by_loop.setdefault(job.answer.loop, []).append(job.answer)
        for loop, answers in by_loop.items():
            try:
                loop.call_soon_threadsafe(_settle, answers)
            except RuntimeError:
                log.debug("the loop of %d answers is gone", len(answers))


def _undone(turn: Turn, error: BaseException) -> None:
    """Operations that a failed turn had called are on record as what they came to: nothing."""
    for entry in turn.entries:
        if turn.tx.wrote and entry.status < 400:
            entry.status = error.status if isinstance(error, Fault) else 500
            entry.error = "undone together with what called it"


def _settle(answers: list[Awaiting]) -> None:
    for answer in answers:
        answer.settle()
