"""Built-in functions of FEEL. A wrong argument gives null.

Standard: DMN 1.5, 10.3.4. Not handled: matches, replace and split by pattern (regular expressions), now and today
(a decision has its as-of date, not a clock), sort with a precedes function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Decimal
from typing import Any

from gateway.rules.feel.values import NUMBER, Function, Months, compare, equal, read_duration


def _numbers(values: Iterable[Any]) -> list[Decimal] | None:
    found = list(values)
    return found if all(isinstance(value, Decimal) for value in found) else None


def _spread(values: tuple[Any, ...]) -> list[Any]:
    return list(values[0]) if len(values) == 1 and isinstance(values[0], list) else list(values)


def _extreme(operator: str) -> Callable[..., Any]:
    def extreme(*values: Any) -> Any:
        items = _spread(values)
        best = items[0] if items else None
        for item in items[1:]:
            better = compare(operator, item, best)
            if better is None:
                return None
            best = item if better else best
        return best

    return extreme


def _sum(*values: Any) -> Decimal | None:
    items = _numbers(_spread(values))
    return sum(items, Decimal(0)) if items else None


def _mean(*values: Any) -> Decimal | None:
    items = _numbers(_spread(values))
    return NUMBER.divide(sum(items, Decimal(0)), Decimal(len(items))) if items else None


def _median(*values: Any) -> Decimal | None:
    items = sorted(_numbers(_spread(values)) or [])
    if not items:
        return None
    middle = len(items) // 2
    return items[middle] if len(items) % 2 else (items[middle - 1] + items[middle]) / 2


def _product(*values: Any) -> Decimal | None:
    items = _numbers(_spread(values))
    return math.prod(items, start=Decimal(1)) if items else None


def _all(*values: Any) -> bool | None:
    items = _spread(values)
    if False in [item for item in items if isinstance(item, bool)]:
        return False
    return True if all(item is True for item in items) else None


def _any(*values: Any) -> bool | None:
    items = _spread(values)
    if any(item is True for item in items):
        return True
    return False if all(item is False for item in items) else None


def _substring(text: str, start: Decimal, length: Decimal | None = None) -> str | None:
    begin = int(start) - 1 if start > 0 else len(text) + int(start)
    if start == 0 or begin < 0:
        return None
    return text[begin:] if length is None else text[begin : begin + int(length)]


def _sublist(items: list[Any], start: Decimal, length: Decimal | None = None) -> list[Any]:
    begin = int(start) - 1 if start > 0 else len(items) + int(start)
    return items[begin:] if length is None else items[begin : begin + int(length)]


def _number(text: Any, grouping: str | None = None, decimal: str | None = None) -> Decimal | None:
    if isinstance(text, Decimal):
        return text
    if grouping:
        text = text.replace(grouping, "")
    return Decimal(text.replace(decimal, ".") if decimal else text)


def text_of(value: Any, nested: bool = False) -> str | None:
    """`string(x)`: the FEEL text of a value."""
    if value is None:
        return "null" if nested else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, str):
        return f'"{value}"' if nested else value
    if isinstance(value, Months):
        years, months = divmod(abs(value.count), 12)
        body = (f"{years}Y" if years else "") + (f"{months}M" if months else "")
        return ("-" if value.count < 0 else "") + "P" + (body or "0M")
    if isinstance(value, timedelta):
        return _duration_text(value)
    if isinstance(value, list):
        return "[" + ", ".join(text_of(item, True) or "" for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {text_of(item, True)}" for key, item in value.items()) + "}"
    return value.isoformat() if isinstance(value, date | time) else None


def _duration_text(value: timedelta) -> str:
    seconds = int(abs(value.total_seconds()))
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    clock = "".join(f"{count}{unit}" for count, unit in ((hours, "H"), (minutes, "M"), (rest, "S")) if count)
    body = (f"{days}D" if days else "") + (f"T{clock}" if clock else "")
    return ("-" if value < timedelta() else "") + "P" + (body or "T0S")


def _date(value: Any, month: Decimal | None = None, day: Decimal | None = None) -> date | None:
    if isinstance(value, str):
        return date.fromisoformat(value) if len(value) == 10 else None
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    return date(int(value), int(month), int(day)) if month is not None and day is not None else None


def _time(value: Any, minute: Decimal | None = None, second: Decimal | None = None) -> time | None:
    if isinstance(value, str):
        return time.fromisoformat(value)
    if isinstance(value, datetime):
        return value.timetz()
    if isinstance(value, time):
        return value
    return time(int(value), int(minute or 0), int(second or 0)) if isinstance(value, Decimal) else None


def _date_and_time(value: Any, clock: time | None = None) -> datetime | None:
    if isinstance(value, str):
        return datetime.fromisoformat(value)
    if isinstance(value, date) and clock is not None:
        return datetime.combine(value.date() if isinstance(value, datetime) else value, clock)
    return value if isinstance(value, datetime) else None


def _months_between(start: date, end: date) -> Months:
    months = (end.year - start.year) * 12 + end.month - start.month
    if months > 0 and end.day < start.day:
        months -= 1
    elif months < 0 and end.day > start.day:
        months += 1
    return Months(months)


def _round(mode: str) -> Callable[..., Any]:
    def rounded(number: Decimal, scale: Decimal = Decimal(0)) -> Decimal:
        return number.quantize(Decimal(1).scaleb(-int(scale)), rounding=mode)

    return rounded


def _distinct(items: list[Any]) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if not any(equal(item, known) is True for known in found):
            found.append(item)
    return found


def _flatten(items: list[Any]) -> list[Any]:
    found: list[Any] = []
    for item in items:
        found.extend(_flatten(item) if isinstance(item, list) else [item])
    return found


def _holds(items: list[Any], element: Any) -> bool:
    return any(equal(item, element) is True for item in items)


def _modulo(dividend: Decimal, divisor: Decimal) -> Decimal:
    return dividend - divisor * (dividend / divisor).to_integral_value(rounding=ROUND_FLOOR)


def _not(value: Any) -> bool | None:
    return not value if isinstance(value, bool) else None


def _insert(items: list[Any], position: Decimal, item: Any) -> list[Any]:
    index = int(position) - 1 if position > 0 else len(items) + int(position)
    return [*items[:index], item, *items[index:]]


def _remove(items: list[Any], position: Decimal) -> list[Any]:
    index = int(position) - 1 if position > 0 else len(items) + int(position)
    return items[:index] + items[index + 1 :]


def _before(text: str, match: str) -> str:
    return text.partition(match)[0] if match in text else ""


_TABLE: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("not", "negand", _not),
    ("number", "from|grouping separator|decimal separator", _number),
    ("string", "from", text_of),
    ("date", "from|month|day", _date),
    ("time", "from|minute|second", _time),
    ("date and time", "date|time", _date_and_time),
    ("duration", "from", read_duration),
    ("years and months duration", "from|to", _months_between),
    ("substring", "string|start position|length", _substring),
    ("string length", "string", lambda text: Decimal(len(text))),
    ("upper case", "string", str.upper),
    ("lower case", "string", str.lower),
    ("substring before", "string|match", _before),
    ("substring after", "string|match", lambda text, match: text.partition(match)[2]),
    ("contains", "string|match", lambda text, match: match in text),
    ("starts with", "string|match", str.startswith),
    ("ends with", "string|match", str.endswith),
    ("string join", "list|delimiter", lambda items, by="": by.join(item for item in items if item is not None)),
    ("list contains", "list|element", _holds),
    ("count", "list", lambda items: Decimal(len(items if isinstance(items, list) else [items]))),
    ("min", "list", _extreme("<")),
    ("max", "list", _extreme(">")),
    ("sum", "list", _sum),
    ("mean", "list", _mean),
    ("median", "list", _median),
    ("product", "list", _product),
    ("all", "list", _all),
    ("and", "list", _all),
    ("any", "list", _any),
    ("or", "list", _any),
    ("sublist", "list|start position|length", _sublist),
    ("append", "list|item", lambda items, *more: [*items, *more] if isinstance(items, list) else [items, *more]),
    ("concatenate", "list", lambda *lists: [item for each in lists for item in each]),
    ("union", "list", lambda *lists: _distinct([item for each in lists for item in each])),
    ("insert before", "list|position|newItem", _insert),
    ("remove", "list|position", _remove),
    ("reverse", "list", lambda items: items[::-1]),
    (
        "index of",
        "list|match",
        lambda items, match: [Decimal(at) for at, item in enumerate(items, 1) if equal(item, match) is True],
    ),
    ("distinct values", "list", _distinct),
    ("flatten", "list", _flatten),
    ("decimal", "n|scale", _round(ROUND_HALF_EVEN)),
    ("floor", "n|scale", _round(ROUND_FLOOR)),
    ("ceiling", "n|scale", _round(ROUND_CEILING)),
    ("round up", "n|scale", _round(ROUND_UP)),
    ("round down", "n|scale", _round(ROUND_DOWN)),
    ("round half up", "n|scale", _round(ROUND_HALF_UP)),
    ("abs", "n", abs),
    ("modulo", "dividend|divisor", _modulo),
    ("sqrt", "number", NUMBER.sqrt),
    ("exp", "number", lambda number: NUMBER.exp(number) if abs(number) < 1000 else None),
    ("log", "number", lambda number: NUMBER.ln(number) if number > 0 else None),
    ("even", "number", lambda number: number % 2 == 0),
    ("odd", "number", lambda number: number % 2 != 0),
    ("get value", "m|key", lambda context, key: context.get(key)),
    ("get entries", "m", lambda context: [{"key": key, "value": value} for key, value in context.items()]),
)
BUILTINS: dict[str, Function] = {name: Function(tuple(names.split("|")), call) for name, names, call in _TABLE}
