"""A server of its own, to be killed: `python -m serving.stand DATA MODELS TABLES TOKEN`; prints its URL."""

import sys
import threading
from pathlib import Path

from lakewright.app import build, serve
from lakewright.kernel.config import Settings
from lakewright.kernel.socket import Server
from lakewright.serving.endpoints import Ledger
from lakewright.serving.releases import Releases

from .conftest import Folder, Shelf


def main() -> None:
    data, models, tables, token = sys.argv[1:]
    platform = build(Settings(data_dir=Path(data), admin_token=token, port=0))  # type: ignore[arg-type]
    shelf = Shelf(Path(models))
    shelf.put("main.ml.delay", 1, "linear")
    platform.provide(shelf, as_type=Releases)
    platform.provide(Folder(Path(tables)), as_type=Ledger)
    server = Server(serve(platform), platform.settings)
    url = server.start()
    platform.start()
    print(url, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
