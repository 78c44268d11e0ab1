"""The command line: `lakewright up`, `bundle`, `sql` and their fellows."""

from __future__ import annotations

from typing import Annotated

import typer

from lakewright.cli import (
    access,
    audit,
    backup,
    bundle,
    defaults,
    gates,
    keys,
    review,
    statements,
    tokens,
    up,
    workspaces,
)

app = typer.Typer(
    name="lakewright",
    help="A self-hosted, governed machine-learning platform that speaks the Databricks REST API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("up")(up.up)
app.command("sql")(statements.sql)
app.command("restore")(backup.restore)
app.command("check")(backup.check)
app.command("doctor")(backup.doctor)
app.add_typer(bundle.app, name="bundle")
app.add_typer(tokens.app, name="token")
app.add_typer(workspaces.app, name="workspace")
app.add_typer(audit.app, name="audit")
app.add_typer(backup.app, name="backup")
app.add_typer(keys.app, name="keys")
app.add_typer(access.app, name="access")
app.add_typer(review.app, name="review")
app.add_typer(gates.app, name="gate")
app.add_typer(defaults.app, name="defaults")


@app.command("openapi")
def openapi() -> None:
    """Print the OpenAPI 3.1 document of this version, which every server serves to whoever is signed in."""
    import lakewright.app  # noqa: F401 (declares the operations)
    from lakewright.kernel.openapi import written

    typer.echo(written().decode())


@app.command("demo")
def demo(
    port: Annotated[int, typer.Option(help="Where the platform listens.")] = 8470,
    data_dir: Annotated[
        str, typer.Option(help="Where it keeps its data; a new folder for every demo unless given.")
    ] = "",
    project: Annotated[str, typer.Option(help="The project to deploy and run; else the repository's example.")] = "",
    exit_: Annotated[bool, typer.Option("--exit", help="Stop at the end instead of staying up.")] = False,
    report: Annotated[str, typer.Option(help="Write what every step did and took to this JSON file.")] = "",
) -> None:
    """From raw data to a served, monitored, retrained model under real permissions."""
    from lakewright.cli.demo.command import run  # the story imports what no other command needs

    raise typer.Exit(run(port=port, data_dir=data_dir, project=project, stay=not exit_, report=report))


if __name__ == "__main__":
    app()
