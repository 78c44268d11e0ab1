"""Record the tables that MLflow's own migrations make: `python -m lakewright.tracking.schema.record [postgres-url]`.

Run it when MLflow is upgraded, on an empty Postgres database (SQLite needs none). The recorded statements are then the
starting point of new installations; existing ones are upgraded by MLflow's own `mlflow db upgrade`, whose state
(`alembic_version`) is part of what is recorded.
"""

import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from lakewright.tracking.schema import SEPARATOR

HERE = Path(__file__).parent


def migrated(url: str) -> None:
    """Let MLflow make its tables in an empty database."""
    from mlflow.store.db.utils import (
        _initialize_tables,  # type: ignore[reportPrivateUsage]  # what `mlflow server` does on an empty database
        create_sqlalchemy_engine,  # type: ignore[reportUnknownVariableType]
    )

    engine = create_sqlalchemy_engine(url)
    _initialize_tables(engine)
    engine.dispose()


def sqlite_statements(path: Path) -> list[str]:
    """All of the database's tables, indexes, triggers and the few rows they start with."""
    with sqlite3.connect(path) as database:
        made = [
            str(row[0])
            for row in database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
        ]
        rows = [line for line in database.iterdump() if line.startswith("INSERT INTO")]
    return [statement.strip() for statement in made] + [row.rstrip(";") for row in rows]


def postgres_statements(url: str) -> list[str]:
    binary = shutil.which("pg_dump")
    if binary is None:
        raise SystemExit("pg_dump is needed to record the Postgres tables")
    plain = url.replace("postgresql+psycopg://", "postgresql://")
    dump = subprocess.run(
        [binary, "--no-owner", "--no-privileges", "--inserts", "--no-comments", plain],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    dump = "\n".join(line for line in dump.splitlines() if not line.startswith(("--", "\\")))
    found = [part.strip() for part in _split(dump.replace("public.", ""))]
    return [part for part in found if part and not part.startswith(("SET ", "SELECT pg_catalog.set_config"))]


def _split(dump: str) -> list[str]:
    """At semicolons that end a line, but not inside a $$ body."""
    parts, at = [""], False
    for line in dump.splitlines():
        at ^= len(re.findall(r"\$\w*\$", line)) % 2 == 1
        if line.endswith(";") and not at:
            parts[-1] += line[:-1]
            parts.append("")
        else:
            parts[-1] += line + "\n"
    return parts


def main(postgres_url: str | None) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "mlflow.db"
        migrated(f"sqlite:///{path}")
        (HERE / "sqlite.sql").write_text(SEPARATOR.join(sqlite_statements(path)) + "\n")
    if postgres_url:
        url = postgres_url.replace("postgresql://", "postgresql+psycopg://", 1)
        migrated(url)
        (HERE / "postgresql.sql").write_text(SEPARATOR.join(postgres_statements(url)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
