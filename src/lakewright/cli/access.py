"""`lakewright access`: who may do what, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.tree import Tree

from lakewright.cli.connect import Host, Token, connected, out

app = typer.Typer(help="Who may do what, and why.", no_args_is_help=True)

BASE = "/api/2.0/lakewright/access"
Thing = Annotated[str, typer.Argument(metavar="OBJECT", help="As tables:/main.sales.orders, jobs:/123, models:/c.s.m")]


@app.command()
def explain(
    principal: Annotated[str, typer.Argument(help="A user, group or service principal; `me` for yourself.")],
    object: Thing,
    action: Annotated[str | None, typer.Argument(help="A right or an operation; all of them when left out.")] = None,
    host: Host = None,
    token: Token = None,
) -> None:
    """May they, and by which path? Exits 1 when they may not."""
    with connected(host, token) as client:
        said = client.call("GET", f"{BASE}/explain", principal=principal, object=object, action=action)
    if action is None and "actions" in said:
        for each in said["actions"]:
            out.print(f"{_mark(each['allowed'])} {each['action']:<28} {each['because']}", highlight=False)
    else:
        tree = Tree(f"{_mark(said['allowed'])} {said['because']}")
        if "explanation" in said:
            _grow(tree, said["explanation"])
        out.print(tree, highlight=False)
    _limits(said)
    raise typer.Exit(0 if said["allowed"] else 1)


@app.command("who-can")
def who_can(
    action: Annotated[str, typer.Argument(help="A right or an operation, as SELECT or runNow.")],
    object: Thing,
    host: Host = None,
    token: Token = None,
) -> None:
    """Every user, group and service principal that may, each with its path."""
    page: str | None = None
    with connected(host, token) as client:
        while True:
            said = client.call("GET", f"{BASE}/who-can", action=action, object=object, page_token=page)
            for each in said["principals"]:
                out.print(f"{each['name']:<32} {each['kind']:<18} {each['because']}", highlight=False)
            page = said.get("next_page_token")
            if page is None:
                break
    _limits(said)


def _mark(allowed: bool) -> str:
    return "[green]allowed[/]" if allowed else "[red]refused[/]"


def _grow(tree: Tree, explanation: dict[str, Any]) -> None:
    branch = tree.add(f"{_mark(explanation['allowed'])} {explanation['needs']}")
    for part in explanation.get("parts", ()):
        _grow(branch, part)
    for path in explanation.get("paths", ()):
        branch.add(_path(path))


def _path(path: dict[str, Any]) -> str:
    chains = " or ".join(" › ".join(chain) for chain in path.get("through", ()))
    until = f", until {datetime.fromtimestamp(path['until'] / 1000, UTC):%Y-%m-%d %H:%M} UTC" if "until" in path else ""
    how = "inherited from" if path["inherited"] else "on"
    return f"{path['holds']} {how} {path['on']}{f' by {chains}' if chains else ''}{until}"


def _limits(said: dict[str, Any]) -> None:
    for limit in said.get("limits", ()):
        of = f" of column {limit['column']}" if "column" in limit else ""
        out.print(f"In force for readers: {limit['limit']}{of} {limit['function']}", highlight=False)
