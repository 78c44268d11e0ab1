"""The example project's own code, imported as its tasks import it, over two real months."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2] / "examples" / "flight_delays"
sys.path.insert(0, str(PROJECT / "src"))


@pytest.fixture(scope="session")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from flight_delays import source

    folder = tmp_path_factory.mktemp("landing")
    for name, content in {**source.reference_files(), **source.monthly_files([1, 2])}.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="session")
def cleaned(landing: Path):
    from flight_delays import cleaning

    return cleaning.clean(landing)


@pytest.fixture(scope="session")
def features(cleaned):
    from flight_delays import features

    return features.build(cleaned.flights.kept, cleaned.weather.kept, cleaned.planes.kept)
