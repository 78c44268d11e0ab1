"""The open-source Unity Catalog client. It sends no token by itself: its user sets the header."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

uc = pytest.importorskip("unitycatalog.client")
T = TypeVar("T")


def run(person, act: Callable[..., Awaitable[T]], *, token: bool = True) -> T:
    async def go() -> T:
        configuration = uc.Configuration(host=f"{person.url}/api/2.1/unity-catalog")
        async with uc.ApiClient(configuration) as client:
            if token:
                client.set_default_header("Authorization", f"Bearer {person.token}")
            return await act(client)

    # In a thread of its own: other tests of this process may have left a loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(go())).result()


@pytest.fixture
def main(people):
    admin = people.admin
    run(admin, lambda c: uc.CatalogsApi(c).create_catalog(uc.CreateCatalog(name="main", comment="c")))
    run(admin, lambda c: uc.SchemasApi(c).create_schema(uc.CreateSchema(name="raw", catalog_name="main")))
    return admin


def test_catalogs_and_schemas_live(people, main):
    assert "main" in [c.name for c in run(main, lambda c: uc.CatalogsApi(c).list_catalogs()).catalogs]
    changed = run(
        main, lambda c: uc.CatalogsApi(c).update_catalog("main", uc.UpdateCatalog(new_name="prime", comment="d"))
    )
    assert (changed.name, changed.comment) == ("prime", "d")
    assert [s.full_name for s in run(main, lambda c: uc.SchemasApi(c).list_schemas("prime")).schemas] == ["prime.raw"]
    run(main, lambda c: uc.SchemasApi(c).delete_schema("prime.raw"))
    run(main, lambda c: uc.CatalogsApi(c).delete_catalog("prime"))
    with pytest.raises(uc.exceptions.NotFoundException):
        run(main, lambda c: uc.CatalogsApi(c).get_catalog("prime"))


def test_tables_live(people, main):
    columns = [uc.ColumnInfo(name="id", type_text="bigint", type_name="LONG", type_json='"long"', position=0)]
    create = uc.CreateTable(
        name="t",
        catalog_name="main",
        schema_name="raw",
        table_type="MANAGED",
        data_source_format="DELTA",
        columns=columns,
    )
    made = run(main, lambda c: uc.TablesApi(c).create_table(create))
    assert (made.table_type, made.columns[0].type_name) == ("MANAGED", "LONG")
    listed = run(main, lambda c: uc.TablesApi(c).list_tables("main", "raw")).tables
    assert [t.table_id for t in listed] == [made.table_id]
    assert run(main, lambda c: uc.TablesApi(c).get_table("main.raw.t")).storage_location.startswith("file://")
    run(main, lambda c: uc.TablesApi(c).delete_table("main.raw.t"))
    assert run(main, lambda c: uc.TablesApi(c).list_tables("main", "raw")).tables == []


def test_volumes_and_functions_live(people, main):
    volume = uc.CreateVolumeRequestContent(catalog_name="main", schema_name="raw", name="v", volume_type="MANAGED")
    assert run(main, lambda c: uc.VolumesApi(c).create_volume(volume)).full_name == "main.raw.v"
    assert [v.name for v in run(main, lambda c: uc.VolumesApi(c).list_volumes("main", "raw")).volumes] == ["v"]
    run(main, lambda c: uc.VolumesApi(c).delete_volume("main.raw.v"))
    parameter = uc.FunctionParameterInfo(name="x", type_text="int", type_name="INT", type_json='"integer"', position=0)
    info = uc.CreateFunction(
        name="f", catalog_name="main", schema_name="raw", data_type="INT", full_data_type="INT", routine_body="SQL",
        input_params=uc.FunctionParameterInfos(parameters=[parameter]), routine_definition="x + 1", parameter_style="S",
        is_deterministic=True, sql_data_access="CONTAINS_SQL", is_null_call=False, security_type="DEFINER", specific_name="f",
        properties="{}",
    )  # fmt: skip
    made = run(main, lambda c: uc.FunctionsApi(c).create_function(uc.CreateFunctionRequest(function_info=info)))
    assert made.routine_definition == "x + 1"
    assert [f.name for f in run(main, lambda c: uc.FunctionsApi(c).list_functions("main", "raw")).functions] == ["f"]
    assert run(main, lambda c: uc.FunctionsApi(c).get_function("main.raw.f")).input_params.parameters[0].name == "x"
    run(main, lambda c: uc.FunctionsApi(c).delete_function("main.raw.f"))


def test_grants_and_the_metastore(people, main):
    people.person("bob")
    change = uc.UpdatePermissions(changes=[uc.PermissionsChange(principal="bob", add=["USE CATALOG"], remove=[])])
    shown = run(main, lambda c: uc.GrantsApi(c).update("catalog", "main", change))
    assert [(a.principal, a.privileges) for a in shown.privilege_assignments] == [("bob", [uc.Privilege.USE_CATALOG])]
    assert (
        run(main, lambda c: uc.GrantsApi(c).get("catalog", "main")).privilege_assignments == shown.privilege_assignments
    )
    assert run(main, lambda c: uc.MetastoresApi(c).summary()).metastore_id


def test_without_the_header_there_is_nothing(people, main):
    with pytest.raises(uc.exceptions.UnauthorizedException):
        run(main, lambda c: uc.CatalogsApi(c).list_catalogs(), token=False)
