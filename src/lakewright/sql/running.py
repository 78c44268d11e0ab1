"""Run a plan: the engine with exactly its scans, and errors that tell a caller nothing they could not have read."""

# pyarrow, sqlglot and duckdb have no types, or only some.
# pyright: basic
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from lakewright.engines import delta, duckdb
from lakewright.kernel.faults import Fault, Invalid, TooLarge
from lakewright.sql import dialect
from lakewright.sql.rewrite import Plan, Scan

if TYPE_CHECKING:
    import pyarrow as pa

HIDDEN = (
    "[QUERY_FAILED] The statement failed on its data. No details are given where row filters or column masks apply."
)


class Execution:
    """An open engine over the scans of one plan. Close it when the rows are read."""

    def __init__(self, plan: Plan, spill: Path, limits: duckdb.Limits = duckdb.MODEST) -> None:
        self.plan = plan
        self.bytes_read = sum(f.size for s in plan.scans.values() for f in files_of(s))
        self._spill = spill / uuid4().hex
        self.session = duckdb.Session(
            {name: _source(scan) for name, scan in plan.scans.items()},
            spill=self._spill, limits=limits, setup=dialect.macros(plan.sql) if plan.sql else dialect.MACROS,
        )  # fmt: skip

    def reader(self, sql: str | None = None) -> pa.RecordBatchReader:
        """The rows as they are computed; errors on the way are already faults."""
        import pyarrow as pa

        text = sql or self.plan.sql
        with explained(self.plan):
            self.session.verify(text, frozenset(self.plan.scans))
            found = self.session.reader(text)

        def batches() -> Iterator[pa.RecordBatch]:
            with explained(self.plan):
                yield from found

        return pa.RecordBatchReader.from_batches(found.schema, batches())

    def stop(self) -> None:
        self.session.stop()

    def close(self) -> None:
        import shutil

        self.session.close()
        shutil.rmtree(self._spill, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def files_of(scan: Scan) -> Sequence[delta.DataFile]:
    if scan.snapshot is None:
        return ()
    return delta.prune(scan.snapshot, scan.tests)


def _source(scan: Scan) -> duckdb.Source:
    if scan.snapshot is None:
        assert scan.relation.rows is not None
        return duckdb.Rows(scan.relation.rows(scan.tests))
    return duckdb.Files(scan.snapshot, tuple(files_of(scan)), with_places=scan.with_places)


@contextmanager
def explained(plan: Plan) -> Iterator[None]:
    """Engine errors become refusals in the caller's words, or in none where hidden rows may have caused them."""
    import duckdb as engine

    try:
        yield
    except (Fault, duckdb.Stopped):
        raise
    except engine.OutOfMemoryException as e:
        raise TooLarge("[OUT_OF_MEMORY] The statement needs more memory than its warehouse gives it") from e
    except (engine.BinderException, engine.CatalogException, engine.ParserException) as e:
        raise Invalid(f"[UNRESOLVED] {_cleaned(str(e))}", code="BAD_REQUEST") from e
    except engine.Error as e:
        raise Invalid(HIDDEN if plan.governed else f"[QUERY_FAILED] {_cleaned(str(e))}", code="BAD_REQUEST") from e


def _cleaned(text: str) -> str:
    """The first line, without our names and without places on this machine."""
    line = text.splitlines()[0] if text else "The statement failed"
    line = line.split("Candidate")[0]
    line = re.sub(r'"?__lw_\w+"?\.?', "", line)
    return re.sub(r"(/[^\s'\"]+)+", "…", line)[:500]
