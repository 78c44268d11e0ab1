"""The audit trail: who did what, when, allowed or refused and why."""

from nicegui import ui

from lakewright.console.pages import asking, frame
from lakewright.kernel.faults import Fault

# NiceGUI's own types are partly unknown:
# pyright: standard

COLUMNS = ["time", "who", "action", "on", "status", "because"]
SEARCH = """
SELECT event_time, user_name, action_name, securable_kind, securable, status_code, because, error_message, event_id
FROM system.access.audit
WHERE COALESCE(user_name, '') ILIKE :who AND action_name ILIKE :what AND COALESCE(securable, '') ILIKE :thing
  AND (:refused = 'no' OR status_code >= 400)
ORDER BY event_time DESC LIMIT 500
"""


@ui.page("/audit")
async def audit(who: str = "", what: str = "", thing: str = "", refused: bool = False) -> None:
    """The filters are in the address, so that a search can be passed on."""
    caller = frame.caller()
    with frame.page("Audit"):
        with ui.row().classes("items-center gap-2"):
            person = ui.input("Who", value=who).props("dense outlined clearable")
            action = ui.input("Action", value=what).props("dense outlined clearable")
            on = ui.input("Object", value=thing).props("dense outlined clearable")
            only = ui.checkbox("Refused only", value=refused)
            search = ui.button("Search", icon="search").props("no-caps dense")
        place = ui.column().classes("w-full")

        async def show() -> None:
            given = {"who": person.value, "what": action.value, "thing": on.value}
            place.clear()
            with place:
                try:
                    like = {name: f"%{value or ''}%" for name, value in given.items()}
                    found = await asking.rows(caller, SEARCH, **like, refused="yes" if only.value else "no")
                except Fault as fault:
                    frame.refused(fault)
                    return
                rows = [
                    {"time": r["event_time"], "who": r["user_name"], "action": r["action_name"],
                     "on": f"{r['securable_kind'] or ''} {r['securable'] or ''}".strip(), "status": r["status_code"],
                     "because": r["error_message"] or r["because"], "_key": r["event_id"]}
                    for r in found
                ]  # fmt: skip
                frame.table(COLUMNS, rows)

        search.on_click(show)
        ui.timer(0, show, once=True)  # after the page is there: a first query starts an engine
