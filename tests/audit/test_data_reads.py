"""Who reads data is on record with the columns they asked for, and with the filter and masks that were in force."""

import json

import pytest
from databricks.sdk.service.catalog import PermissionsChange, Privilege


@pytest.fixture
def table(server, people):
    bob = people.person("bob")
    admin = people.admin
    warehouse = admin.client.warehouses.create(name="w").result().id
    admin.do("PATCH", f"/api/2.0/permissions/warehouses/{warehouse}",
             access_control_list=[{"user_name": "bob", "permission_level": "CAN_USE"}])  # fmt: skip

    def sql(who, text):
        return who.do("POST", "/api/2.0/sql/statements", statement=text, warehouse_id=warehouse, wait_timeout="50s")

    for text in (
        "CREATE CATALOG c", "CREATE SCHEMA c.s", "CREATE TABLE c.s.t (id BIGINT, name STRING, ssn STRING)",
        "INSERT INTO c.s.t VALUES (1, 'a', 'x'), (2, 'b', 'y')",
        "CREATE FUNCTION c.s.mine(id BIGINT) RETURNS BOOLEAN RETURN is_account_group_member('admins') OR id = 1",
        "CREATE FUNCTION c.s.hide(v STRING) RETURNS STRING RETURN CASE WHEN is_account_group_member('admins') THEN v ELSE '***' END",
        "ALTER TABLE c.s.t SET ROW FILTER c.s.mine ON (id)", "ALTER TABLE c.s.t ALTER COLUMN ssn SET MASK c.s.hide",
    ):  # fmt: skip
        said = sql(admin, text)
        assert said["status"]["state"] == "SUCCEEDED", said
    for kind, name, right in (
        ("catalog", "c", Privilege.USE_CATALOG),
        ("schema", "c.s", Privilege.USE_SCHEMA),
        ("table", "c.s.t", Privilege.SELECT),
    ):
        admin.client.grants.update(kind, name, changes=[PermissionsChange(principal="bob", add=[right])])
    return lambda who, text: sql(people.admin if who == "admin" else bob, text)


def read(server, action):
    rows = server.platform.snapshot(
        lambda ctx: ctx.tx.all("SELECT who_name, data FROM audit WHERE action = ? ORDER BY seq DESC LIMIT 1", action)
    )
    return rows[0]["who_name"], json.loads(rows[0]["data"] or "[]")


def test_columns_filter_and_masks_of_a_read_are_on_record(server, people, table):
    for who, text, expected in (
        ("bob", "SELECT id, ssn FROM c.s.t", {"columns": ["id", "ssn"], "row_filter": "c.s.mine", "masks": {"ssn": "c.s.hide"}}),
        ("bob", "SELECT * FROM c.s.t", {"columns": ["id", "name", "ssn"], "row_filter": "c.s.mine", "masks": {"ssn": "c.s.hide"}}),
        ("bob", "SELECT count(*) FROM c.s.t WHERE name = 'a'", {"columns": ["name"], "row_filter": "c.s.mine", "masks": {"ssn": "c.s.hide"}}),
        ("admin", "SELECT name FROM c.s.t", {"columns": ["name"]}),
    ):  # fmt: skip
        assert table(who, text)["status"]["state"] == "SUCCEEDED"
        assert read(server, "commandFinish") == (who, [{"table": "c.s.t", **expected}]), text


def test_a_scan_without_sql_is_on_record_as_well(server, people, table):
    import httpx

    answer = httpx.post(
        server.url + "/api/2.1/lakewright/scan", json={"table": "c.s.t", "columns": ["ssn"]},
        headers={"authorization": f"Bearer {people.person('bob').token}"}, timeout=60,
    )  # fmt: skip
    assert answer.status_code == 200
    expected = {"table": "c.s.t", "columns": ["ssn"], "row_filter": "c.s.mine", "masks": {"ssn": "c.s.hide"}}
    assert read(server, "scanTable") == ("bob", [expected])
