"""The pages themselves. Imported at the first visit: this is where NiceGUI comes in."""
# NiceGUI's own types are partly unknown:
# pyright: standard

import asyncio
import importlib
import os
import threading

from starlette.types import ASGIApp

from lakewright.kernel.platform import Platform

PAGES = ("overview", "jobs", "runs", "catalog", "models", "endpoints", "access", "audit")


async def load(platform: Platform) -> ASGIApp:
    """Import NiceGUI and all pages off the event loop, then start it on the loop."""
    # NiceGUI writes a folder of its own into the working directory unless told where.
    os.environ.setdefault("NICEGUI_STORAGE_PATH", str(platform.settings.data_dir / "console"))
    imported = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()

    def work() -> None:
        try:
            from lakewright.console.pages import frame

            frame.belongs_to(platform)
            for name in PAGES:
                importlib.import_module(f"{__name__}.{name}")
            loop.call_soon_threadsafe(imported.set_result, None)
        except BaseException as error:
            loop.call_soon_threadsafe(imported.set_exception, error)

    threading.Thread(target=work, name="console-import", daemon=True).start()
    await imported
    from lakewright.console.pages import frame

    return await frame.started()
