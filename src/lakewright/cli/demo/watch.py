"""Watching: months go by at the endpoint, drift is found and named, retraining starts, and the trail tells it all."""

from __future__ import annotations

import time
from typing import Any

from rich.progress import Progress
from rich.table import Table

from lakewright.cli.demo.stage import SCIM, UNITY
from lakewright.cli.demo.steps import Figures, expect
from lakewright.cli.demo.story import (
    CATALOG,
    ENDPOINT,
    FOLLOWING_MONTHS,
    LAKEWRIGHT,
    MODEL,
    Story,
    approve,
    check_registered,
    flights_to_ask,
    land,
    metrics,
    project_module,
    refuse_self_approval,
    runs_of,
    served,
    watch_run,
)
from lakewright.cli.progress import follow
from lakewright.cli.statements import Rows
from lakewright.projects.client import Refused

REQUESTS, ROWS_EACH = 30, 100
LOGGED_WITHIN_SECONDS, STARTED_WITHIN_SECONDS = 30, 30
NAMED_DRIFTS = 6
SCORED = f"{CATALOG}.ml.lateness_scored"
"""What the endpoint was asked, a row per flight, its features as columns."""


def tell(story: Story) -> None:
    report = story.report
    story.act("May, June and July go by at the endpoint")
    report.take("replay", lambda: replay(story))
    story.act("Is the world still the one it learnt from?")
    report.take("drift_found", lambda: find_drift(story))
    report.take("retrained", lambda: retrain(story))
    story.act("What the trail says, from SQL over system.access.audit")
    report.take("audit", lambda: audit(story))


# --- replay ---


def replay(story: Story) -> Figures:
    """The following months land and are made into features; a sample of those flights is put to the endpoint, in batches."""
    engineer = story.people.engineer.client
    land(story, FOLLOWING_MONTHS)
    started = engineer.call(
        "POST", "/api/2.2/jobs/run-now", {"job_id": story.job_id, "only": ["data_prep", "feature_build"]}
    )
    run = watch_run(story, int(started["run_id"]))
    expect(run.result == "SUCCESS", f"the new months were not made into features: {run.message}")
    following = "judged_at >= '2013-05-01' and late is not null"
    batches = flights_to_ask(story, following, at_most=REQUESTS * ROWS_EACH, each=ROWS_EACH)
    asked, late = 0, 0
    began = time.monotonic()
    with Progress(console=story.console, transient=True) as progress:
        for batch in progress.track(batches, description="asking the endpoint"):
            answer = engineer.call("POST", f"/serving-endpoints/{ENDPOINT}/invocations", {"dataframe_split": batch})
            asked += len(batch["data"])
            late += sum(float(one[1]) >= 0.5 for one in answer["predictions"])
            expect(len(answer["predictions"]) == len(batch["data"]), "an answer is missing")
    took = time.monotonic() - began
    logged = _logged(story, asked + 1)
    return {
        "flights": asked,
        "requests": len(batches),
        "logged": logged,
        "judged_late": late,
        "flights_per_second": asked / took,
    }


def _logged(story: Story, asked: int) -> int:
    """The request log is written off the answer's path; every flight must be in it soon after, the very first too."""
    until = time.monotonic() + LOGGED_WITHIN_SECONDS
    while True:
        try:
            logged = story.one(f"select count(*) from {SCORED}")
        except Refused:  # the table is made with its first rows
            logged = 0
        if logged >= asked or time.monotonic() > until:
            expect(logged == asked, f"{asked} flights were asked about, {logged} are in the request log")
            return logged
        time.sleep(0.5)


# --- drift ---


def find_drift(story: Story) -> Figures:
    """The engineer watches what the endpoint was asked, against what its model learnt from; drift starts the job again."""
    engineer = story.people.engineer
    watched = f"{UNITY}/tables/{SCORED}"
    engineer.client.call(
        "POST",
        f"{watched}/monitor",
        {
            "assets_dir": f"/Users/{engineer.name}/monitors",
            "output_schema_name": f"{CATALOG}.ml",
            "baseline_table_name": f"{CATALOG}.ml.lateness_baseline",
            "snapshot": {},
        },
    )
    trigger = {"job_id": story.job_id, "cool_down_minutes": 60, "at_least": 3}
    policy = {"columns": project_module(story, "features").FEATURES, "trigger": trigger}
    engineer.client.call("PUT", f"{LAKEWRIGHT}/monitors/{SCORED}/policy", {"policy": policy})
    _refresh(story)
    alerts = engineer.client.call("GET", f"{LAKEWRIGHT}/monitors/{SCORED}/alerts")["alerts"]
    drifted: dict[str, float] = {one["column_name"]: round(float(one["psi"]), 2) for one in alerts}
    for one in alerts[:NAMED_DRIFTS]:
        story.console.print(f"  [yellow]drifted[/] {one['because']}", highlight=False, soft_wrap=True)
    expect("temp" in drifted, f"summer is warmer than winter, and the monitor does not say so: {sorted(drifted)}")
    written = story.one(f"select count(distinct column_name) from {SCORED}_drift_metrics where column_name = 'temp'")
    expect(written == 1, "the drift table does not have it")
    return {"drifted": list(drifted)[:NAMED_DRIFTS], "columns": len(drifted), "psi_of_temp": drifted["temp"]}


def _refresh(story: Story) -> None:
    engineer = story.people.engineer.client
    asked = engineer.call("POST", f"{UNITY}/tables/{SCORED}/monitor/refreshes")
    while asked["state"] in ("PENDING", "RUNNING"):
        time.sleep(0.3)
        asked = engineer.call("GET", f"{UNITY}/tables/{SCORED}/monitor/refreshes/{asked['refresh_id']}")
    expect(asked["state"] == "SUCCESS", f"the refresh ended {asked['state']}: {asked.get('message')}")


# --- retraining ---


def retrain(story: Story) -> Figures:
    """The run that drift started trains on the new months, and its model takes the same way: gate, refusal, approval, release."""
    engineer = story.people.engineer.client
    started = _started(story)
    story.console.print(
        f"  Drift started run {started['run_id']} of the job, as Emma, who set the trigger.", highlight=False
    )
    _refresh(story)
    again = _runs(story)[0]["outcome"]
    expect(again == "COOLING_DOWN", f"the same drift, found again within the hour, is {again}")
    story.run = watch_run(story, int(started["run_id"]))
    registered = check_registered(story, 2)
    refused = refuse_self_approval(story, 2)
    approve(story, 2)
    story.run = follow(engineer, story.run.run_id, story.console)
    expect(story.run.result == "SUCCESS", f"the run ended {story.run.result}: {story.run.message}")
    figures = served(story, 2)
    (evaluation,) = runs_of(story, story.run, "evaluation")
    gains = {name: value for name, value in metrics(evaluation).items() if name.startswith("gain")}
    expect(gains["gain_low"] > 0, "the new model is not surely better")
    return {
        "run_id": story.run.run_id,
        **figures,
        "gate": registered["gate"],
        "self_approval": refused["status"],
        **gains,
    }


def _started(story: Story) -> dict[str, Any]:
    until = time.monotonic() + STARTED_WITHIN_SECONDS
    while True:
        runs = _runs(story)
        started = [one for one in runs if one["outcome"] == "STARTED"]
        if started or time.monotonic() > until:
            expect(bool(started), f"drift started nothing: {runs}")
            return started[-1]
        time.sleep(0.3)


def _runs(story: Story) -> list[dict[str, Any]]:
    """What drift started or would have started, newest first."""
    return story.people.engineer.client.call("GET", f"{LAKEWRIGHT}/monitors/{SCORED}/runs")["runs"]


# --- audit ---

TOLD = (
    "createCatalog", "createServicePrincipal", "createSchema", "runNow", "createModelVersion", "runGate", "approve",
    "setRegisteredModelAlias", "createServingEndpoint", "updateServingEndpoint", "setRowFilter", "setColumnMask",
    "createQualityMonitor", "setMonitorPolicy", "commandFinish",
)  # fmt: skip
TRAIL = f"""
select date_format(event_time, 'HH:mm:ss') as at, user_identity.email as who, action_name as did,
    coalesce(securable, '') as on_what, response.status_code as answer, coalesce(error_message, because, '') as because
from system.access.audit
where action_name in ({", ".join(f"'{one}'" for one in TOLD)})
    and (response.status_code = 403 or (response.status_code < 400 and action_name <> 'commandFinish'))
order by event_time, event_id
"""


def audit(story: Story) -> Figures:
    """The trail in the order it happened: who, what, on what, and whether it was allowed. Then, whether it is whole."""
    people = story.people
    trail = story.sql(people.admin, TRAIL)
    known = _known(story)
    for row in trail.rows:
        row[1] = known.get(str(row[1]), str(row[1]).split("@")[0])
        row[3] = known.get(str(row[3]), row[3])
        for id, name in known.items():
            row[5] = str(row[5]).replace(id, name)
    story.console.print(_shown(trail))
    happened = {(row["who"], row["did"], row["answer"]) for row in trail.dicts()}
    for wanted in (("emma", "approve", "403"), ("oscar", "approve", "200"), ("ana", "commandFinish", "403")):
        expect(wanted in happened, f"the trail does not tell that {wanted[0]} got {wanted[2]} for {wanted[1]}")
    whole = people.admin.call("GET", f"{LAKEWRIGHT}/audit/verify")
    expect(whole["whole"], f"the trail is broken at row {whole.get('seq')}")
    refusals = sum(row["answer"] == "403" for row in trail.dicts())
    return {"told": len(trail.rows), "refusals": refusals, "rows": whole["rows"], "chain": "whole"}


def _known(story: Story) -> dict[str, str]:
    """The trail keeps ids, which nobody can take over; people read names."""
    people = story.people
    asked = people.approver.client.call("GET", f"{LAKEWRIGHT}/approvals", model=MODEL)["approvals"]
    groups = people.admin.call("GET", f"{SCIM}/Groups").get("Resources", [])
    return {
        people.runner.name: "the job",
        str(story.job_id): "flight lateness",
        **{one["approval_id"]: f"version {one['version']} as {one['alias']}" for one in asked},
        **{one["id"]: one["displayName"] for one in groups},
    }


def _shown(trail: Rows) -> Table:
    table = Table(*trail.columns, box=None, header_style="bold", pad_edge=False)
    for row in trail.rows:
        refused = row[4] == "403"
        table.add_row(*(str(cell or "") for cell in row), style="red" if refused else None)
    return table
