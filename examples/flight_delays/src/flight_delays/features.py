"""Features: what was known about a flight at its scheduled departure, and nothing that became known later.

A fact has a moment from which it is known: a landing when the plane has arrived, an hour's weather when the hour is over. A flight
is judged at its scheduled departure and sees a fact only if it was known strictly before. Past delays are counted over a sliding
window as the difference of two running totals, each found by an as-of join, so a year takes seconds and no row sees its future.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

LATE_FROM_MINUTES = 15


@dataclass(frozen=True)
class History:
    """Past arrivals that share ``column`` with the flight, over the ``hours`` before it is judged."""

    name: str
    column: str
    hours: int


HISTORIES = [
    History("carrier", "carrier", 24),
    History("origin", "origin", 3),
    History("tail", "tail_number", 24 * 7),
]
WEATHER = ["temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"]

CATEGORIES = ["origin", "dest", "carrier"]
NUMBERS = [
    "local_hour",
    "day_of_week",
    "distance",
    "scheduled_minutes",
    "plane_age",
    "plane_seats",
    *WEATHER,
    "weather_age_minutes",
    *[f"{one.name}_{what}" for one in HISTORIES for what in ("arrivals", "late_rate", "mean_delay")],
    "tail_last_delay",
    "tail_hours_since_arrival",
]
FEATURES = [*CATEGORIES, *NUMBERS]


def build(flights: pa.Table, weather: pa.Table, planes: pa.Table) -> pa.Table:
    """One row per flight: its identity, when it is judged, the features, and the label once it is known."""
    import duckdb

    with duckdb.connect() as engine:
        for name, table in (("flights", flights), ("weather", weather), ("planes", planes)):
            engine.register(name, without_zone(table))
        for history in HISTORIES:
            engine.execute(_running_totals(history))
        return with_zone(engine.sql(_features()).to_arrow_table())


def _running_totals(history: History) -> str:
    return f"""
    create temp table {history.name}_totals as
    select {history.column}, arrived_at,
        sum(n) over past as arrivals, sum(late) over past as late, sum(delay) over past as delay, delay / n as last_delay
    from (
        select {history.column}, arrived_at, count(*) as n, sum(arrival_delay) as delay,
            count(*) filter (arrival_delay >= {LATE_FROM_MINUTES}) as late
        from flights where arrived_at is not null group by all
    ) window past as (partition by {history.column} order by arrived_at)
    """


def _features() -> str:
    windows = ",\n".join(_window_columns(history) for history in HISTORIES)
    joins = "\n".join(_as_of_joins(history) for history in HISTORIES)
    weather = ", ".join(f"w.{name}::double as {name}" for name in WEATHER)
    return f"""
    select f.flight_id, f.scheduled_departure as judged_at, f.tail_number, f.origin, f.dest, f.carrier,
        f.local_hour::double as local_hour, f.day_of_week::double as day_of_week, f.distance::double as distance,
        date_diff('minute', f.scheduled_departure, f.scheduled_arrival)::double as scheduled_minutes,
        (2013 - p.year_built)::double as plane_age, p.seats::double as plane_seats,
        {weather}, date_diff('minute', w.known_at, f.scheduled_departure)::double as weather_age_minutes,
        {windows},
        tail_now.last_delay::double as tail_last_delay,
        date_diff('minute', tail_now.arrived_at, f.scheduled_departure) / 60.0::double as tail_hours_since_arrival,
        f.arrived_at as label_known_at, (f.arrival_delay >= {LATE_FROM_MINUTES}) as late
    from flights f
    left join planes p on p.tail_number = f.tail_number
    asof left join weather w on w.origin = f.origin and w.known_at < f.scheduled_departure
    {joins}
    order by judged_at, f.flight_id
    """


def _as_of_joins(history: History) -> str:
    key, now, before = history.column, f"{history.name}_now", f"{history.name}_before"
    return f"""
    asof left join {history.name}_totals {now} on {now}.{key} = f.{key} and {now}.arrived_at < f.scheduled_departure
    asof left join {history.name}_totals {before}
        on {before}.{key} = f.{key} and {before}.arrived_at < f.scheduled_departure - interval {history.hours} hour"""


def _window_columns(history: History) -> str:
    def within(total: str) -> str:
        name = history.name
        return f"(coalesce({name}_now.{total}, 0) - coalesce({name}_before.{total}, 0))"

    arrivals = within("arrivals")
    return f"""
        {arrivals}::double as {history.name}_arrivals,
        {within("late")}::double / nullif({arrivals}, 0) as {history.name}_late_rate,
        {within("delay")}::double / nullif({arrivals}, 0) as {history.name}_mean_delay"""


def without_zone(table: pa.Table) -> pa.Table:
    """DuckDB computes on plain timestamps (an arrow column with a zone would be shown in the machine's zone)."""
    import pyarrow as pa

    return _retype(table, lambda kind: pa.timestamp("us"))


def with_zone(table: pa.Table) -> pa.Table:
    """Delta's timestamps are instants: say that ours are UTC."""
    import pyarrow as pa

    return _retype(table, lambda kind: pa.timestamp("us", tz="UTC"))


def _retype(table: pa.Table, to) -> pa.Table:  # type: ignore[no-untyped-def]
    import pyarrow as pa

    fields = [field.with_type(to(field.type)) if pa.types.is_timestamp(field.type) else field for field in table.schema]
    return table.cast(pa.schema(fields))
