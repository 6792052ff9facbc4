"""Quantifiers and totals over lists of records, three-valued.

The records in question are those whose concept and window are not certainly others. None that certainly belongs:
unknown, whatever those in question say, for they may turn out to be others; or in a list that the catalogue declares
complete (and that is not empty) a plain answer about nothing.
"""

# ruff: noqa: ARG001, ARG005 - every leaf has the one signature (facts, this, record)

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from gateway.core.errors import LimitExceeded
from gateway.rules.direct import NUMBERS, Record, Test
from gateway.rules.kleene import both, either, negate
from gateway.rules.leaves import Scope, exact, getter_of, within
from gateway.rules.model import MAX_RECORDS, Fact, Quantified, Total, Truth, Window, Within

Member = Callable[[Record, Record, Record], Truth]


def records_of(facts: Record, name: str) -> list[Record]:
    """The records of a list; whatever is not a record is left out. Raises LimitExceeded beyond MAX_RECORDS."""
    found = facts.get(name)
    if not isinstance(found, list):
        return []
    if len(found) > MAX_RECORDS:
        raise LimitExceeded(f"more than {MAX_RECORDS} records", location=name)
    for record in found:
        if record.__class__ is not dict:
            return [each for each in found if isinstance(each, dict)]
    return found


def member_of(scope: Scope, list_name: str, concept: str, window: Window | None) -> Member:
    """Whether a record belongs to the concept and lies in the window."""
    entry = scope.catalogue.lists[list_name]
    inner = scope.within(list_name)
    tests: list[Test] = []
    if concept and entry.concept is not None:
        codes, code_of = scope.codes(concept), getter_of(inner, Fact(entry.concept.path))[0]

        def of_concept(facts: Record, this: Record, record: Record) -> Truth:
            code = code_of(facts, this, record)
            return None if code is None else code in codes

        tests.append(of_concept)
    if window is not None and entry.date is not None:
        tests.append(within(inner, Within(Fact(entry.date.path), window)))
    if not tests:
        return lambda facts, this, record: True
    if len(tests) == 1:
        return tests[0]
    first, second = tests
    return lambda facts, this, record: both(first(facts, this, record), second(facts, this, record))


def quantified(scope: Scope, leaf: Quantified, test: Test | None) -> Test:
    """The quantifier as one leaf. `test` is its compiled inner condition."""
    if leaf.quantifier in ("any", "no"):
        some = _of_concept(scope, leaf) or _some(scope, leaf, test)
        return some if leaf.quantifier == "any" else lambda facts, this, record: negate(some(facts, this, record))
    name, other = leaf.list, leaf.other
    member = member_of(scope, name, leaf.concept, leaf.window)
    complete = scope.catalogue.lists[name].complete
    decide = _latest(scope, leaf) if leaf.quantifier == "latest" else _DECIDERS[leaf.quantifier]
    count, nothing = leaf.count, leaf.quantifier != "latest"

    def quantify(facts: Record, this: Record, record: Record) -> Truth:
        records = records_of(facts, name)
        found: list[tuple[Truth, Truth, Record]] = []
        for each in records:
            if other and each is this:
                continue
            belongs = member(facts, this, each)
            if belongs is not False:
                found.append((belongs, True if test is None else test(facts, this, each), each))
        if not (complete and records and nothing) and not any(belongs for belongs, _, _ in found):
            return None
        return decide(found, count)

    return quantify


def _some(scope: Scope, leaf: Quantified, test: Test | None) -> Test:
    """Whether any record in question passes: done at the first that certainly does."""
    name, other = leaf.list, leaf.other
    member = member_of(scope, name, leaf.concept, leaf.window)
    complete = scope.catalogue.lists[name].complete

    def some(facts: Record, this: Record, record: Record) -> Truth:
        records = records_of(facts, name)
        certain = unknown = False
        for each in records:
            if other and each is this:
                continue
            belongs = member(facts, this, each)
            if belongs is False:
                continue
            certain = certain or belongs is True
            truth = True if test is None else test(facts, this, each)
            if truth and belongs:
                return True
            unknown = unknown or truth is not False
        return None if unknown or not (certain or (complete and records)) else False

    return some


def _of_concept(scope: Scope, leaf: Quantified) -> Test | None:
    """`any diagnosis "hypoxemia"`, the commonest quantifier: a look into a set for each; None for another shape."""
    name, entry = leaf.list, scope.catalogue.lists[leaf.list]
    if leaf.test is not None or leaf.window is not None or leaf.other or not leaf.concept:
        return None
    if entry.concept is None or entry.concept.type != "string":
        return None
    codes, key, complete = scope.codes(leaf.concept), entry.concept.key, entry.complete

    def of_concept(facts: Record, this: Record, record: Record) -> Truth:
        unknown, records = False, records_of(facts, name)
        for each in records:
            code = each.get(key)
            if code.__class__ is not str:
                unknown = True
            elif code in codes:
                return True
        return None if unknown or not (complete and records) else False

    return of_concept


Found = list[tuple[Truth, Truth, Record]]


def _every(found: Found, _count: int) -> Truth:
    result: Truth = True
    for belongs, truth, _ in found:
        result = both(result, either(negate(belongs), truth))
    return result


def _bounds(found: Found) -> tuple[int, int]:
    truths = [both(belongs, truth) for belongs, truth, _ in found]
    return truths.count(True), len(truths) - truths.count(False)


def _at_least(found: Found, count: int) -> Truth:
    low, high = _bounds(found)
    return True if low >= count else False if high < count else None


def _at_most(found: Found, count: int) -> Truth:
    return negate(_at_least(found, count + 1))


def _exactly(found: Found, count: int) -> Truth:
    return both(_at_least(found, count), _at_most(found, count))


_DECIDERS: dict[str, Callable[[Found, int], Truth]] = {
    "every": _every,
    "at least": _at_least,
    "at most": _at_most,
    "exactly": _exactly,
}


def _latest(scope: Scope, leaf: Quantified) -> Callable[[Found, int], Truth]:
    """The test of the newest record; unknown when a record may be newer, or equally new ones disagree."""
    entry = scope.catalogue.lists[leaf.list].date
    day_of = getter_of(scope.within(leaf.list), Fact(entry.path))[0] if entry else (lambda facts, this, record: None)

    def latest(found: Found, _count: int) -> Truth:
        dated = [(day_of({}, {}, record), truth) for _, truth, record in found]
        days = [day for day, _ in dated if day is not None]
        if len(days) < len(dated) or any(belongs is None for belongs, _, _ in found):
            return None
        newest = max(days)
        truths = {truth for day, truth in dated if day == newest}
        return truths.pop() if len(truths) == 1 else None

    return latest


def total(scope: Scope, operand: Total) -> Callable[[Record, Record, Record], Any]:
    """The sum of a field over the records in question; None when one of them is uncertain or has no number."""
    member = member_of(scope, operand.list, operand.concept, operand.window)
    entry = scope.catalogue.lists[operand.list]
    value_of = getter_of(scope.within(operand.list), Fact(entry.fields[operand.field].path))[0]
    name, complete = operand.list, entry.complete

    def add(facts: Record, this: Record, record: Record) -> Decimal | None:
        # A list that is given, even empty, is summed: a history of no visits is a total of nought.
        given = facts.get(name)
        if not isinstance(given, list) or (complete and not given):
            return None
        result = Decimal(0)
        for each in records_of(facts, name):
            belongs = member(facts, this, each)
            if belongs is False:
                continue
            value = value_of(facts, this, each)
            if belongs is None or value.__class__ not in NUMBERS:
                return None
            result += exact(value)
        return result

    return add
