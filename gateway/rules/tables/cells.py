"""Cells: S-FEEL unary tests over one column, as data that can be printed, analysed and turned into conditions.

-                     anything
<= 88   > 5           comparison            [5..15)  ]5..15]  interval, ends as the brackets say
"A", "B"   65, 70     one of                not("A")          none of
true   2026-01-01     a truth value, a date
set "home-oxygen"     one of a value set (expanded in DMN)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from gateway.core.errors import ConfigurationError
from gateway.rules.documents.writing import write_number
from gateway.rules.language.lexer import quote, unquote

Value = Decimal | str | bool | date
MAX_CELL = 20_000
_VALUE = r'"(?:[^"\\\n]|\\["\\n])*"|-?\d+(?:\.\d+)?(?![\d-])|\d{4}-\d\d-\d\d|date\("\d{4}-\d\d-\d\d"\)|true|false'
_TEST = re.compile(
    rf"\s*(?:(?P<operator><=|>=|<|>|=)\s*(?P<limit>{_VALUE})"
    rf"|(?P<open>[\[\](])\s*(?P<low>{_VALUE})\s*\.\.\s*(?P<high>{_VALUE})\s*(?P<close>[\[\])])"
    r'|set\s+(?P<set>"[^"\\\n]*")'
    rf"|(?P<value>{_VALUE}))\s*"
)
_WORDS = {"<=": "at most", ">=": "at least", "<": "less than", ">": "more than", "=": "is"}


@dataclass(frozen=True, slots=True)
class Test:
    """`operator` is one of <= >= < > = set, or empty for an interval of `low` and `high`."""

    operator: str
    low: Value
    high: Value | None = None
    low_closed: bool = True
    high_closed: bool = True

    def holds(self, value: Any) -> bool:
        """Whether a value of the right type passes; a value set is asked by name (analysis)."""
        if self.operator == "set":
            return bool(value == ("set", self.low))
        if isinstance(value, tuple) or isinstance(value, bool) != isinstance(self.low, bool):
            return False
        if self.operator == "=":
            return bool(value == self.low)
        if not isinstance(value, type(self.low)):
            return False
        low: Any = self.low
        high: Any = self.high
        if self.operator:
            return bool({"<=": value <= low, ">=": value >= low, "<": value < low, ">": value > low}[self.operator])
        above = value >= low if self.low_closed else value > low
        return bool(above and (value <= high if self.high_closed else value < high))

    def text(self) -> str:
        """The test as it is written."""
        if self.operator == "set":
            return f"set {quote(str(self.low))}"
        if self.operator == "=":
            return value_text(self.low)
        if self.operator:
            return f"{self.operator} {value_text(self.low)}"
        opening, closing = "[" if self.low_closed else "(", "]" if self.high_closed else ")"
        assert self.high is not None  # noqa: S101 - an interval has two ends
        return f"{opening}{value_text(self.low)}..{value_text(self.high)}{closing}"


@dataclass(frozen=True, slots=True)
class Cell:
    """Tests of which one must hold (or none, when `negated`); no test means anything."""

    tests: tuple[Test, ...] = ()
    negated: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a value passes."""
        return not self.tests or any(test.holds(value) for test in self.tests) is not self.negated

    def text(self) -> str:
        """The cell as it is written, canonical."""
        if not self.tests:
            return "-"
        body = ", ".join(test.text() for test in self.tests)
        return f"not({body})" if self.negated else body


def value_text(value: Value) -> str:
    """A value as it is written."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return str(write_number(value))
    return value.isoformat() if isinstance(value, date) else quote(value)


def read_value(text: str, location: str) -> Value:
    """A value from its text. Raises ConfigurationError for a day that is none."""
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"'):
        return unquote(text)
    if text.startswith("date("):
        text = text[6:-2]
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        try:
            return date.fromisoformat(text)
        except ValueError as error:
            raise ConfigurationError("not a day of the calendar", location=location) from error
    return Decimal(text)


def read_cell(text: str, location: str = "") -> Cell:
    """A cell from its text. Raises ConfigurationError with the location and the column in the cell."""
    body = text.strip()
    if len(body) > MAX_CELL:
        raise ConfigurationError(f"a cell of more than {MAX_CELL} characters", location=location)
    if body in ("-", ""):
        return Cell()
    negated = body.startswith("not(") and body.endswith(")")
    inner = body[4:-1] if negated else body
    tests, offset = [], 0
    while True:
        match = _TEST.match(inner, offset)
        if match is None:
            raise ConfigurationError(f"not a test at character {offset + 1} of the cell", location=location)
        tests.append(_test(match, location))
        offset = match.end()
        if offset == len(inner):
            return Cell(tuple(tests), negated)
        if inner[offset] != ",":
            raise ConfigurationError(f"expected ',' at character {offset + 1} of the cell", location=location)
        offset += 1


def _test(match: re.Match[str], location: str) -> Test:
    if match["operator"]:
        return Test(match["operator"], read_value(match["limit"], location))
    if match["set"]:
        return Test("set", unquote(match["set"]))
    if match["open"]:
        low, high = read_value(match["low"], location), read_value(match["high"], location)
        if type(low) is not type(high) or isinstance(low, bool) or low > high:  # type: ignore[operator]
            raise ConfigurationError("an interval needs two ordered values", location=location)
        return Test("", low, high, match["open"] == "[", match["close"] == "]")
    return Test("=", read_value(match["value"], location))


def phrase(cell: Cell, header: str, unit: str = "") -> str:
    """The cell as a condition of the rule language about its column; `?` in the header marks the predicate's place."""
    parts = []
    plain = [test for test in cell.tests if test.operator == "=" and not isinstance(test.low, bool)]
    if len(plain) > 1:
        parts.append(_said(header, f"is in ({', '.join(_measured(test.low, unit) for test in plain)})"))
    for test in cell.tests:
        if test not in plain or len(plain) == 1:
            parts.append(_test_phrase(test, header, unit))
    joined = parts[0] if len(parts) == 1 else "(" + " or ".join(parts) + ")"
    return f"not {joined}" if cell.negated else joined


def _said(header: str, predicate: str) -> str:
    return header.replace("?", predicate) if "?" in header else f"{header} {predicate}"


def _measured(value: Value, unit: str) -> str:
    return f"{value_text(value)} {unit}" if unit and isinstance(value, Decimal) else value_text(value)


def _test_phrase(test: Test, header: str, unit: str) -> str:
    if test.operator == "set":
        return _said(header, f"is in {quote(str(test.low))}")
    if test.operator:
        return _said(header, f"{_WORDS[test.operator]} {_measured(test.low, unit)}")
    assert test.high is not None  # noqa: S101 - an interval has two ends
    if test.low_closed and test.high_closed:
        return _said(header, f"between {_measured(test.low, unit)} and {_measured(test.high, unit)}")
    low = _said(header, f"{'at least' if test.low_closed else 'more than'} {_measured(test.low, unit)}")
    high = _said(header, f"{'at most' if test.high_closed else 'less than'} {_measured(test.high, unit)}")
    return f"({low} and {high})"
