"""Requests that arrive together are predicted together, on one thread.

A call of a small model costs the same for one row and for sixty: the batch is what makes a request cheap. A lone
caller never waits: the window opens only when the batch before it showed that there is company, and closes as soon
as as many requests as last time are there.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from lakewright.engines.model_process.payload import Rows

LARGEST = 64
MOST_ROWS = 4096
WINDOW = 0.0005
Waiting = tuple[Rows, Callable[[Any], None]]


class Batcher:
    def __init__(self, answer: Callable[[Sequence[Rows]], Sequence[Any]]) -> None:
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Waiting] = []
        self._batches: queue.SimpleQueue[list[Waiting]] = queue.SimpleQueue()
        self._busy = False
        self._company = 1
        self._window: asyncio.TimerHandle | None = None
        self.batches = self.requests = 0
        threading.Thread(target=self._predict_for_ever, name="predict", daemon=True).start()

    def submit(self, rows: Rows, done: Callable[[Any], None]) -> None:
        self._waiting.append((rows, done))
        if not self._busy:
            self._consider()

    def _consider(self) -> None:
        if len(self._waiting) >= min(self._company, LARGEST):
            self._send()
        elif self._waiting and self._window is None:
            self._window = self._loop.call_later(WINDOW, self._send)

    def _send(self) -> None:
        if self._window is not None:
            self._window.cancel()
            self._window = None
        if self._busy or not self._waiting:
            return
        batch = self._take()
        self._busy, self._company = True, len(batch)
        self.batches, self.requests = self.batches + 1, self.requests + len(batch)
        self._batches.put(batch)

    def _take(self) -> list[Waiting]:
        rows = taken = 0
        for request, _ in self._waiting[:LARGEST]:
            if taken and rows + request.count > MOST_ROWS:
                break
            rows, taken = rows + request.count, taken + 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return batch

    def _predict_for_ever(self) -> None:
        while True:
            batch = self._batches.get()
            try:
                answers = self._answer([rows for rows, _ in batch])
            except BaseException as error:
                answers = [error] * len(batch)
            try:
                self._loop.call_soon_threadsafe(self._deliver, batch, answers)
            except RuntimeError:
                return

    def _deliver(self, batch: list[Waiting], answers: Sequence[Any]) -> None:
        self._busy = False
        for (_, done), answer in zip(batch, answers, strict=True):
            done(answer)
        self._consider()
