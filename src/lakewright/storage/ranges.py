"""Ranges: which bytes of a file a request wants."""

import re
from dataclasses import dataclass

from lakewright.kernel.faults import Fault


class Unsatisfiable(Fault):
    status, code = 416, "INVALID_RANGE"


class Changed(Fault):
    status, code = 412, "PRECONDITION_FAILED"


@dataclass(frozen=True)
class Part:
    start: int
    length: int
    whole: bool


_ONE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def wanted(header: str | None, size: int) -> Part:
    """The part a Range header asks for. Several ranges at once, or another unit, get the whole file, as RFC 9110 allows."""
    everything = Part(0, size, whole=True)
    match = _ONE.fullmatch(header.strip()) if header else None
    if match is None or match.group(0) == "bytes=-":
        return everything
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        if length == 0:
            raise Unsatisfiable(f"the file has {size} bytes")
        return Part(size - length, length, whole=False)
    start, end = int(first), min(int(last), size - 1) if last else size - 1
    if start >= size or (last and int(last) < start):
        raise Unsatisfiable(f"the file has {size} bytes")
    return Part(start, end - start + 1, whole=False)
