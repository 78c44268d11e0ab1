"""The recorded tables are MLflow's: the same ones its own migrations make, and MLflow itself opens them."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lakewright.kernel.platform import Platform
from lakewright.kernel.store import SqliteStore
from lakewright.tracking.schema import MLFLOW_VERSION, record, statements

ON_POSTGRES = os.environ.get("LAKEWRIGHT_TEST_DATABASE") == "postgres"


def run_python(source: str, *arguments: str) -> str:
    """MLflow keeps global state and costs seconds to import: it gets a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source), *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_any_order(made: list[str]) -> list[list[str]]:
    """MLflow's migrations write a table's constraints in the order of a set, which differs from run to run."""
    return sorted(sorted(line.strip().rstrip(",") for line in statement.splitlines()) for statement in made)


@pytest.mark.skipif(ON_POSTGRES, reason="about the SQLite recording")
def test_what_is_recorded_is_what_mlflow_makes(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    run_python(
        "import sys; from lakewright.tracking.schema.record import migrated; migrated(sys.argv[1])", f"sqlite:///{path}"
    )
    assert in_any_order(record.sqlite_statements(path)) == in_any_order(statements("sqlite"))


def test_mlflow_opens_the_database_as_its_own(platform: Platform) -> None:
    store = platform.store
    url = str(store.path) if isinstance(store, SqliteStore) else store.url
    url = (
        f"sqlite:///{url}"
        if isinstance(store, SqliteStore)
        else url.replace("postgresql://", "postgresql+psycopg://", 1)
    )
    opened = run_python(
        """
        import sys, mlflow
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
        store = SqlAlchemyStore(sys.argv[1], "file:///nowhere")
        print(mlflow.__version__, store.create_experiment("made by MLflow itself"))
        """,
        url,
    )
    assert opened.split()[0] == MLFLOW_VERSION
    names = platform.snapshot(lambda ctx: [row["name"] for row in ctx.tx.all("SELECT name FROM experiments")])
    assert "made by MLflow itself" in names
