"""`lakewright token`: personal tokens, shown once."""

from __future__ import annotations

from typing import Annotated

import typer

from lakewright.cli.connect import Host, Token, connected, out

app = typer.Typer(help="Personal tokens.", no_args_is_help=True)


@app.command()
def create(
    comment: Annotated[str, typer.Option(help="What it is for.")] = "",
    lifetime: Annotated[int | None, typer.Option(help="Seconds it lives.")] = None,
    application_id: Annotated[
        str | None, typer.Option(help="For this service principal (administrators only).")
    ] = None,
    host: Host = None,
    token: Token = None,
) -> None:
    """Make a token for yourself, or for a service principal. It is shown once."""
    asked = {"comment": comment, **({"lifetime_seconds": lifetime} if lifetime else {})}
    with connected(host, token) as client:
        if application_id:
            asked["application_id"] = application_id
            made = client.call("POST", "/api/2.0/token-management/on-behalf-of/tokens", asked)
        else:
            made = client.call("POST", "/api/2.0/token/create", asked)
    out.print(made["token_value"], highlight=False, soft_wrap=True)
