"""A model in its own process gives MLflow's answers, names the field it refuses, and shares calls."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lakewright.engines.model_process import payload, predictor
from lakewright.serving.model_client import Address

ROWS = [[1.0, 2.0], [3.0, -1.0]]
NAMES = ["distance", "delay"]


def answer(client: Address, **sent):
    answered = client.ask("POST", "/invocations", json.dumps(sent).encode(), timeout=30)
    body = answered.body.decode()
    return (200, json.loads(body)["predictions"]) if answered.status == 200 else (answered.status, body)


def mlflow_answers(directory: Path, frame) -> list:
    import mlflow

    return mlflow.pyfunc.load_model(str(directory)).predict(frame)


@pytest.mark.parametrize(
    "sent",
    [
        {"dataframe_split": {"columns": NAMES, "data": ROWS}},
        {"dataframe_split": {"columns": NAMES[::-1], "data": [row[::-1] for row in ROWS], "index": [5, 6]}},
        {"dataframe_split": {"data": ROWS}},
        {"dataframe_records": [dict(zip(NAMES, row, strict=True)) for row in ROWS]},
        {"dataframe_records": [{"airline": "x", **dict(zip(NAMES, row, strict=True))} for row in ROWS]},
        {"inputs": {"distance": [1.0, 3.0], "delay": [2.0, -1.0]}},
        {"inputs": [dict(zip(NAMES, row, strict=True)) for row in ROWS]},
        {"instances": [dict(zip(NAMES, row, strict=True)) for row in ROWS]},
        {"instances": ROWS},
        {"dataframe_split": {"columns": NAMES, "data": [[1, 2], [3, -1]]}, "client_request_id": "mine"},
    ],
)
def test_every_shape_of_a_payload_gives_the_same_predictions(start, sent):
    status, predictions = answer(start("linear"), **sent)
    assert status == 200
    assert predictions == pytest.approx([5.0, 8.0])


@pytest.mark.parametrize("name", ["linear", "trees", "mixed"])
def test_answers_are_those_of_mlflow(models, name):
    import pandas as pd

    table = pd.read_json((models / name / "input_example.json"), orient="split")
    loaded = predictor.load(models / name)
    [ours] = loaded.answer([payload.read((models / name / "serving_input_example.json").read_bytes(), None)])
    theirs = mlflow_answers(models / name, table)
    assert np.allclose(json.loads(ours)["predictions"], theirs)


def test_numbers_go_in_as_a_matrix_and_text_as_a_frame(models):
    assert predictor.load(models / "linear").features is predictor.matrix
    assert predictor.load(models / "trees").features is predictor.matrix
    assert predictor.load(models / "mixed").features is predictor.frame


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        ({"dataframe_records": [{"distance": 1.0}]}, "column 'delay' (double) is missing"),
        ({"dataframe_records": [{"distance": 1, "delay": 2}, {"delay": 2}]}, "'distance' (double) is missing in row 1"),
        ({"dataframe_split": {"columns": NAMES, "data": [[1, 2], [3, "far"]]}}, "'delay' must be double, row 1 has \"far\""),
        ({"dataframe_split": {"columns": NAMES, "data": [[True, 2]]}}, "column 'distance' must be double, row 0 has true"),
        ({"dataframe_split": {"columns": NAMES, "data": [[1, 2, 3]]}}, "row 0 must be a list of 2 values"),
        ({"dataframe_split": {"columns": ["delay", "delay"], "data": [[1, 2]]}}, "names a column twice"),
        ({"inputs": {"distance": [1, 2], "delay": [1]}}, "every column must have the same number of values"),
        ({"inputs": {"distance": {"a": 1}, "delay": [1]}}, "field 'inputs.distance'"),
        ({"rows": [[1, 2]]}, "send exactly one of"),
        ({"inputs": [[1, 2]], "instances": [[1, 2]]}, "send exactly one of"),
        ({"instances": ROWS, "stream": True}, "field 'stream' is not supported"),
        ({"instances": ROWS, "params": {"mark": "?"}}, "field 'params.mark'"),
    ],
)  # fmt: skip
def test_a_wrong_payload_is_refused_by_name(start, sent, complaint):
    status, text = answer(start("linear"), **sent)
    assert status == 400
    assert complaint in text


def test_a_fraction_is_no_whole_number_and_null_is_none(start):
    client = start("mixed")
    row = {"distance": 1.0, "delay": 2.0, "carrier": "AA", "hour": 3}
    assert answer(client, dataframe_records=[row])[0] == 200
    assert answer(client, dataframe_records=[row | {"hour": 3.5}]) == (400, "column 'hour' must be long, row 0 has 3.5")
    assert answer(client, dataframe_records=[row | {"hour": None}]) == (
        400,
        "column 'hour' must be long, row 0 has null",
    )
    assert answer(client, dataframe_records=[row | {"carrier": 7}]) == (
        400,
        "column 'carrier' must be string, row 0 has 7",
    )


def test_null_and_nan_are_missing_numbers(start):
    client = start("trees")
    as_null = answer(client, dataframe_split={"columns": NAMES, "data": [[None, 1.0]]})
    as_nan = answer(client, dataframe_split={"columns": NAMES, "data": [[math.nan, 1.0]]})
    assert as_null == as_nan
    assert as_null[0] == 200


def test_a_body_that_is_no_json_is_refused(start):
    assert start("linear").ask("POST", "/invocations", b"{nonsense").status == 400


def test_tensors_are_checked_for_type_and_shape(start):
    client = start("pairs")
    status, predictions = answer(client, inputs=ROWS)
    assert (status, predictions) == (200, pytest.approx([3.0, 2.0]))
    assert answer(client, instances=[[1, 2]])[0] == 200
    assert "shape [-1, 2], got [1, 3]" in answer(client, inputs=[[1, 2, 3]])[1]
    assert "must be float64" in answer(client, inputs=[["a", "b"]])[1]
    assert "ragged" in answer(client, inputs=[[1], [1, 2]])[1]


def test_a_custom_python_model_takes_its_parameters(start):
    client = start("custom")
    assert answer(client, dataframe_records=[{"text": "hey"}], params={"mark": "?"}) == (200, ["hey?"])
    assert answer(client, inputs={"text": ["a", "b"]}) == (200, ["a!", "b!"])


def test_a_neighbours_wrong_row_spoils_nobody_elses_answer(start):
    client = start("linear")

    def ask(number: int):
        value = "wrong" if number % 10 == 0 else float(number)
        return answer(client, dataframe_split={"columns": NAMES, "data": [[value, 0.0]]})

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(200)))
    for number, (status, predictions) in enumerate(answers):
        assert status == (400 if number % 10 == 0 else 200)
        assert number % 10 == 0 or predictions == pytest.approx([3.0 * number])


def test_without_the_secret_nothing_is_answered(start):
    client = start("linear")
    thief = Address(client.port, "guess")
    assert thief.ask("POST", "/invocations", b"{}").status == 403
    assert not thief.answers()
    assert client.answers()


def test_requests_that_wait_together_are_predicted_together(models):
    loaded = predictor.load(models / "linear")
    calls = []
    call = loaded.call
    loaded.call = lambda features, params: calls.append(len(features)) or call(features, params)
    batch = [payload.read(json.dumps({"instances": [[n, 0.0]] * n}).encode(), NAMES) for n in (1, 2, 3)]
    answers = [json.loads(answer)["predictions"] for answer in loaded.answer(batch)]
    assert calls == [6]
    assert [len(predictions) for predictions in answers] == [1, 2, 3]
    assert answers[2] == pytest.approx([9.0] * 3)
