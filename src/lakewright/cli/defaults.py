"""`lakewright defaults`: every setting there is, what it is here, and where that came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from lakewright.cli.connect import out
from lakewright.cli.up import settings_from

if TYPE_CHECKING:
    from pydantic import BaseModel

app = typer.Typer(help="Settings.", no_args_is_help=True)


@app.command()
def show() -> None:
    """Print every setting with its value here, its default and its meaning."""
    table = Table("Setting", "Here", "Default", "Meaning", box=None, header_style="bold", pad_edge=False)
    for row in rows(settings_from({}), "LAKEWRIGHT_"):
        table.add_row(*row)
    out.print(table)


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
