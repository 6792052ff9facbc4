"""The commonest leaf, a number of the request against a limit, with the operator written out: a call less each time."""

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
        return value == limit if value.__class__ in NUMBERS else None

    return test


def _differs(key: str, limit: float) -> Test:
    def test(facts: Record, this: Record, record: Record) -> Truth:
        value: Any = facts.get(key)
        return value != limit if value.__class__ in NUMBERS else None

    return test


def _below(key: str, limit: float) -> Test:
    def test(facts: Record, this: Record, record: Record) -> Truth:
        value: Any = facts.get(key)
        return value < limit if value.__class__ in NUMBERS else None

    return test


def _at_most(key: str, limit: float) -> Test:
    def test(facts: Record, this: Record, record: Record) -> Truth:
        value: Any = facts.get(key)
        return value <= limit if value.__class__ in NUMBERS else None

    return test


def _above(key: str, limit: float) -> Test:
    def test(facts: Record, this: Record, record: Record) -> Truth:
        value: Any = facts.get(key)
        return value > limit if value.__class__ in NUMBERS else None

    return test


def _at_least(key: str, limit: float) -> Test:
    def test(facts: Record, this: Record, record: Record) -> Truth:
        value: Any = facts.get(key)
        return value >= limit if value.__class__ in NUMBERS else None

    return test


TOP_NUMBER: dict[str, Callable[[str, float], Test]] = {
    "eq": _equal, "ne": _differs, "lt": _below, "le": _at_most, "gt": _above, "ge": _at_least,
}  # fmt: skip
