"""Catalogs, schemas, tables and functions through the unmodified SDK."""

import pytest
from databricks.sdk.errors import BadRequest, NotFound, PermissionDenied, ResourceAlreadyExists, ResourceConflict
from databricks.sdk.service.catalog import (
    ColumnInfo,
    ColumnTypeName,
    DataSourceFormat,
    PermissionsChange,
    Privilege,
    SecurableType,
    TableType,
    VolumeType,
)

P = Privilege


def grant(who, kind: SecurableType, name: str, principal: str, *privileges: Privilege) -> None:
    who.client.grants.update(kind.value, name, changes=[PermissionsChange(principal=principal, add=list(privileges))])


@pytest.fixture
def main(people):
    """A catalog `main` with a schema `raw`, made by the administrator."""
    admin = people.admin.client
    admin.catalogs.create("Main", comment="everything")
    admin.schemas.create("Raw", "main")
    return admin


def flights(people, who=None, name: str = "flights", **more):
    return (who or people.admin).do(
        "POST", "/api/2.1/unity-catalog/tables", name=name, catalog_name="main", schema_name="raw", table_type="MANAGED",
        columns=[
            {"name": "id", "type_text": "bigint", "nullable": False}, {"name": "origin", "type_text": "string"},
            {"name": "tail", "type_text": "string"},
        ], **more,
    )  # fmt: skip


def function(people, name: str, body: str, params: list[tuple[str, str]], returns: str):
    parameters = [{"name": n, "type_text": t, "type_name": t.upper(), "position": i} for i, (n, t) in enumerate(params)]
    return people.admin.do(
        "POST", "/api/2.1/unity-catalog/functions",
        function_info={
            "name": name, "catalog_name": "main", "schema_name": "raw", "input_params": {"parameters": parameters},
            "data_type": returns, "full_data_type": returns, "routine_body": "SQL", "routine_definition": body,
            "parameter_style": "S", "is_deterministic": True, "sql_data_access": "CONTAINS_SQL", "is_null_call": False,
            "security_type": "DEFINER", "specific_name": name,
        },
    )  # fmt: skip


def test_a_catalog_lives(people):
    admin = people.admin.client
    made = admin.catalogs.create("Sales", comment="c", properties={"team": "x"})
    assert (made.name, made.owner, made.properties) == ("sales", "admin", {"team": "x"})
    assert admin.catalogs.get("SALES").full_name == "sales"
    with pytest.raises(ResourceAlreadyExists):
        admin.catalogs.create("SALES")
    people.group("stewards")
    changed = admin.catalogs.update("sales", new_name="Trade", comment="d", owner="stewards")
    assert (changed.name, changed.comment, changed.owner) == ("trade", "d", "stewards")
    assert [c.name for c in admin.catalogs.list()] == ["system", "trade"]
    admin.catalogs.delete("trade")
    with pytest.raises(NotFound):
        admin.catalogs.get("trade")


def test_a_catalog_with_something_in_it_goes_only_by_force(people, main):
    with pytest.raises((BadRequest, ResourceConflict), match="not empty"):
        main.catalogs.delete("main")
    main.catalogs.delete("main", force=True)
    assert [c.name for c in main.catalogs.list()] == ["system"]


def test_the_current_metastore_is_known_to_everyone(people):
    bob = people.person("bob").client
    assert bob.metastores.current().metastore_id == bob.metastores.summary().metastore_id
    with pytest.raises(PermissionDenied):
        bob.metastores.get(bob.metastores.current().metastore_id)


def test_a_stranger_sees_nothing(people, main):
    flights(people)
    bob = people.person("bob").client
    assert list(bob.catalogs.list()) == []
    with pytest.raises(PermissionDenied):
        list(bob.schemas.list("main"))
    assert not bob.tables.exists("main.raw.flights").table_exists
    for name in ("main.raw.flights", "main.raw.nothing", "main.nothing.nothing"):
        with pytest.raises(PermissionDenied) as refused:
            bob.tables.get(name)
        assert str(refused.value).replace(name, "X").startswith("bob needs USE_CATALOG on catalog for table 'X'")


def test_each_level_must_be_usable(people, main):
    flights(people)
    bob = people.person("bob")
    for kind, name, privilege, missing in (
        (SecurableType.TABLE, "main.raw.flights", P.SELECT, "USE_CATALOG"),
        (SecurableType.CATALOG, "main", P.USE_CATALOG, "USE_SCHEMA"),
        (SecurableType.SCHEMA, "main.raw", P.USE_SCHEMA, None),
    ):
        grant(people.admin, kind, name, "bob", privilege)
        if missing:
            with pytest.raises(PermissionDenied, match=missing):
                bob.client.tables.get("main.raw.flights")
    table = bob.client.tables.get("main.raw.flights")
    assert table.storage_location.startswith("file:///")
    assert [t.name for t in bob.client.tables.list("main", "raw")] == ["flights"]
    with pytest.raises(PermissionDenied, match="MANAGE"):
        bob.client.tables.delete("main.raw.flights")


def test_what_one_may_only_browse_is_shown_to_who_asks_for_it(people, main):
    flights(people)
    function(people, "f", "true", [], "BOOLEAN")
    main.volumes.create("main", "raw", "v", VolumeType.MANAGED)
    bob = people.person("bob")
    grant(people.admin, SecurableType.CATALOG, "main", "bob", P.BROWSE)
    its = bob.client
    lists = [
        (its.catalogs.list, ()), (its.schemas.list, ("main",)), (its.tables.list, ("main", "raw")),
        (its.functions.list, ("main", "raw")), (its.volumes.list, ("main", "raw")),
    ]  # fmt: skip
    assert [[o.name for o in each(*where)] for each, where in lists] == [[]] * 5
    found = [[o.name for o in each(*where, include_browse=True)] for each, where in lists]
    assert found == [["main"], ["raw"], ["flights"], ["f"], ["v"]]
    reads = [
        (its.catalogs.get, "main"), (its.schemas.get, "main.raw"), (its.tables.get, "main.raw.flights"),
        (its.functions.get, "main.raw.f"), (its.volumes.read, "main.raw.v"),
    ]  # fmt: skip
    for read, name in reads:
        assert read(name, include_browse=True).full_name == name
        with pytest.raises(PermissionDenied):
            read(name)


def test_the_owner_of_a_table_needs_its_catalog_too(people, main):
    flights(people)
    bob = people.person("bob")
    people.admin.client.tables.update("main.raw.flights", owner="bob")
    with pytest.raises(PermissionDenied, match="USE_CATALOG"):
        bob.client.tables.get("main.raw.flights")


def test_a_privilege_inherits_and_its_revoke_holds_at_once(people, main):
    flights(people)
    bob = people.person("bob", groups=["analysts"])
    grant(people.admin, SecurableType.CATALOG, "main", "analysts", P.USE_CATALOG, P.USE_SCHEMA, P.SELECT)
    assert bob.client.tables.get("main.raw.flights").columns[0].type_name == ColumnTypeName.LONG
    main.grants.update("CATALOG", "main", changes=[PermissionsChange(principal="analysts", remove=[P.SELECT])])
    with pytest.raises(PermissionDenied, match="SELECT"):
        bob.client.tables.get("main.raw.flights")


def test_a_table_is_a_delta_table_from_the_start(people, main):
    from deltalake import DeltaTable

    made = flights(people, properties={"delta.appendOnly": "true"})
    table = DeltaTable(main.tables.get("main.raw.flights").storage_location)
    assert [f.name for f in table.schema().fields] == ["id", "origin", "tail"]
    assert (table.version(), table.metadata().configuration) == (0, {"delta.appendOnly": "true"})
    with pytest.raises(ResourceAlreadyExists):
        flights(people, name="FLIGHTS")
    assert made["columns"][0]["type_json"] == '{"name":"id","type":"long","nullable":false,"metadata":{}}'


def test_a_table_refused_leaves_no_files(people, main, settings):
    flights(people)
    before = sorted((settings.data_dir / "storage").rglob("*.json"))
    with pytest.raises(ResourceAlreadyExists):
        flights(people)
    assert sorted((settings.data_dir / "storage").rglob("*.json")) == before


def test_a_dropped_table_keeps_its_files_for_a_week(people, main, settings, clock):
    from lakewright.catalog import dropped

    flights(people)
    platform = people.platform
    main.tables.delete("main.raw.flights")
    log = list((settings.data_dir / "storage").rglob("_delta_log"))
    dropped.sweep(platform)
    assert log[0].exists()
    clock.advance(7 * 86_400 + 1)
    dropped.sweep(platform)
    assert not log[0].exists()
    assert not log[0].parent.exists()


def test_old_grants_do_not_return_with_the_name(people, main):
    flights(people)
    bob = people.person("bob")
    grant(people.admin, SecurableType.CATALOG, "main", "bob", P.USE_CATALOG, P.USE_SCHEMA)
    grant(people.admin, SecurableType.TABLE, "main.raw.flights", "bob", P.SELECT)
    main.tables.delete("main.raw.flights")
    flights(people)
    with pytest.raises(PermissionDenied, match="SELECT"):
        bob.client.tables.get("main.raw.flights")


def test_a_rename_of_the_catalog_moves_everything_below(people, main):
    flights(people)
    bob = people.person("bob")
    grant(people.admin, SecurableType.CATALOG, "main", "bob", P.USE_CATALOG, P.USE_SCHEMA, P.SELECT)
    main.catalogs.update("main", new_name="prime")
    assert bob.client.tables.get("prime.raw.flights").full_name == "prime.raw.flights"
    with pytest.raises((PermissionDenied, NotFound)):
        bob.client.tables.get("main.raw.flights")


def test_making_needs_the_right_to_make(people, main):
    bob = people.person("bob")
    with pytest.raises(PermissionDenied, match="CREATE_CATALOG"):
        bob.client.catalogs.create("mine")
    grant(people.admin, SecurableType.CATALOG, "main", "bob", P.USE_CATALOG, P.USE_SCHEMA)
    with pytest.raises(PermissionDenied, match="CREATE_SCHEMA"):
        bob.client.schemas.create("mine", "main")
    with pytest.raises(PermissionDenied, match="CREATE_TABLE"):
        flights(people, bob)
    with pytest.raises(PermissionDenied, match="CREATE_VOLUME"):
        bob.client.volumes.create("main", "raw", "v", VolumeType.MANAGED)
    grant(people.admin, SecurableType.SCHEMA, "main.raw", "bob", P.CREATE_TABLE, P.CREATE_VOLUME)
    assert flights(people, bob)["owner"] == "bob"
    assert bob.client.volumes.create("main", "raw", "v", VolumeType.MANAGED).owner == "bob"


def test_what_is_not_enforced_is_not_accepted(people, main):
    from databricks.sdk.errors import NotImplemented as NotThere

    admin = people.admin
    with pytest.raises(NotThere, match="ICEBERG"):
        flights(people, data_source_format="ICEBERG")
    with pytest.raises(NotThere, match="provider_name"):
        main.catalogs.create("shared", share_name="s", provider_name="p")
    with pytest.raises(NotThere, match="VARCHAR"):
        admin.do(
            "POST", "/api/2.1/unity-catalog/tables", name="t", catalog_name="main", schema_name="raw",
            table_type="MANAGED", columns=[{"name": "a", "type_text": "varchar(3)"}],
        )  # fmt: skip
    with pytest.raises(BadRequest, match="given twice"):
        admin.do(
            "POST", "/api/2.1/unity-catalog/tables", name="t", catalog_name="main", schema_name="raw",
            table_type="MANAGED", columns=[{"name": "a", "type_text": "int"}, {"name": "A", "type_text": "int"}],
        )  # fmt: skip


def test_two_people_granting_on_one_object_do_not_undo_each_other(people, main):
    people.group("a"), people.group("b")
    grant(people.admin, SecurableType.SCHEMA, "main.raw", "a", P.SELECT)
    grant(people.admin, SecurableType.SCHEMA, "main.raw", "b", P.MODIFY)
    held = {a.principal: a.privileges for a in main.grants.get("SCHEMA", "main.raw").privilege_assignments}
    assert held == {"a": [P.SELECT], "b": [P.MODIFY]}


def test_everybody_can_be_granted_something(people, main):
    grant(people.admin, SecurableType.CATALOG, "main", "account users", P.USE_CATALOG)
    assert [c.name for c in people.person("new").client.catalogs.list()] == ["main"]


def test_who_may_manage_may_grant_and_nobody_else(people, main):
    bob, eve = people.person("bob"), people.person("eve")
    grant(people.admin, SecurableType.CATALOG, "main", "bob", P.USE_CATALOG, P.USE_SCHEMA, P.ALL_PRIVILEGES)
    with pytest.raises(PermissionDenied, match="MANAGE"):
        grant(bob, SecurableType.SCHEMA, "main.raw", "eve", P.SELECT)
    with pytest.raises(PermissionDenied):
        bob.client.grants.get("SCHEMA", "main.raw")
    grant(people.admin, SecurableType.SCHEMA, "main.raw", "bob", P.MANAGE)
    grant(bob, SecurableType.SCHEMA, "main.raw", eve.name, P.SELECT)
    with pytest.raises(BadRequest, match="cannot be granted"):
        grant(bob, SecurableType.SCHEMA, "main.raw", eve.name, P.CREATE_CATALOG)
    with pytest.raises(BadRequest, match="principal"):
        grant(bob, SecurableType.SCHEMA, "main.raw", "nobody-of-that-name", P.SELECT)


def test_effective_permissions_say_where_a_right_comes_from(people, main):
    flights(people)
    people.person("bob", groups=["analysts"])
    grant(people.admin, SecurableType.CATALOG, "main", "analysts", P.SELECT, P.USE_CATALOG)
    grant(people.admin, SecurableType.TABLE, "main.raw.flights", "bob", P.MODIFY)
    found = main.grants.get_effective("TABLE", "main.raw.flights", principal="bob").privilege_assignments
    assert {a.principal: [(p.privilege, p.inherited_from_name) for p in a.privileges] for a in found} == {
        "analysts": [(P.SELECT, "main")], "bob": [(P.MODIFY, None)],
    }  # fmt: skip


def test_a_protected_table_hides_where_its_files_lie(people, main):
    flights(people)
    function(
        people,
        "only_jfk",
        "origin = 'JFK' OR is_account_group_member('all_airports')",
        [("origin", "string")],
        "BOOLEAN",
    )
    function(people, "star", "'***'", [("v", "string")], "STRING")
    admin, bob = people.admin, people.person("bob")
    grant(admin, SecurableType.CATALOG, "main", "bob", P.USE_CATALOG, P.USE_SCHEMA, P.SELECT, P.EXTERNAL_USE_SCHEMA)
    table = bob.client.tables.get("main.raw.flights")
    creds = bob.client.temporary_table_credentials.generate_temporary_table_credentials
    assert creds(table_id=table.table_id).url == table.storage_location

    base = "/api/2.1/lakewright/tables/main.raw.flights"
    admin.do("PUT", f"{base}/row-filter", function_name="main.raw.only_jfk", input_column_names=["origin"])
    table = bob.client.tables.get("main.raw.flights")
    assert table.storage_location is None
    assert table.row_filter.function_name == "main.raw.only_jfk"
    with pytest.raises(PermissionDenied, match="row filter or column mask"):
        creds(table_id=table.table_id)
    assert main.tables.get("main.raw.flights").storage_location is None  # the owner reads through the filter too

    admin.do("DELETE", f"{base}/row-filter")
    assert bob.client.tables.get("main.raw.flights").storage_location
    admin.do("PUT", f"{base}/columns/TAIL/mask", function_name="MAIN.RAW.STAR")
    table = bob.client.tables.get("main.raw.flights")
    assert (table.storage_location, table.columns[2].mask.function_name) == (None, "main.raw.star")
    with pytest.raises(PermissionDenied, match="row filter or column mask"):
        creds(table_id=table.table_id)


def test_protection_survives_change(people, main):
    flights(people)
    function(people, "star", "'***'", [("v", "string")], "STRING")
    admin, base = people.admin, "/api/2.1/lakewright/tables/main.raw.flights"
    admin.do("PUT", f"{base}/columns/tail/mask", function_name="main.raw.star")
    with pytest.raises(BadRequest, match="unset it there first"):
        main.functions.delete("main.raw.star", force=True)
    with pytest.raises(BadRequest, match="'tail' is masked"):
        admin.do("PUT", f"{base}/columns", columns=[{"name": "id", "type_text": "bigint"}])
    with pytest.raises(BadRequest, match="type cannot change"):
        admin.do("PUT", f"{base}/columns", columns=[{"name": "tail", "type_text": "int"}])
    changed = admin.do(
        "PUT",
        f"{base}/columns",
        columns=[{"name": "more", "type_text": "int"}, {"name": "Tail", "type_text": "string"}],
    )
    assert changed["columns"][1]["mask"]["function_name"] == "main.raw.star"
    main.schemas.update("main.raw", new_name="bronze")
    main.catalogs.update("main", new_name="prime")
    assert main.tables.get("prime.bronze.flights").columns[1].mask.function_name == "prime.bronze.star"


def test_a_filter_must_fit_its_function(people, main):
    flights(people)
    function(people, "yes", "true", [("v", "string")], "BOOLEAN")
    admin, base = people.admin, "/api/2.1/lakewright/tables/main.raw.flights"
    for name, columns, why in (
        ("main.raw.yes", ["id"], "takes string"), ("main.raw.yes", [], "takes 1 arguments"),
        ("main.raw.yes", ["nothing"], "no column"), ("main.raw.nothing", ["tail"], "cannot use a function"),
    ):  # fmt: skip
        with pytest.raises(BadRequest, match=why):
            admin.do("PUT", f"{base}/row-filter", function_name=name, input_column_names=columns)
    with pytest.raises(BadRequest, match="must answer STRING"):
        admin.do("PUT", f"{base}/columns/tail/mask", function_name="main.raw.yes")


def test_a_function_is_one_expression(people, main):
    for body in ("1; DROP TABLE x", "1 FROM secrets", "1, 2", ")", "1 WHERE true", "1 UNION SELECT 2"):
        with pytest.raises(BadRequest, match="expression"):
            function(people, "f", body, [], "INT")
    made = function(people, "f", "x + 1", [("x", "int")], "INT")
    assert made["input_params"]["parameters"][0]["type_name"] == "INT"
    assert main.functions.get("main.raw.f").routine_definition == "x + 1"
    assert [f.name for f in main.functions.list("main", "raw")] == ["f"]


def test_a_function_is_replaced_without_losing_who_may_use_it(people, main):
    flights(people)
    function(people, "star", "'***'", [("v", "string")], "STRING")
    grant(people.admin, SecurableType.FUNCTION, "main.raw.star", people.person("bob").name, P.EXECUTE)
    admin, base = people.admin, "/api/2.1/lakewright/tables/main.raw.flights"
    admin.do("PUT", f"{base}/columns/tail/mask", function_name="main.raw.star")

    def replace(who, body: str, returns: str = "STRING"):
        return who.do(
            "POST", "/api/2.1/unity-catalog/functions", replace=True, function_info={
                "name": "star", "catalog_name": "main", "schema_name": "raw", "data_type": returns,
                "full_data_type": returns, "routine_definition": body,
                "input_params": {"parameters": [{"name": "w", "type_text": "string"}]},
            },
        )  # fmt: skip

    replace(admin, "'###'")
    assert main.functions.get("main.raw.star").routine_definition == "'###'"
    assert [a.principal for a in main.grants.get("FUNCTION", "main.raw.star").privilege_assignments] == ["bob"]
    with pytest.raises(BadRequest, match="types cannot change"):
        replace(admin, "1", "INT")
    grant(admin, SecurableType.CATALOG, "main", "bob", P.USE_CATALOG, P.USE_SCHEMA, P.CREATE_FUNCTION, P.EXECUTE)
    with pytest.raises(PermissionDenied, match="MANAGE"):
        replace(people.person("bob"), "w")


def test_summaries_are_found_by_pattern(people, main):
    for name in ("flights", "flight_delays", "weather"):
        flights(people, name=name)
    found = main.tables.list_summaries("main", schema_name_pattern="r%", table_name_pattern="flight_%")
    assert [t.full_name for t in found] == ["main.raw.flight_delays", "main.raw.flights"]


def test_an_external_table_needs_a_location_that_is_open_to_its_maker(people, main, settings, tmp_path):
    import pyarrow as pa
    from deltalake import write_deltalake

    landing = tmp_path / "landing"
    landing.mkdir()
    write_deltalake(landing / "t", pa.table({"a": [1], "b": ["x"]}))
    bob = people.person("bob")
    grant(people.admin, SecurableType.CATALOG, "main", "bob", P.USE_CATALOG, P.USE_SCHEMA, P.CREATE_TABLE)

    def create(name: str = "t", at: str = f"file://{landing}/t"):
        return bob.client.tables.create(
            name, "main", "raw", TableType.EXTERNAL, DataSourceFormat.DELTA, at,
            columns=[ColumnInfo(name="a", type_text="bigint"), ColumnInfo(name="b", type_text="string")],
        )  # fmt: skip

    people.admin.do("POST", "/api/2.1/unity-catalog/storage-credentials", name="own", databricks_gcp_service_account={})
    with pytest.raises(PermissionDenied, match="outside the folders"):
        main.external_locations.create("landing", f"file://{landing}", "own")
    settings.storage.external_roots = [tmp_path]
    with pytest.raises(PermissionDenied, match="overlaps the server's own data"):
        main.external_locations.create("landing", f"file://{settings.data_dir.resolve()}/storage", "own")
    main.external_locations.create("landing", f"file://{landing}", "own")
    with pytest.raises(ResourceAlreadyExists):
        main.external_locations.create("inside", f"file://{landing}/t", "own")

    with pytest.raises(PermissionDenied, match="CREATE_EXTERNAL_TABLE on external_location"):
        create()
    grant(people.admin, SecurableType.EXTERNAL_LOCATION, "landing", "bob", P.CREATE_EXTERNAL_TABLE)
    with pytest.raises(PermissionDenied):
        create(at=f"file://{tmp_path}/elsewhere")
    for strange in ("/../elsewhere", "/*/t", "/{t,u}", "/$HOME", "/%2e%2e/x", "/t?x=1", "/t#x", "//t"):
        with pytest.raises(BadRequest):
            create(at=f"file://{landing}{strange}")
    assert create().table_type == TableType.EXTERNAL
    for overlapping in (f"file://{landing}/t", f"file://{landing}/t/inner", f"file://{landing}"):
        with pytest.raises(ResourceAlreadyExists):
            create("u", overlapping)
    (landing / "link").symlink_to(settings.data_dir)
    with pytest.raises(BadRequest, match="link"):
        create("u", f"file://{landing}/link/storage")
    with pytest.raises(BadRequest, match="lie in external location"):
        main.external_locations.delete("landing", force=True)
    bob.client.tables.delete("main.raw.t")
    assert (landing / "t" / "_delta_log").exists()


def test_a_catalog_may_keep_its_data_in_a_place_of_its_own(people, main, settings, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    settings.storage.external_roots = [tmp_path]
    bob = people.person("bob")
    grant(people.admin, SecurableType.METASTORE, main.metastores.current().metastore_id, "bob", P.CREATE_CATALOG)
    people.admin.do("POST", "/api/2.1/unity-catalog/storage-credentials", name="own", databricks_gcp_service_account={})
    main.external_locations.create("own", f"file://{own}", "own")
    with pytest.raises(PermissionDenied, match="CREATE_MANAGED_STORAGE"):
        bob.client.catalogs.create("mine", storage_root=f"file://{own}/mine")
    grant(
        people.admin, SecurableType.EXTERNAL_LOCATION, "own", "bob", P.CREATE_MANAGED_STORAGE, P.CREATE_EXTERNAL_TABLE
    )
    bob.client.catalogs.create("mine", storage_root=f"file://{own}/mine")
    bob.client.schemas.create("raw", "mine")
    bob.do(
        "POST", "/api/2.1/unity-catalog/tables", name="t", catalog_name="mine", schema_name="raw", table_type="MANAGED",
        columns=[{"name": "a", "type_text": "int"}],
    )  # fmt: skip
    assert bob.client.tables.get("mine.raw.t").storage_location.startswith(f"file://{own}/mine/")
    for taken in ("mine", "mine/x"):
        with pytest.raises(ResourceAlreadyExists):
            bob.client.catalogs.create("other", storage_root=f"file://{own}/{taken}")
        with pytest.raises(ResourceAlreadyExists):
            bob.client.tables.create(
                "u", "mine", "raw", TableType.EXTERNAL, DataSourceFormat.DELTA, f"file://{own}/{taken}",
                columns=[ColumnInfo(name="a", type_text="int")],
            )  # fmt: skip


def test_a_page_token_is_its_callers_own(people, main):
    for name in ("a", "b", "c"):
        flights(people, name=name)
    bob = people.person("bob")
    grant(people.admin, SecurableType.CATALOG, "main", "bob", P.USE_CATALOG, P.USE_SCHEMA, P.SELECT)
    where = {"catalog_name": "main", "schema_name": "raw", "max_results": 2}
    first = people.admin.do("GET", "/api/2.1/unity-catalog/tables", **where)
    assert [t["name"] for t in first["tables"]] == ["a", "b"]
    rest = people.admin.do("GET", "/api/2.1/unity-catalog/tables", **where, page_token=first["next_page_token"])
    assert [t["name"] for t in rest["tables"]] == ["c"]
    with pytest.raises(BadRequest, match="page_token"):
        bob.do("GET", "/api/2.1/unity-catalog/tables", **where, page_token=first["next_page_token"])
    assert [t.name for t in main.tables.list("main", "raw")] == ["a", "b", "c"]


def test_a_primary_key_is_kept_with_the_table(people, main):
    flights(people)
    from databricks.sdk.service.catalog import PrimaryKeyConstraint, TableConstraint

    key = PrimaryKeyConstraint(name="pk", child_columns=["id"])
    main.table_constraints.create("main.raw.flights", TableConstraint(primary_key_constraint=key))
    shown = main.tables.get("main.raw.flights").table_constraints[0].primary_key_constraint
    assert (shown.name, shown.child_columns) == ("pk", ["id"])
    main.table_constraints.delete("main.raw.flights", "pk", False)
    assert not main.tables.get("main.raw.flights").table_constraints
