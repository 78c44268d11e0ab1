"""The story: what each person does, what the platform lets them, and what can be read back afterwards."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import yaml
from rich.columns import Columns
from rich.console import Console

from lakewright.cli.demo.stage import UNITY, People, Person, allow, grant
from lakewright.cli.demo.steps import Figures, Report, expect
from lakewright.cli.progress import RunState, follow
from lakewright.cli.statements import Rows, query, table_of
from lakewright.projects import deployment
from lakewright.projects.client import Client, Refused
from lakewright.projects.loading import load

LAKEWRIGHT = "/api/2.1/lakewright"
CATALOG, MODEL, ENDPOINT = "flights", "flights.ml.flight_lateness", "flight-lateness"
BOARD, ANALYSTS = "release-board", "airport-analysts"
FIRST_MONTHS, FOLLOWING_MONTHS = [1, 2, 3, 4], [5, 6, 7]
ANALYSTS_AIRPORT = "JFK"


@dataclass
class Cast:
    admin: Client
    engineer: Person
    approver: Person
    analyst: Person
    runner: Person


@dataclass
class Story:
    """What is known so far."""

    project: Path
    console: Console
    report: Report
    cast: Cast | None = None
    job_id: int = 0
    experiment_id: str = ""
    run: RunState | None = None
    approval: dict[str, Any] = field(default_factory=dict[str, Any])
    warehouse: str = ""
    raw_rows: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def people(self) -> Cast:
        if self.cast is None:
            raise Refused(0, "NOT_YET", "The people of the story were not made.")
        return self.cast

    def sql(self, client: Client, statement: str) -> Rows:
        return query(client, statement, self.warehouse)

    def one(self, statement: str) -> int:
        """A number, as the engineer sees it."""
        return int(float(self.sql(self.people.engineer.client, statement).rows[0][0] or 0))

    def act(self, title: str) -> None:
        self.console.rule(f"[bold]{title}", align="left", style="dim")


def tell(story: Story, admin: Client) -> None:
    """From people to a governed model; `watch` tells how it fares."""
    report = story.report
    story.act("People, and what each is granted")
    report.take("people", lambda: make_people(story, admin))
    report.take("warehouse", lambda: make_warehouse(story))
    story.act("The project, deployed by the engineer")
    report.take("project", lambda: deploy_project(story))
    report.take("landed", lambda: land(story, FIRST_MONTHS))
    story.act("The job, run as a service principal that holds only what the project grants it")
    first_run(story)
    story.act("Release: the author may not approve")
    release(story)
    story.act("One table, one statement, two people")
    report.take("governed_query", lambda: governed_query(story))


# --- people and project ---


def make_people(story: Story, admin: Client) -> Figures:
    people = People(admin)
    engineer = people.user("emma@flights.example", "Emma, ML engineer")
    approver = people.user("oscar@flights.example", "Oscar, release board")
    analyst = people.user("ana@flights.example", "Ana, analyst at JFK")
    runner = people.service_principal("flight-lateness-job")
    people.group(BOARD, engineer, approver)
    people.group(ANALYSTS, analyst)
    # The engineer may run jobs as the service principal; she does not hold its token.
    allow(admin, "servicePrincipal", runner.id, "CAN_USE", user=engineer.name)

    admin.call("POST", f"{UNITY}/catalogs", {"name": CATALOG, "comment": "Flights from New York, 2013"})
    grant(admin, "catalog", CATALOG, engineer.name, "USE_CATALOG", "CREATE_SCHEMA")
    shared = admin.call("GET", "/api/2.0/workspace/get-status", path="/Shared")
    allow(admin, "directories", str(shared["object_id"]), "CAN_MANAGE", user=engineer.name)
    for one in (runner.name, BOARD, ANALYSTS):
        grant(admin, "catalog", CATALOG, one, "USE_CATALOG")
    story.cast = Cast(admin, engineer, approver, analyst, runner)
    me = engineer.client.call("GET", "/api/2.0/preview/scim/v2/Me")["userName"]
    return {"engineer": me, "approver": approver.name, "analyst": analyst.name, "job_runs_as": runner.name}


def make_warehouse(story: Story) -> Figures:
    admin = story.people.admin
    made = admin.call("POST", "/api/2.0/sql/warehouses", {"name": "shared", "cluster_size": "2X-Small"})
    story.warehouse = str(made["id"])
    for group in (BOARD, ANALYSTS):
        allow(admin, "warehouses", story.warehouse, "CAN_USE", group=group)
    seen = story.people.analyst.client.call("GET", "/api/2.0/sql/warehouses").get("warehouses", [])
    expect([one["id"] for one in seen] == [story.warehouse], "the analyst cannot use the warehouse")
    return {"warehouse": story.warehouse}


def deploy_project(story: Story) -> Figures:
    cast_ = story.people
    client = cast_.engineer.client
    project = load(story.project, "local", cast_.engineer.name, {"runner": cast_.runner.name})
    changes = deployment.deploy(client, project)
    _, again = deployment.plan_now(client, project)
    expect(not again, f"a second plan is not empty: {[str(change) for change in again]}")
    story.job_id = int(deployment.resource_id(client, project, "jobs.lateness"))
    story.experiment_id = deployment.resource_id(client, project, "experiments.lateness")
    _promise(story)
    return {"changes": len(changes), "second_plan": len(again), "job_id": story.job_id}


def _promise(story: Story) -> None:
    """The parts of the card that only a person can write, and what the catalog's owner asks of a release."""
    cast_ = story.people
    written = cast("dict[str, str]", yaml.safe_load((story.project / "card.yml").read_text(encoding="utf-8")))
    cast_.engineer.client.call("PATCH", f"{LAKEWRIGHT}/cards/{MODEL}", {**written, "owner": cast_.engineer.name})
    policy = cast("dict[str, Any]", yaml.safe_load((story.project / "release_policy.yml").read_text(encoding="utf-8")))
    cast_.admin.call("PUT", f"{LAKEWRIGHT}/release-policies/catalogs/{CATALOG}", {"policy": policy})


def land(story: Story, months: list[int]) -> Figures:
    """The airlines' nightly export: files into the landing volume, uploaded by the engineer."""
    source = project_module(story, "source")
    client = story.people.engineer.client
    files: dict[str, bytes] = {
        **source.monthly_files(months),
        **(source.reference_files() if not story.raw_rows else {}),
    }
    for name, content in files.items():
        client.upload(f"/api/2.0/fs/files/Volumes/{CATALOG}/raw/landing/{name}", content, overwrite="true")
        kind = name.split("-")[0]
        story.raw_rows[kind] = story.raw_rows.get(kind, 0) + content.count(b"\n") - 1
    listed = client.call("GET", f"/api/2.0/fs/directories/Volumes/{CATALOG}/raw/landing").get("contents", [])
    there: dict[str, int] = {one["name"]: int(one["file_size"]) for one in listed}
    wrong = [name for name, content in files.items() if there.get(name) != len(content)]
    expect(not wrong, f"not in the volume as uploaded: {wrong}")
    return {"files": len(there), "bytes": sum(there.values()), "months": f"{months[0]} to {months[-1]}"}


def project_module(story: Story, name: str) -> Any:
    """A module of the project's own code."""
    folder = str(story.project / "src")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return import_module(f"flight_delays.{name}")


# --- the job ---


def first_run(story: Story) -> None:
    run = start_and_follow(story)
    story.run = run
    if run is None:
        return
    take_job_steps(story, run)


def start_and_follow(story: Story) -> RunState | None:
    """Runs the job and shows it until it waits for approval, or is over."""
    try:
        started = story.people.engineer.client.call("POST", "/api/2.2/jobs/run-now", {"job_id": story.job_id})
        return watch_run(story, int(started["run_id"]))
    except Refused as refused:
        story.console.print(f"[red]{refused.code}[/] {refused.message}")
        return None


def watch_run(story: Story, run_id: int) -> RunState:
    run = follow(story.people.engineer.client, run_id, story.console, until=lambda run: any(t.waits for t in run.tasks))
    for task in run.tasks:
        if task.result not in ("", "SUCCESS", "UPSTREAM_FAILED"):
            story.console.print(f"[red]{task.key}[/] {task.message}")
            story.console.print(output(story, task.run_id)[-3000:], style="dim", highlight=False, markup=False)
    return run


def output(story: Story, task_run_id: int) -> str:
    try:
        said = story.people.engineer.client.call("GET", "/api/2.2/jobs/runs/get-output", run_id=task_run_id)
    except Refused as refused:
        return refused.message
    return str(said.get("logs") or said.get("error_trace") or said.get("error") or "").strip()


def take_job_steps(story: Story, run: RunState) -> None:
    """Each task's step is ok if what it was for is there."""
    checks: dict[str, tuple[list[str], Callable[[], Figures]]] = {
        "data_prep": (["data_prep"], lambda: check_data(story)),
        "feature_build": (["feature_build"], lambda: check_features(story)),
        "train": (["train_sklearn", "train_lightgbm"], lambda: check_training(story, run)),
        "validate": (["validate"], lambda: check_validation(story, run)),
        "register_model": (["register_model"], lambda: check_registered(story, 1)),
    }
    for name, (tasks, check) in checks.items():
        states = [run.task(key) for key in tasks]
        story.report.take(name, check, seconds=max(state.seconds for state in states))


def check_data(story: Story) -> Figures:
    kept = {part: story.one(f"select count(*) from {CATALOG}.curated.{part}") for part in ("flights", "weather")}
    quarantined = story.one(f"select count(*) from {CATALOG}.curated.quarantine where source = 'flights'")
    expect(
        kept["flights"] + quarantined == story.raw_rows["flights"],
        f"{story.raw_rows['flights']} flights landed, not these",
    )
    reasons = story.one(f"select count(distinct reasons) from {CATALOG}.curated.quarantine")
    expect(reasons > 0, "nothing was quarantined, though some rows cannot be true")
    return {"flights": kept["flights"], "weather": kept["weather"], "quarantined": quarantined, "reasons": reasons}


def check_features(story: Story) -> Figures:
    table = f"{CATALOG}.ml.lateness_features"
    rows = story.one(f"select count(*) from {table}")
    expect(rows == story.one(f"select count(*) from {CATALOG}.curated.flights"), "not one row per flight")
    # Weather that was not over, or a landing that had not happened, would show as a time that is not in the past.
    early = story.one(f"select count(*) from {table} where weather_age_minutes <= 0 or tail_hours_since_arrival <= 0")
    expect(early == 0, f"{early} rows know something that had not happened yet")
    columns = len(story.sql(story.people.engineer.client, f"select * from {table} limit 1").columns)
    return {"rows": rows, "columns": columns, "rows_that_know_the_future": early}


def runs_of(story: Story, run: RunState, role: str) -> list[dict[str, Any]]:
    body = {
        "experiment_ids": [story.experiment_id],
        "filter": f"tags.`flight_delays.job_run` = '{run.run_id}' and tags.`flight_delays.role` = '{role}'",
    }
    return story.people.engineer.client.call("POST", "/api/2.0/mlflow/runs/search", body).get("runs", [])


def metrics(run: dict[str, Any]) -> dict[str, float]:
    return {one["key"]: float(one["value"]) for one in run["data"].get("metrics", [])}


def check_training(story: Story, run: RunState) -> Figures:
    found = runs_of(story, run, "candidate")
    expect(len(found) == 2, f"{len(found)} candidates were tracked")
    expect(all(one["info"]["status"] == "FINISHED" for one in found), "a candidate's run is not finished")
    named = {next(p["value"] for p in one["data"]["params"] if p["key"] == "candidate"): metrics(one) for one in found}
    return {f"{name}_training_auc": values["training_auc"] for name, values in sorted(named.items())}


def check_validation(story: Story, run: RunState) -> Figures:
    (found,) = runs_of(story, run, "evaluation")
    tags = {one["key"]: one["value"] for one in found["data"]["tags"]}
    expect(tags["flight_delays.passed"] == "true", "the evaluation did not pass")
    values = metrics(found)
    wanted = ("auc", "log_loss", "calibration_error", "gain", "gain_low", "gain_high")
    return {name: values[name] for name in wanted if name in values}


def check_registered(story: Story, version: int) -> Figures:
    client = story.people.engineer.client
    found = client.call("GET", f"{UNITY}/models/{MODEL}/versions/{version}")
    expect(found["status"] == "READY", f"version {version} is {found['status']}")
    verdict = client.call("GET", f"{LAKEWRIGHT}/gates/{MODEL}/{version}")
    expect(verdict["passed"], f"the gate refused it: {verdict.get('reasons')}")
    return {"version": version, "gate": "passed", "checks": len(verdict["outcomes"])}


# --- release ---


def release(story: Story) -> None:
    report = story.report
    report.take("self_approval_refused", lambda: refuse_self_approval(story, 1))
    report.take("approved", lambda: approve(story, 1))
    report.take("deploy", lambda: check_deployed(story, 1))


def find_approval(story: Story, client: Client, version: int) -> dict[str, Any]:
    found = client.call("GET", f"{LAKEWRIGHT}/approvals", model=MODEL).get("approvals", [])
    return next(one for one in found if one["version"] == version)


def refuse_self_approval(story: Story, version: int) -> Figures:
    engineer = story.people.engineer
    asked = find_approval(story, engineer.client, version)
    try:
        engineer.client.call(
            "POST", f"{LAKEWRIGHT}/approvals/{asked['approval_id']}/approve", {"comment": "mine, so good"}
        )
    except Refused as refused:
        expect(refused.status == 403, f"answered {refused.status}, not 403")
        story.console.print(
            f"  Emma tries to approve her own model: [red]{refused.code}[/] {refused.message}", soft_wrap=True
        )
        still = find_approval(story, engineer.client, version)["state"]
        expect(still == "PENDING", f"the approval is {still}")
        return {"status": refused.status, "code": refused.code, "approval": still}
    expect(False, "the author approved her own model")
    return {}


def approve(story: Story, version: int) -> Figures:
    approver = story.people.approver
    asked = find_approval(story, approver.client, version)
    card = approver.client.call("GET", f"{LAKEWRIGHT}/cards/{MODEL}/{version}")
    expect(card["complete"], f"the card lacks {card['missing']}")
    approver.client.call(
        "POST",
        f"{LAKEWRIGHT}/approvals/{asked['approval_id']}/approve",
        {"comment": "Read the card and the slices.", "subject": asked["subject"]},
    )
    state = find_approval(story, approver.client, version)["state"]
    expect(state in ("APPROVED", "RELEASED"), f"the approval is {state}")
    return {"by": approver.name, "card_sections": len(card["sections"]), "version": version}


def check_deployed(story: Story, version: int) -> Figures:
    """The run goes on by itself once approved; then the endpoint must answer with exactly this version."""
    if story.run is None:
        raise Refused(0, "NOT_YET", "The job was not started.")
    client = story.people.engineer.client
    story.run = follow(client, story.run.run_id, story.console)
    if story.run.result != "SUCCESS":
        watch_run(story, story.run.run_id)
    expect(story.run.result == "SUCCESS", f"the run ended {story.run.result}: {story.run.message}")
    return served(story, version)


def served(story: Story, version: int) -> Figures:
    client = story.people.engineer.client
    alias = client.call("GET", f"{UNITY}/models/{MODEL}/aliases/champion")
    expect(int(alias["version"]) == version, f"champion is version {alias['version']}")
    endpoint = client.call("GET", f"/api/2.0/serving-endpoints/{ENDPOINT}")
    entities = [int(one["entity_version"]) for one in endpoint["config"]["served_entities"]]
    expect(endpoint["state"]["ready"] == "READY", f"the endpoint is {endpoint['state']}")
    expect(entities == [version], f"the endpoint serves versions {entities}")
    return {"champion": version, "endpoint": endpoint["state"]["ready"], "a_flight_is_late_with": _one_answer(story)}


def _one_answer(story: Story) -> float:
    """One flight, put to the endpoint."""
    client = story.people.engineer.client
    (batch,) = flights_to_ask(story, "late is not null", at_most=1, each=1)
    answer = client.call("POST", f"/serving-endpoints/{ENDPOINT}/invocations", {"dataframe_split": batch})
    ((_, late),) = answer["predictions"]
    expect(0 <= late <= 1, f"{late} is not a probability")
    return round(float(late), 3)


def flights_to_ask(story: Story, where: str, *, at_most: int, each: int) -> list[dict[str, Any]]:
    """Flights as the platform's own feature table has them, typed and in batches, as a client would send them."""
    features = project_module(story, "features")
    columns, categories = cast("list[str]", features.FEATURES), cast("list[str]", features.CATEGORIES)
    rows = story.sql(
        story.people.engineer.client,
        f"select {', '.join(columns)} from {CATALOG}.ml.lateness_features where {where} order by md5(flight_id) limit {at_most}",
    ).rows
    typed = [
        [
            value if name in categories or value is None else float(value)
            for name, value in zip(columns, row, strict=True)
        ]
        for row in rows
    ]
    return [{"columns": columns, "data": typed[at : at + each]} for at in range(0, len(typed), each)]


# --- governed query ---

STATEMENT = (
    "select origin, count(*) as flights, round(avg(arrival_delay), 1) as mean_delay, min(tail_number) as a_tail_number "
    f"from {CATALOG}.curated.flights where arrival_delay is not null group by origin order by origin"
)

PROTECTION = (
    f"""
create or replace function {CATALOG}.curated.own_airport(origin string) returns boolean
    return if(is_account_group_member('{ANALYSTS}'), origin = '{ANALYSTS_AIRPORT}', true);
create or replace function {CATALOG}.curated.tail_masked(tail string) returns string
    return if(is_account_group_member('{ANALYSTS}'), concat('N****', right(tail, 1)), tail);
alter table {CATALOG}.curated.flights set row filter {CATALOG}.curated.own_airport on (origin);
alter table {CATALOG}.curated.flights alter column tail_number set mask {CATALOG}.curated.tail_masked;
grant use schema on schema {CATALOG}.curated to `{ANALYSTS}`;
grant select on table {CATALOG}.curated.flights to `{ANALYSTS}`;
""".strip()
    .rstrip(";")
    .split(";")
)


def protect(story: Story) -> None:
    """The engineer decides who sees what: analysts one airport, and only the last character of a tail number."""
    for statement in PROTECTION:
        story.sql(story.people.engineer.client, statement)


def governed_query(story: Story) -> Figures:
    cast_ = story.people
    try:
        story.sql(cast_.analyst.client, STATEMENT)
        expect(False, "the analyst read the table before anything was granted")
    except Refused as refused:
        story.console.print(f"  Before the grant, Ana reads: [red]{refused.code}[/] {refused.message}", soft_wrap=True)
    protect(story)
    mine, hers = story.sql(cast_.engineer.client, STATEMENT), story.sql(cast_.analyst.client, STATEMENT)
    story.console.print(f"  [dim]{STATEMENT}[/]", soft_wrap=True)
    story.console.print(Columns([table_of(mine, "Emma, owner"), table_of(hers, "Ana, analyst")], padding=(0, 4)))
    expect([row[0] for row in mine.rows] == ["EWR", "JFK", "LGA"], "the owner does not see all airports")
    expect([row[0] for row in hers.rows] == [ANALYSTS_AIRPORT], "the analyst sees other airports than her own")
    own, masked = mine.dicts()[1], hers.dicts()[0]
    expect(own["flights"] == masked["flights"], "the analyst does not see all flights of her airport")
    expect(str(masked["a_tail_number"]).startswith("N****"), "the analyst sees a tail number")
    return {"owner_rows": len(mine.rows), "analyst_rows": len(hers.rows), "analyst_tail": masked["a_tail_number"]}
