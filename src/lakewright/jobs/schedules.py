"""Schedules: which job fires next, and firing it exactly once.

One row per scheduled job holds its next moment. Whoever moves that moment on starts the run in the same transaction,
so a moment fires once however many nodes look at it, and not at all twice after a crash. Moments missed while the
platform was down are not made up for, and the schedule goes on with its next one; with `jobs.catch_up` one run makes
up for all of them.
"""

from lakewright.jobs import engine, quartz
from lakewright.jobs.definition import CronSchedule
from lakewright.jobs.kind import JOB
from lakewright.kernel import objects
from lakewright.kernel.audit import Entry
from lakewright.kernel.context import Ctx
from lakewright.kernel.controllers import controller
from lakewright.kernel.faults import Fault, Unavailable
from lakewright.kernel.platform import Platform

LATEST_MS = 60_000
"""A moment found later than this was missed."""
CLOSEST_MS = 10_000
"""Least time between two runs of one schedule."""


def follow(ctx: Ctx, job_id: str, schedule: CronSchedule | None) -> None:
    """Take note of a job's schedule, in the transaction that changes it."""
    if schedule is None or schedule.pause_status == "PAUSED":
        ctx.tx.run("DELETE FROM schedule_state WHERE job_id = ?", job_id)
        return
    key = f"{schedule.quartz_cron_expression} {schedule.timezone_id}"
    row = ctx.tx.one("SELECT schedule FROM schedule_state WHERE job_id = ?", job_id)
    if row is not None and row["schedule"] == key:
        return
    due = quartz.parse(schedule.quartz_cron_expression, schedule.timezone_id).after(ctx.now())
    ctx.tx.run(
        "INSERT INTO schedule_state (job_id, schedule, next_fire_at) VALUES (?, ?, ?)"
        " ON CONFLICT (job_id) DO UPDATE SET schedule = excluded.schedule, next_fire_at = excluded.next_fire_at",
        job_id, key, due,
    )  # fmt: skip
    ctx.emit("job_schedule", job_id, {"next_fire_at": due})


@controller("jobs.scheduler", every=1.0, wakes_on=("job_schedule",))
def tick(platform: Platform) -> None:
    due = platform.snapshot(
        lambda ctx: [
            str(row["job_id"])
            for row in ctx.tx.all(
                "SELECT job_id FROM schedule_state WHERE next_fire_at <= ? ORDER BY next_fire_at", ctx.now()
            )
        ]
    )
    for job_id in due:
        try:
            platform.transact(lambda ctx, job_id=job_id: fire(ctx, job_id))
        except Unavailable:
            raise
        except Fault as fault:  # one job that cannot start must not keep the others waiting
            platform.transact(lambda ctx, job_id=job_id, fault=fault: pass_over(ctx, job_id, fault))


def pass_over(ctx: Ctx, job_id: str, why: Fault) -> None:
    """The moment passes without a run; the trail says why."""
    assert ctx.turn is not None
    if (due := _due(ctx, job_id)) is None:
        return
    _move_on(ctx, job_id, due)
    owner = str(ctx.tx.scalar("SELECT owner FROM objects WHERE id = ?", job_id) or "")
    ctx.turn.entries.append(
        Entry(
            at=ctx.now(), request_id=ctx.request.request_id, workspace=_workspace(ctx, job_id), source="jobs",
            user_agent="", service="jobs", action="runTriggered", who=owner, who_name=ctx.name_of(owner), kind="job",
            object_id=job_id, address=job_id, ask={"cause": "PERIODIC"}, status=why.status, error=str(why)[:2000],
        )
    )  # fmt: skip


def fire(ctx: Ctx, job_id: str) -> bool:
    """Start the run of a moment that has come; whether this call was the one to do it."""
    if (due := _due(ctx, job_id)) is None or not _move_on(ctx, job_id, due):
        return False
    if ctx.now() - due > LATEST_MS and not ctx.settings.jobs.catch_up:
        return False
    ctx = ctx.in_workspace(_workspace(ctx, job_id))
    job = objects.by_id(ctx, JOB, job_id)
    run = engine.open_run(
        ctx,
        engine.Order(
            job_id, job.spec.settings, creator=job.owner, run_as=job.spec.run_as, cause="PERIODIC", due_at=due
        ),
    )
    engine.record(ctx, "runTriggered", run, "schedule")
    return True


def _due(ctx: Ctx, job_id: str) -> int | None:
    """The moment that has come; None when it has not, or somebody else took it."""
    due = ctx.tx.scalar("SELECT next_fire_at FROM schedule_state WHERE job_id = ?", job_id)
    return None if due is None or due > ctx.now() else int(due)


def _move_on(ctx: Ctx, job_id: str, due: int) -> bool:
    schedule = str(ctx.tx.scalar("SELECT schedule FROM schedule_state WHERE job_id = ?", job_id))
    expression, _, zone = schedule.rpartition(" ")
    following = quartz.parse(expression, zone).after(max(ctx.now(), due + CLOSEST_MS - 1))
    return ctx.tx.run(
        "UPDATE schedule_state SET next_fire_at = ?, last_fired_at = ? WHERE job_id = ? AND next_fire_at = ?",
        following, due, job_id, due,
    ) > 0  # fmt: skip


def _workspace(ctx: Ctx, job_id: str) -> str:
    return str(ctx.tx.scalar("SELECT workspace FROM objects WHERE id = ?", job_id))
