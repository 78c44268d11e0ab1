"""One row per flight with what was known at its scheduled departure."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from flight_delays import features, fingerprints, workspace

from lakewright.runtime import tables


def main() -> None:
    names = workspace.names()
    landed = fingerprints.recorded(names.table("curated.landed"))
    if landed is not None and landed == fingerprints.recorded(names.table("ml.lateness_features_of")):
        print("the features are those of what has landed")
        return
    flights, weather, planes = (
        tables.read(names.table(f"curated.{part}")) for part in ("flights", "weather", "planes")
    )
    built = features.build(flights, weather, planes)
    tables.write(names.table("ml.lateness_features"), built, mode="overwrite")
    fingerprints.record(names.table("ml.lateness_features_of"), str(landed))
    print(f"{len(built)} flights, {len(features.FEATURES)} features each")


if __name__ == "__main__":
    main()
