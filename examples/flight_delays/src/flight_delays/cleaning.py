"""Cleaning: raw exports become typed tables in UTC, and rows that cannot be true are set aside with the reason.

Times are the delicate part. The exports give local clock times at both ends of a flight; here they become instants, so that
"had arrived before" can be asked across time zones and summer time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flight_delays.expectations import Checked, Expectation, check

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb
    import pyarrow as pa

FLIGHTS = [
    Expectation("origin_is_a_new_york_airport", "origin in ('EWR', 'JFK', 'LGA')"),
    Expectation("it_goes_somewhere", "origin <> dest and distance >= 50"),
    Expectation("schedule_agrees_with_its_hour", "scheduled_departure = hour_of_schedule + to_minutes(minute)"),
    Expectation("flown_means_tail_number_known", "departure_delay is null or tail_number is not null"),
    # Took off, but never reported an arrival, or landed elsewhere: there is no truth to learn from.
    Expectation("departed_means_arrival_known", "departure_delay is null or arrival_delay is not null"),
    Expectation(
        "arrived_after_it_could_have_flown",
        "arrived_at is null or arrived_at >= scheduled_departure + to_minutes(departure_delay + air_minutes)",
    ),
    Expectation("speed_is_possible", "air_minutes is null or distance / (air_minutes / 60.0) between 50 and 650"),
    Expectation("it_was_not_cancelled", "departure_delay is not null", action="warn"),
]
WEATHER = [
    Expectation("origin_is_a_new_york_airport", "origin in ('EWR', 'JFK', 'LGA')"),
    Expectation("temperature_is_plausible", "temp between -30 and 120 and dewp <= temp + 1"),
    Expectation("humidity_is_a_percentage", "humid between 0 and 100"),
    Expectation("wind_is_possible", "wind_speed between 0 and 150"),
    Expectation("pressure_was_measured", "pressure is not null", action="warn"),
]
PLANES = [
    Expectation("tail_number_is_given", "tail_number is not null"),
    Expectation("seats_are_counted", "seats between 1 and 600"),
    Expectation("year_is_plausible", "year_built between 1940 and 2013", action="warn"),
]

_CSV = "nullstr = ['NA', ''], header = true, union_by_name = true"

_FLIGHTS = f"""
with raw as (
    select r.*, coalesce(a.tzone, 'America/Puerto_Rico') as dest_zone   -- airports.csv leaves out the Caribbean ones
    from read_csv(?, {_CSV}) r left join airports a on a.faa = r.dest
), scheduled as (
    select *, timezone('UTC', timezone('America/New_York',
        make_timestamp(year, month, day, sched_dep_time // 100, sched_dep_time % 100, 0))) as scheduled_departure from raw
), due as (
    select *, timezone('UTC', timezone(dest_zone,
        date_trunc('day', timezone(dest_zone, timezone('UTC', scheduled_departure)))
        + to_hours(sched_arr_time // 100) + to_minutes(sched_arr_time % 100))) as due_same_day from scheduled
), clocked as (
    select *, due_same_day + case when due_same_day <= scheduled_departure then interval 1 day else interval 0 day end
        as scheduled_arrival from due
)
select
    strftime(make_date(year, month, day), '%Y-%m-%d') || ' ' || carrier || flight || ' ' || origin || ' '
        || lpad(sched_dep_time::varchar, 4, '0') as flight_id,
    carrier, flight, tailnum as tail_number, origin, dest,
    scheduled_departure, scheduled_arrival,
    hour as local_hour, isodow(make_date(year, month, day)) as day_of_week, distance,
    dep_delay as departure_delay, arr_delay as arrival_delay, air_time as air_minutes,
    scheduled_arrival + to_minutes(arr_delay) as arrived_at,
    timezone('UTC', time_hour) as hour_of_schedule, minute
from clocked order by scheduled_departure, flight_id
"""
_WEATHER = f"""
select origin, timezone('UTC', time_hour) as observed_hour,
    -- An hour's observation is complete, and therefore known, when the hour is over.
    timezone('UTC', time_hour) + interval 1 hour as known_at,
    temp, dewp, humid, wind_dir, wind_speed, wind_gust, precip, pressure, visib
from read_csv(?, {_CSV}) order by origin, observed_hour
"""
_PLANES = f"""
select tailnum as tail_number, year as year_built, type, manufacturer, model, engines, seats, engine
from read_csv(?, {_CSV}) order by tail_number
"""


@dataclass(frozen=True)
class Cleaned:
    flights: Checked
    weather: Checked
    planes: Checked

    def parts(self) -> dict[str, Checked]:
        return {"flights": self.flights, "weather": self.weather, "planes": self.planes}


def clean(landing: Path) -> Cleaned:
    """``landing`` holds flights-*.csv, weather-*.csv, planes.csv and airports.csv."""
    import duckdb

    with duckdb.connect() as engine:
        engine.execute(f"create temp table airports as from read_csv(?, {_CSV})", [str(landing / "airports.csv")])
        _load(engine, "flights", _FLIGHTS, landing, "flights-*.csv")
        _load(engine, "weather", _WEATHER, landing, "weather-*.csv")
        _load(engine, "planes", _PLANES, landing, "planes.csv")
        flights = check(engine, "flights", FLIGHTS)
        return Cleaned(
            Checked(flights.kept.drop_columns(["hour_of_schedule", "minute"]), flights.quarantined, flights.broken),
            check(engine, "weather", WEATHER),
            check(engine, "planes", PLANES),
        )


def quarantine(cleaned: Cleaned) -> pa.Table:
    """Everything set aside in one table: which source, the reasons, and the row as it was."""
    import json

    import pyarrow as pa

    rows = [
        {"source": source, "reasons": row.pop("reasons"), "row": json.dumps(row, default=str)}
        for source, part in cleaned.parts().items()
        for row in part.quarantined.to_pylist()
    ]
    columns = pa.schema([("source", pa.string()), ("reasons", pa.string()), ("row", pa.string())])
    return pa.Table.from_pylist(rows, schema=columns)


def _load(engine: duckdb.DuckDBPyConnection, table: str, select: str, landing: Path, pattern: str) -> None:
    engine.execute(f"create temp table {table} as {select}", [str(landing / pattern)])
