"""The first page: what there is for the person who looks, and what waits for them."""
# NiceGUI's own types are partly unknown:
# pyright: standard

from typing import Any

from nicegui import ui

from lakewright.console.pages import frame
from lakewright.identity import me
from lakewright.jobs import runs
from lakewright.kernel.answers import Json
from lakewright.kernel.faults import Fault


@ui.page("/")
async def overview() -> None:
    caller = frame.caller()
    with frame.page("Overview"):
        about = await caller.ask(me.me)
        body: dict[str, Any] = about.body if isinstance(about, Json) else about
        groups = ", ".join(sorted(g["display"] for g in body.get("groups", [])))
        frame.facts({"signed in as": body.get("userName"), "in groups": groups})
        ui.label("Latest runs").classes("text-lg font-semibold mt-4")
        try:
            found = await caller.ask(runs.list_, limit=10)
        except Fault as fault:
            frame.refused(fault)
            return
        rows = [
            {"run": str(r["run_id"]), "job": r["run_name"], "state": frame.shown_state(r), "started": frame.when(r["start_time"]),
             "_job": r["job_id"]}
            for r in found.get("runs", [])
        ]  # fmt: skip
        if rows:
            frame.table(["run", "job", "state", "started"], rows, lambda r: f"/jobs/{r['_job']}/runs/{r['run']}")
        else:
            ui.label("Nothing has run yet. `lakewright bundle deploy` brings a project.").classes("text-slate-500")
