"""The values of FEEL and what two of them have to do with each other. null is None; numbers are Decimal.

Standard: DMN 1.5, 10.3.2. Anything the standard calls an error is null here: a decision that fails is null.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal, DecimalException, Overflow
from typing import Any

NUMBER = Context(prec=34, Emax=6144, Emin=-6143)
"""IEEE 754-2008 decimal128."""


@dataclass(frozen=True, slots=True)
class Months:
    """A years and months duration."""

    count: int


@dataclass(frozen=True, slots=True)
class Range:
    """An interval; None ends are open to infinity."""

    low: Any
    high: Any
    low_closed: bool
    high_closed: bool

    def holds(self, value: Any) -> bool | None:
        """Whether a value lies inside; None when it cannot be compared."""
        above: bool | None = True
        below: bool | None = True
        if self.low is not None:
            above = compare(">=" if self.low_closed else ">", value, self.low)
        if self.high is not None:
            below = compare("<=" if self.high_closed else "<", value, self.high)
        if above is False or below is False:
            return False
        return None if above is None or below is None else True


@dataclass(frozen=True, slots=True)
class Function:
    """A function value: its parameter names and what it does with them."""

    parameters: tuple[str, ...]
    call: Callable[..., Any]


def kind(value: Any) -> str:
    """The FEEL type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, Decimal):
        return "number"
    for python, name in _KINDS:
        if isinstance(value, python):
            return name
    return "other"


_KINDS: tuple[tuple[type, str], ...] = (
    (str, "string"), (datetime, "date and time"), (date, "date"), (time, "time"), (Months, "years and months duration"),
    (timedelta, "days and time duration"), (list, "list"), (dict, "context"), (Range, "range"), (Function, "function"),
)  # fmt: skip


def equal(left: Any, right: Any) -> bool | None:
    """FEEL equality: null equals null only; different types give null."""
    if left is None or right is None:
        return left is None and right is None
    if kind(left) != kind(right):
        return None
    if isinstance(left, list):
        return len(left) == len(right) and all(equal(a, b) is True for a, b in zip(left, right, strict=True))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) is True for key in left)
    try:
        return bool(left == right)
    except TypeError:
        return None


def compare(operator: str, left: Any, right: Any) -> bool | None:
    """`<`, `<=`, `>`, `>=` of two values of one ordered type, else null."""
    if kind(left) != kind(right) or kind(left) in ("null", "boolean", "list", "context", "range", "function", "other"):
        return None
    if isinstance(left, Months):
        left, right = left.count, right.count
    try:
        below, same = left < right, left == right
    except TypeError:
        return None
    return bool({"<": below, "<=": below or same, ">": not below and not same, ">=": not below}[operator])


def arithmetic(operator: str, left: Any, right: Any) -> Any:
    """`+ - * / **` with the types the standard allows, else null."""
    try:
        if isinstance(left, Decimal) and isinstance(right, Decimal):
            return _numbers(operator, left, right)
        return _temporal(operator, left, right)
    except (DecimalException, OverflowError, ValueError, TypeError):
        return None


def _numbers(operator: str, left: Decimal, right: Decimal) -> Decimal | None:
    if operator == "+":
        found = NUMBER.add(left, right)
    elif operator == "-":
        found = NUMBER.subtract(left, right)
    elif operator == "*":
        found = NUMBER.multiply(left, right)
    elif operator == "/":
        found = NUMBER.divide(left, right)
    else:
        if abs(right) >= 1000:
            raise Overflow
        found = NUMBER.power(left, right)
    return found if found.is_finite() else None


def _temporal(operator: str, left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str) and operator == "+":
        return left + right if len(left) + len(right) < 100_000 else None
    sign = 1 if operator == "+" else -1
    if operator in ("+", "-") and isinstance(left, Months) and isinstance(right, Months):
        return Months(left.count + sign * right.count)
    if operator in ("+", "-") and isinstance(left, timedelta) and isinstance(right, timedelta):
        return left + sign * right
    if operator == "+" and isinstance(left, Months | timedelta):
        left, right = right, left
    if operator in ("+", "-") and isinstance(left, date) and isinstance(right, Months | timedelta):
        return moved(left, right, sign)
    if operator == "-" and isinstance(left, date) and isinstance(right, date):
        return _instant(left) - _instant(right)
    return _scaled(operator, left, right)


def _scaled(operator: str, left: Any, right: Any) -> Any:
    if operator == "*" and isinstance(left, Decimal):
        left, right = right, left
    if isinstance(left, Months) and isinstance(right, Decimal) and operator in "*/":
        return Months(int(Decimal(left.count) * right if operator == "*" else Decimal(left.count) / right))
    if isinstance(left, timedelta) and isinstance(right, Decimal) and operator in "*/":
        return left * float(right) if operator == "*" else left / float(right)
    if operator == "/" and isinstance(left, timedelta) and isinstance(right, timedelta) and right:
        return Decimal(repr(left / right))
    return None


def _instant(value: date) -> datetime:
    found = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def moved(value: date, by: Months | timedelta, sign: int) -> date:
    """A date or instant moved by a duration."""
    if isinstance(by, timedelta):
        if isinstance(value, datetime):
            return value + sign * by
        return (datetime(value.year, value.month, value.day, tzinfo=UTC) + sign * by).date()
    year, month = divmod(value.year * 12 + value.month - 1 + sign * by.count, 12)
    following = date(year + (month + 1) // 12, (month + 1) % 12 + 1, 1)
    return value.replace(year=year, month=month + 1, day=min(value.day, (following - timedelta(days=1)).day))


_DURATION = re.compile(
    r"(-?)P(?:(\d{1,9})Y)?(?:(\d{1,9})M)?(?:(\d{1,9})D)?"
    r"(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9}(?:\.\d{1,9})?)S)?)?",
    re.ASCII,
)


def read_duration(text: str) -> Months | timedelta | None:
    """An ISO 8601 duration of one of the two kinds, else null."""
    match = _DURATION.fullmatch(text)
    if match is None or text.endswith(("P", "T")):
        return None
    sign = -1 if match[1] else 1
    years, months, days, hours, minutes = (int(match[index] or 0) for index in range(2, 7))
    large, small = match[2] or match[3], match[4] or match[5] or match[6] or match[7]
    if large and small:
        return None
    if large:
        return Months(sign * (years * 12 + months))
    try:
        return sign * timedelta(days=days, hours=hours, minutes=minutes, seconds=float(match[7] or 0))
    except OverflowError:
        return None


def read_temporal(text: str) -> Any:
    """A date, a date and time, a time or a duration from its ISO text, else null."""
    for reader in (date.fromisoformat, datetime.fromisoformat, time.fromisoformat):
        try:
            return reader(text)
        except ValueError:
            continue
    return read_duration(text)
