"""Days, durations and windows of a policy. Months and years are calendar ones; the last day of a month is a clamp."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.core.errors import ConfigurationError
from gateway.rules.model import Duration

_MONTHS = {"month": 1, "year": 12}
_DAYS = {"day": 1, "week": 7}


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    """The time zone of a name. Raises ConfigurationError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigurationError(f"no time zone {name[:40]!r}", location="zone") from error


@lru_cache(maxsize=8192)
def day_of(text: str, zone: str) -> date | None:
    """The day an ISO date or instant falls on in the payer's time zone; None when it is neither."""
    try:
        if len(text) == 10:
            return date.fromisoformat(text)
        instant = datetime.fromisoformat(text)
        return instant.astimezone(zone_of(zone)).date() if instant.tzinfo else instant.date()
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=8192)
def instant_of(text: str) -> datetime | None:
    """The instant of an ISO dateTime, UTC where it names no offset; None when it is not one."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def day_in_zone(instant: datetime, zone: str) -> date:
    """The as-of day of an aware instant."""
    return instant.astimezone(zone_of(zone)).date()


@lru_cache(maxsize=8192)
def shift(day: date, by: Duration, sign: int = 1) -> date | None:
    """The day moved by a duration; None outside the calendar."""
    count = by.count * sign
    try:
        if by.unit in _DAYS:
            return day + timedelta(days=count * _DAYS[by.unit])
        months = day.year * 12 + day.month - 1 + count * _MONTHS[by.unit]
        year, month = divmod(months, 12)
        return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
    except (ValueError, OverflowError):
        return None


def elapsed(unit: str, start: date, end: date) -> int:
    """Whole units from start to end; negative when end is earlier."""
    if end < start:
        return -elapsed(unit, end, start)
    if unit in _DAYS:
        return (end - start).days // _DAYS[unit]
    months = (end.year - start.year) * 12 + end.month - start.month
    if end.day < start.day and end.day != monthrange(end.year, end.month)[1]:
        months -= 1
    return months // _MONTHS[unit]


def parse_duration(text: str) -> Duration | None:
    """An ISO 8601 duration of one unit: P30D, P6W, P12M, P1Y; None when it is not one."""
    units = {"D": "day", "W": "week", "M": "month", "Y": "year"}
    body, unit = text[1:-1], units.get(text[-1:])
    if text[:1] != "P" or unit is None or not body.isascii() or not body.isdigit() or len(body) > 4:
        return None
    return Duration(int(body), unit)  # type: ignore[arg-type]


def print_duration(duration: Duration) -> str:
    """The ISO form."""
    return f"P{duration.count}{duration.unit[0].upper()}"
