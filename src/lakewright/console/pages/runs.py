"""One run, live: its graph, its timeline, its attempts and what they said."""
# NiceGUI's own types are partly unknown:
# pyright: standard

from typing import Any

from nicegui import ui

from lakewright.console.pages import frame
from lakewright.jobs import runs
from lakewright.kernel.faults import Fault

OVER = ("TERMINATED", "SKIPPED", "INTERNAL_ERROR")


@ui.page("/jobs/{job_id}/runs/{run_id}")
async def one_run(job_id: str, run_id: str) -> None:
    caller = frame.caller()
    with frame.page(f"Run {run_id}", ("Jobs", "/jobs"), (f"Job {job_id}", f"/jobs/{job_id}")):
        try:
            run = await caller.ask(runs.get, run_id=run_id)
        except Fault as fault:
            frame.refused(fault)
            return
        with ui.row().classes("items-center gap-3"):
            state = frame.chip(frame.shown_state(run))
            took = ui.label()
            ui.label(f"{run.get('trigger', '')} · as {run.get('run_as_user_name', '')}").classes("text-slate-500")
            ui.space()
            stop = ui.button("Cancel", icon="stop", on_click=lambda: act(runs.cancel, run_id=run_id))
            stop.props("no-caps dense outline color=negative")
        message = ui.label().classes("text-red-800 text-sm")
        graph = ui.echart(graph_of(run["tasks"])).classes("w-full h-64").mark("graph")
        timeline = ui.echart(timeline_of(run["tasks"])).classes("w-full h-56").mark("timeline")
        columns = ["task", "attempt", "state", "took", "message"]
        tasks = frame.table(columns, rows_of(run["tasks"]))
        tasks.on("rowClick", lambda event: said(str(event.args[1]["_run"]), event.args[1]["task"]))
        ui.label("Output: click a task").classes("text-sm text-slate-500 mt-2")
        output = ui.code("", language="text").classes("w-full text-xs max-h-96 overflow-auto").mark("output")
        shown = ""

        async def act(operation: Any, **fields: Any) -> None:
            try:
                await caller.ask(operation, **fields)
            except Fault as fault:
                frame.said(fault)
                return
            await refresh()

        async def said(task_run_id: str, task: str) -> None:
            nonlocal shown
            shown = task_run_id
            try:
                found = await caller.ask(runs.get_output, run_id=task_run_id)
            except Fault as fault:
                output.set_content(str(fault))
                return
            parts = [found.get("error_trace") or found.get("error") or "", found.get("logs") or ""]
            parts.append((found.get("notebook_output") or {}).get("result") or "")
            output.set_content("\n".join(p for p in parts if p) or f"{task} said nothing")

        async def refresh() -> None:
            try:
                now = await caller.ask(runs.get, run_id=run_id)
            except Fault as fault:
                message.set_text(str(fault))
                timer.deactivate()
                return
            draw(now)

        def draw(now: dict[str, Any]) -> None:
            frame.paint(state, frame.shown_state(now))
            end = now.get("end_time") or frame.now()
            took.set_text(frame.lasting(end - now["start_time"]))
            message.set_text(now.get("state", {}).get("state_message", ""))
            graph.options.update(graph_of(now["tasks"]))
            timeline.options.update(timeline_of(now["tasks"]))
            graph.update()
            timeline.update()
            tasks.update_rows(rows_of(now["tasks"]))
            over = now.get("state", {}).get("life_cycle_state") in OVER
            stop.set_visibility(not over)
            if over:
                timer.deactivate()

        timer = ui.timer(1.0, refresh)
        draw(run)


def rows_of(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    now = frame.now()
    return [
        {"task": t["task_key"], "attempt": t.get("attempt_number", 0), "state": frame.shown_state(t),
         "took": frame.lasting((t.get("end_time") or now) - t["start_time"]) if t.get("start_time") else "–",
         "message": t.get("state", {}).get("state_message", ""), "_run": t["run_id"], "_key": t["run_id"]}
        for t in tasks
    ]  # fmt: skip


def depths(tasks: list[dict[str, Any]]) -> dict[str, int]:
    """How far each task is from the start: its column in the graph."""
    needs = {t["task_key"]: [d["task_key"] for d in t.get("depends_on", [])] for t in tasks}
    found: dict[str, int] = {}

    def depth(key: str) -> int:
        if key not in found:
            found[key] = 1 + max((depth(above) for above in needs.get(key, [])), default=-1)
        return found[key]

    for key in needs:
        depth(key)
    return found


def graph_of(tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """Tasks as boxes in columns, arrows from what they wait for, colour by state."""
    latest = {t["task_key"]: t for t in sorted(tasks, key=lambda t: t.get("attempt_number", 0))}
    column = depths(list(latest.values()))
    in_column: dict[int, list[str]] = {}
    for key in latest:
        in_column.setdefault(column[key], []).append(key)
    nodes: list[dict[str, Any]] = []
    for x, keys in in_column.items():
        for at, key in enumerate(keys):
            state = frame.shown_state(latest[key])
            nodes.append({
                "name": key, "value": [x, (at - (len(keys) - 1) / 2)], "itemStyle": {"color": frame.COLORS.get(state, "#8795a1")},
                "label": {"show": True, "color": "#fff", "formatter": f"{key}\n{state}", "fontSize": 11, "lineHeight": 14},
            })  # fmt: skip
    links = [{"source": d["task_key"], "target": key} for key, t in latest.items() for d in t.get("depends_on", [])]
    deepest, tallest = max(in_column, default=0), max(map(len, in_column.values()), default=1)
    return {
        "animation": False, "grid": {"left": 10, "right": 10, "top": 10, "bottom": 10},
        "xAxis": {"type": "value", "min": -0.5, "max": deepest + 0.5, "show": False},
        "yAxis": {"type": "value", "min": -tallest / 2, "max": tallest / 2, "inverse": True, "show": False},
        "series": [{
            "type": "graph", "coordinateSystem": "cartesian2d", "data": nodes, "links": links, "symbol": "roundRect",
            "symbolSize": [min(150, 900 // (deepest + 1)), 40], "edgeSymbol": ["none", "arrow"], "edgeSymbolSize": 8,
            "lineStyle": {"color": "#8795a1", "width": 1.5},
        }],
    }  # fmt: skip


def timeline_of(tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """When each attempt ran: seconds since the first began."""
    began = [t for t in tasks if t.get("start_time")]
    first = min((t["start_time"] for t in began), default=0)
    now = frame.now()
    names = [
        f"{t['task_key']} #{t.get('attempt_number', 0)}" if t.get("attempt_number") else t["task_key"] for t in began
    ]
    waits = [(t["start_time"] - first) / 1000 for t in began]
    spans = [
        {"value": max(0, ((t.get("end_time") or now) - t["start_time"]) / 1000),
         "itemStyle": {"color": frame.COLORS.get(frame.shown_state(t), "#8795a1")}}
        for t in began
    ]  # fmt: skip
    return {
        "animation": False, "grid": {"left": 130, "right": 30, "top": 10, "bottom": 30},
        "xAxis": {"type": "value", "axisLabel": {"formatter": "{value} s"}},
        "yAxis": {"type": "category", "data": names, "inverse": True},
        "series": [
            {"type": "bar", "stack": "t", "data": waits, "itemStyle": {"color": "transparent"}, "silent": True},
            {"type": "bar", "stack": "t", "data": spans, "barMaxWidth": 18},
        ],
    }  # fmt: skip
