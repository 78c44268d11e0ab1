"""spark over governed tables: lazy, only the columns needed, writes by the server."""

import pandas as pd
import pyarrow as pa
import pytest

from lakewright.runtime import hooks, rest
from lakewright.runtime.session import GovernedSession, NoSuchTable, needed

from .conftest import Small

FLIGHTS = pa.table({"origin": ["JFK", "EWR", "JFK"], "delay": [4.0, 10.0, 33.0], "tail": ["a", "b", "c"]})
PORTS = pa.table({"code": ["JFK", "EWR"], "city": ["New York", "Newark"]})


@pytest.fixture
def spark(platform_env: Small) -> GovernedSession:
    platform_env.tables.update({"main.air.flights": FLIGHTS, "main.air.ports": PORTS})
    hooks.install()
    GovernedSession().stop() if hasattr(GovernedSession._instance, "_conn") else None
    return GovernedSession()


def data_scans(small: Small) -> list[dict[str, object]]:
    return [scan for scan in small.scans if scan.get("where") != "false"]


def test_nothing_is_read_before_a_result_is_asked_for(spark: GovernedSession, small: Small) -> None:
    from pyspark.sql import functions as F

    late = spark.table("main.air.flights").where(F.col("delay") > 5).groupBy("origin").agg(F.count("*").alias("n"))
    assert data_scans(small) == []
    assert sorted((row.origin, row.n) for row in late.collect()) == [("EWR", 1), ("JFK", 1)]
    assert [scan["columns"] for scan in data_scans(small)] == [["origin", "delay"]]


def test_all_ways_to_a_result(spark: GovernedSession) -> None:
    flights = spark.table("main.air.flights")
    assert flights.count() == 3
    assert flights.select("tail").toPandas()["tail"].tolist() == ["a", "b", "c"]
    assert flights.select("tail").toArrow().column_names == ["tail"]
    assert flights.columns == ["origin", "delay", "tail"]
    assert [field.dataType.simpleString() for field in flights.schema.fields] == ["string", "double", "string"]


def test_sql_joins_governed_tables(spark: GovernedSession) -> None:
    answer = spark.sql(
        "SELECT p.city, avg(f.delay) AS late FROM main.air.flights f JOIN main.air.ports p ON f.origin = p.code GROUP BY p.city ORDER BY 1"
    )
    assert [tuple(row) for row in answer.collect()] == [("New York", 18.5), ("Newark", 10.0)]


def test_a_table_joined_to_itself(spark: GovernedSession) -> None:
    answer = spark.sql("SELECT count(*) AS n FROM main.air.flights a JOIN main.air.flights b ON a.origin = b.origin")
    assert answer.collect()[0].n == 5


def test_a_temporary_view_and_a_table_in_one_query(spark: GovernedSession) -> None:
    spark.createDataFrame(pd.DataFrame({"code": ["JFK"], "rank": [1]})).createOrReplaceTempView("ranks")
    answer = spark.sql(
        "SELECT r.rank, f.tail FROM main.air.flights f JOIN ranks r ON f.origin = r.code ORDER BY f.tail"
    )
    assert [tuple(row) for row in answer.collect()] == [(1, "a"), (1, "c")]


def test_a_common_table_expression_is_no_table(spark: GovernedSession) -> None:
    assert spark.sql("WITH flights AS (SELECT 1 AS one) SELECT one FROM flights").collect()[0].one == 1


def test_the_current_catalog_and_schema_complete_a_name(spark: GovernedSession) -> None:
    with pytest.raises(NoSuchTable, match="catalog.schema.table"):
        spark.table("flights")
    spark.sql("USE CATALOG main")
    spark.sql("USE air")
    assert spark.table("flights").count() == 3
    assert spark.sql("SELECT count(*) AS n FROM flights").collect()[0].n == 3


@pytest.mark.parametrize("mode", ["overwrite", "append"])
def test_a_result_becomes_a_table(spark: GovernedSession, small: Small, mode: str) -> None:
    spark.table("main.air.flights").where("delay > 5").write.mode(mode).saveAsTable("main.air.late")
    assert small.tables["main.air.late"].to_pydict() == {
        "origin": ["EWR", "JFK"],
        "delay": [10.0, 33.0],
        "tail": ["b", "c"],
    }


def test_what_a_table_would_not_have_is_refused(spark: GovernedSession, small: Small) -> None:
    frame = spark.table("main.air.flights")
    with pytest.raises(NotImplementedError, match="partitionBy"):
        frame.write.saveAsTable("main.air.late", partitionBy="origin")
    assert "main.air.late" not in small.tables


def test_a_table_that_exists_is_not_written_by_accident(spark: GovernedSession, small: Small) -> None:
    frame = spark.createDataFrame(pd.DataFrame({"code": ["LGA"], "city": ["Queens"]}))
    with pytest.raises(rest.Refused, match="exists"):
        frame.write.saveAsTable("main.air.ports")
    frame.write.mode("ignore").saveAsTable("main.air.ports")
    assert small.tables["main.air.ports"].num_rows == 2
    frame.write.insertInto("main.air.ports")
    assert small.tables["main.air.ports"].num_rows == 3


def test_what_was_written_is_read_back_with_its_new_columns(spark: GovernedSession) -> None:
    assert spark.table("main.air.ports").columns == ["code", "city"]
    spark.createDataFrame(pd.DataFrame({"code": ["LGA"], "runways": [2]})).write.mode("overwrite").saveAsTable(
        "main.air.ports"
    )
    assert spark.table("main.air.ports").columns == ["code", "runways"]
    assert spark.table("main.air.ports").collect()[0].runways == 2


def test_a_change_is_the_servers(spark: GovernedSession, small: Small) -> None:
    spark.sql("DELETE FROM main.air.flights WHERE origin = 'EWR'")
    assert small.statements[-1]["statement"] == "DELETE FROM main.air.flights WHERE origin = 'EWR'"


def test_who_is_asking_is_the_servers_answer(spark: GovernedSession, small: Small) -> None:
    assert spark.sql("SELECT current_user() AS me").collect()[0].me == "duckdb"  # the small server has no other
    assert small.statements[-1]["statement"] == "SELECT current_user() AS me"


def test_an_insert_from_a_temporary_view_is_a_write(spark: GovernedSession, small: Small) -> None:
    spark.createDataFrame(pd.DataFrame({"code": ["LGA"], "city": ["Queens"]})).createOrReplaceTempView("more")
    spark.sql("INSERT INTO main.air.ports SELECT code, city FROM more")
    assert small.tables["main.air.ports"]["code"].to_pylist() == ["JFK", "EWR", "LGA"]
    assert small.statements == []


def test_rows_and_pandas_become_frames(spark: GovernedSession) -> None:
    assert spark.createDataFrame([(1, "a"), (2, "b")], ["n", "s"]).where("n > 1").collect()[0].s == "b"
    big = pd.DataFrame({"n": range(50_000)})
    assert spark.createDataFrame(big).count() == 50_000


def test_code_that_imports_pyspark_finds_this_session(spark: GovernedSession) -> None:
    from pyspark.sql import SparkSession, Window
    from pyspark.sql import functions as F

    same = SparkSession.builder.appName("any").getOrCreate()
    ranked = same.table("main.air.flights").withColumn(
        "rank", F.row_number().over(Window.partitionBy("origin").orderBy(F.desc("delay")))
    )
    assert sorted(row.tail for row in ranked.where("rank = 1").collect()) == ["b", "c"]


def test_only_the_columns_named_are_needed() -> None:
    import sqlglot

    def of(text: str) -> dict[str, list[str] | None]:
        return needed(sqlglot.parse_one(text, read="duckdb"), {"t", "u"})

    assert of("SELECT t.a FROM t WHERE t.b > 1") == {"t": ["a", "b"]}
    assert of("WITH x AS (SELECT t.a, t.b FROM t) SELECT x.a FROM x JOIN u ON u.k = x.b") == {
        "t": ["a", "b"],
        "u": ["k"],
    }
    assert of("SELECT * FROM t") == {"t": None}
    assert of("SELECT count(*) AS n FROM t") == {"t": None}
