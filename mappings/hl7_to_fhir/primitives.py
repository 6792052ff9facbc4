"""FHIR primitives from v2 leaves: dates with their zone, numbers, codes, texts.

A value that does not fit its type gives None: the caller leaves the element out and the ledger says so.
v2 times without an offset take the partner's zone (see `parse_zone`); FHIR asks for one wherever there is a time.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.core.errors import ConfigurationError

_TIMESTAMP = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(\.\d{1,6})?)?)?)?)?)?\d*(?:([+-])(\d\d):?(\d\d))?", re.ASCII
)
_ISO = re.compile(r"(\d{4})-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?)?)?", re.ASCII)


@lru_cache(maxsize=64)
def parse_zone(text: str) -> tzinfo:
    """`+0100`, `-05:00` or an IANA name. Raises ConfigurationError for anything else."""
    match = re.fullmatch(r"([+-])(\d\d):?(\d\d)", text)
    if match:
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        return timezone(-offset if match[1] == "-" else offset)
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigurationError("unknown time zone in a partner file") from error


@lru_cache(maxsize=1024)
def zone_of(text: str) -> tzinfo | None:
    """The offset a DTM names: that of MSH-7 is the default of all times of its message (chapter 2, MSH-7)."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None or not match[8] or int(match[9]) > 14 or int(match[10]) > 59:
        return None
    return parse_zone("".join(match.group(8, 9, 10)))


def _zoned(parts: tuple[str, ...], zone: tzinfo) -> str | None:
    year, month, day, hour, minute, second, fraction, sign, offset_hours, offset_minutes = parts
    minute = minute or "00"
    second = f"{min(int(second or 0), 59):02d}"
    try:
        at = datetime(int(year), int(month), int(day), int(hour), int(minute), min(int(second), 59))  # noqa: DTZ001
    except ValueError:
        return None
    if sign:
        if int(offset_hours) > 14 or int(offset_minutes) > 59:
            return None
        suffix = f"{sign}{offset_hours}:{offset_minutes}"
    else:
        delta = at.replace(tzinfo=zone).utcoffset() or timedelta()
        minutes = int(delta.total_seconds() // 60)
        suffix = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    return f"{year}-{month}-{day}T{hour}:{minute}:{second}{fraction or ''}{suffix}"


@lru_cache(maxsize=8192)
def date_time(text: str, zone: tzinfo) -> str | None:
    """DTM, TS or DT → FHIR dateTime at the precision given; None when it is no date."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        iso = _ISO.match(text)
        return date_time("".join(part or "" for part in iso.groups()), zone) if iso else None
    parts = match.groups()
    year, month, day, hour = parts[:4]
    if hour:
        return _zoned(parts, zone)
    return _date(year, month, day)


def _date(year: str, month: str | None, day: str | None) -> str | None:
    if year == "0000" or (month == "00"):
        return None
    try:
        datetime(int(year), int(month or 1), int(day or 1))  # noqa: DTZ001 - only checks the calendar
    except ValueError:
        return None
    return "-".join(part for part in (year, month, day) if part)


@lru_cache(maxsize=8192)
def date(text: str) -> str | None:
    """DTM or DT → FHIR date; the time of day is left out."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        iso = _ISO.match(text)
        return _date(iso[1], iso[2], iso[3]) if iso else None
    return _date(match[1], match[2], match[3])


def instant(text: str, zone: tzinfo) -> str | None:
    """DTM → FHIR instant; a date alone becomes its first second."""
    value = date_time(text, zone)
    if value is None or "T" in value:
        return value
    match = _TIMESTAMP.fullmatch(text.replace("-", ""))
    if match is None:
        return None
    year, month, day = match[1], match[2] or "01", match[3] or "01"
    return _zoned((year, month, day, "00", "", "", "", "", "", ""), zone)


def number(text: str) -> int | Decimal | None:
    """NM → number with the digits the sender gave; v2 allows a leading sign and a bare point."""
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        return None
    if not value.is_finite() or abs(value.adjusted()) > 15:
        return None
    return int(value) if value == value.to_integral_value() and "." not in text else value


def integer(text: str, minimum: int = -(2**31)) -> int | None:
    """NM or SI → integer within FHIR's 32 bits."""
    value = number(text)
    if value is None or value != int(value):
        return None
    return int(value) if minimum <= value < 2**31 else None


_TRUTHS = {"Y": True, "N": False, "1": True, "0": False, "T": True, "F": False}


def boolean(text: str) -> bool | None:
    """ID of table 0136 → boolean."""
    return _TRUTHS.get(text.strip().upper()[:1])


def code(text: str) -> str | None:
    """A FHIR code: no leading, trailing or doubled blanks."""
    return text if text.isalnum() else " ".join(text.split()) or None


def string(text: str) -> str | None:
    """A FHIR string: not empty, not only blanks."""
    return text if text.strip() else None
