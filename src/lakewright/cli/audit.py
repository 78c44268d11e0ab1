"""`lakewright audit`: is the trail whole, and what happened last?"""

from __future__ import annotations

from typing import Annotated

import typer

from lakewright.cli.connect import Host, Token, connected, err, out
from lakewright.cli.statements import query, table_of

app = typer.Typer(help="The audit trail.", no_args_is_help=True)


@app.command()
def verify(host: Host = None, token: Token = None) -> None:
    """Recompute the chain over the whole trail. Exits 1 at the first altered, missing or moved row."""
    with connected(host, token) as client:
        found = client.call("GET", "/api/2.1/lakewright/audit/verify")
    if not found["whole"]:
        err.print(f"[bold red]Broken[/] at row {found['seq']}: {found['what']}", highlight=False)
        raise typer.Exit(1)
    out.print(f"The trail is whole: {found['rows']} rows, each chained to the one before.")


COLUMNS = "event_time, user_name, service_name, action_name, securable, status_code, error_message"


@app.command()
def tail(
    lines: Annotated[int, typer.Option("-n", help="How many.")] = 20, host: Host = None, token: Token = None
) -> None:
    """The newest rows of system.access.audit, refusals included, oldest first."""
    with connected(host, token) as client:
        newest = query(client, f"select {COLUMNS} from system.access.audit order by event_time desc limit {int(lines)}")
    newest.rows.reverse()
    out.print(table_of(newest))
