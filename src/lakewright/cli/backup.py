"""`lakewright backup`, `restore`, `check` and `doctor`: on the machine itself, beside the server, with no token."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from lakewright.cli.connect import err, out
from lakewright.cli.up import settings_from

if TYPE_CHECKING:
    from lakewright.backup.restoring import Restored
    from lakewright.kernel.config import Settings

T = TypeVar("T")

app = typer.Typer(help="Backups of this installation, made beside the running server.", no_args_is_help=True)

Directory = Annotated[Path, typer.Argument(help="The backup directory.")]
DataDir = Annotated[Path | None, typer.Option(help="Where the installation keeps everything.")]
Database = Annotated[str | None, typer.Option(help="postgresql://… if it is not SQLite in the data directory.")]
Passphrase = Annotated[Path | None, typer.Option(help="A file with the passphrase that seals the master key.")]


@app.command()
def create(
    directory: Directory, data_dir: DataDir = None, database_url: Database = None, passphrase_file: Passphrase = None
) -> None:
    """Take a set: database and files, as they are now. With a passphrase the master key goes with it, sealed."""
    from lakewright.backup import creating
    from lakewright.backup.repository import Repository

    settings = _settings(data_dir, database_url)
    made = _or_exit(lambda: creating.create(settings, Repository(directory), passphrase=_passphrase(passphrase_file)))
    size = sum(kept.size for kept in made.manifest.files) + made.database.stat().st_size
    _say(f"Set {made.name}: {len(made.manifest.files)} files and the database, {size / 1e6:.1f} MB in all.")
    for skipped in made.manifest.skipped:
        err.print(f"Left out: {skipped}", highlight=False, soft_wrap=True)
    if not made.manifest.key_sealed:
        _say(
            f"The master key {made.manifest.master_key} is NOT in it. Keep a copy of it elsewhere"
            f" ({settings.data_dir / 'root.key'}, or where you keep it): without it no secret opens."
        )
    _say("Tables and volumes in external locations are not in it: they are where you put them.")


@app.command("list")
def list_(directory: Directory) -> None:
    """The sets in a backup directory, oldest first."""
    from rich.table import Table

    from lakewright.backup.repository import at_path

    table = Table("Set", "Version", "Database", "Files", "MB", "Key", box=None, header_style="bold", pad_edge=False)
    for one in _or_exit(lambda: at_path(directory).sets()):
        m = one.manifest
        size = sum(kept.size for kept in m.files) / 1e6
        key = "sealed in it" if m.key_sealed else f"{m.master_key}, elsewhere"
        table.add_row(one.name, m.lakewright, m.database, str(len(m.files)), f"{size:.1f}", key)
    out.print(table)


@app.command()
def verify(directory: Directory) -> None:
    """Read all of every set again: is it what was backed up? Exits 1 when something is not."""
    from lakewright.backup.repository import at_path

    repository = _or_exit(lambda: at_path(directory))
    sets = repository.sets()
    damaged = [each for one in sets for each in repository.damaged(one)]
    for each in damaged:
        err.print(each, highlight=False, soft_wrap=True)
    if damaged or not sets:
        err.print("There is no set." if not sets else f"{len(damaged)} things are not what was backed up.")
        raise typer.Exit(1)
    _say(f"{len(sets)} sets, all as they were backed up.")


@app.command()
def prune(directory: Directory, keep: Annotated[int, typer.Option(help="Newest sets to keep.")] = 14) -> None:
    """Forget old sets and the files that only they had."""
    from lakewright.backup.repository import at_path

    sets, files = _or_exit(lambda: at_path(directory).prune(keep))
    _say(f"{sets} sets and {files} files are gone.")


def restore(
    source: Annotated[Path, typer.Argument(help="The backup directory.")],
    target: Annotated[Path, typer.Argument(help="A new data directory.")],
    at: Annotated[
        str, typer.Option(help="The moment, like 2026-11-21T03:00:00Z; the newest there is unless given.")
    ] = "",
    key_file: Annotated[Path | None, typer.Option(help="The master key's own copy (root.key).")] = None,
    passphrase_file: Passphrase = None,
    log_url: Annotated[str, typer.Option(help="Where the log is, when not in the backup directory (s3://…).")] = "",
    database_url: Annotated[str | None, typer.Option(help="An empty Postgres database to restore into.")] = None,
    database_is_there: Annotated[
        bool, typer.Option("--database-is-there", help="Postgres is recovered already: only files and credentials.")
    ] = False,
    administrator: Annotated[str, typer.Option(help="Who gets the new token; else the first administrator.")] = "",
    keep_tokens: Annotated[
        bool, typer.Option("--keep-tokens", help="Let tokens live on, also those revoked after that moment.")
    ] = False,
) -> None:
    """Bring an installation back as it was, in a new place. Every token ends, unless --keep-tokens; then it is checked."""
    from lakewright.backup.restoring import Asked
    from lakewright.backup.restoring import restore as bring_back

    told = _or_exit(
        lambda: bring_back(
            Asked(
                source=source, target=_settings(target, database_url), at=_moment(at), log_url=log_url,
                key=key_file.read_bytes() if key_file else None, passphrase=_passphrase(passphrase_file),
                keep_tokens=keep_tokens, administrator=administrator, database_is_there=database_is_there,
            )
        )
    )  # fmt: skip
    _tell(told, target, keep_tokens=keep_tokens)
    if told.trouble:
        raise typer.Exit(1)


def _tell(told: Restored, target: Path, *, keep_tokens: bool) -> None:
    _say(f"Restored to {target}: the database from {told.database}, {told.files} files.")
    for note in told.notes:
        _say(note)
    if told.unsure:
        _say(f"{told.unsure} files may have been deleted by that moment; they are back.")
    if keep_tokens:
        _say("[bold]TOKENS LIVE ON[/], also those revoked after that moment: end what should not with the Token API.")
    else:
        _say(
            f"[bold]Every token, session and client secret is revoked[/] ({told.revoked}): what was revoked since cannot be known."
        )
    _say("[bold]Grants, memberships and deactivations are as they were then[/]: what was taken back since is back.")
    _say(f"New token of {told.administrator}, shown this once: [bold]{told.token}[/]")
    for each in told.trouble:
        err.print(f"Not sound: {each}", highlight=False, soft_wrap=True)
    if not told.trouble:
        _say("Checked: all it speaks of is there.")


def check(
    data_dir: DataDir = None,
    database_url: Database = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read the files of models again too.")] = False,
) -> None:
    """Is everything there that the installation speaks of, and the audit trail whole? Exits 1 if not."""
    from lakewright.backup import soundness

    checked = _or_exit(lambda: soundness.check(_settings(data_dir, database_url), deep=deep))
    for each in checked:
        mark = "[bold red]wrong[/]" if each.wrong else "ok   "
        out.print(f"{mark} {each.what} ({each.looked_at} looked at)", highlight=False, soft_wrap=True)
        for wrong in each.wrong:
            out.print(f"      {wrong}", highlight=False, soft_wrap=True, markup=False)
    if any(each.wrong for each in checked):
        raise typer.Exit(1)


MARKS = {"ok": "ok     ", "weak": "[yellow]weak[/]   ", "wrong": "[bold red]wrong[/]  ", "unknown": "[dim]unknown[/]"}


def doctor(data_dir: DataDir = None, database_url: Database = None) -> None:
    """What is weak about this installation and its machine, and what this cannot know. Exits 1 if something is wrong."""
    from lakewright.backup.doctor import examine

    found = examine(_settings(data_dir, database_url))
    for each in found:
        out.print(MARKS[each.level], highlight=False, end=" ")
        out.print(each.what, highlight=False, soft_wrap=True, markup=False)
    if any(each.level == "wrong" for each in found):
        raise typer.Exit(1)


# ---- asks


def _settings(data_dir: Path | None, database_url: str | None) -> Settings:
    given = {"data_dir": data_dir, "database_url": database_url}
    return settings_from({name: value for name, value in given.items() if value is not None})


def _passphrase(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get("LAKEWRIGHT_BACKUP_PASSPHRASE")
    return file.read_text().strip()


def _moment(text: str) -> int | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        err.print(f"'{text}' is not a moment like 2026-11-21T03:00:00Z")
        raise typer.Exit(2) from None
    if moment.tzinfo is None:
        err.print(f"'{text}' needs its zone, such as a Z at the end for UTC")
        raise typer.Exit(2)
    return int(moment.astimezone(UTC).timestamp() * 1000)


def _or_exit(act: Callable[[], T]) -> T:
    from lakewright.kernel.faults import Fault

    try:
        return act()
    except (Fault, OSError) as error:
        err.print(str(error), highlight=False, soft_wrap=True, markup=False)
        raise typer.Exit(1) from None


def _say(text: str) -> None:
    out.print(text, highlight=False, soft_wrap=True)
