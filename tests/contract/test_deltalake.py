"""deltalake and pyarrow on the files themselves, where the catalog lets them: every engine reads the same table."""

import datetime as dt
import json
from decimal import Decimal

import pytest
from databricks.sdk.errors import PermissionDenied
from databricks.sdk.service.catalog import PermissionsChange, Privilege, TableOperation

pa = pytest.importorskip("pyarrow")
P = Privilege


@pytest.fixture
def main(people):
    admin = people.admin
    admin.client.catalogs.create("main")
    admin.client.schemas.create("raw", "main")
    columns = [
        {"name": "day", "type_text": "date", "partition_index": 0}, {"name": "id", "type_text": "bigint", "nullable": False},
        {"name": "at", "type_text": "timestamp_ntz"}, {"name": "tags", "type_text": "map<string,array<decimal(5,2)>>"},
    ]  # fmt: skip
    admin.do(
        "POST", "/api/2.1/unity-catalog/tables", name="t", catalog_name="main", schema_name="raw", table_type="MANAGED",
        columns=columns,
    )  # fmt: skip
    return admin


def grant(admin, name: str, *privileges: Privilege) -> None:
    admin.client.grants.update("CATALOG", "main", changes=[PermissionsChange(principal=name, add=list(privileges))])


def test_a_new_table_takes_rows_from_another_engine(people, main):
    from deltalake import DeltaTable, write_deltalake

    bob = people.person("bob")
    grant(main, "bob", P.USE_CATALOG, P.USE_SCHEMA, P.SELECT, P.EXTERNAL_USE_SCHEMA)
    table = bob.client.tables.get("main.raw.t")
    vend = bob.client.temporary_table_credentials.generate_temporary_table_credentials
    with pytest.raises(PermissionDenied, match="MODIFY"):
        vend(table_id=table.table_id, operation=TableOperation.READ_WRITE)
    grant(main, "bob", P.MODIFY)
    where = vend(table_id=table.table_id, operation=TableOperation.READ_WRITE).url

    schema = pa.schema(DeltaTable(where).schema().to_arrow())
    assert schema.field("id").nullable is False
    rows = [{"day": dt.date(2013, 1, 1), "id": 1, "at": dt.datetime(2013, 1, 1, 5), "tags": [("a", [Decimal("1.50")])]}]
    write_deltalake(where, pa.Table.from_pylist(rows, schema=schema), mode="append")
    read = DeltaTable(where)
    assert (read.version(), read.metadata().partition_columns) == (1, ["day"])
    assert read.to_pyarrow_table().to_pylist() == rows
    assert DeltaTable(where, version=0).to_pyarrow_table().num_rows == 0


def test_using_another_engine_is_a_right_of_its_own(people, main):
    bob = people.person("bob")
    grant(main, "bob", P.ALL_PRIVILEGES)
    table = bob.client.tables.get("main.raw.t")
    with pytest.raises(PermissionDenied, match="EXTERNAL_USE_SCHEMA"):
        bob.client.temporary_table_credentials.generate_temporary_table_credentials(table_id=table.table_id)


def test_the_catalog_speaks_of_columns_as_the_log_does(people, main):
    from deltalake import DeltaTable

    from lakewright.catalog.columns import of_delta

    grant(main, "admin", P.USE_CATALOG, P.USE_SCHEMA, P.SELECT)
    table = main.client.tables.get("main.raw.t")
    log = DeltaTable(table.storage_location)
    there = of_delta(json.loads(log.schema().to_json()), log.metadata().partition_columns)
    assert [(c.name, c.type_text, c.nullable, c.partition_index) for c in there] == [
        (c.name, c.type_text, c.nullable, c.partition_index) for c in table.columns
    ]
