"""Jobs: the list, and one job with its runs."""
# NiceGUI's own types are partly unknown:
# pyright: standard

from nicegui import ui

from lakewright.console.pages import frame
from lakewright.jobs import jobs, runs
from lakewright.kernel.faults import Fault


@ui.page("/jobs")
async def all_jobs() -> None:
    caller = frame.caller()
    with frame.page("Jobs"):
        found = await caller.ask(jobs.list_, limit=100)
        rows = [
            {"name": j["settings"].get("name", "Untitled"), "id": str(j["job_id"]), "by": j.get("creator_user_name", ""),
             "made": frame.when(j.get("created_time")), "_key": j["job_id"]}
            for j in found.get("jobs", [])
        ]  # fmt: skip
        frame.table(["name", "id", "by", "made"], rows, lambda r: f"/jobs/{r['id']}")


@ui.page("/jobs/{job_id}")
async def one_job(job_id: str) -> None:
    caller = frame.caller()
    with frame.page(f"Job {job_id}", ("Jobs", "/jobs")):
        try:
            job = await caller.ask(jobs.get, job_id=job_id)
            found = await caller.ask(runs.list_, job_id=job_id, limit=25)
        except Fault as fault:
            frame.refused(fault)
            return
        settings = job["settings"]
        frame.facts({
            "name": settings.get("name"), "runs as": job.get("run_as_user_name"), "owner": job.get("creator_user_name"),
            "tasks": " → ".join(t["task_key"] for t in settings.get("tasks", [])),
            "schedule": (settings.get("schedule") or {}).get("quartz_cron_expression"),
        })  # fmt: skip

        async def start() -> None:
            try:
                made = await caller.ask(runs.run_now, job_id=job_id)
            except Fault as fault:
                frame.said(fault)
                return
            ui.navigate.to(f"/jobs/{job_id}/runs/{made['run_id']}")

        ui.button("Run now", icon="play_arrow", on_click=start).props("no-caps dense")
        ui.label("Runs").classes("text-lg font-semibold mt-4")
        rows = [
            {"run": str(r["run_id"]), "state": frame.shown_state(r), "trigger": r.get("trigger", ""),
             "started": frame.when(r["start_time"]), "took": frame.lasting(r.get("run_duration", 0))}
            for r in found.get("runs", [])
        ]  # fmt: skip
        frame.table(["run", "state", "trigger", "started", "took"], rows, lambda r: f"/jobs/{job_id}/runs/{r['run']}")
