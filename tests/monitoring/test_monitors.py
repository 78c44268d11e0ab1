"""Quality monitors through the unmodified SDK, over governed Delta tables."""

import datetime as dt
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from databricks.sdk.errors import NotFound, PermissionDenied, ResourceAlreadyExists
from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.service.catalog import (
    MonitorCronSchedule,
    MonitorInferenceLog,
    MonitorInferenceLogProblemType,
    MonitorRefreshInfoState,
    MonitorSnapshot,
    MonitorTimeSeries,
)
from databricks.sdk.service.jobs import ConditionTask, ConditionTaskOp, Task

from lakewright.sql import governed

NOW = dt.datetime.fromtimestamp(1_760_000_000, dt.UTC)
TABLE, BASE = "main.ml.scored", "main.ml.training"
API = f"/api/2.1/lakewright/monitors/{TABLE}"


def rows(start: dt.datetime, count: int = 1500, windy: bool = False, seed: int = 1) -> pa.Table:
    random = np.random.default_rng(seed)
    return pa.table({
        "at": pa.array([start + dt.timedelta(seconds=n) for n in range(count)], pa.timestamp("us", "UTC")),
        "wind": random.gamma(2.0, 8.0 if windy else 4.0, count),
        "humidity": random.uniform(0, 100, count),
        "carrier": random.choice(["AA", "UA"], count),
        "model_id": ["main.ml.m/1"] * count,
        "prediction": random.integers(0, 2, count),
    })  # fmt: skip


class Lake:
    def __init__(self, server: Any, people: Any) -> None:
        self.platform, self.people = server.platform, people
        admin = people.admin.client
        admin.catalogs.create(name="main")
        admin.schemas.create(name="ml", catalog_name="main")
        self.ann, self.bob = people.person("ann"), people.person("bob")
        self.grant("catalog", "main", self.ann, "USE_CATALOG", "USE_SCHEMA", "CREATE_TABLE")
        self.grant("catalog", "main", self.bob, "USE_CATALOG", "USE_SCHEMA")

    def grant(self, kind: str, name: str, who: Any, *rights: str) -> None:
        body = {"changes": [{"principal": who.name, "add": list(rights)}]}
        self.people.admin.do("PATCH", f"/api/2.1/unity-catalog/permissions/{kind}/{name}", **body)

    def ctx(self, who: Any) -> Any:
        principal = self.platform.snapshot(lambda ctx: self.platform.principal(ctx.tx, who.id))
        return replace(self.platform.system(), principal=principal)

    def write(self, table: str, data: pa.Table, who: Any = None) -> None:
        governed.write(self.ctx(who or self.ann), table, data)

    def read(self, table: str, who: Any = None) -> list[dict[str, Any]]:
        return governed.scan(self.ctx(who or self.ann), table).read_all().to_pylist()

    def refreshed(self, who: Any = None) -> Any:
        client = (who or self.ann).client
        asked = client.quality_monitors.run_refresh(TABLE)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            found = client.quality_monitors.get_refresh(TABLE, asked.refresh_id)
            if found.state not in (MonitorRefreshInfoState.PENDING, MonitorRefreshInfoState.RUNNING):
                return found
            time.sleep(0.05)
        raise AssertionError("the refresh does not end")

    def alerts(self, who: Any = None) -> list[dict[str, Any]]:
        return (who or self.ann).do("GET", f"{API}/alerts")["alerts"]


@pytest.fixture
def lake(server, people):
    return Lake(server, people)


DAILY = MonitorTimeSeries(timestamp_col="at", granularities=["1 day"])
LOG = MonitorInferenceLog(
    timestamp_col="at", granularities=["1 day"], model_id_col="model_id", prediction_col="prediction",
    problem_type=MonitorInferenceLogProblemType.PROBLEM_TYPE_CLASSIFICATION,
)  # fmt: skip


def create(lake: Lake, **more: Any) -> Any:
    profile = {"inference_log": LOG} if not more.keys() & {"snapshot", "time_series"} else {}
    return lake.ann.client.quality_monitors.create(TABLE, "main.ml", "/Shared/monitors", **(profile | more))


def test_a_shift_from_the_baseline_is_named_in_tables_and_alerts(lake):
    lake.write(BASE, rows(NOW - dt.timedelta(days=30), 4000, seed=5).drop_columns(["at", "model_id"]))
    lake.write(TABLE, rows(NOW - dt.timedelta(hours=2), windy=True))
    made = create(lake, baseline_table_name=BASE, slicing_exprs=["carrier"])
    assert made.profile_metrics_table_name == "main.ml.scored_profile_metrics"
    done = lake.refreshed()
    assert done.state == MonitorRefreshInfoState.SUCCESS, done.message
    profiles = lake.read("main.ml.scored_profile_metrics")
    wind = next(r for r in profiles if r["column_name"] == "wind" and r["slice_key"] is None)
    assert wind["count"] == 1500
    assert wind["window"]["start"].date() == (NOW - dt.timedelta(hours=2)).date()
    drifts = lake.read("main.ml.scored_drift_metrics")
    whole = {r["column_name"]: r for r in drifts if r["slice_key"] is None}
    assert [name for name, row in whole.items() if row["drifted"]] == ["wind"]
    assert whole["wind"]["population_stability_index"] > whole["wind"]["psi_limit"]
    assert whole["wind"]["ks_test"]["pvalue"] < 1e-6
    assert {r["slice_value"] for r in drifts} == {None, "AA", "UA"}
    alerts = lake.alerts()
    assert {alert["column_name"] for alert in alerts} == {"wind"}
    assert "wind: above" in alerts[0]["because"]
    assert alerts[0]["drift_type"] == "BASELINE"


def test_what_did_not_change_raises_no_alert_and_a_window_is_told_once(lake):
    lake.write(TABLE, rows(NOW - dt.timedelta(days=2)))
    lake.write(TABLE, rows(NOW - dt.timedelta(days=1), seed=2))
    create(lake, time_series=DAILY)
    lake.refreshed()
    assert lake.alerts() == []
    lake.write(TABLE, rows(NOW, windy=True, seed=3))
    for _ in range(2):
        assert lake.refreshed().state == MonitorRefreshInfoState.SUCCESS
    assert [alert["column_name"] for alert in lake.alerts()] == ["wind"]
    profiles = lake.read("main.ml.scored_profile_metrics")
    keys = [(r["window"]["start"], r["column_name"]) for r in profiles]
    assert len(keys) == len(set(keys)) == 3 * 5


def test_a_snapshot_is_one_window(lake):
    lake.write(TABLE, rows(NOW))
    create(lake, snapshot=MonitorSnapshot())
    assert lake.refreshed().state == MonitorRefreshInfoState.SUCCESS
    profiles = lake.read("main.ml.scored_profile_metrics")
    assert len({r["window"]["start"] for r in profiles}) == 1


def test_drift_starts_the_job_once_per_cool_down_and_says_why(lake):
    def gate(left: str) -> Task:
        return Task("gate", condition_task=ConditionTask(op=ConditionTaskOp.EQUAL_TO, left=left, right="1"))

    job = lake.ann.client.jobs.create(name="retrain", tasks=[gate("1")])
    lake.write(BASE, rows(NOW, 4000, seed=5).drop_columns(["at", "model_id"]))
    lake.write(TABLE, rows(NOW - dt.timedelta(days=3), windy=True))
    create(lake, baseline_table_name=BASE)
    trigger = {"job_id": job.job_id, "cool_down_minutes": 60}
    lake.ann.do("PUT", f"{API}/policy", policy={"trigger": trigger})
    lake.refreshed()
    [first] = runs(lake, 1)
    assert first["outcome"] == "STARTED"
    assert "wind" in first["cause"]
    run = lake.ann.client.jobs.get_run(int(first["run_id"]))
    assert (run.job_id, run.creator_user_name) == (job.job_id, "ann")
    lake.platform.clock.advance(60)
    lake.write(TABLE, rows(NOW - dt.timedelta(days=2), windy=True, seed=4))
    lake.refreshed()
    assert [r["outcome"] for r in runs(lake, 2)] == ["COOLING_DOWN", "STARTED"]
    lake.platform.clock.advance(3601)
    lake.write(TABLE, rows(NOW - dt.timedelta(days=1), windy=True, seed=6))
    lake.refreshed()
    assert [r["outcome"] for r in runs(lake, 3)] == ["STARTED", "COOLING_DOWN", "STARTED"]
    assert len(list(lake.ann.client.jobs.list_runs(job_id=job.job_id))) == 2


def runs(lake: Lake, count: int) -> list[dict[str, Any]]:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found = lake.ann.do("GET", f"{API}/runs")["runs"]
        if len(found) == count and not any(run["outcome"] == "STARTING" for run in found):
            return sorted(found, key=lambda run: -run["at"])
        time.sleep(0.05)
    raise AssertionError(found)


def test_a_trigger_needs_the_right_to_run_its_job(lake):
    job = lake.bob.client.jobs.create(name="bobs", tasks=[])
    lake.write(TABLE, rows(NOW))
    create(lake)
    with pytest.raises(PermissionDenied):
        lake.ann.do("PUT", f"{API}/policy", policy={"trigger": {"job_id": job.job_id}})


def test_a_schedule_refreshes_when_it_is_due(lake):
    lake.write(TABLE, rows(NOW))
    create(lake, schedule=MonitorCronSchedule(quartz_cron_expression="0 0 * * * ?", timezone_id="UTC"))
    assert lake.ann.client.quality_monitors.list_refreshes(TABLE).refreshes == []
    lake.platform.clock.advance(3600)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        found = lake.ann.client.quality_monitors.list_refreshes(TABLE).refreshes
        if found and found[0].state == MonitorRefreshInfoState.SUCCESS:
            break
        time.sleep(0.05)
    assert [refresh.trigger.value for refresh in found] == ["SCHEDULE"]


def test_a_monitor_shows_its_author_no_more_than_the_author_may_see(lake):
    """ann's monitor of admin's table under a row filter counts ann's rows only."""
    admin = lake.people.admin
    lake.write(TABLE, rows(NOW), admin)
    lake.grant("table", TABLE, lake.ann, "SELECT", "MANAGE")
    governed.query(lake.ctx(admin), "CREATE FUNCTION main.ml.only_aa(c STRING) RETURNS BOOLEAN RETURN c = 'AA'")
    governed.query(lake.ctx(admin), f"ALTER TABLE {TABLE} SET ROW FILTER main.ml.only_aa ON (carrier)")
    create(lake, snapshot=MonitorSnapshot())
    done = lake.refreshed()
    assert done.state == MonitorRefreshInfoState.SUCCESS, done.message
    carrier = next(r for r in lake.read("main.ml.scored_profile_metrics") if r["column_name"] == "carrier")
    assert [item["item"] for item in carrier["frequent_items"]] == ["AA"]


def test_who_may_read_the_table_may_see_its_monitor_and_only_managers_may_change_it(lake):
    lake.write(TABLE, rows(NOW))
    create(lake)
    stranger = lake.people.person("stranger").client
    with pytest.raises(PermissionDenied):
        stranger.quality_monitors.get(TABLE)
    with pytest.raises(PermissionDenied):
        lake.bob.client.quality_monitors.get(TABLE)
    lake.grant("table", TABLE, lake.bob, "SELECT")
    assert lake.bob.client.quality_monitors.get(TABLE).table_name == TABLE
    for attempt in (
        lambda: lake.bob.client.quality_monitors.run_refresh(TABLE),
        lambda: lake.bob.client.quality_monitors.delete(TABLE),
        lambda: lake.bob.client.quality_monitors.update(TABLE, "main.ml", snapshot=MonitorSnapshot()),
        lambda: lake.bob.do("PUT", f"{API}/policy", policy={}),
    ):
        with pytest.raises(PermissionDenied):
            attempt()


def test_configurations_that_cannot_work_are_refused(lake):
    lake.write(TABLE, rows(NOW))
    for wanted, complaint in (
        ({"snapshot": MonitorSnapshot(), "time_series": DAILY}, "exactly one"),
        ({"time_series": MonitorTimeSeries("when", ["1 day"])}, "no column 'when'"),
        ({"time_series": MonitorTimeSeries("at", ["3 moons"])}, "granularity"),
        ({"slicing_exprs": ["read_text('/etc/passwd')"]}, "slicing_exprs"),
        ({"baseline_table_name": "main.ml.nothing"}, "SELECT on table"),
        ({"schedule": MonitorCronSchedule("every hour", "UTC")}, "Quartz"),
    ):
        with pytest.raises(DatabricksError, match=complaint):
            create(lake, **wanted)
    create(lake)
    with pytest.raises(ResourceAlreadyExists):
        create(lake)
    lake.ann.client.quality_monitors.delete(TABLE)
    with pytest.raises(NotFound):
        lake.ann.client.quality_monitors.get(TABLE)


def test_a_refresh_that_fails_says_so_and_the_next_one_is_tried(lake):
    lake.write(TABLE, rows(NOW))
    create(lake)
    lake.people.admin.do(
        "PATCH", "/api/2.1/unity-catalog/permissions/catalog/main",
        changes=[{"principal": "ann", "remove": ["USE_CATALOG"]}],
    )  # fmt: skip
    with pytest.raises(PermissionDenied):
        lake.ann.client.quality_monitors.run_refresh(TABLE)
    lake.grant("catalog", "main", lake.ann, "USE_CATALOG")
    assert lake.refreshed().state == MonitorRefreshInfoState.SUCCESS
