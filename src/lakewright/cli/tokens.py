"""`lakewright token`: personal tokens, shown once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from lakewright.cli.connect import Host, Token, connected, out

app = typer.Typer(help="Personal tokens.", no_args_is_help=True)


@app.command()
def create(
    comment: Annotated[str, typer.Option(help="What it is for.")] = "",
    lifetime: Annotated[int | None, typer.Option(help="Seconds it lives.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="Limit it to this scope; may be repeated.")] = None,
    application_id: Annotated[
        str | None, typer.Option(help="For this service principal (administrators only).")
    ] = None,
    host: Host = None,
    token: Token = None,
) -> None:
    """Make a token for yourself, or for a service principal. It is shown once."""
    asked: dict[str, Any] = {"comment": comment, **({"lifetime_seconds": lifetime} if lifetime else {})}
    if scope:
        asked["scopes"] = scope
    with connected(host, token) as client:
        if application_id:
            asked["application_id"] = application_id
            made = client.call("POST", "/api/2.0/token-management/on-behalf-of/tokens", asked)
        else:
            made = client.call("POST", "/api/2.0/token/create", asked)
    out.print(made["token_value"], highlight=False, soft_wrap=True)


@app.command("list")
def list_(
    everybody: Annotated[
        bool, typer.Option("--everybody", help="Every credential of every kind (administrators only).")
    ] = False,
    kind: Annotated[str | None, typer.Option(help="With --everybody: only personal, session, consent, ….")] = None,
    host: Host = None,
    token: Token = None,
) -> None:
    """Your own tokens, or every living credential: what it is, whose, for what, until when."""
    with connected(host, token) as client:
        if everybody:
            found = client.call("GET", "/api/2.1/lakewright/credentials", kind=kind)["credentials"]
        else:
            found = client.call("GET", "/api/2.0/token/list").get("token_infos", [])
    table = Table("Id", "Kind", "Whose", "For", "Limited to", "Until", box=None, header_style="bold", pad_edge=False)
    for each in found:
        table.add_row(
            each["token_id"], each.get("kind", "personal"), each.get("principal", "yours"),
            each.get("client_id") or each["comment"], " ".join(each.get("scopes", [])), _until(each["expiry_time"]),
        )  # fmt: skip
    out.print(table, markup=False)


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(help="Its id, as `token list` shows it.")],
    anybodys: Annotated[
        bool, typer.Option("--anybodys", help="Somebody else's, of any kind (administrators only).")
    ] = False,
    host: Host = None,
    token: Token = None,
) -> None:
    """End a token, and what was made with it, now and everywhere."""
    with connected(host, token) as client:
        if anybodys:
            client.call("DELETE", f"/api/2.0/token-management/tokens/{token_id}")
        else:
            client.call("POST", "/api/2.0/token/delete", {"token_id": token_id})


def _until(expires: int) -> str:
    return (
        "it is revoked" if expires < 0 else datetime.fromtimestamp(expires / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    )
