"""One row per flight with what was known at its scheduled departure."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from flight_delays import features, workspace

from lakewright.runtime import tables


def main() -> None:
    names = workspace.names()
    flights, weather, planes = (
        tables.read(names.table(f"curated.{part}")) for part in ("flights", "weather", "planes")
    )
    built = features.build(flights, weather, planes)
    tables.write(names.table("ml.lateness_features"), built, mode="overwrite")
    print(f"{len(built)} flights, {len(features.FEATURES)} features each")


if __name__ == "__main__":
    main()
