"""How fast the audit trail is checked, exported and checked again offline.

    make bench BENCH=audit_verify [BENCH_ARGS="--rows 1000000"]

Rows are sealed as requests seal them, in batches; memory is what the whole process used at most.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from benchmarks import load
from lakewright.kernel import audit, trail_files
from lakewright.kernel.config import Settings
from lakewright.kernel.platform import Platform
from lakewright.kernel.writer import Turn


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        platform = Platform(Settings(data_dir=Path(folder), port=0))
        sealed = timed(lambda: fill(platform, rows))
        before = peak()
        snapshots = lambda read: platform.snapshot(lambda ctx: read(ctx.tx))
        verified = timed(lambda: whole(audit.examine(snapshots, platform.keys.audit)))
        copy = Path(folder) / "copy.jsonl"
        exported = timed(lambda: export(platform, copy))
        signer = trail_files.Signer(platform.keys)
        with copy.open("rb") as file:
            checked = timed(lambda: trail_files.check(file, signer.public()))
        grown = peak() - before
        platform.stop()
    load.report(
        benchmark="audit_verify", rows=rows, sealed_us_per_row=round(sealed / rows * 1e6, 1),
        verified_per_second=round(rows / verified), exported_per_second=round(rows / exported),
        file_checked_per_second=round(rows / checked), grown_mb=round(grown),
    )  # fmt: skip


def fill(platform: Platform, rows: int) -> None:
    def work(turn: Turn) -> None:
        turn.entries += [
            audit.Entry(
                at=platform.clock.now(), request_id=f"0f8fad5b-d9cb-469f-a165-{n:012d}", workspace=platform.workspace,
                source="127.0.0.1", user_agent="databricks-sdk-py/0.156.0 python/3.11.4 os/linux auth/pat",
                service="unityCatalog", action="createVolume", who="1234567890123456", who_name="bob@example.com",
                kind="schema", object_id="0f8fad5b-d9cb-469f-a165-70867728950e", address="main.default",
                ask={"name": f"v{n}", "catalog_name": "main", "schema_name": "default"}, decision="allowed",
                because="owner of schema main.default",
            )
            for n in range(1000)
        ]  # fmt: skip

    for _ in range(rows // 1000):
        platform.writer.submit(work)


def export(platform: Platform, to: Path) -> None:
    from lakewright.observe.audit_trail import rows_of

    with to.open("wb") as file:
        file.writelines(trail_files.lines(rows_of(platform.system()), trail_files.Signer(platform.keys), lambda: 0))


def whole(found: tuple[audit.Break | None, audit.Walk]) -> None:
    assert found[0] is None, found[0]


def timed(act: object) -> float:
    begun = time.perf_counter()
    act()  # type: ignore[operator]
    return time.perf_counter() - begun


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
