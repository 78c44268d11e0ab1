"""`lakewright demo`: starts a platform, tells the story on it, and stays up so that one can look around."""

from __future__ import annotations

import shutil
import signal
import tempfile
from pathlib import Path
from types import FrameType

from rich.console import Console

from lakewright.cli.demo import watch
from lakewright.cli.demo.stage import Running, new_token, port_is_free
from lakewright.cli.demo.steps import Report
from lakewright.cli.demo.story import ENDPOINT, MODEL, Story, tell
from lakewright.projects.client import Client

STEPS = (
    "data_prep",
    "feature_build",
    "train",
    "validate",
    "register_model",
    "self_approval_refused",
    "approved",
    "deploy",
    "governed_query",
    "replay",
    "drift_found",
    "retrained",
    "audit",
)
"""What the report always names, reached or not."""


def run(*, port: int, data_dir: str, project: str, stay: bool, report: str) -> int:
    console = Console()
    folder = Path(project) if project else here()
    if not (folder / "databricks.yml").is_file():
        console.print(f"There is no project in {folder}: run this in a clone of the repository, or give --project.")
        return 2
    if not port_is_free(port):
        console.print(f"Something listens on port {port} already: stop it, or give --port.")
        return 2
    token = new_token()
    where = Path(data_dir) if data_dir else Path(tempfile.mkdtemp(prefix="lakewright-demo-"))
    platform = Running(port, where, token)
    steps = Report(console)
    story = Story(folder, console, steps)
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    try:
        with Client(platform.url, token, timeout=120) as admin:
            steps.take("start", lambda: {"as": platform.wait(admin)["userName"], "url": platform.url})
            tell(story, admin)
            watch.tell(story)
            _name_the_unreached(steps)
            if report:
                steps.write(Path(report))
            _say_where_to_look(console, story, platform.url, token, steps)
            if stay:
                platform.stay()
    except KeyboardInterrupt:
        console.print("Stopping.")
    finally:
        platform.stop()
        if not data_dir:
            shutil.rmtree(where, ignore_errors=True)
    return 0 if steps.all_ok else 1


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:
    """Being told to end, like being interrupted, must not leave a platform behind."""
    raise KeyboardInterrupt


def here() -> Path:
    """The example in the clone that this package runs from, else in the folder one stands in."""
    for root in (Path(__file__).resolve().parents[4], Path.cwd()):
        if (root / "examples" / "flight_delays").is_dir():
            return root / "examples" / "flight_delays"
    return Path.cwd()


def _name_the_unreached(steps: Report) -> None:
    from lakewright.cli.demo.steps import Step

    taken = {step.name for step in steps.steps}
    for name in STEPS:
        if name not in taken:
            steps.add(Step(name, "failed", 0.0, {"error": "not reached"}))


def _say_where_to_look(console: Console, story: Story, url: str, token: str, steps: Report) -> None:
    console.rule(style="dim")
    failed = [step.name for step in steps.steps if step.state == "failed"]
    console.print("[bold green]All of it held.[/]" if not failed else f"[bold red]Did not hold:[/] {', '.join(failed)}")
    console.print(f"The console: [link={url}/console]{url}/console[/]", highlight=False)
    if story.cast is not None:
        for who in (story.cast.engineer, story.cast.approver, story.cast.analyst):
            console.print(f"  sign in as {who.name}: {who.token}", highlight=False, soft_wrap=True)
    console.print(f"  or as the administrator: {token}", highlight=False, soft_wrap=True)
    console.print(f"The model: {MODEL}; the endpoint: {ENDPOINT}", highlight=False)
    console.print(f"By hand: export DATABRICKS_HOST={url} DATABRICKS_TOKEN=…; lakewright sql '…'", highlight=False)
