"""Models: the registry, one version with its card, gate and approval, and what waits for the person who looks."""

import json
from typing import Any

from nicegui import ui

from lakewright.console.pages import frame
from lakewright.kernel.faults import Fault
from lakewright.kernel.operation import Operation
from lakewright.models import approvals, cards, gates, registered, release, versions

# NiceGUI's own types are partly unknown:
# pyright: standard


@ui.page("/models")
async def all_models() -> None:
    caller = frame.caller()
    with frame.page("Models"):
        try:
            waiting = await caller.ask(approvals.list_, state="PENDING")
        except Fault as fault:
            waiting = {"approvals": []}
            frame.said(fault)
        if waiting.get("approvals"):
            ui.label("Waiting for approval").classes("text-lg font-semibold")
            rows = [
                {"model": a["model"], "version": a["version"], "alias": a["alias"], "asked by": a["requested_by"],
                 "until": frame.when(a["expires_at"]), "_key": a["approval_id"]}
                for a in waiting["approvals"]
            ]  # fmt: skip
            columns = ["model", "version", "alias", "asked by", "until"]
            frame.table(columns, rows, lambda r: f"/models/{r['model']}/{r['version']}")
        found = await caller.ask(registered.list_)
        ui.label("Registered models").classes("text-lg font-semibold mt-4")
        rows = [
            {"model": m["full_name"], "owner": m.get("owner"), "comment": m.get("comment", "")}
            for m in found.get("registered_models", [])
        ]  # fmt: skip
        frame.table(["model", "owner", "comment"], rows, lambda r: f"/models/{r['model']}")


@ui.page("/models/{full_name}")
async def one_model(full_name: str) -> None:
    caller = frame.caller()
    with frame.page(full_name, ("Models", "/models")):
        try:
            model = await caller.ask(registered.get, full_name=full_name, include_aliases=True)
            found = await caller.ask(versions.list_, full_name=full_name)
            past = await caller.ask(release.get_history, model=full_name)
        except Fault as fault:
            frame.refused(fault)
            return
        aliases: dict[int, list[str]] = {}
        for alias in model.get("aliases", []):
            aliases.setdefault(int(alias["version_num"]), []).append(alias["alias_name"])
        frame.facts({"owner": model.get("owner"), "comment": model.get("comment")})
        rows = [
            {"version": v["version"], "status": v["status"], "aliases": ", ".join(aliases.get(int(v["version"]), [])),
             "by": v.get("created_by", ""), "made": frame.when(v.get("created_at"))}
            for v in sorted(found.get("model_versions", []), key=lambda v: -int(v["version"]))
        ]  # fmt: skip
        columns = ["version", "status", "aliases", "by", "made"]
        frame.table(columns, rows, lambda r: f"/models/{full_name}/{r['version']}")
        ui.label("What was live").classes("text-lg font-semibold mt-4")
        entries = [{name: shown(value) for name, value in entry.items()} for entry in past.get("history", [])]
        if entries:
            frame.table(list(entries[0]), entries)
        else:
            ui.label("Nothing of this model has been released.").classes("text-slate-500")


@ui.page("/models/{full_name}/{version}")
async def one_version(full_name: str, version: int) -> None:
    caller = frame.caller()
    above = ("Models", "/models"), (full_name, f"/models/{full_name}")
    with frame.page(f"Version {version}", *above):
        try:
            about = await caller.ask(versions.get_, full_name=full_name, version=version, include_aliases=True)
            servable = await caller.ask(release.get_servable, model=full_name, version=version)
        except Fault as fault:
            frame.refused(fault)
            return
        frame.facts({
            "status": about["status"], "run": about.get("run_id"), "by": about.get("created_by"),
            "made": frame.when(about.get("created_at")),
            "aliases": ", ".join(a["alias_name"] for a in about.get("aliases", [])),
            "may be served": "yes" if servable["servable"] else servable["because"],
        })  # fmt: skip
        await approval_of(caller, full_name, version)
        await gate_of(caller, full_name, version)
        await card_of(caller, full_name, version)


async def approval_of(caller: frame.Caller, model: str, version: int) -> None:
    """The requests for this version, and answering one."""
    ui.label("Approval").classes("text-lg font-semibold mt-4")
    found = await caller.ask(approvals.list_, model=model)
    mine = [a for a in found.get("approvals", []) if a["version"] == version]
    if not mine:
        ui.label("Nobody has asked for this version to be released.").classes("text-slate-500")
    for approval in mine:
        with ui.card().classes("w-full").props("flat bordered"):
            with ui.row().classes("items-center gap-3"):
                frame.chip(approval["state"])
                ui.label(f"for alias {approval['alias']}, asked by {approval['requested_by']}")
                ui.label(f"needs {approval['approvals_needed']}").classes("text-slate-500")
            for answer in approval["answers"]:
                said = f"{answer['principal']}: {answer['decision']} {answer['comment']}"
                ui.label(f"{frame.when(answer['at'])} {said}").classes("text-sm")
            if approval["state"] == "PENDING":
                answering(caller, approval)


def answering(caller: frame.Caller, approval: dict[str, Any]) -> None:
    comment = ui.input("Comment").props("dense outlined").classes("w-96")

    async def answer(operation: Operation[Any, Any]) -> None:
        try:
            # The subject names the exact bytes and verdict that were on this page: a change in between voids the answer.
            await caller.ask(
                operation, approval_id=approval["approval_id"], comment=comment.value or "", subject=approval["subject"]
            )
        except Fault as fault:
            frame.said(fault)
            return
        ui.navigate.reload()

    with ui.row():
        ui.button("Approve", icon="check", on_click=lambda: answer(approvals.approve)).props("no-caps dense")
        reject = ui.button("Reject", icon="close", on_click=lambda: answer(approvals.reject))
        reject.props("no-caps dense outline color=negative")


async def gate_of(caller: frame.Caller, model: str, version: int) -> None:
    """The verdict, check by check."""
    ui.label("Gate").classes("text-lg font-semibold mt-4")
    try:
        verdict = await caller.ask(gates.get, model=model, version=version)
    except Fault as fault:
        ui.label(str(fault)).classes("text-slate-500")
        return
    frame.chip("SUCCESS" if verdict["passed"] else "FAILED").set_text("passed" if verdict["passed"] else "not passed")
    checks = enumerate(verdict["outcomes"])
    rows = [{name: shown(value) for name, value in check.items()} | {"_key": i} for i, check in checks]
    if rows:
        frame.table([name for name in rows[0] if name != "_key"], rows)


async def card_of(caller: frame.Caller, model: str, version: int) -> None:
    """What is known of the version, and what is still missing."""
    ui.label("Card").classes("text-lg font-semibold mt-4")
    try:
        card = await caller.ask(cards.get, model=model, version=version)
    except Fault as fault:
        ui.label(str(fault)).classes("text-slate-500")
        return
    if card["missing"]:
        ui.label(f"Missing: {', '.join(card['missing'])}").classes("text-red-800")
    for name, value in card["sections"].items():
        with ui.expansion(name.replace("_", " "), value=isinstance(value, str)).classes("w-full").props("dense"):
            if isinstance(value, str):
                ui.label(value)
            else:
                ui.code(json.dumps(value, indent=1, default=str), language="json").classes("text-xs w-full")


def shown(value: Any) -> Any:
    """A value fit for a table's cell."""
    if isinstance(value, int) and value > 10**12:
        return frame.when(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else json.dumps(value, default=str)
