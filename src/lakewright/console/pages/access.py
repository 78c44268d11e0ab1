"""Access: why somebody may or may not, who can, and what waits for a decision."""

from typing import Any

from nicegui import ui

from lakewright.access import explain, requests, reviews
from lakewright.console.pages import frame
from lakewright.kernel.faults import Fault

# NiceGUI's own types are partly unknown:
# pyright: standard

INPUT = "dense outlined clearable"


@ui.page("/access")
async def access(principal: str = "me", object: str = "", action: str = "") -> None:
    """The question is in the address, so that an answer can be passed on."""
    caller = frame.caller()
    with frame.page("Access"):
        with ui.row().classes("items-center gap-2"):
            who = ui.input("Who", value=principal).props(INPUT)
            thing = ui.input("Object, e.g. tables:/main.sales.orders", value=object).props(INPUT).classes("w-96")
            what = ui.input("Right or operation", value=action).props(INPUT)
            why = ui.button("Explain", icon="help_outline").props("no-caps dense")
            everybody = ui.button("Who can", icon="groups").props("no-caps dense outline")
        place = ui.column().classes("w-full")

        async def show_why() -> None:
            place.clear()
            with place:
                try:
                    said = await caller.ask(
                        explain.explain,
                        principal=who.value or "me",
                        object=thing.value or "",
                        action=what.value or None,
                    )
                except Fault as fault:
                    frame.refused(fault)
                    return
                _verdict(said)

        async def show_who() -> None:
            place.clear()
            with place:
                try:
                    said = await caller.ask(explain.who_can, action=what.value or "", object=thing.value or "")
                except Fault as fault:
                    frame.refused(fault)
                    return
                rows = [{**p, "_key": p["name"]} for p in said["principals"]]
                frame.table(["name", "kind", "because"], rows)
                if "next_page_token" in said:
                    ui.label("There are more: lakewright access who-can lists them all.")

        why.on_click(show_why)
        everybody.on_click(show_who)
        if object:
            await show_why()
        await _requests(caller)
        await _reviews(caller)


def _verdict(said: dict[str, Any]) -> None:
    with ui.row().classes("items-center gap-2"):
        ui.icon("check_circle" if said["allowed"] else "block", color="green" if said["allowed"] else "red")
        ui.label("Allowed" if said["allowed"] else "Refused").classes("font-semibold")
        ui.label(said.get("because", ""))
    for limit in said.get("limits", ()):
        column = f" of column {limit['column']}" if "column" in limit else ""
        ui.label(f"In force for readers: {limit['limit']}{column} {limit['function']}")
    if "explanation" in said:
        _branch(said["explanation"], 0)
    if "actions" in said:
        rows = [
            {"action": a["action"], "allowed": "yes" if a["allowed"] else "no", "because": a["because"], "_key": a["action"]}
            for a in said["actions"]
        ]  # fmt: skip
        frame.table(["action", "allowed", "because"], rows)


def _branch(explanation: dict[str, Any], depth: int) -> None:
    """One rule under the rule it is part of, and the paths that fulfil it."""
    with ui.row().classes("items-center gap-1 text-sm").style(f"margin-left: {depth * 1.5}rem"):
        ui.icon("done" if explanation["allowed"] else "close", color="green" if explanation["allowed"] else "red")
        ui.label(explanation["needs"])
    for path in explanation.get("paths", ()):
        how = "inherited from" if path["inherited"] else "on"
        chains = " or ".join(" › ".join(chain) for chain in path.get("through", ()))
        until = f", until {frame.when(path['until'])}" if "until" in path else ""
        ui.label(f"{path['holds']} {how} {path['on']}{f' by {chains}' if chains else ''}{until}").classes(
            "text-sm text-slate-500"
        ).style(f"margin-left: {depth * 1.5 + 1.5}rem")
    for part in explanation.get("parts", ()):
        _branch(part, depth + 1)


async def _requests(caller: frame.Caller) -> None:
    ui.label("Requests that wait for you").classes("text-lg font-semibold mt-4")
    place = ui.column().classes("w-full gap-1")

    async def draw() -> None:
        place.clear()
        found = await caller.ask(requests.list_, to_decide=True)
        with place:
            for each in found["requests"]:
                one(each)
            if not found["requests"]:
                ui.label("None.").classes("text-slate-500")

    def one(each: dict[str, Any]) -> None:
        for_how_long = f" for {each['lasts_seconds'] // 60} min" if "lasts_seconds" in each else ""
        with ui.row().classes("items-center gap-2"):
            ui.label(f"{each['principal']}: {', '.join(each['rights'])} on {each['object']}{for_how_long}")
            ui.label(each["reason"]).classes("text-slate-500")
            ui.button("Approve", on_click=lambda: decide(requests.approve, each)).props("no-caps dense")
            ui.button("Deny", on_click=lambda: decide(requests.deny, each)).props("no-caps dense outline")

    async def decide(operation: Any, each: dict[str, Any]) -> None:
        try:
            await caller.ask(operation, request_id=each["request_id"])
        except Fault as fault:
            frame.said(fault)
        await draw()

    await draw()


async def _reviews(caller: frame.Caller) -> None:
    found = await caller.ask(reviews.list_)
    waiting = [r for r in found["reviews"] if r["state"] == "open"]
    if not waiting:
        return
    ui.label("Access reviews").classes("text-lg font-semibold mt-4")
    for review in waiting:
        ui.label(f"{review['name']}: {review['counts']['undecided']} undecided, due {frame.when(review['due_at'])}")
        await _items(caller, review["review_id"])


async def _items(caller: frame.Caller, review_id: str) -> None:
    place = ui.column().classes("w-full gap-1")

    async def draw() -> None:
        place.clear()
        found = await caller.ask(reviews.items, review_id=review_id, undecided=True)
        with place:
            for each in found["items"]:
                one(each)

    def one(each: dict[str, Any]) -> None:
        with ui.row().classes("items-center gap-2"):
            ui.label(f"{each['principal']} holds {each['right']} on {each['object']} (reviewer: {each['reviewer']})")
            ui.button("Keep", on_click=lambda: decide(each, "keep")).props("no-caps dense outline")
            ui.button("Revoke", on_click=lambda: decide(each, "revoke")).props("no-caps dense")

    async def decide(each: dict[str, Any], decision: str) -> None:
        try:
            await caller.ask(reviews.decide, review_id=review_id, item_id=each["item_id"], decision=decision)
        except Fault as fault:
            frame.said(fault)
        await draw()

    await draw()
