"""`lakewright up`: starts the platform here and stays until it is told to stop."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakewright.cli.connect import err, out

if TYPE_CHECKING:
    from lakewright.kernel.config import Settings


def up(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where this installation keeps everything.")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM chain, for a public address.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM key of the certificate.")] = None,
    insecure_public: Annotated[
        bool, typer.Option("--insecure-public", help="Listen on a public address without TLS, because a proxy ends it.")
    ] = False,
) -> None:
    """Start the platform. The first start prints the one administrator's token, once."""
    given = {
        "host": host,
        "port": port,
        "data_dir": data_dir,
        "tls_certificate": tls_certificate,
        "tls_key": tls_key,
        "insecure_public": insecure_public or None,
    }
    settings = settings_from({name: value for name, value in given.items() if value is not None})
    _refuse_exposure(settings)
    raise typer.Exit(serve(settings))


def settings_from(given: dict[str, Any]) -> Settings:
    from pydantic import ValidationError

    from lakewright.kernel.config import Settings

    try:
        return Settings(**given)
    except ValidationError as error:
        err.print("; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()))
        raise typer.Exit(2) from None


def _refuse_exposure(settings: Settings) -> None:
    from lakewright.kernel.socket import check_exposure

    try:
        check_exposure(settings)
    except ValueError as error:
        err.print(str(error), highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None


def serve(settings: Settings) -> int:
    import uvicorn

    from lakewright import app
    from lakewright.identity.first_start import FirstToken
    from lakewright.kernel.faults import Unavailable
    from lakewright.kernel.socket import configured

    try:
        platform = app.build(settings)
    except Unavailable as error:
        err.print(str(error), highlight=False, soft_wrap=True)
        return 1
    platform.start()
    try:
        server = uvicorn.Server(configured(app.serve(platform), settings))
        _greet(settings, platform.the(FirstToken).secret)
        server.run()
        return 0 if server.started else 1
    finally:
        platform.stop()


def _greet(settings: Settings, first_token: str) -> None:
    scheme = "https" if settings.tls_certificate else "http"
    url = settings.public_url or f"{scheme}://{settings.host}:{settings.port}"
    out.print(f"[bold]Lakewright[/] on [link={url}]{url}[/], data in {os.fspath(settings.data_dir)}", soft_wrap=True)
    if first_token and settings.admin_token is None:
        out.print(
            f"The administrator's first token, shown this once: [bold]{first_token}[/]", soft_wrap=True, highlight=False
        )
        out.print("It lasts a day, and until you have made another with it: lakewright token create", soft_wrap=True)
        out.print(f"  export DATABRICKS_HOST={url} DATABRICKS_TOKEN={first_token}", soft_wrap=True, highlight=False)
