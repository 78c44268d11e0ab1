"""Asking SQL from a page: as the person who looks, on a warehouse they may use."""

from typing import Any

from lakewright.console.pages.frame import Caller
from lakewright.kernel.faults import Denied, Fault
from lakewright.sql import statements, warehouses

Rows = list[dict[str, Any]]


async def rows(caller: Caller, sql: str, **parameters: str) -> Rows:
    """The statement's rows by column name, values as text. Denied when there is no warehouse to ask on."""
    found = await caller.ask(warehouses.list_)
    if not found.get("warehouses"):
        raise Denied("this page asks SQL, and you hold CAN_USE on no warehouse")
    answer = await caller.ask(
        statements.execute, statement=sql, warehouse_id=found["warehouses"][0]["id"], wait_timeout="30s", row_limit=5000,
        parameters=[{"name": name, "value": value, "type": "STRING"} for name, value in parameters.items()],
    )  # fmt: skip
    status = answer["status"]
    if status["state"] != "SUCCEEDED":
        raise Fault(status.get("error", {}).get("message") or f"the query is {status['state']}")
    names = [c["name"] for c in answer["manifest"]["schema"]["columns"]]
    data = (answer.get("result") or {}).get("data_array") or []
    return [dict(zip(names, row, strict=True)) for row in data]


def quoted(full_name: str) -> str:
    """A three-part name as an identifier, whatever is in its parts."""
    return ".".join("`" + part.replace("`", "``") + "`" for part in full_name.split("."))
