"""The command line: `lakewright up`, `bundle`, `sql` and their fellows."""

from __future__ import annotations

import typer

from lakewright.cli import audit, bundle, defaults, gates, statements, tokens, up

app = typer.Typer(
    name="lakewright",
    help="A self-hosted, governed machine-learning platform that speaks the Databricks REST API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("up")(up.up)
app.command("sql")(statements.sql)
app.add_typer(bundle.app, name="bundle")
app.add_typer(tokens.app, name="token")
app.add_typer(audit.app, name="audit")
app.add_typer(gates.app, name="gate")
app.add_typer(defaults.app, name="defaults")


if __name__ == "__main__":
    app()
