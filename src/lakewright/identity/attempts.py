"""Attempts: how often signing in may fail before the next try has to wait. Kept in memory, per process.

Buckets of failures that drain with time: one per source address (IPv6: per /64, which one machine has to itself) and
one per account. Either full: 429 with the seconds to wait. An account at an address from which it has signed in before
has a bucket of its own instead: neither strangers who fail on purpose nor a neighbour behind the same address can shut
its owner out. Nothing is ever locked: secrets are 256 random bits, so a limit is there against load and noise, not
against guessing.
"""

import ipaddress
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass

from lakewright.kernel.clock import Clock
from lakewright.kernel.faults import TooMany

LARGEST = 20_000
"""Buckets remembered of each sort (about 4 MB); past it the oldest are forgotten."""


@dataclass
class Bucket:
    """Failures counted, drained since `at`."""

    failures: float
    at: int


class Buckets:
    """Failures by key: `burst` at once, then one every `seconds`."""

    def __init__(self, clock: Clock, burst: int, seconds: float) -> None:
        self._clock, self._burst, self._seconds = clock, burst, seconds
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def wait(self, key: str) -> float:
        """Seconds until this key may try again; 0: now."""
        return max(0.0, (self._level(key) - self._burst + 1) * self._seconds)

    def add(self, key: str) -> None:
        self._buckets[key] = Bucket(self._level(key) + 1, self._clock.now())
        self._buckets.move_to_end(key)
        while len(self._buckets) > LARGEST:
            self._buckets.popitem(last=False)

    def _level(self, key: str) -> float:
        found = self._buckets.get(key)
        if found is None:
            return 0.0
        return max(0.0, found.failures - (self._clock.now() - found.at) / 1000 / self._seconds)


class Attempts:
    def __init__(self, clock: Clock, *, per_source: int, per_account: int, seconds: float) -> None:
        self._sources = Buckets(clock, per_source, seconds)
        self._accounts = Buckets(clock, per_account, seconds)
        self._pairs = Buckets(clock, per_source, seconds)
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, source: str, account: str = "") -> None:
        """TooMany while the source or the account has failed too often; those who know each other, only together."""
        pair = (network(source), account)
        with self._lock:
            if account and pair in self._known:
                wait = self._pairs.wait("@".join(pair))
            else:
                wait = max(self._sources.wait(pair[0]), self._accounts.wait(account) if account else 0)
        if wait > 0:
            seconds = math.ceil(wait)
            raise TooMany(f"too many failed attempts to sign in; next one in {seconds} s", retry_after=seconds)

    def failed(self, source: str, account: str = "") -> None:
        pair = (network(source), account)
        with self._lock:
            if account and pair in self._known:
                self._pairs.add("@".join(pair))
                return
            self._sources.add(pair[0])
            if account:
                self._accounts.add(account)

    def succeeded(self, source: str, account: str) -> None:
        known = (network(source), account)
        with self._lock:
            self._known[known] = None
            self._known.move_to_end(known)
            while len(self._known) > LARGEST:
                self._known.popitem(last=False)


def network(source: str) -> str:
    """The address as it is counted."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return source
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
