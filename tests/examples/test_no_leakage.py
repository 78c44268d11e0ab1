"""Nothing that became known at or after the scheduled departure enters a flight's features."""

from __future__ import annotations

import math
import random
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is None and other is None
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)


def _expected(flight: dict, flights: list[dict], weather: list[dict]) -> dict[str, float | None]:
    """The same features by looking at every row there is, one flight at a time: slow, and plainly right."""
    from flight_delays.features import HISTORIES, LATE_FROM_MINUTES, WEATHER

    judged = flight["scheduled_departure"]
    found: dict[str, float | None] = {}
    known = [row for row in weather if row["origin"] == flight["origin"] and row["known_at"] < judged]
    latest = max(known, key=lambda row: row["known_at"], default=None)
    for name in WEATHER:
        found[name] = latest[name] if latest else None
    landed = [row for row in flights if row["arrived_at"] is not None and row["arrived_at"] < judged]
    for history in HISTORIES:
        since = judged - timedelta(hours=history.hours)
        mine = [row for row in landed if row[history.column] == flight[history.column] and row["arrived_at"] >= since]
        delays = [row["arrival_delay"] for row in mine]
        found[f"{history.name}_arrivals"] = float(len(mine))
        found[f"{history.name}_mean_delay"] = sum(delays) / len(delays) if delays else None
        late = sum(delay >= LATE_FROM_MINUTES for delay in delays)
        found[f"{history.name}_late_rate"] = late / len(delays) if delays else None
    tail = [row for row in landed if row["tail_number"] is not None and row["tail_number"] == flight["tail_number"]]
    last = max(tail, key=lambda row: row["arrived_at"], default=None)
    found["tail_last_delay"] = float(last["arrival_delay"]) if last else None
    minutes = (judged - last["arrived_at"]).total_seconds() / 60 if last else None
    found["tail_hours_since_arrival"] = minutes / 60 if minutes is not None else None
    return found


def test_features_equal_a_brute_force_over_what_had_happened_before(cleaned, features) -> None:
    flights, weather = cleaned.flights.kept.to_pylist(), cleaned.weather.kept.to_pylist()
    built = features.to_pylist()
    by_id = {row["flight_id"]: row for row in flights}
    for row in random.Random(11).sample(built, 50) + built[:5]:
        flight = by_id[row["flight_id"]]
        # A flight without a tail number shares it with nobody.
        expected = _expected(flight, flights, weather)
        if flight["tail_number"] is None:
            expected |= {"tail_arrivals": 0.0, "tail_mean_delay": None, "tail_late_rate": None}
        for name, value in expected.items():
            assert _same(row[name], value), f"{row['flight_id']} {name}: built {row[name]}, brute force {value}"


def _replaced(table: pa.Table, column: str, where: pa.ChunkedArray, value: object) -> pa.Table:
    at = table.column_names.index(column)
    new = pc.if_else(where, pa.scalar(value, table.schema.field(column).type), table[column])
    return table.set_column(at, table.schema.field(column), new)


@pytest.mark.parametrize("day", [9, 24, 44])
def test_rewriting_the_future_changes_no_feature_of_the_past(cleaned, features, day: int) -> None:
    from flight_delays import features as module
    from flight_delays.features import FEATURES, WEATHER

    flights, weather = cleaned.flights.kept, cleaned.weather.kept
    cut = flights["scheduled_departure"][0].as_py() + timedelta(days=day, hours=7, minutes=13)
    landed_later = pc.fill_null(pc.greater_equal(flights["arrived_at"], cut), False)
    rewritten = _replaced(flights, "arrival_delay", landed_later, 999)
    observed_later = pc.greater_equal(weather["known_at"], cut)
    for name in WEATHER:
        weather = _replaced(weather, name, observed_later, -77.0)
    rebuilt = module.build(rewritten, weather, cleaned.planes.kept)

    judged_by_then = pc.less_equal(
        features["judged_at"], pa.scalar(cut, pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
    )
    before, after = features.filter(judged_by_then), rebuilt.filter(judged_by_then)
    assert len(before) > 5_000
    assert before.select(FEATURES).equals(after.select(FEATURES))
    assert not features.select(FEATURES).equals(rebuilt.select(FEATURES)), "the rewriting must reach somebody"


def test_a_flight_still_in_the_air_says_nothing_yet(cleaned) -> None:
    """Only the landing counts: a plane that left long ago, but lands a minute after the scheduled departure, is not known."""
    from flight_delays import features as module

    flights = cleaned.flights.kept.slice(0, 2)
    depart = flights["scheduled_departure"][0].as_py() + timedelta(hours=5)
    flights = _set(flights, "scheduled_departure", [depart - timedelta(hours=5), depart])
    flights = _set(flights, "carrier", ["UA", "UA"])
    flights = _set(flights, "arrival_delay", [90, 0])
    for landing, seen in ((depart + timedelta(minutes=1), 0.0), (depart, 0.0), (depart - timedelta(minutes=1), 1.0)):
        moved = _set(flights, "arrived_at", [landing, depart + timedelta(hours=3)])
        second = module.build(moved, cleaned.weather.kept, cleaned.planes.kept).to_pylist()[1]
        assert second["carrier_arrivals"] == seen


def _set(table: pa.Table, column: str, values: list) -> pa.Table:
    at = table.column_names.index(column)
    return table.set_column(at, table.schema.field(column), pa.array(values, table.schema.field(column).type))
