"""Quartz schedules: when a cron expression of the kind Databricks uses fires next.

Seven fields (second minute hour day-of-month month day-of-week [year]), 1 = SUN … 7 = SAT, with `L W LW L-n n# nL`.
Written here because none of the libraries agrees with Quartz: croniter 7 counts Monday as 1, so `2-6` fires on
Saturday, and refuses `LW`, `L-3` and `6L`; tzcron is unmaintained and cronexpr knows no time zones.

A wall-clock time that occurs twice (autumn) fires at its first occurrence only; one that does not occur (spring)
fires as much later as the clock was put forward.
"""

import re
from bisect import bisect_left
from calendar import monthrange
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lakewright.kernel.faults import Invalid

FIRST_YEAR, LAST_YEAR = 1970, 2099
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
MONTHS = {name: i for i, name in enumerate(_MONTHS, 1)}
WEEKDAYS = {name: i for i, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
SATURDAY, SUNDAY = 7, 1

DaysOf = Callable[[int, int], list[int]]
"""The days of a month (year, month) on which something fires, ascending."""


@dataclass(frozen=True)
class Cron:
    expression: str
    zone: ZoneInfo
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: tuple[int, ...]
    years: tuple[int, ...]
    days: DaysOf

    def after(self, moment: int) -> int | None:
        """The first fire time later than `moment` (both ms since the epoch); None when there is none any more."""
        start = datetime.fromtimestamp(moment // 1000, UTC)
        wall = start.astimezone(self.zone).replace(tzinfo=None)
        if start.astimezone(self.zone).utcoffset() != (start - _LOOK_BACK).astimezone(self.zone).utcoffset():
            wall -= _LOOK_BACK  # the clock was just changed: times of the lost hour may still be due
        best: datetime | None = None
        for candidate in self._walls(wall):
            due = _instant(candidate, self.zone)
            # Past a lost hour its late times mix with regular ones, so the earliest instant is not the first wall time.
            if best is not None and candidate >= best.astimezone(self.zone).replace(tzinfo=None):
                break
            if due > start and (best is None or due < best):
                best = due
        return None if best is None else int(best.timestamp()) * 1000

    def _walls(self, start: datetime) -> Iterator[datetime]:
        """Wall-clock times of this schedule from `start` on, ascending."""
        for year in self.years[bisect_left(self.years, start.year) :]:
            for month in self.months:
                if (year, month) < (start.year, start.month):
                    continue
                for day in self.days(year, month):
                    if date(year, month, day) >= start.date():
                        yield from self._times(date(year, month, day), start)

    def _times(self, day: date, start: datetime) -> Iterator[datetime]:
        since = (start.hour, start.minute) if day == start.date() else (0, 0)
        for hour in self.hours[bisect_left(self.hours, since[0]) :]:
            for minute in self.minutes:
                if (hour, minute) >= since:
                    yield from (datetime(day.year, day.month, day.day, hour, minute, s) for s in self.seconds)


_LOOK_BACK = timedelta(hours=3)


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    return wall.replace(tzinfo=zone, fold=0).astimezone(UTC)


@lru_cache(maxsize=1024)
def parse(expression: str, timezone: str) -> Cron:
    """Raises Invalid, saying which field is wrong and why."""
    fields = expression.upper().split()
    if len(fields) not in (6, 7):
        raise Invalid(f"'{expression}' is not a Quartz cron expression: it has {len(fields)} fields, not 6 or 7")
    second, minute, hour, day, month, weekday = fields[:6]
    year = fields[6] if len(fields) == 7 else "*"
    if (day == "?") == (weekday == "?"):
        raise Invalid(f"'{expression}': exactly one of day-of-month and day-of-week must be '?'")
    return Cron(
        expression,
        zone(timezone),
        seconds=_numbers("second", second, 0, 59),
        minutes=_numbers("minute", minute, 0, 59),
        hours=_numbers("hour", hour, 0, 23),
        months=_numbers("month", month, 1, 12, MONTHS),
        years=_numbers("year", year, FIRST_YEAR, LAST_YEAR),
        days=_days_of_week(weekday) if day == "?" else _days_of_month(day),
    )


def zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid(f"'{name}' is not a time zone id such as 'Europe/Amsterdam'") from None


def _numbers(field: str, text: str, low: int, high: int, names: dict[str, int] | None = None) -> tuple[int, ...]:
    """The values of one comma-separated field: `5`, `MON-FRI`, `22-2` (wraps), `0/15`, `*/5`, `*`."""
    found: set[int] = set()
    for part in text.split(","):
        found.update(_part(field, part, low, high, names or {}))
    return tuple(sorted(found))


def _part(field: str, part: str, low: int, high: int, names: dict[str, int]) -> Iterator[int]:
    bounds, slash, step_text = part.partition("/")
    step = _number(field, step_text, 1, high, {}) if slash else 1
    if bounds in ("*", "") and (bounds or slash):
        return iter(range(low, high + 1, step))
    first, dash, last = bounds.partition("-")
    start = _number(field, first, low, high, names)
    if not dash:
        return iter(range(start, high + 1, step) if slash else (start,))
    end = _number(field, last, low, high, names)
    if end >= start:
        return iter(range(start, end + 1, step))
    if field == "year":
        raise Invalid(f"{field}: '{part}' ends before it starts")
    span = high - low + 1
    return (low + (value - low) % span for value in range(start, end + span + 1, step))


def _number(field: str, text: str, low: int, high: int, names: dict[str, int]) -> int:
    value = names.get(text, int(text) if text.isascii() and text.isdigit() else None)
    if value is None or not low <= value <= high:
        raise Invalid(f"{field}: '{text}' is not between {low} and {high}")
    return value


def _days_of_month(text: str) -> DaysOf:
    if last := re.fullmatch(r"L(?:-(\d{1,2}))?(W?)", text):
        back, working = int(last[1] or 0), bool(last[2])
        if back > 30:
            raise Invalid(f"day-of-month: 'L-{back}' is before every month's first day")
        return lambda year, month: _on(year, month, length(year, month) - back, working)
    if nearest := re.fullmatch(r"(\d{1,2})W", text):
        day = _number("day-of-month", nearest[1], 1, 31, {})
        return lambda year, month: _on(year, month, day, True)
    if "L" in text or "W" in text:
        raise Invalid(f"day-of-month: 'L' and 'W' stand alone, not as in '{text}'")
    days = _numbers("day-of-month", text, 1, 31)
    return lambda year, month: [day for day in days if day <= length(year, month)]


def _on(year: int, month: int, day: int, working: bool) -> list[int]:
    """That day of the month, or the working day nearest to it in the same month."""
    if not 1 <= day <= length(year, month):
        return []
    if working and weekday(year, month, day) == SATURDAY:
        day += -1 if day > 1 else 2
    elif working and weekday(year, month, day) == SUNDAY:
        day += 1 if day < length(year, month) else -2
    return [day]


def _days_of_week(text: str) -> DaysOf:
    if nth := re.fullmatch(r"(\w+)#(\d)", text):
        on, rank = _number("day-of-week", nth[1], 1, 7, WEEKDAYS), _number("day-of-week", nth[2], 1, 5, {})
        return lambda year, month: _falling_on(year, month, {on})[rank - 1 : rank]
    if final := re.fullmatch(r"(\w+)L", text):
        on = _number("day-of-week", final[1], 1, 7, WEEKDAYS)
        return lambda year, month: _falling_on(year, month, {on})[-1:]
    if "#" in text or re.search(r"\wL\b", text):
        raise Invalid(f"day-of-week: '#' and 'L' stand alone, not as in '{text}'")
    days = {SATURDAY} if text == "L" else set(_numbers("day-of-week", text, 1, 7, WEEKDAYS))
    return lambda year, month: _falling_on(year, month, days)


def _falling_on(year: int, month: int, weekdays: set[int]) -> list[int]:
    return [day for day in range(1, length(year, month) + 1) if weekday(year, month, day) in weekdays]


def weekday(year: int, month: int, day: int) -> int:
    """1 = Sunday … 7 = Saturday."""
    return date(year, month, day).isoweekday() % 7 + 1


def length(year: int, month: int) -> int:
    return monthrange(year, month)[1]
