"""`lakewright check` finds what does not fit together, each kind of it."""

from pathlib import Path

import pytest
from backup.conftest import LivedIn, run, url_of


def checked(lived_in: LivedIn):
    return run("check", "--data-dir", str(lived_in.settings.data_dir), *url_of(lived_in.settings), "--deep")


def test_a_healthy_installation_is_sound_while_it_runs(lived_in: LivedIn):
    said = checked(lived_in)
    assert said.exit_code == 0, said.output
    assert "wrong" not in said.output


FAULTS = {
    "a grant to nobody": (
        """INSERT INTO grants (object_id, principal, "right", granted_by, granted_at)
        SELECT id, 'ghost', 'SELECT', 'x', 0 FROM objects WHERE kind = 'table'""",
        "SELECT of ghost",
    ),
    "a grant on what is gone": (
        """UPDATE objects SET deleted_at = 1 WHERE kind = 'schema'
        AND id IN (SELECT object_id FROM grants WHERE principal = 'users')""",
        "no such object",
    ),
    "an owner who is gone": (
        "UPDATE objects SET owner = 'ghost' WHERE kind = 'volume'",
        "its owner ghost is not there",
    ),
    "an ancestor too few": (
        "DELETE FROM ancestry WHERE depth = 2 AND object_id IN (SELECT id FROM objects WHERE kind = 'table')",
        "its ancestry is not its parent's",
    ),
    "a parent who is gone": (
        "UPDATE objects SET deleted_at = 1 WHERE kind = 'catalog' AND name = 'shop'",
        "its parent is",
    ),
    "an altered audit row": ("UPDATE audit SET who_name = 'mallory' WHERE seq = 3", "row 3: altered"),
    "a secret that was moved": ("UPDATE workspace_secrets SET name = 'other'", "secret other"),
    "a schema from the future": (
        "UPDATE lakewright_alembic SET version_num = 'jobs_9999' WHERE version_num LIKE 'jobs_%'",
        "jobs_9999",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_in_the_database_is_found(lived_in: LivedIn, fault: str):
    statement, expected = FAULTS[fault]
    lived_in.people.admin.do(
        "PATCH", "/api/2.1/unity-catalog/permissions/schema/shop.sales",
        changes=[{"principal": "users", "add": ["USE_SCHEMA"]}],
    )  # fmt: skip
    lived_in.server.platform.transact(lambda ctx: ctx.tx.run(statement))
    said = checked(lived_in)
    assert said.exit_code == 1
    assert expected in said.output


@pytest.mark.parametrize(
    ("which", "spoil", "expected"),
    [
        ("*.parquet", lambda p: p.unlink(), "is missing"),
        ("*.parquet", lambda p: p.write_bytes(p.read_bytes()[:-1]), "bytes instead of"),
        ("_delta_log/*.json", lambda p: p.unlink(), "Delta log"),
    ],
)
def test_what_is_missing_of_a_table_is_found(lived_in: LivedIn, which, spoil, expected):
    files = [p for p in Path(lived_in.settings.data_dir, "storage").rglob(which) if "tables" in p.parts]
    assert files
    for each in files:
        spoil(each)
    said = checked(lived_in)
    assert said.exit_code == 1
    assert "table shop.sales.orders" in said.output and expected in said.output
