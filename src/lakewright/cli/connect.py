"""Connecting: the options every command shares, and refusals shown as sentences, not as stack traces."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console, ConsoleDimensions

from lakewright.projects.client import Client, Refused, from_environment
from lakewright.projects.loading import BadProject
from lakewright.projects.references import CircularReference, UnknownReference


class _Printer(Console):
    """In a pipe there is no width to keep to: a table cut there would lose what the next program looks for."""

    @property
    def size(self) -> ConsoleDimensions:
        if self.is_terminal:
            return super().size
        return ConsoleDimensions(10_000, 25)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size


out = _Printer()
err = Console(stderr=True)

Host = Annotated[str | None, typer.Option(envvar="DATABRICKS_HOST", help="The platform's address.")]
Token = Annotated[str | None, typer.Option(envvar="DATABRICKS_TOKEN", help="Your token.", show_envvar=True)]


@contextmanager
def connected(host: str | None, token: str | None) -> Generator[Client]:
    with readable(), from_environment(host, token) as client:
        yield client


@contextmanager
def readable() -> Generator[None]:
    try:
        yield
    except Refused as refused:
        code = f"[bold red]{refused.code}[/] " if refused.status else ""
        err.print(f"{code}{refused.message}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except (BadProject, UnknownReference, CircularReference) as bad:
        err.print(f"[bold red]Project[/] {bad}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
