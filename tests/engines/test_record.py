"""The record of an attempt says one thing, whoever writes it and however many at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from lakewright.engines.local import record
from lakewright.engines.processes import Exit

AT_ONCE = 8


def test_of_threads_that_end_an_attempt_at_once_one_does_and_what_it_wrote_is_whole(tmp_path: Path) -> None:
    together = Barrier(AT_ONCE)

    def end(directory: Path, number: int) -> bool:
        together.wait()
        return record.end(directory, Exit(number, None, "exited", number))

    with ThreadPoolExecutor(AT_ONCE) as threads:
        for attempt in range(50):
            directory = tmp_path / str(attempt)
            directory.mkdir()
            ended = list(threads.map(end, [directory] * AT_ONCE, range(AT_ONCE)))
            written = record.exit_of(directory)
            assert written is not None
            assert [number for number, first in enumerate(ended) if first] == [written.code]
            assert [path.name for path in directory.iterdir()] == ["exit"]
