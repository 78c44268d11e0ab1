"""What every page has: who is looking, the way to call operations as them, and the house around the content."""
# NiceGUI's own types are partly unknown:
# pyright: standard

import contextlib
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from typing import Any

from nicegui import app, ui
from nicegui.nicegui import _startup  # pyright: ignore[reportPrivateUsage]
from starlette.types import ASGIApp

from lakewright.console import cookies
from lakewright.console.guard import PREFIX
from lakewright.identity import credentials
from lakewright.kernel import ids
from lakewright.kernel.context import RequestInfo
from lakewright.kernel.faults import Fault
from lakewright.kernel.operation import Operation
from lakewright.kernel.platform import Platform

_PLATFORM: list[Platform] = []


def belongs_to(platform: Platform) -> None:
    """Say whose pages these are: NiceGUI has one application per process, so there is one platform too."""
    _PLATFORM[:] = [platform]


def now() -> int:
    """Milliseconds since the epoch, by the platform's clock."""
    return _PLATFORM[0].clock.now()


NAVIGATION = (
    ("Overview", "home", "/"),
    ("Jobs", "account_tree", "/jobs"),
    ("Catalog", "table_chart", "/catalog"),
    ("Models", "verified", "/models"),
    ("Endpoints", "bolt", "/endpoints"),
    ("Access", "key", "/access"),
    ("Audit", "history", "/audit"),
)

COLORS = {
    "SUCCESS": "#1b8a4b", "RUNNING": "#0b6bcb", "PENDING": "#8a6d00", "BLOCKED": "#8795a1", "QUEUED": "#8a6d00",
    "WAITING_FOR_RETRY": "#8a6d00", "FAILED": "#c0261c", "TIMEDOUT": "#c0261c", "CANCELED": "#6b7785",
    "UPSTREAM_FAILED": "#a4623a", "UPSTREAM_CANCELED": "#6b7785", "EXCLUDED": "#b3bcc5", "SKIPPED": "#b3bcc5",
    "SUCCESS_WITH_FAILURES": "#7a8a1b",
}  # fmt: skip


async def started() -> ASGIApp:
    """NiceGUI's application, started on this loop. What it does at start it would do in its own lifespan, which a
    mounted application does not get."""
    app.config.add_run_config(
        reload=False, title="Lakewright", viewport="width=device-width, initial-scale=1", favicon=None, dark=False,
        language=None, binding_refresh_interval=0.2, reconnect_timeout=10.0, message_history_length=200, tailwind=True,
        unocss=None, prod_js=True, show_welcome_message=False, markdown=False,
        cache_control_directives="private, max-age=86400",
    )  # fmt: skip
    from nicegui.middlewares import RedirectWithPrefixMiddleware, SetCacheControlMiddleware

    app.add_middleware(RedirectWithPrefixMiddleware)
    app.add_middleware(SetCacheControlMiddleware)
    await _startup()
    return app


class Caller:
    """The person looking at a page. Every call is authenticated anew by their session, guarded and recorded."""

    def __init__(self, session: str, source: str, user_agent: str) -> None:
        self._session, self._source, self._user_agent = session, source, user_agent

    async def ask(self, operation: Operation[Any, Any], **fields: Any) -> Any:
        """The operation's answer; a Fault says what is missing."""
        info = RequestInfo(ids.request(), self._source, self._user_agent)
        return await _PLATFORM[0].handle(operation, info, credentials.of_session(self._session), fields)


def caller() -> Caller:
    request = ui.context.client.request
    client = request.client
    return Caller(
        cookies.read(_PLATFORM[0].settings, request.scope, cookies.SESSION),
        client.host if client else "",
        request.headers.get("user-agent", "console"),
    )


@contextlib.contextmanager
def page(title: str, *above: tuple[str, str]) -> Generator[None]:
    """The house: navigation on the left, the way here on top. `above` are (name, path) of the pages before this."""
    ui.page_title(f"{title} · Lakewright")
    ui.colors(primary="#0b6b78")
    ui.add_css(".nicegui-content { padding: 1rem 1.5rem } .q-table td, .q-table th { padding: 4px 10px }")
    with ui.header().classes("bg-white text-slate-800 border-b items-center py-1 px-4"):
        ui.link("Lakewright", "/").classes("font-bold text-lg no-underline text-teal-800")
        ui.space()
        with ui.element("form").props(f'method=post action="{PREFIX}/logout"'):
            ui.button("Sign out").props("flat dense no-caps type=submit")
    drawer = ui.left_drawer(value=True, bordered=True).props("width=180 breakpoint=500").classes("bg-slate-50 p-2")
    with drawer, ui.element("nav").props('aria-label="Main"').classes("w-full"):
        for name, icon, path in NAVIGATION:
            with ui.link(target=path).classes(
                "flex items-center gap-2 p-2 rounded no-underline text-slate-800 hover:bg-slate-200"
            ):
                ui.icon(icon)
                ui.label(name)
    with ui.row().classes("items-center gap-1 text-sm text-slate-500"):
        for name, path in above:
            ui.link(name, path).classes("no-underline text-slate-500")
            ui.label("/")
    ui.label(title).classes("text-xl font-semibold").props('role=heading aria-level="1"')
    yield


def refused(fault: Fault) -> None:
    """A refusal in place of the content: it says what to go and get."""
    with ui.card().classes("bg-amber-50 border-amber-300"):
        ui.label("Not for you, yet" if fault.status == 403 else "This could not be shown").classes("font-semibold")
        ui.label(str(fault))


def said(fault: Fault) -> None:
    ui.notify(str(fault), type="negative", multi_line=True, close_button="OK", timeout=0)


def chip(state: str) -> ui.badge:
    badge = ui.badge(state or "–").props("rounded")
    paint(badge, state)
    return badge


def paint(badge: ui.badge, state: str) -> None:
    badge.set_text(state or "–")
    badge.style(f"background-color: {COLORS.get(state, '#6b7785')} !important; color: white")


def when(milliseconds: int | None) -> str:
    """A moment, in UTC to the second."""
    if not milliseconds:
        return "–"
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def lasting(milliseconds: int) -> str:
    seconds = max(0, milliseconds) / 1000
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def table(
    columns: list[str], rows: list[dict[str, Any]], link: Callable[[dict[str, Any]], str] | None = None
) -> ui.table:
    """A dense table; `link` makes the first column lead somewhere."""
    shown = [{**row, "_href": PREFIX + link(row)} if link else row for row in rows]
    made = ui.table(
        columns=[{"name": c, "label": c.replace("_", " "), "field": c, "align": "left", "sortable": True} for c in columns],
        rows=shown, row_key="_key" if rows and "_key" in rows[0] else columns[0], pagination=50,
    ).classes("w-full").props("dense flat bordered wrap-cells")  # fmt: skip
    if link:
        slot = '<q-td :props="props"><a :href="props.row._href" class="text-teal-800">{{ props.value }}</a></q-td>'
        made.add_slot(f"body-cell-{columns[0]}", slot)
    return made


def facts(pairs: dict[str, Any]) -> None:
    """Names and values, side by side."""
    with ui.grid(columns="auto 1fr").classes("gap-x-6 gap-y-1 text-sm"):
        for name, value in pairs.items():
            ui.label(name).classes("text-slate-500")
            ui.label(str(value) if value not in (None, "") else "–").classes("break-all")


def shown_state(run: dict[str, Any]) -> str:
    """One word for a run or task: its result once it has one."""
    state = run.get("state", {})
    return str(state.get("result_state") or state.get("life_cycle_state") or "")
