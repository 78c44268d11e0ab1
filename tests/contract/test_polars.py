"""Polars' catalog client, as people install it, against a governed schema."""

import pytest
from databricks.sdk.service.catalog import PermissionsChange, Privilege

pl = pytest.importorskip("polars")
P = Privilege
READER = [P.USE_CATALOG, P.USE_SCHEMA, P.SELECT, P.EXTERNAL_USE_SCHEMA]


@pytest.fixture
def main(people):
    from deltalake import write_deltalake

    admin = people.admin
    admin.client.catalogs.create("main")
    admin.client.schemas.create("raw", "main")
    columns = [{"name": "id", "type_text": "bigint"}, {"name": "origin", "type_text": "string"}]
    admin.do(
        "POST", "/api/2.1/unity-catalog/tables", name="flights", catalog_name="main", schema_name="raw",
        table_type="MANAGED", columns=columns,
    )  # fmt: skip
    frame = pl.DataFrame({"id": [1, 2], "origin": ["JFK", "EWR"]})
    write_deltalake(admin.client.tables.get("main.raw.flights").storage_location, frame.to_arrow(), mode="append")
    return admin


def catalog(person) -> "pl.Catalog":
    return pl.Catalog(person.url, bearer_token=person.token, require_https=False)


def grant(admin, name: str, *privileges: Privilege) -> None:
    admin.client.grants.update("CATALOG", "main", changes=[PermissionsChange(principal=name, add=list(privileges))])


def test_a_reader_lists_describes_and_scans(people, main):
    bob = people.person("bob")
    grant(main, "bob", *READER)
    it = catalog(bob)
    assert [c.name for c in it.list_catalogs()] == ["main"]
    assert [n.name for n in it.list_namespaces("main")] == ["raw"]
    [table] = it.list_tables("main", "raw")
    assert (table.name, table.table_type, table.data_source_format) == ("flights", "MANAGED", "DELTA")
    described = it.get_table_info("main", "raw", "flights")
    assert described.get_polars_schema() == {"id": pl.Int64, "origin": pl.String}
    assert it.scan_table("main", "raw", "flights").collect().sort("id").rows() == [(1, "JFK"), (2, "EWR")]


def test_a_stranger_gets_nothing(people, main):
    it = catalog(people.person("eve"))
    assert it.list_catalogs() == []
    for act in (
        lambda: it.list_namespaces("main"), lambda: it.list_tables("main", "raw"),
        lambda: it.get_table_info("main", "raw", "flights"), lambda: it.scan_table("main", "raw", "flights"),
    ):  # fmt: skip
        with pytest.raises(Exception, match="403|PERMISSION_DENIED|USE_CATALOG"):
            act()


def test_every_type_reads_as_what_it_is(people, main):
    types = {
        "a": ("boolean", pl.Boolean), "b": ("tinyint", pl.Int8), "c": ("smallint", pl.Int16), "d": ("int", pl.Int32),
        "e": ("bigint", pl.Int64), "f": ("float", pl.Float32), "g": ("double", pl.Float64), "h": ("string", pl.String),
        "i": ("binary", pl.Binary), "j": ("date", pl.Date), "k": ("decimal(10,2)", pl.Decimal(10, 2)),
        "l": ("array<int>", pl.List(pl.Int32)), "m": ("struct<x:int,y:string>", pl.Struct({"x": pl.Int32, "y": pl.String})),
        "n": ("timestamp", pl.Datetime("us", "UTC")), "o": ("timestamp_ntz", pl.Datetime("us")),
    }  # fmt: skip
    main.do(
        "POST", "/api/2.1/unity-catalog/tables", name="wide", catalog_name="main", schema_name="raw", table_type="MANAGED",
        columns=[{"name": n, "type_text": text} for n, (text, _) in types.items()],
    )  # fmt: skip
    it = catalog(people.admin)
    wanted = {n: kind for n, (_, kind) in types.items()}
    # Polars itself reads the catalog's TIMESTAMP without its zone; the table's own schema has it.
    assert it.get_table_info("main", "raw", "wide").get_polars_schema() == {**wanted, "n": pl.Datetime("us")}
    assert it.scan_table("main", "raw", "wide", credential_provider=None).collect_schema() == wanted


def test_tables_are_made_and_dropped(people, main):
    it = catalog(people.admin)
    made = it.create_table(
        "main", "raw", "new", schema={"id": pl.Int64, "at": pl.Date}, table_type="MANAGED", data_source_format="DELTA",
        comment="c", properties={"k": "v"},
    )  # fmt: skip
    assert (made.name, made.comment) == ("new", "c")
    grant(main, "admin", P.EXTERNAL_USE_SCHEMA)
    it.write_table(
        pl.DataFrame({"id": [7], "at": [None]}, schema={"id": pl.Int64, "at": pl.Date}),
        "main",
        "raw",
        "new",
        delta_mode="append",
    )
    assert it.scan_table("main", "raw", "new").collect()["id"].to_list() == [7]
    it.delete_table("main", "raw", "new")
    assert [t.name for t in it.list_tables("main", "raw")] == ["flights"]
    it.create_namespace("main", "more")
    it.delete_namespace("main", "more")
    it.create_catalog("other")
    it.delete_catalog("other")


def test_a_protected_table_is_listed_but_cannot_be_scanned_past_its_mask(people, main):
    main.do(
        "POST", "/api/2.1/unity-catalog/functions", function_info={
            "name": "star", "catalog_name": "main", "schema_name": "raw", "data_type": "STRING",
            "full_data_type": "string", "routine_body": "SQL", "routine_definition": "'*'",
            "input_params": {"parameters": [{"name": "v", "type_text": "string", "type_name": "STRING", "position": 0}]},
        },
    )  # fmt: skip
    main.do("PUT", "/api/2.1/lakewright/tables/main.raw.flights/columns/origin/mask", function_name="main.raw.star")
    bob = people.person("bob")
    grant(main, "bob", *READER)
    it = catalog(bob)
    [table] = it.list_tables("main", "raw")
    assert table.storage_location is None
    with pytest.raises(ValueError, match="storage_location"):
        it.scan_table("main", "raw", "flights")
