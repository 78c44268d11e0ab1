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


@app.command()
def request(
    object: Thing,
    rights: Annotated[list[str], typer.Argument(help="What you ask for, as SELECT or CAN_VIEW.")],
    reason: Annotated[str, typer.Option(help="Why.", prompt=True)],
    hours: Annotated[float | None, typer.Option(help="For how long; for good when left out.")] = None,
    principal: Annotated[str | None, typer.Option(help="A group you are in, instead of yourself.")] = None,
    host: Host = None,
    token: Token = None,
) -> None:
    """Ask for access. Somebody else who manages the object decides."""
    asked: dict[str, Any] = {"object": object, "rights": rights, "reason": reason}
    if hours is not None:
        asked["lasts_seconds"] = int(hours * 3600)
    if principal is not None:
        asked["principal"] = principal
    with connected(host, token) as client:
        _request(client.call("POST", f"{BASE}/requests", asked))


@app.command()
def requests(
    to_decide: Annotated[bool, typer.Option(help="Only those that wait for you.")] = False,
    host: Host = None,
    token: Token = None,
) -> None:
    """Your requests, and those on what you manage."""
    page: str | None = None
    with connected(host, token) as client:
        while True:
            said = client.call("GET", f"{BASE}/requests", to_decide=to_decide or None, page_token=page)
            for each in said["requests"]:
                _request(each)
            page = said.get("next_page_token")
            if page is None:
                break


@app.command()
def approve(
    request_id: str,
    comment: Annotated[str, typer.Option(help="Why.")] = "",
    hours: Annotated[float | None, typer.Option(help="For less time than was asked.")] = None,
    host: Host = None,
    token: Token = None,
) -> None:
    """Grant what a request asks for."""
    shorter = {} if hours is None else {"lasts_seconds": int(hours * 3600)}
    with connected(host, token) as client:
        _request(client.call("POST", f"{BASE}/requests/{request_id}/approve", {"comment": comment, **shorter}))


@app.command()
def deny(
    request_id: str,
    comment: Annotated[str, typer.Option(help="Why.")] = "",
    host: Host = None,
    token: Token = None,
) -> None:
    """Refuse what a request asks for."""
    with connected(host, token) as client:
        _request(client.call("POST", f"{BASE}/requests/{request_id}/deny", {"comment": comment}))


def _request(said: dict[str, Any]) -> None:
    until = f" until {_time(said['granted_until'])}" if "granted_until" in said else ""
    out.print(
        f"{said['request_id']}  {said['state']}{until}  {said['principal']}: {', '.join(said['rights'])} on"
        f" {said['object']}  ({said['reason']})",
        highlight=False, soft_wrap=True, markup=False,
    )  # fmt: skip


def _time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


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
    until = f", until {_time(path['until'])}" if "until" in path else ""
    how = "inherited from" if path["inherited"] else "on"
    return f"{path['holds']} {how} {path['on']}{f' by {chains}' if chains else ''}{until}"


def _limits(said: dict[str, Any]) -> None:
    for limit in said.get("limits", ()):
        of = f" of column {limit['column']}" if "column" in limit else ""
        out.print(f"In force for readers: {limit['limit']}{of} {limit['function']}", highlight=False)
