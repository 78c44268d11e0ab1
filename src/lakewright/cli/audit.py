"""`lakewright audit`: is the trail whole, what happened last, and a copy of it that proves itself."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from lakewright.cli.connect import Host, Token, connected, err, out
from lakewright.cli.statements import query, table_of

app = typer.Typer(help="The audit trail.", no_args_is_help=True)

API = "/api/2.1/lakewright/audit"


@app.command()
def verify(
    file: Annotated[Path | None, typer.Argument(help="An exported or archived file; else the trail itself.")] = None,
    public_key: Annotated[Path | None, typer.Option(help="The key to check a file with, offline.")] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Go on from what this file says was whole, and write there how far it is whole now."),
    ] = None,
    archives: Annotated[bool, typer.Option("--archives", help="Check the archived files too.")] = False,
    host: Host = None,
    token: Token = None,
) -> None:
    """Recompute the chain. Exits 1 at the first altered, missing or moved row, and names it."""
    if file is not None:
        _verify_file(file, public_key)
        return
    known: dict[str, Any] = json.loads(checkpoint.read_text()) if checkpoint and checkpoint.exists() else {}
    with connected(host, token) as client:
        client.patience(None)
        found = client.call("GET", f"{API}/verify", archives="true" if archives else None, **known)
    if not found["whole"]:
        err.print(f"[bold red]Broken[/] at row {found['seq']}: {found['what']}", highlight=False)
        raise typer.Exit(1)
    if checkpoint is not None:
        checkpoint.write_text(json.dumps(found["checkpoint"]))
    since = f" since row {known['seq']}" if known else ""
    out.print(f"The trail is whole: {found['rows']} rows{since}, each chained to the one before.", highlight=False)


def _verify_file(file: Path, public_key: Path | None) -> None:
    from lakewright.kernel import trail_files

    if public_key is None:
        err.print("--public-key FILE is needed to check a file: `lakewright audit public-key` prints it.")
        raise typer.Exit(2)
    try:
        with file.open("rb") as given:
            found = trail_files.check(given, public_key.read_text())
    except trail_files.Broken as broken:
        err.print(f"[bold red]Broken[/] at {broken}", highlight=False)
        raise typer.Exit(1) from None
    except (OSError, ValueError) as error:
        err.print(str(error), highlight=False)
        raise typer.Exit(2) from None
    out.print(f"The file is whole: {found.rows} rows up to row {found.seq}, as signed.", highlight=False)


@app.command("public-key")
def public_key(host: Host = None, token: Token = None) -> None:
    """Print the key that exported and archived files are checked with."""
    with connected(host, token) as client:
        typer.echo(client.call("GET", f"{API}/public-key")["public_key"], nl=False)


@app.command()
def export(
    since: Annotated[str | None, typer.Option(help="Day or time (ISO 8601, UTC) of the first row.")] = None,
    until: Annotated[str | None, typer.Option(help="Day or time of the last row.")] = None,
    after: Annotated[int | None, typer.Option(help="Number of the last row one already has.")] = None,
    to: Annotated[Path | None, typer.Option(help="File to write; else standard output.")] = None,
    host: Host = None,
    token: Token = None,
) -> None:
    """Rows as JSON lines with signed checkpoints: a copy that can be checked without the platform."""
    with connected(host, token) as client:
        client.patience(None)
        chunks = client.stream("GET", f"{API}/export", since=_at(since), until=_at(until), after=after)
        if to is None:
            for chunk in chunks:
                sys.stdout.buffer.write(chunk)
            return
        with to.open("wb") as file:
            file.writelines(chunks)


@app.command()
def archive(
    before: Annotated[str, typer.Argument(help="Day or time: rows from before it move into a file.")],
    host: Host = None,
    token: Token = None,
) -> None:
    """Move old rows into a signed file below the data directory. The chain stays checkable."""
    with connected(host, token) as client:
        client.patience(None)
        made = client.call("POST", f"{API}/archive", {"before": _at(before)})
    rows = made["rows"]
    out.print(f"{rows} rows are in {made['file']} now." if rows else "Nothing is that old.", highlight=False)


def _at(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        err.print(f"'{text}' is no time: write it like 2026-01-31 or 2026-01-31T12:00:00.")
        raise typer.Exit(2) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


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
