"""What finding drift costs: all columns by three measures in SQL, against scipy's Kolmogorov-Smirnov of the numbers only.

    python benchmarks/drift.py [--rows 1000000]

Seven numeric and three text columns on either side. The last line is one JSON object; `times_scipy` is how many times
less wall-clock time the whole comparison takes than scipy needs for the seven numeric columns.
"""

import argparse
import json
import resource
import time

import numpy as np
import pyarrow as pa

from lakewright.ml import drift, profile


def table(random: np.random.Generator, rows: int, shift: float) -> pa.Table:
    numbers = {f"n{i}": random.normal(shift * (i == 3), 1, rows) for i in range(7)}
    texts = {f"c{i}": pa.array(random.choice(list("abcdefgh"), rows)) for i in range(3)}
    return pa.table(numbers | texts)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    asked = parser.parse_args()
    random = np.random.default_rng(0)
    before, after = table(random, asked.rows, 0.0), table(random, asked.rows, 0.3)

    began = time.perf_counter()
    report = drift.compare(before, after)
    ours = time.perf_counter() - began
    assert [finding.column for finding in report.changed] == ["n3"]
    began = time.perf_counter()
    profile.of(after)
    profiled = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

    from scipy import stats

    began = time.perf_counter()
    for name in (f"n{i}" for i in range(7)):
        stats.ks_2samp(before[name].to_numpy(), after[name].to_numpy(), method="asymp")
    scipy = time.perf_counter() - began
    print(
        json.dumps({
            "rows": asked.rows, "seconds": round(ours, 2), "profile_seconds": round(profiled, 2),
            "scipy_seconds": round(scipy, 2), "times_scipy": round(scipy / ours, 1), "peak_mb": peak,
        })
    )  # fmt: skip


if __name__ == "__main__":
    main()
