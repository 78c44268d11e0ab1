"""The filter language by example, and what no text can make of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakewright.kernel.faults import Invalid
from lakewright.tracking.filters import Comparison, Name, Order, named, parse, parse_order
from lakewright.tracking.metrics import Metric, Stored, latest, stored
from lakewright.tracking.places import experiment_path, governed
from lakewright.tracking.searching import experiment_condition, run_condition


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metrics.auc > 0.8", Comparison(Name("metric", "auc"), ">", 0.8)),
        ("metric.`val loss` <= 1", Comparison(Name("metric", "val loss"), "<=", 1)),
        ("params.\"a.b/c\" = 'x'", Comparison(Name("param", "a.b/c"), "=", "x")),
        ("tags.mlflow.runName LIKE 'a%'", Comparison(Name("tag", "mlflow.runName"), "LIKE", "a%")),
        ('params.model = "gbm"', Comparison(Name("param", "model"), "=", "gbm")),
        ("params.note = 'it''s'", Comparison(Name("param", "note"), "=", "it's")),
        ("run_id in ('a', 'b')", Comparison(Name("attribute", "run_id"), "IN", ("a", "b"))),
        ("attributes.run_id NOT IN ('a')", Comparison(Name("attribute", "run_id"), "NOT IN", ("a",))),
        ("tags.x is null", Comparison(Name("tag", "x"), "IS NULL", None)),
        ("tags.x IS NOT NULL", Comparison(Name("tag", "x"), "IS NOT NULL", None)),
        ("dataset.name ilike 'X_'", Comparison(Name("dataset", "name"), "ILIKE", "X_")),
        ("metrics.auc>-1.5e-3", Comparison(Name("metric", "auc"), ">", -0.0015)),
    ],
)
def test_a_comparison_is_read_as_it_is_meant(text: str, expected: Comparison) -> None:
    assert parse(text) == [expected]


def test_comparisons_are_joined_by_and_in_any_case() -> None:
    assert [c.name.key for c in parse("metrics.a > 1 AND params.b = 'x' and status = 'FINISHED'")] == [
        "a",
        "b",
        "status",
    ]
    assert parse("") == parse(None) == parse("  ") == []


@pytest.mark.parametrize(
    "text",
    [
        "metrics.a", "metrics.a >", "> 1", "metrics.a > 1 OR metrics.b > 1", "metrics.a > 1 AND", "1 = 1", "params.a = b",
        "metrics.a > 1; DROP TABLE runs", "foo.a = 'x'", "params.a = 'x", "run_id IN ()", "run_id IN (1)", "run_id IN ('a'",
        "metrics.a == 1", "tags.a IS 'x'", "tags.a NOT 'x'", "metrics.a > 1 metrics.b > 2", "params.a = 'x' --",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse(text)


def test_an_order_is_a_name_and_a_way() -> None:
    assert parse_order("metrics.`a b` DESC") == Order(Name("metric", "a b"), ascending=False)
    assert parse_order("start_time") == Order(Name("attribute", "start_time"), ascending=True)
    assert named("params.a.b") == Name("param", "a.b")
    for text in ("", "metrics.a SIDEWAYS", "metrics.a DESC, x", "1"):
        with pytest.raises(Invalid):
            parse_order(text)


ANYTHING = st.text(alphabet=st.sampled_from("metricsparag.tIN()=!<>'\"`0159 -eLKEANDOU%_;\\\x00é"), max_size=60)


@given(ANYTHING)
def test_whatever_is_sent_no_text_of_it_reaches_the_sql(text: str) -> None:
    """Every value and every key is a parameter: the SQL is put together from our own words only."""
    try:
        comparisons = parse(f"tags.k = 'v' AND {text}")
    except Invalid:
        return
    for each in comparisons:
        for condition in (run_condition, experiment_condition):
            for sole in (True, False):
                try:
                    made = condition(each, sole=sole)
                except Invalid:
                    continue
                assert made.text.count("?") == len(made.params)
                assert "'" not in made.text.replace("'mlflow.data.context'", "").replace("'RUN'", "").replace(
                    "('/' ||", ""
                )
                assert "`" not in made.text
                assert "\\" not in made.text


def test_the_latest_metric_has_the_greatest_step_then_time_then_value() -> None:
    def logged(step: int, timestamp: int, value: float) -> Stored:
        return Stored("m", step, timestamp, value, False)

    values = [logged(1, 5, 1.0), logged(2, 1, 0.5), logged(2, 1, 0.7), logged(2, 0, 9.0), logged(1, 9, 2.0)]
    assert latest(values) == {"m": logged(2, 1, 0.7)}
    assert latest([]) == {}


def test_what_no_database_holds_alike_is_stored_as_mlflow_stores_it() -> None:
    def made(value: float) -> Stored:
        return stored(Metric(key="m", value=value, timestamp=1))

    assert made(float("nan")) == Stored("m", 0, 1, 0.0, True)
    assert made(float("inf")).value == 1.7976931348623157e308
    assert made(float("-inf")).value == -1.7976931348623157e308


def test_a_path_is_plain_and_absolute() -> None:
    assert experiment_path("/Users/ann/My exp-1_2.x") == "/Users/ann/My exp-1_2.x"
    assert experiment_path("/Workspace/Shared/x") == "/Shared/x"
    for name in ("x", "/", "/a//b", "/a/../b", "/a/./b", "/a/b/", "/a/ b", "/a\n/b", "/a/%2e", "/a;b", "/a?b", "/a\\b"):
        with pytest.raises(Invalid):
            experiment_path(name)


def test_only_a_volume_is_a_governed_location() -> None:
    assert governed("dbfs:/Volumes/main/ml/files")
    assert governed("dbfs:/Volumes/main/ml/files/exp-1/x")
    for location in (
        "dbfs:/Volumes/a/b",
        "dbfs:/Volumes/a/b/..",
        "dbfs:/Volumes/a/b/c/../d",
        "s3://x",
        "/Volumes/a/b/c",
    ):
        assert not governed(location)
