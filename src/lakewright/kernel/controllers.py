"""Controllers: what brings the world to what is declared, again and again, on one node at a time."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakewright.kernel import leases

if TYPE_CHECKING:
    from lakewright.kernel.platform import Platform

log = logging.getLogger(__name__)
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
                if each.on_every_node or self._holds(each.name):
                    each.tick(platform)
            except Exception:
                log.exception("controller %s failed; it goes on at the next tick", each.name)
            if not self._stop.is_set():
                platform.clock.wait(wake, each.every, since=looked)

    def _holds(self, name: str) -> bool:
        platform = self._platform
        if platform.sole:
            return True
        return (
            platform.writer.submit(
                lambda turn: leases.acquire(
                    turn.tx, f"controller:{name}", platform.node, now=platform.clock.now(), ttl_ms=LEASE_MS
                )
            )
            is not None
        )
