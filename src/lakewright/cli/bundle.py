"""`lakewright bundle`: validates, plans, deploys, runs and destroys a project file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lakewright.cli.connect import Host, Token, connected, err, out
from lakewright.cli.progress import follow
from lakewright.projects import deployment
from lakewright.projects.client import Client
from lakewright.projects.loading import Project, load
from lakewright.projects.plan import Change

app = typer.Typer(help="Projects as bundles.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option("--folder", "-C", help="Where databricks.yml is.")]
Target = Annotated[str | None, typer.Option("--target", "-t", help="Which target; else the default one.")]
Variables = Annotated[list[str] | None, typer.Option("--var", help="name=value, as often as needed.")]
HERE = Path()

COLOURS = {"create": "green", "recreate": "yellow", "update": "yellow", "delete": "red", "remove": "red"}


@app.command()
def validate(
    folder: Folder = HERE, target: Target = None, var: Variables = None, host: Host = None, token: Token = None
) -> None:
    """Read the project for a target and say what is wrong with it, if anything."""
    with connected(host, token) as client:
        project = loaded(client, folder, target, var)
        deployment.check(project)
    out.print(f"[bold]{project.name}[/] for target [bold]{project.target}[/] is valid: {', '.join(project.resources)}")


@app.command()
def plan(
    folder: Folder = HERE, target: Target = None, var: Variables = None, host: Host = None, token: Token = None
) -> None:
    """Name every change a deployment would make, permissions included, and make none."""
    with connected(host, token) as client:
        _, changes = deployment.plan_now(client, loaded(client, folder, target, var))
    for change in changes:
        tell(change)
    out.print("Nothing to change." if not changes else f"{len(changes)} changes.")


@app.command()
def deploy(
    folder: Folder = HERE, target: Target = None, var: Variables = None, host: Host = None, token: Token = None
) -> None:
    """Make the platform what the project says. Doing it twice changes nothing."""
    with connected(host, token) as client:
        changes = deployment.deploy(client, loaded(client, folder, target, var), tell)
    out.print("Nothing to change." if not changes else f"{len(changes)} changes made.")


@app.command()
def run(
    job: Annotated[str, typer.Argument(help="The job's key in the project.")],
    folder: Folder = HERE,
    target: Target = None,
    var: Variables = None,
    host: Host = None,
    token: Token = None,
) -> None:
    """Run a deployed job and watch its tasks. Exits 1 unless it succeeds."""
    with connected(host, token) as client:
        project = loaded(client, folder, target, var)
        id = deployment.resource_id(client, project, f"jobs.{job}")
        started = client.call("POST", "/api/2.2/jobs/run-now", {"job_id": int(id)})
        finished = follow(client, int(started["run_id"]), out)
    if finished.result != "SUCCESS":
        err.print(f"The run ended {finished.result}: {finished.message}")
        raise typer.Exit(1)


@app.command()
def destroy(
    folder: Folder = HERE,
    target: Target = None,
    var: Variables = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    host: Host = None,
    token: Token = None,
) -> None:
    """Remove everything the project deployed, and its files."""
    with connected(host, token) as client:
        project = loaded(client, folder, target, var)
        if not yes:
            typer.confirm(f"Remove everything of {project.name} in target {project.target}?", abort=True)
        changes = deployment.destroy(client, project, tell)
    out.print(f"{len(changes)} resources removed.")


def loaded(client: Client, folder: Path, target: str | None, var: list[str] | None) -> Project:
    """Read as the caller: who deploys is part of what a project means."""
    pairs = [one.partition("=") for one in var or []]
    if bad := [name for name, equals, _ in pairs if not equals]:
        err.print(f"--var {bad[0]}: write name=value.")
        raise typer.Exit(2)
    me = client.call("GET", "/api/2.0/preview/scim/v2/Me")
    return load(folder, target, str(me["userName"]), {name: value for name, _, value in pairs})


def tell(change: Change) -> None:
    because = f" [dim]{', '.join(change.because)}[/]" if change.because else ""
    out.print(
        f"[{COLOURS.get(change.action, 'cyan')}]{change.action:>11}[/] {change.what}{because}",
        highlight=False,
        soft_wrap=True,
    )
