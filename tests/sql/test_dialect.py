"""Databricks SQL over DuckDB answers as Databricks does, above all where DuckDB by itself would silently answer otherwise."""

import datetime as dt
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lakewright.engines import duckdb
from lakewright.kernel.faults import Fault
from lakewright.sql import dialect, wall

D, T = dt.date, dt.datetime
UTC = dt.UTC

AGREED: list[tuple[str, Any]] = [
    ("cast(2.7 as int)", 2), ("cast(-2.7 as int)", -2), ("cast(2.5D as bigint)", 2), ("int('12')", 12), ("bigint(3.9)", 3),
    ("try_cast('2.7x' as int)", None), ("try_cast('7' as int)", 7), ("9007199254740993 :: bigint", 9007199254740993),
    ("cast(cast(9007199254740993 as string) as bigint)", 9007199254740993), ("cast(true as int)", 1),
    ("dayofweek(date'2009-07-30')", 5), ("weekday(date'2009-07-30')", 3), ("extract(dayofweek from date'2009-07-30')", 5),
    ("extract(year from date'2009-07-30')", 2009), ("dayofweek('2009-07-30')", 5),
    ("date_add(date'2016-07-30', 1)", D(2016, 7, 31)), ("date_sub(date'2016-07-30', 1)", D(2016, 7, 29)),
    ("date_add('2016-07-30', 1)", D(2016, 7, 31)),
    ("add_months(date'2016-08-31', 1)", D(2016, 9, 30)), ("date'2016-07-30' + interval 1 day", D(2016, 7, 31)),
    ("date'2016-07-30' - interval 1 month", D(2016, 6, 30)),
    ("timestamp'2016-07-30 01:00:00' + interval 1 day", T(2016, 7, 31, 1, tzinfo=UTC)),
    ("date'2016-07-30' + interval 1 hour", T(2016, 7, 30, 1)),
    ("timestampdiff(hour, timestamp'2020-01-01 00:59:00', timestamp'2020-01-01 01:01:00')", 0),
    ("timestampdiff(month, timestamp'2020-01-31 00:00:00', timestamp'2020-02-01 00:00:00')", 0),
    ("datediff(date'2009-07-31', date'2009-07-30')", 1), ("months_between('1997-02-28 10:30:00', '1996-10-30')", 3.94959677),
    ("months_between(date'2020-02-29', date'2020-01-31')", 1.0),
    ("trunc(date'2019-08-04', 'MM')", D(2019, 8, 1)), ("trunc(date'2019-08-04', 'year')", D(2019, 1, 1)),
    ("date_trunc('MM', timestamp'2015-03-05 09:32:05')", T(2015, 3, 1, tzinfo=UTC)),
    ("unix_timestamp(timestamp'1970-01-01 00:01:00')", 60), ("last_day(date'2009-01-12')", D(2009, 1, 31)),
    ("next_day(date'2015-01-14', 'TU')", D(2015, 1, 20)), ("year(date'2016-07-30')", 2016), ("make_date(2020, 2, 3)", D(2020, 2, 3)),
    ("date_format(date'2016-04-08', 'yyyy-MM')", "2016-04"), ("to_date('2009-07-30 04:17:52')", D(2009, 7, 30)),
    ("cast(timestamp'2020-01-02 03:04:05' as string)", "2020-01-02 03:04:05"), ("string(date'2020-01-02')", "2020-01-02"),
    ("cast(1.5 as string)", "1.5"),
    ("substring('Spark SQL', 0, 3)", "Spa"), ("substring('Spark SQL', 5)", "k SQL"), ("substr('Spark SQL', -3)", "SQL"),
    ("array_position(array(3, 2, 1), 1)", 3), ("array_position(array(3, 2, 1), 9)", 0),
    ("isnan(cast('NaN' as double))", True), ("isnan(cast(null as double))", False), ("isnull(1)", False), ("isnotnull(1)", True),
    ("pmod(-10, 3)", 2), ("-10 % 3", -1), ("7 div 2", 3), ("3 / 2", 1.5), ("2.5D % 2", 0.5),
    ("regexp_extract('100-200', '(\\\\d+)-(\\\\d+)', 1)", "100"), ("regexp_replace('100-200', '(\\\\d+)', 'num')", "num-num"),
    ("'a_b' like 'a\\\\_b'", True), ("'axb' like 'a\\\\_b'", False), ("'Spark' rlike '^S'", True), ("'spark' ilike 'SP%'", True),
    ("split('one,two', ',')", ["one", "two"]), ("array(1, 2, 3)[0]", 1), ("element_at(array(1, 2, 3), 1)", 1), ("get(array(1, 2), 1)", 2),
    ("get(array(1, 2), 5)", None), ("size(array(1, 2))", 2), ("cardinality(array(1, 2))", 2), ("sort_array(array(3, 1, 2))", [1, 2, 3]),
    ("transform(array(1, 2), x -> x + 1)", [2, 3]), ("filter(array(1, 2, 3), x -> x > 1)", [2, 3]),
    ("exists(array(1, 2, 3), x -> x > 2)", True), ("forall(array(1, 2, 3), x -> x > 2)", False),
    ("aggregate(array(1, 2, 3), 0, (acc, x) -> acc + x)", 6), ("array_contains(array(1, 2), 2)", True), ("array_join(array('a', 'b'), ',')", "a,b"),
    ("map('a', 1)['a']", 1), ("named_struct('a', 1).a", 1), ("struct(1 as x).x", 1),
    ("initcap('sPark sql')", "Spark Sql"), ("concat_ws(',', 'a', 'b')", "a,b"), ("concat('a', null)", None), ("'a' || 'b'", "ab"),
    ("format_string('%s-%05d', 'a', 42)", "a-00042"), ("format_number(12332.123456, 4)", "12,332.1235"), ("lpad('hi', 5, '?')", "???hi"),
    ("instr('SparkSQL', 'SQL')", 6), ("locate('bar', 'foobar')", 4), ("translate('AaBbCc', 'abc', '123')", "A1B2C3"),
    ("nvl(null, 1)", 1), ("nvl2(null, 1, 2)", 2), ("ifnull(null, 3)", 3), ("coalesce(null, 2)", 2), ("if(1 > 2, 'a', 'b')", "b"), ("iff(true, 1, 2)", 1),
    ("nullif(2, 2)", None), ("1 <=> null", False), ("decode(2, 1, 'a', 2, 'b', 'c')", "b"), ("greatest(1, 3, 2)", 3),
    ("round(2.5)", Decimal(3)), ("bround(2.5, 0)", Decimal(2)), ("ceil(1.1)", 2), ("floor(-1.1)", -2), ("log(2, 8)", 3.0), ("log10(100)", 2.0), ("ln(1)", 0.0),
    ("log(exp(1))", 1.0), ("power(2, 3)", 8.0), ("sign(-3)", -1.0), ("try_divide(1, 0)", None), ("log1p(0)", 0.0), ("hex(255)", "FF"),
    ("md5('Spark')", "8cde774d6f7333752ed72cacddb05126"),
    ("sha2('Spark', 256)", "529bc3b07127ecb7e53a4dcf1991d9152c24537d919178022b2c42657f79a26b"),
    ("from_unixtime(0)", "1970-01-01 00:00:00"), ("to_timestamp('2016-12-31 00:12:00')", T(2016, 12, 31, 0, 12, tzinfo=UTC)),
    ("startswith('Spark', 'Sp')", True), ("endswith('Spark', 'rk')", True), ("contains('Spark', 'ar')", True),
]  # fmt: skip

AGGREGATES: list[tuple[str, Any]] = [
    ("percentile(x, 0.5)", 2.5), ("max_by(y, x)", None), ("min_by(y, x)", "a"), ("count_if(x > 1)", 3), ("every(x > 0)", True),
    ("any(x > 3)", True), ("sum(x)", 10), ("avg(x)", 2.5), ("collect_list(y)", ["a", "b", "c"]), ("count(distinct y)", 3),
    ("stddev_pop(x)", math.sqrt(1.25)), ("kurtosis(x)", -1.36), ("skewness(x)", 0.0), ("median(x)", 2.5), ("percentile_approx(x, 0.5)", 2),
    ("bool_and(x > 1)", False), ("sum(x) filter (where x > 2)", 7), ("first(x)", 1),
]  # fmt: skip


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with duckdb.Session({}, spill=Path(tmp_path_factory.mktemp("spill")), setup=dialect.MACROS) as session:
        yield session


def answer(engine: duckdb.Session, sql: str) -> Any:
    statement = dialect.parse(sql)
    wall.check_query(statement)
    text = dialect.render(statement)
    engine.verify(text, frozenset())
    return engine.table(text).column(0).to_pylist()[0]


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, float):
        return found is not None and math.isclose(float(found), expected, rel_tol=1e-9, abs_tol=1e-12)
    return found == expected and isinstance(found, bool) == isinstance(expected, bool)


@pytest.mark.parametrize(("expression", "expected"), AGREED, ids=[e for e, _ in AGREED])
def test_an_expression_answers_as_databricks_does(engine: duckdb.Session, expression: str, expected: Any) -> None:
    assert same(answer(engine, f"SELECT {expression}"), expected)


@pytest.mark.parametrize(("expression", "expected"), AGGREGATES, ids=[e for e, _ in AGGREGATES])
def test_an_aggregate_answers_as_databricks_does(engine: duckdb.Session, expression: str, expected: Any) -> None:
    rows = "VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, null) AS t(x, y)"
    assert same(answer(engine, f"SELECT {expression} FROM {rows}"), expected)


def test_nulls_come_first_going_up_and_last_going_down(engine: duckdb.Session) -> None:
    rows = "SELECT x FROM VALUES (2), (null), (1) AS t(x) ORDER BY x"
    assert engine.table(dialect.render(dialect.parse(rows))).column(0).to_pylist() == [None, 1, 2]
    assert engine.table(dialect.render(dialect.parse(rows + " DESC"))).column(0).to_pylist() == [2, 1, None]


@pytest.mark.parametrize(
    "expression", ["hash(1)", "xxhash64(1)", "typeof(1)", "crc32('a')", "java_method('a', 'b')", "soundex('a')"]
)
def test_what_would_answer_otherwise_is_refused_instead(engine: duckdb.Session, expression: str) -> None:
    with pytest.raises(Fault):
        answer(engine, f"SELECT {expression}")


def test_text_that_is_no_whole_number_is_not_one(engine: duckdb.Session) -> None:
    with pytest.raises(Exception, match="CAST_INVALID_INPUT"):
        answer(engine, "SELECT cast('2.7' as int)")
