"""`lakewright gate`: may this version of a model be released? The server decides; this asks, prints and exits accordingly."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from lakewright.cli.connect import Host, Token, connected, err

app = typer.Typer(help="Release gates.", no_args_is_help=True)


@app.command()
def run(
    uri: Annotated[str, typer.Argument(help="models:/catalog.schema.model/version")],
    host: Host = None,
    token: Token = None,
) -> None:
    """Judge a model version. Prints the verdict as JSON; exits 1 if the gate fails."""
    parts = uri.removeprefix("models:/").split("/")
    if not uri.startswith("models:/") or len(parts) != 2 or not parts[1].isdigit():
        err.print("Write it like models:/catalog.schema.model/3.")
        raise typer.Exit(2)
    with connected(host, token) as client:
        verdict = client.call("POST", "/api/2.1/lakewright/gates/run", {"model": parts[0], "version": int(parts[1])})
    typer.echo(json.dumps(verdict, indent=2))
    raise typer.Exit(0 if verdict["passed"] else 1)
