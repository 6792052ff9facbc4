"""A rule set compiled: leaves once, shared; trees over their results; an index on the requested service code.

Equal leaves of all rules are one closure. A decision runs every leaf of the candidate rules (never short-circuit: the
trace has to be full) into one list, and the trees join those results. `Plan` is that work for one service code on one
stretch of time: rules that are certainly false for the code (their condition requires another code) are not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from operator import itemgetter

from gateway.rules.direct import Record, Test
from gateway.rules.kleene import negate
from gateway.rules.leaves import Scope, compare, known, within
from gateway.rules.model import (
    AllOf,
    AnyOf,
    Choice,
    Compare,
    Condition,
    Fact,
    Known,
    Leaf,
    Literal,
    Not,
    Rule,
    SetName,
    Truth,
    Within,
    leaves,
)
from gateway.rules.quantified import quantified

Joined = Callable[[Sequence[Truth]], Truth]
MAX_PLANS = 4_096
"""Plans kept per program; beyond it the oldest goes."""


def compile_leaf(scope: Scope, leaf: Leaf) -> Test:
    """One leaf as a closure."""
    if isinstance(leaf, Compare):
        return compare(scope, leaf)
    if isinstance(leaf, Known):
        return known(scope, leaf)
    if isinstance(leaf, Within):
        return within(scope, leaf)
    test = compile_condition_tree(scope.within(leaf.list), leaf.test) if leaf.test is not None else None
    return quantified(scope, leaf, test)


def compile_condition_tree(scope: Scope, condition: Condition) -> Test:
    """A whole condition as one closure: the tests inside quantifiers, step conditions, routing predicates."""
    found = list(dict.fromkeys(leaves(condition)))
    tests = [compile_leaf(scope, leaf) for leaf in found]
    joined = join(condition, {leaf: index for index, leaf in enumerate(found)})
    if len(tests) == 1 and condition == found[0]:
        return tests[0]
    return lambda facts, this, record: joined([test(facts, this, record) for test in tests])


def join(condition: Condition, position: Mapping[Leaf, int]) -> Joined:
    """The tree over leaf results."""
    if isinstance(condition, AllOf | AnyOf):
        return _join_many(condition, position)
    if isinstance(condition, Not):
        part = join(condition.part, position)
        return lambda results: negate(part(results))
    return itemgetter(position[condition])


def _join_many(condition: AllOf | AnyOf, position: Mapping[Leaf, int]) -> Joined:
    decisive = isinstance(condition, AnyOf)
    parts = condition.parts
    if len(parts) == 1:
        return join(parts[0], position)
    at = [position[part] for part in parts if not isinstance(part, AllOf | AnyOf | Not)]
    trees = [join(part, position) for part in parts if isinstance(part, AllOf | AnyOf | Not)]
    if not trees and len(at) == 2:
        return _join_two(decisive, *at)
    # One leaf is gathered twice: itemgetter gives a tuple for two or more.
    gather = itemgetter(*(at if len(at) > 1 else at * 2)) if at else _nothing

    def joined(results: Sequence[Truth]) -> Truth:
        found = gather(results)
        if decisive in found:
            return decisive
        unknown = None in found
        for tree in trees:
            truth = tree(results)
            if truth is decisive:
                return decisive
            unknown = unknown or truth is None
        return None if unknown else not decisive

    return joined


def _nothing(_results: Sequence[Truth]) -> tuple[Truth, ...]:
    return ()


def _join_two(decisive: bool, first: int, second: int) -> Joined:
    """Two leaves, the commonest tree."""
    settled = not decisive

    def two(results: Sequence[Truth]) -> Truth:
        one = results[first]
        if one is decisive:
            return decisive
        other = results[second]
        if other is decisive:
            return decisive
        return None if one is None or other is None else settled

    return two


@dataclass(frozen=True, slots=True)
class Plan:
    """The rules that may match, in the order of the strategy, and the leaves they need."""

    rules: tuple[Rule, ...]
    joined: tuple[Joined, ...]
    leaves: tuple[Leaf, ...]
    tests: tuple[Test, ...]
    position: Mapping[Leaf, int]
    """Where a leaf stands among the results."""

    def run(self, facts: Record, this: Record) -> tuple[list[Truth], list[Truth]]:
        """Every leaf result and every rule result."""
        results = [test(facts, this, this) for test in self.tests]
        return results, [joined(results) for joined in self.joined]


@dataclass(slots=True)
class Program:
    """Compiled rules in strategy order. Plans are made on demand and kept."""

    rules: tuple[Rule, ...]
    scope: Scope
    tests: dict[Leaf, Test] = field(default_factory=dict)
    boundaries: tuple[date, ...] = ()
    by_code: dict[str, list[int]] = field(default_factory=dict)
    general: list[int] = field(default_factory=list)
    plans: dict[tuple[int, str | None], Plan] = field(default_factory=dict)

    def plan(self, day: date, code: str | None) -> Plan:
        """The plan for a service code (None: unknown or absent, every rule is a candidate)."""
        epoch = sum(boundary <= day for boundary in self.boundaries)
        key = (epoch, code if code in self.by_code else "" if code is not None else None)
        found = self.plans.get(key)
        if found is None:
            found = self._make(day, key[1])
            if len(self.plans) >= MAX_PLANS:
                self.plans.pop(next(iter(self.plans), key), None)
            self.plans[key] = found
        return found

    def _make(self, day: date, code: str | None) -> Plan:
        if code is None:
            chosen: Iterable[int] = range(len(self.rules))
        else:
            chosen = sorted([*self.general, *self.by_code.get(code, ())])
        rules = tuple(self.rules[index] for index in chosen if self.rules[index].applies_on(day))
        found = tuple(dict.fromkeys(leaf for rule in rules for leaf in leaves(rule.condition)))
        position = {leaf: index for index, leaf in enumerate(found)}
        return Plan(
            rules,
            tuple(join(rule.condition, position) for rule in rules),
            found,
            tuple(self.test(leaf) for leaf in found),
            position,
        )

    def test(self, leaf: Leaf) -> Test:
        """The closure of a leaf, compiled once."""
        if leaf not in self.tests:
            self.tests[leaf] = compile_leaf(self.scope, leaf)
        return self.tests[leaf]


def compile_rules(rules: Sequence[Rule], scope: Scope) -> Program:
    """Compile rules that are already in the order of their strategy."""
    program = Program(tuple(rules), scope)
    program.boundaries = tuple(
        sorted({day for rule in rules for day in (rule.effective, rule.expiration) if day is not None})
    )
    for index, rule in enumerate(rules):
        codes = required_codes(rule.condition, scope)
        if codes is None:
            program.general.append(index)
        for code in codes or ():
            program.by_code.setdefault(code, []).append(index)
    return program


def required_codes(condition: Condition, scope: Scope) -> frozenset[str] | None:
    """The service codes without which the condition is certainly false; None when there is no such limit."""
    if isinstance(condition, AllOf):
        limits = [codes for part in condition.parts if (codes := required_codes(part, scope)) is not None]
        return frozenset.intersection(*limits) if limits else None
    if isinstance(condition, AnyOf):
        each = [required_codes(part, scope) for part in condition.parts]
        return None if None in each else frozenset().union(*(codes for codes in each if codes is not None))
    if not (isinstance(condition, Compare) and condition.left in (Fact("service.code"), Fact("this.code"))):
        return None
    right = condition.right
    if condition.operator == "in" and isinstance(right, SetName):
        return scope.codes(right.name)
    if condition.operator == "in" and isinstance(right, Choice):
        return frozenset(str(literal.value) for literal in right.values)
    if condition.operator == "eq" and isinstance(right, Literal):
        return frozenset({str(right.value)})
    return None
