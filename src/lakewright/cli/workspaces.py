"""`lakewright workspace`: the workspaces of the account, and who may enter them."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from lakewright.cli.connect import Host, Token, connected, out
from lakewright.projects.client import Client

app = typer.Typer(help="Workspaces of the account.", no_args_is_help=True)


def _base(client: Client) -> str:
    account: dict[str, Any] = client.call("GET", "/.well-known/databricks-config")
    return f"/api/2.0/accounts/{account['account_id']}/workspaces"


def _named(client: Client, name: str) -> str:
    """The address of the workspace of that name, deployment name or id."""
    found: Any = client.call("GET", _base(client))
    for each in found:
        if name in (each["workspace_name"], each["deployment_name"], str(each["workspace_id"])):
            return f"{_base(client)}/{each['workspace_id']}"
    raise typer.BadParameter(f"you may enter no workspace called '{name}'")


@app.command()
def create(
    name: str,
    deployment_name: Annotated[str | None, typer.Option(help="First label of its host name.")] = None,
    host: Host = None,
    token: Token = None,
) -> None:
    """Make a workspace (administrators of the account). Its address is printed."""
    asked = {"workspace_name": name, **({"deployment_name": deployment_name} if deployment_name else {})}
    with connected(host, token) as client:
        made = client.call("POST", _base(client), asked)
    out.print(made["workspace_url"], highlight=False, soft_wrap=True)


@app.command("list")
def list_(host: Host = None, token: Token = None) -> None:
    """The workspaces that you may enter."""
    with connected(host, token) as client:
        found: Any = client.call("GET", _base(client))
    table = Table("id", "name", "address")
    for each in found:
        table.add_row(str(each["workspace_id"]), each["workspace_name"], each["workspace_url"])
    out.print(table)


@app.command()
def assign(
    name: str,
    principal: Annotated[str, typer.Argument(help="Id of the person, service principal or group.")],
    admin: Annotated[bool, typer.Option(help="As an administrator of the workspace.")] = False,
    remove: Annotated[bool, typer.Option(help="Take the assignment back.")] = False,
    host: Host = None,
    token: Token = None,
) -> None:
    """Let a principal into a workspace, or out of it."""
    with connected(host, token) as client:
        path = f"{_named(client, name)}/permissionassignments/principals/{principal}"
        client.call(
            "DELETE" if remove else "PUT", path, None if remove else {"permissions": ["ADMIN" if admin else "USER"]}
        )
