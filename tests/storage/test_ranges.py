"""Ranges of a file of ten bytes."""

import pytest

from lakewright.storage.ranges import Part, Unsatisfiable, wanted


@pytest.mark.parametrize(
    "header, start, length",
    [("bytes=0-0", 0, 1), ("bytes=2-", 2, 8), ("bytes=-3", 7, 3), ("bytes=-99", 0, 10), ("bytes=5-99", 5, 5)],
)
def test_one_range_is_answered(header: str, start: int, length: int):
    assert wanted(header, 10) == Part(start, length, whole=False)


@pytest.mark.parametrize(
    "header", [None, "", "bytes=-", "bytes=a-b", "bytes=--5", "lines=1-2", "bytes=0-1,3-4", "bytes=" + "0-," * 9999]
)
def test_what_is_not_one_range_gets_the_whole_file(header: str | None):
    assert wanted(header, 10) == Part(0, 10, whole=True)


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=99-100", "bytes=5-4", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused(header: str):
    with pytest.raises(Unsatisfiable):
        wanted(header, 10)
