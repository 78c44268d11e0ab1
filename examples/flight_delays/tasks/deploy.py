"""The approved version becomes the champion, and the endpoint answers with it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from flight_delays import release, serving, workspace


def main() -> None:
    names, more = workspace.read_arguments(None, "version", "readers")
    version = int(more["version"])
    release.go_live(names, version)
    print(f"{release.CHAMPION} of {names.model} is version {version}")
    serving.put_live(names, version, readers=more["readers"])
    print(f"endpoint {names.endpoint} answers with version {version}")


if __name__ == "__main__":
    main()
