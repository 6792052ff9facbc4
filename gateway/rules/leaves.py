"""Leaves as closures: `(facts, this, record) -> True | False | None`.

`facts` is the flat view of the request, `this` the line being decided, `record` the record a quantifier stands at.
What is missing, of another type or in an incommensurable unit makes a leaf unknown (None), never false, and never an
exception. Numbers compare exactly: a literal has at most 15 significant digits, so binary floats order like decimals.
"""

# ruff: noqa: ARG001, ARG005 - every leaf has the one signature (facts, this, record)

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from gateway.rules import calendar, units
from gateway.rules.catalogue import Catalogue, FactEntry
from gateway.rules.direct import FACT_NUMBER, NUMBERS, Record, Test, fact_in, fact_is, line_in
from gateway.rules.kleene import both, either, negate
from gateway.rules.model import (
    Choice,
    Compare,
    Comparison,
    Fact,
    Known,
    Literal,
    Operand,
    Plus,
    SetName,
    Shifted,
    Span,
    Total,
    Truth,
    ValueSet,
    Within,
)

Getter = Callable[[Record, Record, Record], Any]

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
}  # fmt: skip
_ENDS: tuple[Comparison, Comparison] = ("ge", "le")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a condition is compiled against; `list` is the list of the quantifier it stands in, if any."""

    catalogue: Catalogue
    value_sets: Mapping[str, ValueSet]
    zone: str = "UTC"
    list: str = ""

    def within(self, name: str) -> Scope:
        """The scope of a quantifier's test."""
        return replace(self, list=name)

    def codes(self, name: str) -> frozenset[str]:
        """The codes of a value set that the check has found to exist."""
        return self.value_sets[name].codes


def plain(number: Decimal) -> int | float:
    """A literal in the form that compares fastest: int where it is one, else the nearest float."""
    return int(number) if number == number.to_integral_value() else float(number)


def raw_of(scope: Scope, path: str) -> tuple[Getter, FactEntry]:
    """The value of a fact as it stands in the facts or in the right record."""
    entry = scope.catalogue.require(path)
    key = entry.key
    if not entry.list:
        return (lambda facts, this, record: facts.get(key)), entry
    if of_line(scope, path, entry):
        return (lambda facts, this, record: this.get(key)), entry
    return (lambda facts, this, record: record.get(key)), entry


def of_line(scope: Scope, path: str, entry: FactEntry) -> bool:
    """Whether a field is one of the line being decided, not of the record a quantifier stands at."""
    return path.startswith("this.") or entry.list != scope.list


def typed(scope: Scope, path: str) -> tuple[Getter, str]:
    """The value when it has the catalogue's type, else None, and the type; dates and instants become days."""
    getter, entry = raw_of(scope, path)
    key, zone, top = entry.key, scope.zone, not entry.list
    if entry.type in ("date", "dateTime"):

        def top_day(facts: Record, this: Record, record: Record) -> date | None:
            value = facts.get(key)
            return calendar.day_of(value, zone) if value.__class__ is str else None

        def day(facts: Record, this: Record, record: Record) -> date | None:
            value = getter(facts, this, record)
            return calendar.day_of(value, zone) if value.__class__ is str else None

        return top_day if top else day, entry.type
    classes = NUMBERS if entry.type == "number" else frozenset({bool if entry.type == "boolean" else str})

    def checked(facts: Record, this: Record, record: Record) -> Any:
        value = getter(facts, this, record)
        return value if value.__class__ in classes else None

    return checked, entry.type


def getter_of(scope: Scope, operand: Operand) -> tuple[Getter, str]:
    """The value of any operand and its type (number, string, boolean, date, dateTime)."""
    if isinstance(operand, Fact):
        return typed(scope, operand.path)
    if isinstance(operand, Literal):
        value = plain(operand.value) if isinstance(operand.value, Decimal) else operand.value
        return (lambda facts, this, record: value), operand.type
    if isinstance(operand, Shifted):
        return _shifted(scope, operand), "date"
    if isinstance(operand, Span):
        return _span(scope, operand), "number"
    if isinstance(operand, Total):
        from gateway.rules.quantified import total  # a total chooses its records as a quantifier does

        return total(scope, operand), "number"
    return _plus(scope, operand), "number"


def _shifted(scope: Scope, operand: Shifted) -> Getter:
    base, _ = getter_of(scope, operand.base)
    by, sign = operand.by, 1 if operand.direction == "after" else -1

    def shifted(facts: Record, this: Record, record: Record) -> date | None:
        day = base(facts, this, record)
        return None if day is None else calendar.shift(day, by, sign)

    return shifted


def _span(scope: Scope, operand: Span) -> Getter:
    start, _ = getter_of(scope, operand.start)
    end, _ = getter_of(scope, operand.end)
    unit = operand.unit

    def span(facts: Record, this: Record, record: Record) -> int | None:
        first, last = start(facts, this, record), end(facts, this, record)
        return None if first is None or last is None else calendar.elapsed(unit, first, last)

    return span


def _plus(scope: Scope, operand: Plus) -> Getter:
    getters = [getter_of(scope, term)[0] for term in operand.terms]

    def plus(facts: Record, this: Record, record: Record) -> Decimal | None:
        numbers = [getter(facts, this, record) for getter in getters]
        return None if None in numbers else sum((exact(number) for number in numbers), Decimal(0))

    return plus


def exact(number: Any) -> Decimal:
    """A number of the facts as the decimal that was written."""
    return Decimal(repr(number)) if number.__class__ is float else Decimal(number)


def exactly(getter: Getter) -> Getter:
    """The number as a decimal: sums are decimals, and a decimal must not meet a binary float."""

    def decimal(facts: Record, this: Record, record: Record) -> Decimal | None:
        number = getter(facts, this, record)
        return None if number is None else exact(number)

    return decimal


def known(scope: Scope, leaf: Known) -> Test:
    """True when present, else unknown."""
    getter, _ = raw_of(scope, leaf.fact.path)
    return lambda facts, this, record: None if getter(facts, this, record) in (None, "", []) else True


def within(scope: Scope, leaf: Within) -> Test:
    """Whether a date lies in a window."""
    getter, _ = getter_of(scope, leaf.fact)
    anchor, _ = getter_of(scope, leaf.window.anchor)
    length, sign = leaf.window.length, -1 if leaf.window.direction == "before" else 1

    def inside(facts: Record, this: Record, record: Record) -> Truth:
        day, end = getter(facts, this, record), anchor(facts, this, record)
        if day is None or end is None:
            return None
        other = calendar.shift(end, length, sign)
        return None if other is None else min(other, end) <= day <= max(other, end)

    return inside


def compare(scope: Scope, leaf: Compare) -> Test:
    """Any comparison; the common shape (a top-level fact against a literal) has its own short closure."""
    if isinstance(leaf.right, SetName | Choice) or leaf.operator in ("in", "notin", "under", "between"):
        return _membership(scope, leaf)
    if isinstance(leaf.left, Fact) and isinstance(leaf.right, Literal):
        entry = scope.catalogue.require(leaf.left.path)
        if entry.many or (entry.type == "string" and leaf.operator in ("eq", "ne")):
            return _one_of(scope, leaf.left, frozenset({leaf.right.value}), leaf.operator == "eq")
        if entry.type == "number":
            return _number(scope, leaf, entry)
        if entry.type == "boolean" and leaf.operator in ("eq", "ne"):
            return _flag(scope, leaf.left.path, (leaf.right.value is True) is (leaf.operator == "eq"))
    if _kind(scope, leaf.left) == _kind(scope, leaf.right) == "dateTime":
        return _ordered(_instant(scope, leaf.left), _instant(scope, leaf.right), _ORDER[leaf.operator])
    left, right = getter_of(scope, leaf.left)[0], getter_of(scope, leaf.right)[0]
    if isinstance(leaf.left, Total | Plus) or isinstance(leaf.right, Total | Plus):
        left, right = exactly(left), exactly(right)
    return _ordered(left, right, _ORDER[leaf.operator])


def _flag(scope: Scope, path: str, wanted: bool) -> Test:
    getter, entry = raw_of(scope, path)
    if not entry.list:
        return fact_is(entry.key, wanted)
    return lambda facts, this, record: (
        value is wanted if (value := getter(facts, this, record)).__class__ is bool else None
    )


def _kind(scope: Scope, operand: Operand) -> str:
    return getter_of(scope, operand)[1]


def _instant(scope: Scope, operand: Operand) -> Getter:
    if isinstance(operand, Literal):
        return getter_of(scope, operand)[0]
    assert isinstance(operand, Fact)  # noqa: S101 - only facts and literals are of type dateTime
    raw, _ = raw_of(scope, operand.path)

    def instant(facts: Record, this: Record, record: Record) -> Any:
        value = raw(facts, this, record)
        return calendar.instant_of(value) if value.__class__ is str else None

    return instant


def _ordered(left: Getter, right: Getter, order: Callable[[Any, Any], bool]) -> Test:
    def ordered(facts: Record, this: Record, record: Record) -> Truth:
        first, second = left(facts, this, record), right(facts, this, record)
        return None if first is None or second is None else order(first, second)

    return ordered


def _number(scope: Scope, leaf: Compare, entry: FactEntry) -> Test:
    assert isinstance(leaf.left, Fact)  # noqa: S101 - the caller has looked
    assert isinstance(leaf.right, Literal)  # noqa: S101
    literal = leaf.right
    order = _ORDER[leaf.operator]
    number = Decimal(str(literal.value))
    owner = scope.catalogue.lists.get(entry.list)
    if owner is not None and not entry.unit and literal.unit and "unit" in owner.fields:
        return _measured(scope, leaf.left, order, number, literal.unit)
    if literal.unit and entry.unit:
        converted = units.convert(number, literal.unit, entry.unit)
        number = number if converted is None else converted
    limit = plain(number)
    getter, _ = raw_of(scope, leaf.left.path)
    if not entry.list:
        return FACT_NUMBER[leaf.operator](entry.key, limit)

    def field(facts: Record, this: Record, record: Record) -> Truth:
        value = getter(facts, this, record)
        return order(value, limit) if value.__class__ in NUMBERS else None

    return field


def _measured(scope: Scope, fact: Fact, order: Callable[[Any, Any], bool], number: Decimal, unit: str) -> Test:
    """A record's number with the record's own unit; converted exactly, unknown when it cannot be."""
    value_of, _ = raw_of(scope, fact.path)
    unit_of, _ = raw_of(scope, fact.path.rpartition(".")[0] + ".unit")
    limit, wanted = plain(number), units.canonical(unit)

    def measured(facts: Record, this: Record, record: Record) -> Truth:
        value, given = value_of(facts, this, record), unit_of(facts, this, record)
        if value.__class__ not in NUMBERS or given.__class__ is not str:
            return None
        if given == wanted:
            return order(value, limit)
        converted = units.convert(exact(value), given, wanted)
        return None if converted is None else order(converted, number)

    return measured


def _one_of(scope: Scope, fact: Fact, members: frozenset[Any], positive: bool) -> Test:
    """Membership of a string or of any of a list of strings."""
    getter, entry = raw_of(scope, fact.path)
    kind = bool if entry.type == "boolean" else str
    if entry.many:

        def some(facts: Record, this: Record, record: Record) -> Truth:
            values = getter(facts, this, record)
            if values.__class__ is not list:
                return None
            return (not members.isdisjoint(value for value in values if value.__class__ is kind)) is positive

        return some
    if not entry.list:
        return fact_in(entry.key, members, kind, positive)
    if of_line(scope, fact.path, entry):
        return line_in(entry.key, members, kind, positive)

    def one(facts: Record, this: Record, record: Record) -> Truth:
        value = getter(facts, this, record)
        return (value in members) is positive if value.__class__ is kind else None

    return one


def _membership(scope: Scope, leaf: Compare) -> Test:
    right = leaf.right
    values = (
        scope.codes(right.name)
        if isinstance(right, SetName)
        else frozenset(
            literal.value
            for literal in (right.values if isinstance(right, Choice) else (right,))
            if isinstance(literal, Literal)
        )
    )
    getter, kind = getter_of(scope, leaf.left)
    if isinstance(leaf.left, Fact) and kind == "number" and isinstance(right, Choice):
        return _numbers(scope, leaf, right)
    summed = isinstance(leaf.left, Total | Plus)
    if leaf.operator == "between":
        assert isinstance(right, Choice)  # noqa: S101 - the check has looked
        ends = [getter_of(scope, literal)[0] for literal in right.values]
        low, high = ((exactly(end) if summed else end)({}, {}, {}) for end in ends)
        return lambda facts, this, record: (
            None if (value := getter(facts, this, record)) is None else bool(low <= value <= high)
        )
    if leaf.operator == "under":
        return _under(scope, leaf.left, values)
    if isinstance(leaf.left, Fact) and kind == "string":
        return _one_of(scope, leaf.left, values, leaf.operator == "in")
    members = frozenset(plain(value) if isinstance(value, Decimal) and not summed else value for value in values)
    positive = leaf.operator == "in"
    return lambda facts, this, record: (
        None if (value := getter(facts, this, record)) is None else (value in members) is positive
    )


def _numbers(scope: Scope, leaf: Compare, right: Choice) -> Test:
    """`between` and `in` of a measured number: each value is compared in its own unit."""
    if leaf.operator == "between":
        low, high = (
            compare(scope, Compare(leaf.left, operator, value))
            for operator, value in zip(_ENDS, right.values, strict=True)
        )
        return lambda facts, this, record: both(low(facts, this, record), high(facts, this, record))
    tests = [compare(scope, Compare(leaf.left, "eq", value)) for value in right.values]
    positive = leaf.operator == "in"

    def one_of(facts: Record, this: Record, record: Record) -> Truth:
        found: Truth = False
        for test in tests:
            found = either(found, test(facts, this, record))
        return found if positive else negate(found)

    return one_of


def _under(scope: Scope, left: Operand, values: frozenset[Any]) -> Test:
    """Code hierarchy by prefix, with or without the dot (ICD-10-CM: E11 covers E11.9 and E119)."""
    assert isinstance(left, Fact)  # noqa: S101 - the check has looked
    raw, _ = raw_of(scope, left.path)
    prefixes = frozenset(str(value).replace(".", "") for value in values)
    lengths = sorted({len(prefix) for prefix in prefixes})

    def under(facts: Record, this: Record, record: Record) -> Truth:
        value = raw(facts, this, record)
        codes = value if value.__class__ is list else [value]
        known_codes = [code for code in codes if code.__class__ is str]
        if not known_codes:
            return None
        bare = [code.replace(".", "") for code in known_codes]
        return any(code[:length] in prefixes for code in bare for length in lengths if length <= len(code))

    return under
