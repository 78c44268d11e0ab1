"""What the place of a table allows holds on every way to write, and what its properties say is obeyed or refused."""

from pathlib import Path
from typing import Any

import pytest
from databricks.sdk.errors import BadRequest, NotImplemented
from databricks.sdk.service.catalog import (
    ColumnInfo,
    DataSourceFormat,
    PrimaryKeyConstraint,
    TableConstraint,
    TableOperation,
    TableType,
    VolumeOperation,
    VolumeType,
)
from databricks.sdk.service.sql import StatementState
from test_statement_execution import Desk

TABLES = "/api/2.1/unity-catalog/tables"
READ_ONLY = "read-only external location"


@pytest.fixture
def desk(people: Any) -> Desk:
    admin = Desk(people.admin, people.admin.client.warehouses.create(name="w").result().id)
    admin.rows("CREATE CATALOG main")
    admin.rows("CREATE SCHEMA main.raw")
    return admin


@pytest.fixture
def landing(desk: Desk, settings: Any, tmp_path: Path) -> Path:
    settings.storage.external_roots = [tmp_path]
    credentials = "/api/2.1/unity-catalog/storage-credentials"
    desk.person.do("POST", credentials, name="own", databricks_gcp_service_account={})
    (tmp_path / "landing").mkdir()
    desk.client.external_locations.create("landing", f"file://{tmp_path}/landing", "own")
    return tmp_path / "landing"


def external(desk: Desk, at: Path) -> Any:
    return desk.client.tables.create(
        "t", "main", "raw", TableType.EXTERNAL, DataSourceFormat.DELTA, f"file://{at}",
        columns=[ColumnInfo(name="Id", type_text="bigint")],
    )  # fmt: skip


def test_the_first_rows_of_an_external_table_find_a_log(desk: Desk, landing: Path) -> None:
    external(desk, landing / "t")
    desk.rows("INSERT INTO main.raw.t VALUES (1), (2)")
    assert desk.rows("SELECT count(*) FROM main.raw.t") == [["2"]]


def test_nobody_writes_to_a_read_only_location(desk: Desk, landing: Path) -> None:
    t = external(desk, landing / "t")
    desk.client.volumes.create("main", "raw", "v", VolumeType.EXTERNAL, storage_location=f"file://{landing}/v")
    desk.rows("INSERT INTO main.raw.t VALUES (1)")
    desk.client.external_locations.update("landing", read_only=True)
    for sql in (
        "INSERT INTO main.raw.t VALUES (2)",
        "INSERT OVERWRITE main.raw.t VALUES (2)",
        "UPDATE main.raw.t SET Id = 3",
        "DELETE FROM main.raw.t",
        "TRUNCATE TABLE main.raw.t",
        "ALTER TABLE main.raw.t SET TBLPROPERTIES ('delta.appendOnly' = 'true')",
    ):
        assert READ_ONLY in desk.refused(sql)
    give = desk.client.temporary_table_credentials.generate_temporary_table_credentials
    with pytest.raises(BadRequest, match=READ_ONLY):
        give(table_id=t.table_id, operation=TableOperation.READ_WRITE)
    assert give(table_id=t.table_id, operation=TableOperation.READ).url.endswith("/landing/t")
    volume = desk.client.volumes.read("main.raw.v").volume_id
    with pytest.raises(BadRequest, match=READ_ONLY):
        desk.client.temporary_volume_credentials.generate_temporary_volume_credentials(
            volume_id=volume, operation=VolumeOperation.WRITE_VOLUME
        )
    assert desk.rows("SELECT Id FROM main.raw.t") == [["1"]]


def test_a_delta_property_is_obeyed_or_refused(desk: Desk) -> None:
    columns = [{"name": "a", "type_text": "int"}]
    about = {"catalog_name": "main", "schema_name": "raw", "table_type": "MANAGED", "columns": columns}
    with pytest.raises(NotImplemented, match="delta.enableChangeDataFeed"):
        desk.person.do("POST", TABLES, name="t", **about, properties={"delta.enableChangeDataFeed": "true"})
    desk.person.do("POST", TABLES, name="t", **about, properties={"delta.appendOnly": "true", "team": "x"})
    desk.rows("INSERT INTO main.raw.t VALUES (1)")
    assert "append" in desk.refused("DELETE FROM main.raw.t").lower()
    with pytest.raises(NotImplemented, match="TBLPROPERTIES"):
        desk.person.do("PATCH", f"{TABLES}/main.raw.t", properties={"team": "y"})
    desk.person.do("PATCH", f"{TABLES}/main.raw.t", properties={"delta.appendOnly": "true", "team": "y"})
    assert "delta.checkpointInterval" in desk.refused(
        "ALTER TABLE main.raw.t SET TBLPROPERTIES ('delta.checkpointInterval' = '5')"
    )
    desk.rows("ALTER TABLE main.raw.t SET TBLPROPERTIES ('delta.appendOnly' = 'false', 'more' = '1')")
    assert desk.client.tables.get("main.raw.t").properties == {"delta.appendOnly": "false", "team": "y", "more": "1"}
    desk.rows("DELETE FROM main.raw.t")


def test_a_primary_key_names_columns_and_promises_nothing_more(desk: Desk) -> None:
    desk.rows("CREATE TABLE main.raw.t (Id BIGINT)")

    def key(columns: list[str], **more: Any) -> Any:
        constraint = PrimaryKeyConstraint(name="pk", child_columns=columns, **more)
        return desk.client.table_constraints.create("main.raw.t", TableConstraint(primary_key_constraint=constraint))

    with pytest.raises(NotImplemented, match="rely"):
        key(["Id"], rely=True)
    empty = {"primary_key_constraint": {"name": "pk", "child_columns": []}}
    with pytest.raises(BadRequest, match="has columns"):
        desk.person.do("POST", "/api/2.1/unity-catalog/constraints", full_name_arg="main.raw.t", constraint=empty)
    assert key(["ID"]).primary_key_constraint.child_columns == ["Id"]


def test_what_protects_a_table_elsewhere_is_not_dropped_with_what_is_around_it(desk: Desk) -> None:
    for sql in (
        "CREATE SCHEMA main.rules",
        "CREATE FUNCTION main.rules.few(i BIGINT) RETURNS BOOLEAN RETURN i = 1",
        "CREATE TABLE main.raw.t (Id BIGINT)",
        "ALTER TABLE main.raw.t SET ROW FILTER main.rules.few ON (Id)",
    ):
        desk.rows(sql)
    assert "elsewhere" in desk.refused("DROP SCHEMA main.rules CASCADE")
    with pytest.raises(BadRequest, match="elsewhere"):
        desk.client.schemas.delete("main.rules", force=True)
    assert desk.run("DROP CATALOG main CASCADE").status.state == StatementState.SUCCEEDED
