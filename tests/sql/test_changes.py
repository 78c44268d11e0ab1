"""UPDATE, DELETE and MERGE change exactly the rows a person can see, and commit like everybody else."""

import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from small_world import Catalog, Person, policy

from lakewright.engines import delta
from lakewright.kernel.faults import Fault, Invalid, NotSupported
from lakewright.sql import changes, dialect

ROWS = pa.table(
    {
        "id": pa.array([1, 2, 3, 4], pa.int64()), "region": ["EU", "US", "EU", "US"], "ssn": ["s1", "s2", "s3", "s4"],
        "amount": pa.array([1.5, 2.5, 3.5, 4.5]),
    }
)  # fmt: skip


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    made = Catalog(tmp_path)
    made.function("m.s.eu", {"r": "STRING"}, "is_account_group_member('admins') OR r = 'EU'")
    made.function("m.s.hide", {"v": "STRING"}, "CASE WHEN is_account_group_member('admins') THEN v ELSE '***' END")
    made.table("m.s.t", ROWS.slice(0, 2), row_filter=policy("m.s.eu", "region"), masks={"ssn": policy("m.s.hide")})
    delta.write(made.relations["m.s.t"].location, ROWS.slice(2))
    made.table(
        "m.s.news",
        pa.table({"id": pa.array([1, 2, 9], pa.int64()), "amount": [10.0, 20.0, 90.0], "region": ["EU", "EU", "EU"]}),
    )
    made.grant("ann", "m.s.t", "m.s.news")
    return made


def change(catalog: Catalog, user: str, sql: str) -> dict[str, int]:
    around = changes.Surroundings(Person(catalog, user), "m", "s", {}, catalog.root / "spill", user)
    target = changes.Target("m.s.t", catalog.relations["m.s.t"].location)
    statement: Any = dialect.parse(sql)
    return {
        "delete": changes.delete,
        "truncatetable": changes.delete,
        "update": changes.update,
        "merge": changes.merge,
    }[statement.key](around, target, statement)


def content(catalog: Catalog) -> dict[int, tuple[Any, ...]]:
    rows = DeltaTable(catalog.relations["m.s.t"].location).to_pyarrow_table().to_pylist()
    return {r["id"]: (r["region"], r["ssn"], r["amount"]) for r in rows}


def test_delete_with_a_subquery(catalog: Catalog) -> None:
    assert change(catalog, "olga", "DELETE FROM t WHERE id IN (SELECT id FROM news)")["num_deleted_rows"] == 2
    assert set(content(catalog)) == {3, 4}


def test_delete_reaches_only_what_the_filter_shows(catalog: Catalog) -> None:
    assert change(catalog, "ann", "DELETE FROM t")["num_affected_rows"] == 2
    assert content(catalog) == {2: ("US", "s2", 2.5), 4: ("US", "s4", 4.5)}


def test_update_by_a_masked_value_finds_only_the_mask(catalog: Catalog) -> None:
    assert change(catalog, "ann", "UPDATE t SET amount = 0 WHERE ssn = 's1'")["num_affected_rows"] == 0
    assert (
        change(catalog, "ann", "UPDATE t AS x SET amount = x.amount + 1 WHERE ssn = '***' AND id < 3")[
            "num_updated_rows"
        ]
        == 1
    )
    assert content(catalog)[1] == ("EU", "s1", 2.5), "the mask is not written back"
    assert content(catalog)[2] == ("US", "s2", 2.5)


def test_a_value_is_stored_as_the_columns_type(catalog: Catalog) -> None:
    change(catalog, "olga", "UPDATE t SET id = 10.9, ssn = 5 WHERE id = 1")
    assert content(catalog)[10] == ("EU", "5", 1.5)


def test_merge_updates_inserts_and_deletes(catalog: Catalog) -> None:
    done = change(
        catalog, "olga",
        "MERGE INTO t USING news AS n ON t.id = n.id WHEN MATCHED AND n.amount > 15 THEN DELETE"
        " WHEN MATCHED THEN UPDATE SET amount = n.amount + t.amount WHEN NOT MATCHED THEN INSERT (id, region, amount) VALUES (n.id, n.region, n.amount)"
        " WHEN NOT MATCHED BY SOURCE AND t.id = 4 THEN UPDATE SET region = 'gone'",
    )  # fmt: skip
    assert done == {"num_affected_rows": 4, "num_updated_rows": 2, "num_deleted_rows": 1, "num_inserted_rows": 1}
    assert content(catalog) == {
        1: ("EU", "s1", 11.5),
        3: ("EU", "s3", 3.5),
        4: ("gone", "s4", 4.5),
        9: ("EU", None, 90.0),
    }


def test_merge_star_takes_columns_by_name(catalog: Catalog) -> None:
    change(
        catalog,
        "olga",
        "MERGE INTO t USING (SELECT id, amount FROM news) n ON t.id = n.id WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *",
    )
    assert content(catalog)[2] == ("US", "s2", 20.0)
    assert content(catalog)[9] == (None, None, 90.0)


def test_merge_touches_only_what_the_filter_shows(catalog: Catalog) -> None:
    change(catalog, "ann", "MERGE INTO t USING news n ON t.id = n.id WHEN MATCHED THEN UPDATE SET amount = n.amount")
    assert content(catalog)[1] == ("EU", "s1", 10.0)
    assert content(catalog)[2] == ("US", "s2", 2.5), "row 2 is hidden from ann"


def test_two_source_rows_for_one_row_are_refused(catalog: Catalog) -> None:
    twice = "(SELECT 1 AS id UNION ALL SELECT 1)"
    with pytest.raises(Invalid, match="MULTIPLE_SOURCE_ROW"):
        change(catalog, "olga", f"MERGE INTO t USING {twice} n ON t.id = n.id WHEN MATCHED THEN DELETE")
    assert len(content(catalog)) == 4


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE t SET region = (SELECT max(x) FROM secret)", "DELETE FROM t WHERE id IN (SELECT 1 FROM secret)",
        "MERGE INTO t USING secret s ON true WHEN MATCHED THEN DELETE", "UPDATE t SET __lw_row = 1", "UPDATE t SET nothing = 1",
        "UPDATE t SET region = read_text('/etc/passwd')", "WITH q AS (SELECT 1) DELETE FROM t", "DELETE FROM t USING news WHERE t.id = news.id",
        "DELETE FROM t VERSION AS OF 0", "DELETE FROM t WHERE __lw_file = 'x'", "UPDATE t SET id = 1, id = 2",
    ],
)  # fmt: skip
def test_a_change_that_reaches_further_is_refused(catalog: Catalog, sql: str) -> None:
    catalog.table("m.s.secret", pa.table({"x": ["canary"]}))
    before = content(catalog)
    with pytest.raises(Fault):
        change(catalog, "ann", sql)
    assert content(catalog) == before


def test_an_append_only_table_is_not_rewritten(catalog: Catalog, tmp_path: Path) -> None:
    DeltaTable(catalog.relations["m.s.t"].location).alter.set_table_properties({"delta.appendOnly": "true"})
    with pytest.raises(NotSupported, match="append-only"):
        change(catalog, "olga", "DELETE FROM t")


def test_concurrent_changes_lose_nothing(catalog: Catalog) -> None:
    """Each writer adds 1 to the same row; every acknowledged one is in the sum."""
    failures: list[Exception] = []

    def add() -> None:
        try:
            for _ in range(4):
                change(catalog, "olga", "UPDATE t SET amount = amount + 1 WHERE id = 1")
        except Exception as e:
            failures.append(e)

    threads = [threading.Thread(target=add) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    assert content(catalog)[1][2] == 1.5 + 12


def test_a_conflicting_commit_from_elsewhere_is_met_by_planning_again(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = catalog.relations["m.s.t"].location
    seen: list[int] = []

    def plan(snapshot: delta.Snapshot) -> delta.Change:
        if not seen:  # another process commits between our reading and our commit
            from deltalake import write_deltalake

            write_deltalake(location, ROWS.slice(0, 1), mode="append")
        seen.append(snapshot.version)
        return delta.Change(snapshot.files, iter([ROWS]), "UPDATE", {})

    delta.rewrite(location, plan)
    assert seen == [2, 3]
    assert DeltaTable(location).version() == 4
