"""MLflow's own tables, as its own migrations make them: recorded once per MLflow version, so that a server can be
started without MLflow (its import alone costs seconds and 250 MB), and MLflow itself can still open the database."""

from pathlib import Path

MLFLOW_VERSION = "3.17.2"
SEPARATOR = "\n--\n"


def statements(engine: str) -> list[str]:
    """What makes the tables on "sqlite" or "postgresql", in order."""
    return Path(__file__).with_name(f"{engine}.sql").read_text().strip().split(SEPARATOR)
