"""Identifiers: random enough to guess none, drawn from the system a page at a time.

One system call per identifier is what it would cost to ask `uuid4` each time, and it lets go of the interpreter lock:
under load the writer then waits for its turn in the middle of a transaction.
"""

import itertools
import os
import threading
from uuid import UUID

_PAGE = 4096
_local = threading.local()
_requests = itertools.count(1)
_process = os.urandom(8).hex()


def uuid() -> str:
    return str(UUID(bytes=_random(16), version=4))


def number() -> str:
    """Fifteen digits, the first not zero: what Databricks numbers look like, exact in a double."""
    return str(10**14 + int.from_bytes(_random(8)) % (9 * 10**14))


def request() -> str:
    """Unique, not secret: this process and a count."""
    return f"{_process}-{next(_requests):08x}"


def _random(size: int) -> bytes:
    page: bytes = getattr(_local, "page", b"")
    at: int = getattr(_local, "at", 0)
    if at + size > len(page):
        page, at = os.urandom(_PAGE), 0
        _local.page = page
    _local.at = at + size
    return page[at : at + size]
