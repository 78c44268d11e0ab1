"""Controllers: what brings the world to what is declared, again and again, on one node at a time."""

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from lakewright.kernel import leases
from lakewright.kernel.faults import Conflict
from lakewright.kernel.writer import Turn

if TYPE_CHECKING:
    from lakewright.kernel.platform import Platform

log = logging.getLogger(__name__)
T = TypeVar("T")
Tick = Callable[["Platform"], None]

LEASE_MS = 15_000


@dataclass(frozen=True)
class Controller:
    """`tick` is called every `every` seconds and whenever an event of `wakes_on` commits. It must be repeatable."""

    name: str
    every: float
    wakes_on: tuple[str, ...]
    tick: Tick
    on_every_node: bool = False


@dataclass(frozen=True)
class Held:
    """The lease under which a tick runs."""

    name: str
    holder: str
    fence: int


_HELD: ContextVar[Held | None] = ContextVar("held", default=None)


def fenced(work: Callable[[Turn], T]) -> Callable[[Turn], T]:
    """`work` as it may be written now: inside a tick, only while the tick's lease is still the one it began under.

    A node that was frozen in the middle of a tick does not know that another has taken over; its late writes end here.
    """
    held = _HELD.get()
    if held is None:
        return work

    def checked(turn: Turn) -> T:
        if not leases.holds(turn.tx, held.name, held.holder, held.fence, shared=True):
            raise Conflict(f"another node has taken over {held.name}; this one's late write is refused")
        return work(turn)

    return checked


@contextmanager
def holding(held: Held) -> Generator[None]:
    """What is written inside is fenced by this lease."""
    token = _HELD.set(held)
    try:
        yield
    finally:
        _HELD.reset(token)


CONTROLLERS: dict[str, Controller] = {}


def controller(
    name: str, *, every: float, wakes_on: tuple[str, ...] = (), on_every_node: bool = False
) -> Callable[[Tick], Tick]:
    def declare(tick: Tick) -> Tick:
        if name in CONTROLLERS:
            raise ValueError(f"two controllers are called {name!r}")
        CONTROLLERS[name] = Controller(name, every, wakes_on, tick, on_every_node)
        return tick

    return declare


class Running:
    """The threads of this node's controllers."""

    def __init__(self, platform: "Platform") -> None:
        self._platform = platform
        self._stop = threading.Event()
        self._wake = {name: threading.Event() for name in CONTROLLERS}
        self._threads = [
            threading.Thread(target=self._run, args=(c,), name=c.name, daemon=True) for c in CONTROLLERS.values()
        ]
        self._ticking: dict[str, Held] = {}
        if not platform.sole:
            self._threads.append(threading.Thread(target=self._renew, name="leases", daemon=True))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for wake in self._wake.values():
            wake.set()
        for thread in self._threads:
            thread.join(timeout=10)

    def wake(self, topics: set[str]) -> None:
        for name, each in CONTROLLERS.items():
            if not topics.isdisjoint(each.wakes_on):
                self._wake[name].set()

    def _run(self, each: Controller) -> None:
        wake, platform = self._wake[each.name], self._platform
        while not self._stop.is_set():
            wake.clear()
            looked = platform.clock.now()
            try:
                if each.on_every_node or platform.sole:
                    each.tick(platform)
                elif (held := self._acquired(each.name)) is not None:
                    self._tick_under(held, each)
            except Exception:
                log.exception("controller %s failed; it goes on at the next tick", each.name)
            if not self._stop.is_set():
                platform.clock.wait(wake, each.every, since=looked)

    def _acquired(self, name: str) -> Held | None:
        lease, node = f"controller:{name}", self._platform.node
        fence = self._platform.writer.submit(
            lambda turn: leases.acquire(turn.tx, lease, node, now=self._platform.clock.now(), ttl_ms=LEASE_MS)
        )
        return Held(lease, node, fence) if fence is not None else None

    def _tick_under(self, held: Held, each: Controller) -> None:
        self._ticking[held.name] = held
        try:
            with holding(held):
                each.tick(self._platform)
        finally:
            del self._ticking[held.name]

    def _renew(self) -> None:
        """A tick may take longer than its lease: as long as this node lives and the tick runs, the lease stays."""
        while not self._stop.wait(LEASE_MS / 3000):
            for held in list(self._ticking.values()):
                try:
                    self._acquired(held.name.removeprefix("controller:"))
                except Exception:
                    log.warning("the lease of %s could not be renewed", held.name, exc_info=True)
