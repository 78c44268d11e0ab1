"""Watching: months go by at the endpoint, drift is found and named, retraining starts, and the trail tells it all."""

from __future__ import annotations

import time
from typing import Any

from rich.progress import Progress

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
    land,
    metrics,
    refuse_self_approval,
    runs_of,
    served,
    watch_run,
)
from lakewright.cli.statements import table_of
from lakewright.projects.client import Refused

REQUESTS, ROWS_EACH = 30, 100


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
    batches = _sample(story)
    asked, late = 0, 0
    began = time.monotonic()
    with Progress(console=story.console, transient=True) as progress:
        for batch in progress.track(batches, description="asking the endpoint"):
            answer = engineer.call("POST", f"/serving-endpoints/{ENDPOINT}/invocations", {"dataframe_split": batch})
            asked += len(batch["data"])
            late += sum(float(one[1]) >= 0.5 for one in answer["predictions"])
            expect(len(answer["predictions"]) == len(batch["data"]), "an answer is missing")
    took = time.monotonic() - began
    logged = _logged(story, asked)
    return {
        "flights": asked,
        "requests": len(batches),
        "logged": logged,
        "judged_late": late,
        "flights_per_second": asked / took,
    }


def _sample(story: Story) -> list[dict[str, Any]]:
    """Flights of the following months, as the platform's own feature table has them, in the order they were to leave."""
    from importlib import import_module

    columns: list[str] = import_module("flight_delays.features").FEATURES
    categories: list[str] = import_module("flight_delays.features").CATEGORIES
    rows = story.sql(
        story.people.engineer.client,
        f"select {', '.join(columns)} from {CATALOG}.ml.lateness_features where judged_at >= '2013-05-01' "
        f"and late is not null order by md5(cast(flight_id as string)) limit {REQUESTS * ROWS_EACH}",
    )
    typed = [
        [
            value if name in categories or value is None else float(value)
            for name, value in zip(columns, row, strict=True)
        ]
        for row in rows.rows
    ]
    return [{"columns": columns, "data": typed[at : at + ROWS_EACH]} for at in range(0, len(typed), ROWS_EACH)]


def _logged(story: Story, asked: int) -> int:
    """The request log is written off the answer's path; it must be whole soon after."""
    return 0


# --- drift ---


def find_drift(story: Story) -> Figures:
    raise Refused(0, "NOT_YET", "monitors are not there yet")


def retrain(story: Story) -> Figures:
    raise Refused(0, "NOT_YET", "triggers are not there yet")


def audit(story: Story) -> Figures:
    """The trail in the order it happened: who, what, on what, and whether it was allowed."""
    found = story.sql(story.people.admin, "select * from system.access.audit order by event_time limit 5")
    story.console.print(table_of(found))
    return {"rows": len(found.rows)}


__all__ = ["LAKEWRIGHT", "MODEL", "approve", "check_registered", "metrics", "refuse_self_approval", "runs_of", "served"]
