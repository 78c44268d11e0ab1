"""What was scored becomes rows; a call that fits no column keeps no other call out."""

import json
from typing import Any

from lakewright.serving import scored


def call(number: str, version: str, cell: Any) -> dict[str, Any]:
    return {
        "databricks_request_id": number, "timestamp_ms": 1, "status_code": 200, "model_name": "main.ml.m",
        "model_version": version, "request": json.dumps({"dataframe_records": [{"a": cell}]}),
        "response": json.dumps({"predictions": [1.0]}),
    }  # fmt: skip


def columns(model: str, version: int) -> scored.Columns:
    return (("a", "integer" if version == 1 else "string"),)


def test_a_call_that_fits_no_column_keeps_no_other_out() -> None:
    calls = [call("x", "1", 1), call("too large", "1", 2**40), call("no number", "1", "many"), call("y", "1", 2)]
    rows = scored.as_arrow(calls, columns).to_pylist()
    assert [(row["databricks_request_id"], row["a"]) for row in rows] == [("x", 1), ("y", 2)]


def test_versions_that_disagree_about_a_column_do_not_stop_the_log() -> None:
    rows = scored.as_arrow([call("old", "1", 1), call("new", "2", "one")], columns).to_pylist()
    assert [row["databricks_request_id"] for row in rows] == ["new"]


def test_nothing_scored_is_no_table() -> None:
    assert scored.as_arrow([], columns) is None
    assert scored.as_arrow([call("x", "1", "many")], columns) is None
