"""Fields that would change nothing are refused, and lists tell nobody whether what they do not see is there."""

from typing import Any

import pytest
from databricks.sdk.errors import BadRequest, NotImplemented, PermissionDenied
from databricks.sdk.service.catalog import PermissionsChange, Privilege
from databricks.sdk.service.sql import StatementState

UC = "/api/2.1/unity-catalog"


@pytest.fixture
def admin(people: Any) -> Any:
    people.admin.client.catalogs.create("main")
    people.admin.client.schemas.create("raw", "main")
    return people.admin


def function(**more: Any) -> dict[str, Any]:
    return {
        "function_info": {
            "name": "f", "catalog_name": "main", "schema_name": "raw", "data_type": "BOOLEAN", "full_data_type": "boolean",
            "routine_definition": "true", **more,
        }
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [
        ("GET", f"{UC}/tables/main.raw.t", {"include_delta_metadata": True}),
        ("GET", f"{UC}/tables", {"catalog_name": "main", "schema_name": "raw", "include_manifest_capabilities": True}),
        ("POST", f"{UC}/functions", function(is_null_call=True)),
        ("POST", f"{UC}/functions", function(specific_name="another")),
        ("POST", f"{UC}/functions", function(routine_dependencies={"dependencies": [{"table": {"table_full_name": "a.b.c"}}]})),
        ("POST", "/api/2.0/serving-endpoints", {"name": "a", "config": {"name": "b", "served_entities": []}}),
        ("POST", "/api/2.0/mlflow/traces/delete-traces", {"experiment_id": "0", "max_traces": -1, "max_timestamp_millis": 1}),
        ("GET", "/api/2.2/jobs/list", {"offset": -1}),
        ("GET", f"{UC}/catalogs", {"max_results": -1}),
        ("GET", "/api/2.2/jobs/runs/list", {"offset": -1}),
    ],
)  # fmt: skip
def test_a_field_that_would_change_nothing_is_refused(
    admin: Any, method: str, path: str, fields: dict[str, Any]
) -> None:
    with pytest.raises((BadRequest, NotImplemented)):
        admin.do(method, path, **fields)


def test_what_a_function_says_of_itself_is_kept(admin: Any) -> None:
    assert admin.do("POST", f"{UC}/functions", **function(sql_data_access="NO_SQL"))["sql_data_access"] == "NO_SQL"
    assert admin.client.functions.get("main.raw.f").sql_data_access.value == "NO_SQL"


def test_a_schema_one_does_not_see_lists_as_one_that_is_not_there(admin: Any, people: Any) -> None:
    bob = people.person("bob").client
    found = [list(bob.registered_models.list(catalog_name="main", schema_name=name)) for name in ("raw", "nothing")]
    assert found == [[], []]


def test_information_schema_does_not_tell_which_catalogs_there_are(admin: Any, people: Any) -> None:
    warehouse = admin.client.warehouses.create(name="w").result().id
    everybody = {"group_name": "users", "permission_level": "CAN_USE"}
    admin.do("PATCH", f"/api/2.0/permissions/warehouses/{warehouse}", access_control_list=[everybody])
    bob = people.person("bob").client

    def answered(catalog: str) -> Any:
        sql = f"SELECT table_name FROM {catalog}.information_schema.tables"
        return bob.statement_execution.execute_statement(sql, warehouse, wait_timeout="50s").status

    told = [answered(name).error.message.replace(name, "X") for name in ("main", "nothing")]
    assert told == ["bob needs USE_CATALOG on catalog 'X'"] * 2
    change = [PermissionsChange(principal="bob", add=[Privilege.USE_CATALOG])]
    admin.client.grants.update("CATALOG", "main", changes=change)
    assert answered("main").state == StatementState.SUCCEEDED
    with pytest.raises(PermissionDenied):
        bob.catalogs.get("nothing")
