"""Schedules fire at their moment, once, on a clock that the test moves."""

from datetime import UTC, datetime
from typing import Any

import pytest
from databricks.sdk.service.jobs import CronSchedule, JobParameterDefinition, JobSettings, PauseStatus

from lakewright.jobs import schedules

from .conftest import until

HOURLY = CronSchedule("0 0 * * * ?", "UTC")


def runs(client: Any, job_id: int) -> list[Any]:
    return list(client.jobs.list_runs(job_id=job_id))


@pytest.fixture
def alice(served: Any, people: Any) -> Any:
    return people.person("alice").client


def to_the_hour(platform: Any) -> float:
    return 3600 - (platform.clock.now() // 1000) % 3600


def test_a_schedule_starts_a_run_at_its_moment_and_not_before(alice: Any, platform: Any) -> None:
    job_id = alice.jobs.create(name="hourly", schedule=HOURLY, max_concurrent_runs=5).job_id
    platform.clock.advance(to_the_hour(platform) - 1)
    schedules.tick(platform)
    assert runs(alice, job_id) == []
    platform.clock.advance(1)
    [run] = until(lambda: runs(alice, job_id))
    assert run.trigger.value == "PERIODIC"
    assert run.schedule.quartz_cron_expression == HOURLY.quartz_cron_expression
    assert datetime.fromtimestamp(run.start_time / 1000, UTC).strftime("%M:%S") == "00:00"
    platform.clock.advance(3600)
    until(lambda: len(runs(alice, job_id)) == 2)


def test_a_moment_fires_once_however_many_look_at_it(alice: Any, platform: Any) -> None:
    job_id = alice.jobs.create(name="hourly", schedule=HOURLY, max_concurrent_runs=5).job_id
    platform.clock.advance(to_the_hour(platform))
    fired = [platform.transact(lambda ctx: schedules.fire(ctx, str(job_id))) for _ in range(5)]
    assert sum(fired) <= 1
    until(lambda: len(runs(alice, job_id)) == 1)


def test_a_paused_schedule_does_not_fire_and_goes_on_when_unpaused(alice: Any, platform: Any) -> None:
    paused = CronSchedule("0 0 * * * ?", "UTC", pause_status=PauseStatus.PAUSED)
    job_id = alice.jobs.create(name="hourly", schedule=paused).job_id
    platform.clock.advance(7200)
    schedules.tick(platform)
    assert runs(alice, job_id) == []
    alice.jobs.update(job_id, new_settings=JobSettings(schedule=HOURLY))
    platform.clock.advance(to_the_hour(platform))
    until(lambda: len(runs(alice, job_id)) == 1)


def test_moments_missed_while_nobody_was_there_are_not_made_up_for(alice: Any, platform: Any) -> None:
    job_id = alice.jobs.create(name="hourly", schedule=HOURLY).job_id
    platform.clock.advance(to_the_hour(platform) + 10 * 3600 + 600)
    schedules.tick(platform)
    assert runs(alice, job_id) == []
    platform.clock.advance(to_the_hour(platform))
    until(lambda: len(runs(alice, job_id)) == 1)


def test_one_run_makes_up_for_missed_moments_where_that_is_asked_for(alice: Any, platform: Any) -> None:
    platform.settings.jobs.catch_up = True
    job_id = alice.jobs.create(name="hourly", schedule=HOURLY).job_id
    platform.clock.advance(to_the_hour(platform) + 10 * 3600 + 600)
    schedules.tick(platform)
    assert len(runs(alice, job_id)) == 1


def test_a_job_that_cannot_start_does_not_keep_others_from_their_moment(alice: Any, platform: Any) -> None:
    wrong = JobParameterDefinition("day", "{{job.no_such_thing}}")
    broken = alice.jobs.create(name="broken", schedule=HOURLY, parameters=[wrong]).job_id
    sound = alice.jobs.create(name="sound", schedule=HOURLY, max_concurrent_runs=5).job_id
    platform.clock.advance(to_the_hour(platform))
    schedules.tick(platform)
    assert len(runs(alice, sound)) == 1
    assert runs(alice, broken) == []
    [row] = platform.snapshot(
        lambda ctx: ctx.tx.all("SELECT error FROM audit WHERE action = 'runTriggered' AND status >= 400")
    )
    assert "no_such_thing" in row["error"]


def test_a_deleted_job_does_not_fire(alice: Any, platform: Any) -> None:
    job_id = alice.jobs.create(name="hourly", schedule=HOURLY).job_id
    alice.jobs.delete(job_id)
    platform.clock.advance(to_the_hour(platform))
    schedules.tick(platform)
    assert platform.snapshot(lambda ctx: ctx.tx.scalar("SELECT COUNT(*) FROM job_run")) == 0
