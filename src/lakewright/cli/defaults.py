"""`lakewright defaults`: every setting there is, and what anybody holds before anything is granted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from lakewright.cli.connect import Host, Token, connected, out
from lakewright.cli.up import settings_from

if TYPE_CHECKING:
    from pydantic import BaseModel

app = typer.Typer(help="Settings.", no_args_is_help=True)


@app.command()
def show(host: Host = None, token: Token = None) -> None:
    """Print every setting with its value here, its default and its meaning; with a token, what everybody holds."""
    table = Table("Setting", "Here", "Default", "Meaning", box=None, header_style="bold", pad_edge=False)
    for row in rows(settings_from({}), "LAKEWRIGHT_"):
        table.add_row(*row)
    out.print(table)
    if not token:
        out.print("\nWith --token (or DATABRICKS_TOKEN): what anybody holds there before anything is granted.")
        return
    with connected(host, token) as client:
        said = client.call("GET", "/api/2.0/lakewright/access/defaults")
    held = Table("Who", "Holds", "On", "Why", "Set by", box=None, header_style="bold", pad_edge=False)
    for each in said["defaults"]:
        held.add_row(each["who"], each["right"] or "nothing", each["on"], each["why"], each["setting"])
    opened = Table("Open operation", "For", "Why", box=None, header_style="bold", pad_edge=False)
    for each in said["open_operations"]:
        opened.add_row(each["operation"], each["for"], each["why"].partition("\n\n")[0].replace("\n", " "))
    out.print("\nBefore anything is granted", style="bold")
    out.print(held, markup=False)
    out.print("\nOpen to all", style="bold")
    out.print(opened, markup=False)


def rows(settings: BaseModel, prefix: str) -> list[tuple[str, str, str, str]]:
    """One per setting, sections flattened; secrets stay stars."""
    from pydantic import BaseModel

    found: list[tuple[str, str, str, str]] = []
    for name, field in type(settings).model_fields.items():
        value: Any = getattr(settings, name)
        if isinstance(value, BaseModel):
            found += rows(value, f"{prefix}{name.upper()}__")
        else:
            default = field.get_default(call_default_factory=True)
            found.append(
                (prefix + name.upper(), str(value), "" if value == default else str(default), field.description or "")
            )
    return found
