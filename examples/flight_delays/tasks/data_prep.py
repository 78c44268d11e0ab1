"""Raw files of the landing volume become Delta tables; rows that cannot be true are set aside with the reason."""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from flight_delays import cleaning, workspace
from flight_delays.features import with_zone

from lakewright.runtime import tables


def main() -> None:
    names = workspace.names()
    with tempfile.TemporaryDirectory() as folder:
        landed = workspace.download_folder(names.landing, Path(folder))
        print(f"{len(landed)} files landed, the newest flights are {max(one for one in landed if 'flights' in one)}")
        cleaned = cleaning.clean(Path(folder))
    for part, checked in cleaned.parts().items():
        tables.write(names.table(f"curated.{part}"), with_zone(checked.kept), mode="overwrite")
        print(f"{part}: {len(checked.kept)} rows kept, {len(checked.quarantined)} quarantined")
        for expectation, broken in checked.broken.items():
            print(f"  {expectation}: {'held' if not broken else f'{broken} rows broke it'}")
    tables.write(names.table("curated.quarantine"), cleaning.quarantine(cleaned), mode="overwrite")


if __name__ == "__main__":
    main()
