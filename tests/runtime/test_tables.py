"""Tables in and out of a task over HTTP."""

import datetime
from http.client import IncompleteRead

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from lakewright.runtime import rest, tables

from .conftest import Small

FLIGHTS = pa.table(
    {"origin": ["JFK", "EWR", "JFK"], "delay": [4.0, None, 33.0], "day": [datetime.date(2013, 1, n) for n in (1, 2, 3)]}
)


@pytest.fixture
def flights(platform_env: Small) -> Small:
    platform_env.tables["main.air.flights"] = FLIGHTS
    return platform_env


def test_a_table_is_read(flights: Small) -> None:
    assert tables.read("main.air.flights").equals(FLIGHTS)


def test_columns_and_condition_are_the_servers_work(flights: Small) -> None:
    found = tables.read("main.air.flights", columns=["delay"], where="origin = 'JFK'")
    assert found.to_pydict() == {"delay": [4.0, 33.0]}
    assert flights.scans == [{"table": "main.air.flights", "columns": ["delay"], "where": "origin = 'JFK'"}]


def test_an_earlier_version_is_asked_for(flights: Small) -> None:
    tables.read("main.air.flights", version=3)
    assert flights.scans[-1]["version"] == 3


def test_a_refusal_says_what_the_server_said(flights: Small) -> None:
    with pytest.raises(rest.Refused, match="TABLE_OR_VIEW_NOT_FOUND: main.air.none does not exist"):
        tables.read("main.air.none")
    assert tables.exists("main.air.flights")
    assert not tables.exists("main.air.none")


def test_an_answer_cut_short_is_no_shorter_table(flights: Small) -> None:
    flights.tables["main.air.flights"] = pa.concat_tables([FLIGHTS] * 1000)
    flights.cut = True
    with pytest.raises((IncompleteRead, OSError, pa.ArrowInvalid)):
        tables.read("main.air.flights")


def test_a_busy_server_is_asked_again(flights: Small) -> None:
    flights.busy = 2
    assert tables.read("main.air.flights").num_rows == 3


@pytest.mark.parametrize(
    "data",
    [
        FLIGHTS,
        FLIGHTS.to_reader(),
        FLIGHTS.to_pandas(),
        pl.from_arrow(FLIGHTS),
        FLIGHTS.to_pylist(),
        FLIGHTS.to_batches()[0],
    ],
    ids=["table", "reader", "pandas", "polars", "rows", "batch"],
)
def test_anything_tabular_is_written(platform_env: Small, data: object) -> None:
    assert tables.write("main.air.copy", data, mode="overwrite") == 1
    written = platform_env.tables["main.air.copy"]
    assert written.num_rows == 3
    assert written["origin"].to_pylist() == ["JFK", "EWR", "JFK"]


def test_appending_adds(platform_env: Small) -> None:
    for _ in range(2):
        tables.write("main.air.copy", FLIGHTS)
    assert platform_env.tables["main.air.copy"].num_rows == 6


def test_a_pandas_index_is_not_a_column(platform_env: Small) -> None:
    tables.write("main.air.copy", pd.DataFrame({"a": [1, 2]}, index=[7, 9]))
    assert platform_env.tables["main.air.copy"].column_names == ["a"]


def test_sql_answers_arrow(flights: Small) -> None:
    found = tables.sql(
        "select origin, count(*) n from main.air.flights where origin = :from group by 1", {"from": "JFK"}
    )
    assert found.to_pydict() == {"origin": ["JFK"], "n": [2]}
    assert flights.statements[-1]["warehouse_id"] == "w1"


def test_sql_that_fails_raises_with_its_reason(flights: Small) -> None:
    with pytest.raises(rest.Refused, match="BAD_REQUEST"):
        tables.sql("select nonsense from main.air.flights")


def test_without_a_platform_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABRICKS_HOST", raising=False)
    with pytest.raises(rest.NoPlatform, match="DATABRICKS_HOST"):
        tables.read("main.air.flights")
