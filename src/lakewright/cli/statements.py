"""`lakewright sql`: one statement through a SQL warehouse, as you, with your filters and masks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.table import Table

from lakewright.cli.connect import Host, Token, connected, out
from lakewright.projects.client import Client, Refused


@dataclass(frozen=True)
class Rows:
    columns: list[str]
    rows: list[list[str | None]]

    def dicts(self) -> list[dict[str, str | None]]:
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def sql(
    statement: str,
    warehouse: Annotated[str | None, typer.Option(help="Warehouse id; else the first you may use.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per row.")] = False,
    host: Host = None,
    token: Token = None,
) -> None:
    """Run one SQL statement and print what it answers."""
    with connected(host, token) as client:
        answer = query(client, statement, warehouse)
    if as_json:
        for row in answer.dicts():
            typer.echo(json.dumps(row))
        return
    out.print(table_of(answer))


def query(
    client: Client, statement: str, warehouse: str | None = None, parameters: list[dict[str, Any]] | None = None
) -> Rows:
    """Waits for the result and fetches all of it."""
    body = {
        "statement": statement,
        "warehouse_id": warehouse or first_warehouse(client),
        "wait_timeout": "30s",
        "format": "JSON_ARRAY",
        "disposition": "INLINE",
        **({"parameters": parameters} if parameters else {}),
    }
    answer = client.call("POST", "/api/2.0/sql/statements", body)
    while answer["status"]["state"] in ("PENDING", "RUNNING"):
        answer = client.call("GET", f"/api/2.0/sql/statements/{answer['statement_id']}")
    if answer["status"]["state"] != "SUCCEEDED":
        error = answer["status"].get("error", {})
        code = str(error.get("error_code", answer["status"]["state"]))
        raise Refused(400, code, str(error.get("message", "The statement did not succeed.")))
    columns = [one["name"] for one in answer.get("manifest", {}).get("schema", {}).get("columns", [])]
    return Rows(columns, _all_rows(client, answer))


def _all_rows(client: Client, answer: dict[str, Any]) -> list[list[str | None]]:
    chunk = answer.get("result", {})
    rows = list(chunk.get("data_array", []))
    while chunk.get("next_chunk_internal_link"):
        following = client.call("GET", chunk["next_chunk_internal_link"])
        chunk = following.get("result", following)
        rows += chunk.get("data_array", [])
    return rows


def first_warehouse(client: Client) -> str:
    found = client.call("GET", "/api/2.0/sql/warehouses").get("warehouses", [])
    if not found:
        raise Refused(0, "NO_WAREHOUSE", "There is no SQL warehouse you may use. Make one, or ask for CAN_USE on one.")
    return str(found[0]["id"])


def table_of(answer: Rows, title: str | None = None) -> Table:
    table = Table(*answer.columns, title=title, box=None, header_style="bold", pad_edge=False)
    for row in answer.rows:
        table.add_row(*("[dim]NULL[/]" if value is None else str(value) for value in row))
    return table
