"""Endpoints: what serves which model, and how its inputs drift."""

from typing import Any

from nicegui import ui

from lakewright.console.pages import asking, frame
from lakewright.kernel.faults import Fault
from lakewright.serving import endpoints

# NiceGUI's own types are partly unknown:
# pyright: standard

DRIFT = """
SELECT window.start AS at, column_name, MAX(population_stability_index) AS psi
FROM {metrics} WHERE column_name <> ':table' AND slice_key IS NULL GROUP BY 1, 2 ORDER BY 1, 2
"""


@ui.page("/endpoints")
async def all_endpoints() -> None:
    caller = frame.caller()
    with frame.page("Endpoints"):
        found = await caller.ask(endpoints.list_)
        rows = [
            {"endpoint": e["name"], "ready": e["state"]["ready"], "update": e["state"]["config_update"],
             "serves": ", ".join(f"{s['entity_name']} v{s['entity_version']}" for s in entities(e)), "by": e["creator"]}
            for e in found["endpoints"]
        ]  # fmt: skip
        frame.table(["endpoint", "ready", "update", "serves", "by"], rows, lambda r: f"/endpoints/{r['endpoint']}")


@ui.page("/endpoints/{name}")
async def one_endpoint(name: str) -> None:
    caller = frame.caller()
    with frame.page(name, ("Endpoints", "/endpoints")):
        try:
            about = await caller.ask(endpoints.get, name=name)
        except Fault as fault:
            frame.refused(fault)
            return
        capture = about.get("config", {}).get("auto_capture_config") or {}
        log = (capture.get("state") or {}).get("payload_table") or {}
        logged: str = log.get("name") or ""
        frame.facts({
            "ready": about["state"]["ready"], "update": about["state"]["config_update"], "by": about["creator"],
            "you may": about.get("permission_level"), "requests are logged to": logged,
        })  # fmt: skip
        shares = {
            r["served_entity_name"]: r["traffic_percentage"]
            for r in about.get("config", {}).get("traffic_config", {}).get("routes", [])
        }
        rows = [
            {"entity": s["name"], "model": s["entity_name"], "version": s["entity_version"],
             "traffic": f"{shares.get(s['name'], 0)} %", "state": s["state"]["deployment"],
             "message": s["state"]["deployment_state_message"]}
            for s in entities(about)
        ]  # fmt: skip
        frame.table(["entity", "model", "version", "traffic", "state", "message"], rows)
        ui.label("Drift of what is asked").classes("text-lg font-semibold mt-4")
        place = ui.column().classes("w-full")

        async def drift() -> None:
            with place:
                await drift_of(caller, logged.removesuffix("_payload") + "_scored")

        if logged:
            ui.timer(0, drift, once=True)  # after the page is there: a first query starts an engine


def entities(endpoint: dict[str, Any]) -> list[dict[str, Any]]:
    found = endpoint.get("config") or endpoint.get("pending_config") or {}
    return found.get("served_entities", [])


async def drift_of(caller: frame.Caller, table: str) -> None:
    """Population stability by window, the features that moved most first; the heat map of all beside it."""
    try:
        found = await asking.rows(caller, DRIFT.format(metrics=asking.quoted(f"{table}_drift_metrics")))
    except Fault as fault:
        ui.label(f"No drift to show: {fault}").classes("text-slate-500")
        return
    measured = [(r["at"], r["column_name"], float(r["psi"])) for r in found if r["psi"] is not None]
    if not measured:
        ui.label("Nothing has been measured yet.").classes("text-slate-500")
        return
    windows = sorted({at for at, _, _ in measured})
    worst: dict[str, float] = {}
    for _, column, psi in measured:
        worst[column] = max(psi, worst.get(column, 0.0))
    columns = sorted(worst, key=lambda c: -worst[c])
    by_place = {(at, column): psi for at, column, psi in measured}
    heat = [
        [x, y, round(by_place[(at, column)], 4)]
        for x, at in enumerate(windows) for y, column in enumerate(columns) if (at, column) in by_place
    ]  # fmt: skip
    days = [at[:10] for at in windows]
    ui.echart({
        "title": {"text": "Population stability index by window", "textStyle": {"fontSize": 13}},
        "grid": {"left": 150, "right": 90, "top": 40, "bottom": 30},
        "xAxis": {"type": "category", "data": days}, "yAxis": {"type": "category", "data": columns, "inverse": True},
        "visualMap": {"min": 0, "max": 0.5, "right": 0, "top": "center", "inRange": {"color": ["#eef6f1", "#f2c14e", "#b3261e"]}},
        "series": [{"type": "heatmap", "data": heat, "label": {"show": len(heat) <= 200}}],
    }).classes("w-full").style(f"height: {max(240, 28 * len(columns))}px").mark("drift")  # fmt: skip
    lines = [
        {"name": c, "type": "line", "data": [by_place.get((at, c)) for at in windows],
         "markLine": {"data": [{"yAxis": 0.25}], "symbol": "none"} if c == columns[0] else None}
        for c in columns[:5]
    ]  # fmt: skip
    ui.echart({
        "title": {"text": "The five that moved most", "textStyle": {"fontSize": 13}}, "legend": {"top": 20},
        "grid": {"left": 50, "right": 30, "top": 60, "bottom": 30}, "xAxis": {"type": "category", "data": days},
        "yAxis": {"type": "value"}, "tooltip": {"trigger": "axis"}, "series": lines,
    }).classes("w-full h-72")  # fmt: skip
