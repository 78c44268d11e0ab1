"""Views and functions read with their owner's rights: nobody gets those rights by writing, replacing or giving them away."""

from typing import Any

import pytest
from databricks.sdk.errors import PermissionDenied
from test_statement_execution import Desk


@pytest.fixture
def lake(people: Any) -> Desk:
    """The administrator's secret; `mal` owns a schema of his own and holds nothing on the secret."""
    people.person("mal")
    people.person("ann")
    admin = Desk(people.admin, people.admin.client.warehouses.create(name="w").result().id)
    for sql in [
        "CREATE CATALOG main",
        "CREATE SCHEMA main.vault",
        "CREATE SCHEMA main.mal",
        "CREATE TABLE main.vault.secret (word STRING)",
        "INSERT INTO main.vault.secret VALUES ('canary')",
        "CREATE FUNCTION main.vault.tell() RETURNS STRING RETURN (SELECT max(word) FROM main.vault.secret)",
        "CREATE FUNCTION main.mal.of_admin() RETURNS STRING RETURN 'harmless'",
        "GRANT USE CATALOG ON CATALOG main TO mal",
        "GRANT USE CATALOG ON CATALOG main TO ann",
        "GRANT USE SCHEMA ON SCHEMA main.vault TO mal",
        "ALTER SCHEMA main.mal OWNER TO mal",
    ]:
        admin.rows(sql)
    people.admin.client.permissions.update("warehouses", admin.warehouse, access_control_list=[_all()])
    return admin


def _all() -> Any:
    from databricks.sdk.service.iam import AccessControlRequest, PermissionLevel

    return AccessControlRequest(group_name="users", permission_level=PermissionLevel.CAN_USE)


@pytest.fixture
def mal(lake: Desk, people: Any) -> Desk:
    return Desk(people.person("mal"), lake.warehouse)


@pytest.fixture
def ann(lake: Desk, people: Any) -> Desk:
    return Desk(people.person("ann"), lake.warehouse)


def test_a_function_calls_only_what_its_owner_may_execute(lake: Desk, mal: Desk) -> None:
    mal.rows("CREATE FUNCTION main.mal.through() RETURNS STRING RETURN main.vault.tell()")
    assert "EXECUTE" in mal.refused("SELECT main.mal.through()")
    lake.rows("GRANT EXECUTE ON FUNCTION main.vault.tell TO mal")
    assert mal.rows("SELECT main.mal.through()") == [["canary"]]


def test_a_view_calls_functions_as_its_owner(lake: Desk, ann: Desk) -> None:
    lake.rows("CREATE VIEW main.vault.told AS SELECT main.vault.tell() AS word")
    lake.rows("GRANT USE SCHEMA ON SCHEMA main.vault TO ann")
    lake.rows("GRANT SELECT ON TABLE main.vault.told TO ann")
    assert ann.rows("SELECT word FROM main.vault.told") == [["canary"]]
    assert "EXECUTE" in ann.refused("SELECT main.vault.tell()")


def test_whoever_gives_a_function_another_body_owns_it_from_then_on(mal: Desk, people: Any) -> None:
    mal.rows(
        "CREATE OR REPLACE FUNCTION main.mal.of_admin() RETURNS STRING RETURN (SELECT max(word) FROM main.vault.secret)"
    )
    assert mal.client.functions.get("main.mal.of_admin").owner == "mal"
    assert "SELECT" in mal.refused("SELECT main.mal.of_admin()")


@pytest.mark.parametrize(
    "sql", ["ALTER FUNCTION main.mal.mine OWNER TO admin", "ALTER VIEW main.mal.seen OWNER TO admin"]
)
def test_what_reads_as_its_owner_is_not_given_to_somebody_with_more_rights(mal: Desk, sql: str) -> None:
    mal.rows("CREATE FUNCTION main.mal.mine() RETURNS STRING RETURN (SELECT max(word) FROM main.vault.secret)")
    mal.client.api_client.do("POST", "/api/2.1/unity-catalog/tables", body={
        "name": "seen", "catalog_name": "main", "schema_name": "mal", "table_type": "VIEW",
        "view_definition": "SELECT word FROM main.vault.secret", "columns": [{"name": "word", "type_text": "string"}],
    })  # fmt: skip
    assert "owner" in mal.refused(sql)
    assert "SELECT" in mal.refused("SELECT * FROM main.mal.seen")
    assert "SELECT" in mal.refused("SELECT main.mal.mine()")


def test_one_may_give_a_view_to_a_group_one_is_in_and_an_administrator_to_anybody(
    lake: Desk, mal: Desk, people: Any
) -> None:
    people.join("pirates", people.person("mal"))
    mal.rows("CREATE VIEW main.mal.one AS SELECT 1 AS n")
    mal.rows("ALTER VIEW main.mal.one OWNER TO pirates")
    lake.rows("ALTER VIEW main.mal.one OWNER TO ann")
    assert lake.client.tables.get("main.mal.one").owner == "ann"


def test_replacing_a_view_keeps_its_grants_and_never_loses_it(lake: Desk, mal: Desk, ann: Desk) -> None:
    mal.rows("CREATE VIEW main.mal.one AS SELECT 1 AS n")
    mal.rows("GRANT USE SCHEMA ON SCHEMA main.mal TO ann")
    mal.rows("GRANT SELECT ON TABLE main.mal.one TO ann")
    mal.rows("CREATE OR REPLACE VIEW main.mal.one AS SELECT 2 AS n, 'x' AS s")
    assert ann.rows("SELECT * FROM main.mal.one") == [["2", "x"]]
    lake.rows("CREATE OR REPLACE VIEW main.mal.one AS SELECT word FROM main.vault.secret")
    assert lake.client.tables.get("main.mal.one").owner == "admin"
    assert ann.rows("SELECT * FROM main.mal.one") == [["canary"]]
    with pytest.raises(PermissionDenied):
        mal.client.tables.update("main.vault.secret", owner="mal")
