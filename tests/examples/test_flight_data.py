"""Raw files become tables: nothing is lost, and what cannot be true is set aside with the reason."""

from __future__ import annotations

import json

import pytest


def test_the_whole_year_is_336776_flights_and_splitting_by_month_loses_none() -> None:
    from flight_delays import source

    files = source.monthly_files(range(1, 13))
    flights = [content for name, content in files.items() if name.startswith("flights")]
    assert sum(content.count(b"\n") - 1 for content in flights) == 336_776
    assert sum(content.count(b"\n") - 1 for name, content in files.items() if name.startswith("weather")) == 26_115
    assert len(files) == 24


def test_every_raw_row_is_either_kept_or_quarantined(landing, cleaned) -> None:
    for part, pattern in (("flights", "flights-*.csv"), ("weather", "weather-*.csv"), ("planes", "planes.csv")):
        raw = sum(path.read_bytes().count(b"\n") - 1 for path in landing.glob(pattern))
        checked = cleaned.parts()[part]
        assert len(checked.kept) + len(checked.quarantined) == raw


def test_quarantined_rows_say_why_and_keep_the_row(cleaned) -> None:
    from flight_delays import cleaning

    rows = cleaning.quarantine(cleaned).to_pylist()
    assert {row["source"] for row in rows} <= {"flights", "weather", "planes"}
    diverted = [json.loads(row["row"]) for row in rows if "departed_means_arrival_known" in row["reasons"]]
    assert diverted
    assert all(row["departure_delay"] is not None and row["arrival_delay"] is None for row in diverted)


def test_a_cancelled_flight_is_counted_but_kept(cleaned) -> None:
    cancelled = cleaned.flights.kept["departure_delay"].null_count
    assert cancelled == cleaned.flights.broken["it_was_not_cancelled"]
    assert cancelled > 1_000


def test_local_clock_times_become_instants(cleaned) -> None:
    """UA1545 was due to leave Newark at 5:15, and landed in Houston at 8:30 by a clock that is an hour behind."""
    first = next(row for row in cleaned.flights.kept.slice(0, 5).to_pylist() if row["flight"] == 1545)
    assert first["scheduled_departure"].isoformat() == "2013-01-01T10:15:00"
    assert first["arrived_at"].isoformat() == "2013-01-01T14:30:00"


def test_a_source_that_is_mostly_broken_stops_the_run() -> None:
    import duckdb
    from flight_delays.expectations import Expectation, TooManyBadRows, check

    with duckdb.connect() as engine:
        engine.execute("create table readings as select range as value from range(10)")
        with pytest.raises(TooManyBadRows, match="3 of 10 rows"):
            check(engine, "readings", [Expectation("small", "value < 7")], at_most=0.2)


def test_an_unknown_answer_counts_as_broken() -> None:
    import duckdb
    from flight_delays.expectations import Expectation, check

    with duckdb.connect() as engine:
        engine.execute("create table readings as from (values (1), (null)) t(value)")
        checked = check(engine, "readings", [Expectation("small", "value < 7")], at_most=0.5)
    assert checked.kept.to_pylist() == [{"value": 1}]
    assert checked.quarantined.to_pylist() == [{"value": None, "reasons": "small"}]
    assert checked.broken == {"small": 1}
