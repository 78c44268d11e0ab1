"""Raw files of the landing volume become Delta tables; rows that cannot be true are set aside with the reason."""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from flight_delays import cleaning, fingerprints, workspace
from flight_delays.features import with_zone

from lakewright.runtime import tables


def main() -> None:
    names = workspace.names()
    landed = workspace.list_folder(names.landing)
    fingerprint = fingerprints.of_landed(landed)
    if fingerprints.recorded(names.table("curated.landed")) == fingerprint:
        print("nothing has landed since these tables were made")
        return
    paths = sorted(str(one["path"]) for one in landed)
    with tempfile.TemporaryDirectory() as folder:
        workspace.download(paths, Path(folder))
        print(
            f"{len(paths)} files landed, the newest flights are {max(one for one in paths if 'flights' in Path(one).name)}"
        )
        cleaned = cleaning.clean(Path(folder))
    for part, checked in cleaned.parts().items():
        tables.write(names.table(f"curated.{part}"), with_zone(checked.kept), mode="overwrite")
        print(f"{part}: {len(checked.kept)} rows kept, {len(checked.quarantined)} quarantined")
        for expectation, broken in checked.broken.items():
            print(f"  {expectation}: {'held' if not broken else f'{broken} rows broke it'}")
    tables.write(names.table("curated.quarantine"), cleaning.quarantine(cleaned), mode="overwrite")
    fingerprints.record(names.table("curated.landed"), fingerprint)


if __name__ == "__main__":
    main()
