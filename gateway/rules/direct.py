"""The commonest leaves, written out for where their value is and what is asked: one call, one look, one comparison."""

# ruff: noqa: ARG001 - every leaf has the one signature (facts, this, record)

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from gateway.rules.model import Truth

Record = Mapping[str, Any]
Test = Callable[[Record, Record, Record], Truth]
NUMBERS: frozenset[Any] = frozenset({int, float, Decimal})


def _equal(key: str, limit: float) -> Test:
    def test(facts: Record, this: Record, record: Record) -> Truth:
        value: Any = facts.get(key)
        kind = value.__class__
        return value == limit if kind is int or kind in NUMBERS else None

    return test


def _differs(key: str, limit: float) -> Test:
    def test(facts: Record, this: Record, record: Record) -> Truth:
        value: Any = facts.get(key)
        kind = value.__class__
        return value != limit if kind is int or kind in NUMBERS else None

    return test


def _below(key: str, limit: float) -> Test:
    def test(facts: Record, this: Record, record: Record) -> Truth:
        value: Any = facts.get(key)
        kind = value.__class__
        return value < limit if kind is int or kind in NUMBERS else None

    return test


def _at_most(key: str, limit: float) -> Test:
    def test(facts: Record, this: Record, record: Record) -> Truth:
        value: Any = facts.get(key)
        kind = value.__class__
        return value <= limit if kind is int or kind in NUMBERS else None

    return test


def _above(key: str, limit: float) -> Test:
    def test(facts: Record, this: Record, record: Record) -> Truth:
        value: Any = facts.get(key)
        kind = value.__class__
        return value > limit if kind is int or kind in NUMBERS else None

    return test


def _at_least(key: str, limit: float) -> Test:
    def test(facts: Record, this: Record, record: Record) -> Truth:
        value: Any = facts.get(key)
        kind = value.__class__
        return value >= limit if kind is int or kind in NUMBERS else None

    return test


FACT_NUMBER: dict[str, Callable[[str, float], Test]] = {
    "eq": _equal, "ne": _differs, "lt": _below, "le": _at_most, "gt": _above, "ge": _at_least,
}  # fmt: skip
"""A number of the request against a limit, by operator."""


def fact_is(key: str, wanted: bool) -> Test:
    """A flag of the request."""

    def test(facts: Record, this: Record, record: Record) -> Truth:
        value = facts.get(key)
        return value is wanted if value.__class__ is bool else None

    return test


def fact_in(key: str, members: frozenset[Any], kind: type, positive: bool) -> Test:
    """A code of the request in (or, not `positive`, outside of) a set."""

    def test(facts: Record, this: Record, record: Record) -> Truth:
        value = facts.get(key)
        return (value in members) is positive if value.__class__ is kind else None

    return test


def line_in(key: str, members: frozenset[Any], kind: type, positive: bool) -> Test:
    """The same of the line being decided."""

    def test(facts: Record, this: Record, record: Record) -> Truth:
        value = this.get(key)
        return (value in members) is positive if value.__class__ is kind else None

    return test
