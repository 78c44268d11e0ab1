"""The approved version becomes the champion, the endpoint answers with it, and what it learnt from is kept to compare with."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from flight_delays import release, serving, tracking, windows, workspace
from flight_delays.features import FEATURES

from lakewright.runtime import tables


def main() -> None:
    names, more = workspace.read_arguments(None, "version", "readers")
    version = int(more["version"])
    release.go_live(names, version)
    print(f"{release.CHAMPION} of {names.model} is version {version}")
    serving.put_live(names, version, readers=more["readers"])
    print(f"endpoint {names.endpoint} answers with version {version}")
    span = windows.recorded(tracking.runs_of(names, "candidate")[0].data.params)
    learnt = windows.training_rows(tables.read(names.table("ml.lateness_features")), span).select(FEATURES)
    tables.write(names.table("ml.lateness_baseline"), learnt, mode="overwrite")
    print(f"{len(learnt)} flights are what later requests are compared with")


if __name__ == "__main__":
    main()
