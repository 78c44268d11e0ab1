"""When schedules fire. Expected moments are Quartz's own semantics (1 = Sunday), read from its documentation."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from lakewright.jobs import quartz
from lakewright.kernel.faults import Invalid

FRIDAY_NOON = "2026-11-20 12:00:00"


def fires(expression: str, after: str = FRIDAY_NOON, zone: str = "UTC", times: int = 1) -> str:
    """The next fire times, as wall-clock times with their offset, one per line."""
    moment = int(datetime.fromisoformat(after).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)
    found: list[str] = []
    for _ in range(times):
        due = quartz.parse(expression, zone).after(moment)
        if due is None:
            found.append("never")
            break
        found.append(datetime.fromtimestamp(due / 1000, ZoneInfo(zone)).strftime("%a %Y-%m-%d %H:%M:%S %z"))
        moment = due
    return "\n".join(found)


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        ("0 0 6 * * ?", "Sat 2026-11-21 06:00:00 +0000"),
        ("0 0 12 * * ?", "Sat 2026-11-21 12:00:00 +0000"),
        ("* * * * * ?", "Fri 2026-11-20 12:00:01 +0000"),
        ("0 15 10 ? * MON-FRI", "Mon 2026-11-23 10:15:00 +0000"),
        ("0 15 10 ? * 2-6", "Mon 2026-11-23 10:15:00 +0000"),
        ("0 15 10 ? * 1", "Sun 2026-11-22 10:15:00 +0000"),
        ("0 0 9 ? * FRI-SUN", "Sat 2026-11-21 09:00:00 +0000"),
        ("0 0/5 14,18 * * ?", "Fri 2026-11-20 14:00:00 +0000"),
        ("0 0 22-2 * * ?", "Fri 2026-11-20 22:00:00 +0000"),
        ("0 0 0 L * ?", "Mon 2026-11-30 00:00:00 +0000"),
        ("0 0 0 L-3 * ?", "Fri 2026-11-27 00:00:00 +0000"),
        ("0 0 0 LW 1 ?", "Fri 2027-01-29 00:00:00 +0000"),
        ("0 0 12 1W * ?", "Tue 2026-12-01 12:00:00 +0000"),
        ("0 0 12 1W 5 ?", "Mon 2027-05-03 12:00:00 +0000"),  # the 1st is a Saturday: not back into April
        ("0 0 12 31W 1 ?", "Fri 2027-01-29 12:00:00 +0000"),  # the 31st is a Sunday: not on into February
        ("0 0 12 15W 11 ?", "Mon 2027-11-15 12:00:00 +0000"),
        ("0 0 12 14W 11 ?", "Mon 2027-11-15 12:00:00 +0000"),  # the 14th is a Sunday
        ("0 0 12 ? * 6#3", "Fri 2026-12-18 12:00:00 +0000"),
        ("0 0 12 ? * FRI#5", "Fri 2027-01-29 12:00:00 +0000"),  # December has four Fridays
        ("0 0 12 ? * 6L", "Fri 2026-11-27 12:00:00 +0000"),
        ("0 0 12 ? * L", "Sat 2026-11-21 12:00:00 +0000"),
        ("0 0 0 29 2 ?", "Tue 2028-02-29 00:00:00 +0000"),
        ("0 0 0 1 JAN,JUL ?", "Fri 2027-01-01 00:00:00 +0000"),
        ("0 0 0 1 1 ? 2030", "Tue 2030-01-01 00:00:00 +0000"),
        ("0 0 0 1 1 ? 2028-2031/2", "Sat 2028-01-01 00:00:00 +0000"),
        ("0 0 0 1 1 ? 2025", "never"),
        ("0 0 0 30 2 ?", "never"),
    ],
)
def test_a_schedule_fires_when_quartz_says(expression: str, due: str) -> None:
    assert fires(expression) == due


def test_a_fire_time_is_never_answered_twice() -> None:
    assert fires("0/20 * * * * ?", times=4).splitlines() == [
        "Fri 2026-11-20 12:00:20 +0000",
        "Fri 2026-11-20 12:00:40 +0000",
        "Fri 2026-11-20 12:01:00 +0000",
        "Fri 2026-11-20 12:01:20 +0000",
    ]


def test_six_in_the_morning_stays_six_in_the_morning_when_the_clock_changes() -> None:
    assert fires("0 0 6 * * ?", "2026-10-24 12:00:00", "Europe/Amsterdam", 2).splitlines() == [
        "Sun 2026-10-25 06:00:00 +0100",
        "Mon 2026-10-26 06:00:00 +0100",
    ]
    assert fires("0 0 6 * * ?", "2026-03-27 12:00:00", "Europe/Amsterdam", 2).splitlines() == [
        "Sat 2026-03-28 06:00:00 +0100",
        "Sun 2026-03-29 06:00:00 +0200",
    ]


def test_a_time_lost_in_spring_fires_as_late_as_the_clock_was_moved() -> None:
    assert fires("0 30 2 * * ?", "2026-03-28 12:00:00", "Europe/Amsterdam", 2).splitlines() == [
        "Sun 2026-03-29 03:30:00 +0200",
        "Mon 2026-03-30 02:30:00 +0200",
    ]
    # …also when the question is asked in between, as after a restart
    assert fires("0 30 2 * * ?", "2026-03-29 03:10:00", "Europe/Amsterdam") == "Sun 2026-03-29 03:30:00 +0200"


def test_late_times_and_regular_ones_come_in_order_in_spring() -> None:
    assert fires("0 10,50 2,3 * * ?", "2026-03-28 12:00:00", "Europe/Amsterdam", 3).splitlines() == [
        "Sun 2026-03-29 03:10:00 +0200",
        "Sun 2026-03-29 03:50:00 +0200",
        "Mon 2026-03-30 02:10:00 +0200",
    ]
    assert fires("0 50 2,3 * * ?", "2026-03-28 12:00:00", "Europe/Amsterdam", 2).splitlines() == [
        "Sun 2026-03-29 03:50:00 +0200",
        "Mon 2026-03-30 02:50:00 +0200",
    ]


def test_a_time_that_occurs_twice_in_autumn_fires_once() -> None:
    assert fires("0 30 2 * * ?", "2026-10-24 12:00:00", "Europe/Amsterdam", 2).splitlines() == [
        "Sun 2026-10-25 02:30:00 +0200",
        "Mon 2026-10-26 02:30:00 +0100",
    ]


def test_an_hourly_schedule_survives_both_clock_changes() -> None:
    assert fires("0 0 * * * ?", "2026-11-01 00:30:00", "America/New_York", 3).splitlines() == [
        "Sun 2026-11-01 01:00:00 -0400",
        "Sun 2026-11-01 02:00:00 -0500",
        "Sun 2026-11-01 03:00:00 -0500",
    ]
    assert fires("0 0 * * * ?", "2026-03-08 00:30:00", "America/New_York", 3).splitlines() == [
        "Sun 2026-03-08 01:00:00 -0500",
        "Sun 2026-03-08 03:00:00 -0400",
        "Sun 2026-03-08 04:00:00 -0400",
    ]


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("0 0 6 * *", "5 fields"),
        ("0 0 6 * * *", "exactly one of day-of-month and day-of-week"),
        ("0 0 6 ? * ?", "exactly one of day-of-month and day-of-week"),
        ("60 0 6 * * ?", "second: '60' is not between 0 and 59"),
        ("0 0 24 * * ?", "hour"),
        ("0 0 6 0 * ?", "day-of-month"),
        ("0 0 6 ? * 0", "day-of-week: '0'"),
        ("0 0 6 ? * 8", "day-of-week"),
        ("0 0 6 ? * MONDAY", "day-of-week"),
        ("0 0 6 ? * 6#6", "day-of-week"),
        ("0 0 6 L,15 * ?", "stand alone"),
        ("0 0 6 L-31 * ?", "before every month's first day"),
        ("0 0/0 6 * * ?", "minute"),
        ("0 0 6 1-2-3 * ?", "day-of-month"),
        ("0 0 6 ²  * ?", "day-of-month"),
        ("0 0 6 * * ? 2030-2029", "ends before it starts"),
        (", 0 6 * * ?", "second"),
    ],
)
def test_a_mistaken_expression_is_refused_with_its_field(expression: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        quartz.parse(expression, "UTC")


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "EST5EDT4,nonsense"])
def test_an_unknown_time_zone_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="time zone"):
        quartz.parse("0 0 6 * * ?", name)
