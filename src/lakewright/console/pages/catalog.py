"""The catalog: what there is to see, and one table with its columns, protection and grants."""
# NiceGUI's own types are partly unknown:
# pyright: standard

from typing import Any

from nicegui import ui

from lakewright.access import privileges
from lakewright.catalog import catalogs, schemas, tables, volumes
from lakewright.console.pages import frame
from lakewright.kernel.faults import Fault


@ui.page("/catalog")
async def everything() -> None:
    caller = frame.caller()
    with frame.page("Catalog"):
        found = await caller.ask(catalogs.list_, include_browse=True)
        rows = [
            {"catalog": c["name"], "owner": c.get("owner"), "comment": c.get("comment", "")} for c in found["catalogs"]
        ]
        frame.table(["catalog", "owner", "comment"], rows, lambda r: f"/catalog/{r['catalog']}")


@ui.page("/catalog/{catalog}")
async def one_catalog(catalog: str) -> None:
    caller = frame.caller()
    with frame.page(catalog, ("Catalog", "/catalog")):
        try:
            found = await caller.ask(schemas.list_, catalog_name=catalog, include_browse=True)
        except Fault as fault:
            frame.refused(fault)
            return
        rows = [
            {"schema": s["name"], "owner": s.get("owner"), "comment": s.get("comment", "")} for s in found["schemas"]
        ]
        frame.table(["schema", "owner", "comment"], rows, lambda r: f"/catalog/{catalog}/{r['schema']}")
        await permissions(caller, "catalog", catalog)


@ui.page("/catalog/{catalog}/{schema}")
async def one_schema(catalog: str, schema: str) -> None:
    caller = frame.caller()
    with frame.page(f"{catalog}.{schema}", ("Catalog", "/catalog"), (catalog, f"/catalog/{catalog}")):
        try:
            found = await caller.ask(tables.list_, catalog_name=catalog, schema_name=schema, include_browse=True)
            held = await caller.ask(volumes.list_, catalog_name=catalog, schema_name=schema, include_browse=True)
        except Fault as fault:
            frame.refused(fault)
            return
        rows = [
            {"table": t["name"], "type": t["table_type"], "owner": t.get("owner"), "comment": t.get("comment", "")}
            for t in found["tables"]
        ]  # fmt: skip
        frame.table(["table", "type", "owner", "comment"], rows, lambda r: f"/catalog/{catalog}/{schema}/{r['table']}")
        if held.get("volumes"):
            ui.label("Volumes").classes("text-lg font-semibold mt-4")
            frame.table(["volume", "type"], [{"volume": v["name"], "type": v["volume_type"]} for v in held["volumes"]])
        await permissions(caller, "schema", f"{catalog}.{schema}")


@ui.page("/catalog/{catalog}/{schema}/{table}")
async def one_table(catalog: str, schema: str, table: str) -> None:
    caller = frame.caller()
    full_name = f"{catalog}.{schema}.{table}"
    above = ("Catalog", "/catalog"), (catalog, f"/catalog/{catalog}"), (schema, f"/catalog/{catalog}/{schema}")
    with frame.page(full_name, *above):
        try:
            shown = await caller.ask(tables.get, full_name=full_name, include_browse=True)
        except Fault as fault:
            frame.refused(fault)
            return
        filtered = shown.get("row_filter")
        frame.facts({
            "type": shown["table_type"], "format": shown.get("data_source_format"), "owner": shown.get("owner"),
            "comment": shown.get("comment"), "updated": frame.when(shown.get("updated_at")),
            "row filter": f"{filtered['function_name']}({', '.join(filtered['input_column_names'])})" if filtered else "none",
        })  # fmt: skip
        ui.label("Columns").classes("text-lg font-semibold mt-2")
        rows = [
            {"column": c["name"], "type": c.get("type_text"), "mask": (c.get("mask") or {}).get("function_name", ""),
             "comment": c.get("comment", "")}
            for c in shown.get("columns", [])
        ]  # fmt: skip
        frame.table(["column", "type", "mask", "comment"], rows)
        await permissions(caller, "table", full_name)


async def permissions(caller: frame.Caller, kind: str, full_name: str) -> None:
    """Who holds what here and from above, and, for those who may, granting and revoking."""
    ui.label("Permissions").classes("text-lg font-semibold mt-4")
    place = ui.column().classes("w-full")

    async def draw() -> None:
        place.clear()
        with place:
            try:
                found = await caller.ask(privileges.get_effective, securable_type=kind, full_name=full_name)
            except Fault as fault:
                frame.refused(fault)
                return
            rows: list[dict[str, Any]] = []
            for held in found.get("privilege_assignments", []):
                for privilege in held["privileges"]:
                    source = privilege.get("inherited_from_name")
                    rows.append({
                        "principal": held["principal"], "privilege": privilege["privilege"],
                        "from": f"{privilege.get('inherited_from_type', '')} {source}" if source else "here",
                        "_key": f"{held['principal']}/{privilege['privilege']}/{source}",
                    })  # fmt: skip
            frame.table(["principal", "privilege", "from"], rows)

    async def change(**one: list[str]) -> None:
        try:
            changes = [{"principal": principal.value or "", **one}]
            await caller.ask(privileges.update, securable_type=kind, full_name=full_name, changes=changes)
        except Fault as fault:
            frame.said(fault)
            return
        await draw()

    await draw()
    with ui.row().classes("items-end gap-2"):
        principal = ui.input("User, group or application id").props("dense outlined").classes("w-64")
        privilege = ui.input("Privilege, e.g. SELECT").props("dense outlined").classes("w-48")
        ui.button("Grant", on_click=lambda: change(add=[privilege.value or ""])).props("no-caps dense")
        ui.button("Revoke", on_click=lambda: change(remove=[privilege.value or ""])).props("no-caps dense outline")
