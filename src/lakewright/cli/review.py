"""`lakewright review`: put grants before their owners, decide, sign off, check later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from lakewright.cli.connect import Host, Token, connected, err, out

app = typer.Typer(help="Access reviews.", no_args_is_help=True)

BASE = "/api/2.0/lakewright/access/reviews"


@app.command()
def start(
    scope: Annotated[str, typer.Option(help="What to review, as catalogs:/main or directories:/team.")],
    name: Annotated[str, typer.Option(help="What to call it.")] = "",
    days: Annotated[float, typer.Option(help="Days until it is due.")] = 30,
    host: Host = None,
    token: Token = None,
) -> None:
    """Put every grant on the object and below it before its owner."""
    with connected(host, token) as client:
        _review(client.call("POST", BASE, {"scope": scope, "name": name, "due_days": days}))


@app.command("list")
def list_(host: Host = None, token: Token = None) -> None:
    """Reviews of what you manage, and those that wait for you."""
    page: str | None = None
    with connected(host, token) as client:
        while True:
            said = client.call("GET", BASE, page_token=page)
            for each in said["reviews"]:
                _review(each)
            page = said.get("next_page_token")
            if page is None:
                break


@app.command()
def items(
    review: str,
    undecided: Annotated[bool, typer.Option(help="Only those that nobody decided.")] = False,
    host: Host = None,
    token: Token = None,
) -> None:
    """The grants of a review: yours to decide, or all of them if you manage what is reviewed."""
    table = Table("Item", "Who", "Holds", "On", "Reviewer", "Decision", box=None, header_style="bold", pad_edge=False)
    page: str | None = None
    with connected(host, token) as client:
        while True:
            said = client.call(
                "GET", f"{BASE}/{review}/items", review_id=review, undecided=undecided or None, page_token=page
            )
            for i in said["items"]:
                table.add_row(
                    i["item_id"], i["principal"], i["right"], i["object"], i["reviewer"], i["outcome"] or i["decision"]
                )
            page = said.get("next_page_token")
            if page is None:
                break
    out.print(table, markup=False)


@app.command()
def decide(
    item: str,
    decision: Annotated[str, typer.Argument(help="keep or revoke")],
    comment: Annotated[str, typer.Option(help="Why.")] = "",
    host: Host = None,
    token: Token = None,
) -> None:
    """Keep a grant, or have it revoked when the review closes."""
    review = item.rpartition("-")[0]
    with connected(host, token) as client:
        said = client.call("POST", f"{BASE}/{review}/items/{item}/decide", {"decision": decision, "comment": comment})
    out.print(f"{said['item_id']}  {said['decision']}", highlight=False)


@app.command()
def close(
    review: str,
    undecided: Annotated[str | None, typer.Option(help="What becomes of undecided grants: keep or revoke.")] = None,
    host: Host = None,
    token: Token = None,
) -> None:
    """Take back what was revoked, and sign the result."""
    with connected(host, token) as client:
        said = client.call("POST", f"{BASE}/{review}/close", {} if undecided is None else {"undecided": undecided})
    _review(said)


@app.command()
def export(
    review: str,
    file: Annotated[Path, typer.Option("--to", help="Where to write the signed result.")],
    host: Host = None,
    token: Token = None,
) -> None:
    """Write the signed result to a file, with what it takes to check it."""
    with connected(host, token) as client:
        said = client.call("GET", f"{BASE}/{review}")
    if said["state"] != "closed":
        err.print("This review is not closed.")
        raise typer.Exit(1)
    file.write_text(json.dumps({k: said[k] for k in ("result", "signature", "public_key")}, indent=2))
    out.print(f"{file}", highlight=False)


@app.command()
def verify(
    review: Annotated[str | None, typer.Argument(help="A review on the platform.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="An exported result instead; needs no platform.")] = None,
    host: Host = None,
    token: Token = None,
) -> None:
    """Check a signed result. Exits 1 when it is not what was signed."""
    if file is not None:
        from lakewright.access.signing import verified

        held = json.loads(file.read_text())
        whole, what = verified(held["public_key"], held["result"].encode(), held["signature"]), "the result was altered"
    else:
        with connected(host, token) as client:
            said = client.call("GET", f"{BASE}/{review}/verify")
        whole, what = said["whole"], said["what"]
    if not whole:
        err.print(f"[bold red]Broken[/] {what}", highlight=False)
        raise typer.Exit(1)
    out.print("The result is as it was signed.")


def _review(said: dict[str, Any]) -> None:
    counts = ", ".join(f"{number} {what}" for what, number in said["counts"].items())
    out.print(
        f"{said['review_id']}  {said['state']}  {said['name']}  {said['scope']}  ({counts})",
        highlight=False, soft_wrap=True, markup=False,
    )  # fmt: skip
