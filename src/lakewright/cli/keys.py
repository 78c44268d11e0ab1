"""`lakewright keys`: the master key that all secrets of the installation hang on."""

from __future__ import annotations

import typer

from lakewright.cli.connect import Host, Token, connected, out

app = typer.Typer(help="The master key.", no_args_is_help=True)


@app.command()
def show(host: Host = None, token: Token = None) -> None:
    """Say which master key is in use and where it lies."""
    with connected(host, token) as client:
        found = client.call("GET", "/api/2.1/lakewright/keys")
    out.print(f"Master key {found['master_key_id']}, from the {found['source']}.", highlight=False)


@app.command()
def rotate(host: Host = None, token: Token = None) -> None:
    """Put a new master key in place of the one in use. Nothing stops meanwhile, and a crash loses nothing."""
    with connected(host, token) as client:
        found = client.call("POST", "/api/2.1/lakewright/keys/rotate")
    out.print(
        f"Master key {found['master_key_id']} is in use, from the {found['source']}; {found['previous_master_key_id']}"
        " opens nothing any more, save backups made before now.",
        highlight=False,
    )
