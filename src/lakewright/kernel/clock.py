"""Time, as something that is handed in."""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> int:
        """Milliseconds since the Unix epoch, UTC."""
        ...

    def wait(self, wake: threading.Event, seconds: float, *, since: int) -> bool:
        """Until `wake` is set or `seconds` of this clock have passed; whether it was set.

        `since` is when the waiter last looked: a clock that is moved by hand while it worked has moved for it too.
        """
        ...


class SystemClock:
    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def wait(self, wake: threading.Event, seconds: float, *, since: int) -> bool:
        return wake.wait(seconds)


class ManualClock:
    """A clock that stands still until a test moves it; whoever waits on it is woken by the move."""

    def __init__(self, at: int = 1_760_000_000_000) -> None:
        self._at = at
        self._moved = threading.Condition()

    def now(self) -> int:
        return self._at

    def advance(self, seconds: float) -> None:
        with self._moved:
            self._at += int(seconds * 1000)
            self._moved.notify_all()

    def wait(self, wake: threading.Event, seconds: float, *, since: int) -> bool:
        due = since + seconds * 1000
        with self._moved:
            while self._at < due and not wake.is_set():
                # The short real wait only notices `wake`, which has no way to notify this condition.
                self._moved.wait(0.01)
        return wake.is_set()
