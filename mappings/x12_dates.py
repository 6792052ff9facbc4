"""X12 dates ⇄ FHIR dates: D8 `CCYYMMDD`, RD8 `CCYYMMDD-CCYYMMDD`, DT `CCYYMMDDHHMM`."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

_DAY = re.compile(r"(\d{4})(\d\d)(\d\d)")


def iso_day(value: str) -> str:
    """`20260115…` → `2026-01-15`; "" when it is no calendar day."""
    match = _DAY.match(value)
    if match is None:
        return ""
    try:
        return date(int(match[1]), int(match[2]), int(match[3])).isoformat()
    except ValueError:
        return ""


def iso_moment(day: str, time: str) -> str:
    """BHT04 and BHT05 → a FHIR instant; X12 gives no zone, so it is taken as UTC. "" without a valid day."""
    plain = iso_day(day)
    if not plain:
        return ""
    digits = (time + "000000")[:6] if time.isdigit() else "000000"
    clock = f"{digits[:2]}:{digits[2:4]}:{digits[4:6]}"
    try:
        return datetime.fromisoformat(f"{plain}T{clock}+00:00").isoformat().replace("+00:00", "Z")
    except ValueError:
        return f"{plain}T00:00:00Z"


def x12_day(iso: str) -> str:
    """`2026-01-15…` → `20260115`."""
    return iso[:10].replace("-", "")


def x12_moment(moment: datetime) -> tuple[str, str]:
    """(CCYYMMDD, HHMM) in UTC."""
    moment = moment.astimezone(UTC)
    return f"{moment:%Y%m%d}", f"{moment:%H%M}"


def period_of(kind: str, value: str) -> dict[str, str]:
    """(DTP02, DTP03) → {start, end}; a single day has both alike; {} when unreadable."""
    if kind == "RD8":
        start, _, end = value.partition("-")
        days = {"start": iso_day(start), "end": iso_day(end)}
        return {name: day for name, day in days.items() if day}
    day = iso_day(value)
    return {"start": day, "end": day} if day else {}


def timed(kind: str, value: str, prefix: str) -> dict[str, Any]:
    """`{prefix}Date` for one day, `{prefix}Period` for a range; {} when unreadable."""
    period = period_of(kind, value)
    if not period:
        return {}
    if kind == "RD8":
        return {f"{prefix}Period": period}
    return {f"{prefix}Date": period["start"]}


def date_values(element: dict[str, Any], prefix: str) -> tuple[str, str]:
    """Inverse of `timed`: (DTP02, DTP03); ("", "") when there is none. A period with one end is that day."""
    period = element.get(f"{prefix}Period")
    if isinstance(period, dict) and period.get("start") and period.get("end"):
        return "RD8", f"{x12_day(str(period['start']))}-{x12_day(str(period['end']))}"
    day = element.get(f"{prefix}Date") or (period or {}).get("start") or (period or {}).get("end")
    return ("D8", x12_day(str(day))) if day else ("", "")
