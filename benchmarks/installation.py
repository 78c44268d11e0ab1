"""An empty platform of its own for a benchmark. Here and not in `world`, whose kinds and operations come with its import."""

import tempfile
from pathlib import Path

from lakewright.app import build
from lakewright.kernel.config import Settings
from lakewright.kernel.platform import Platform


def fresh(database_url: str = "") -> Platform:
    directory = Path(tempfile.mkdtemp(prefix="lakewright-bench-"))
    platform = build(Settings(data_dir=directory, database_url=database_url, port=0))
    platform.start()
    return platform
