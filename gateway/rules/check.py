"""The check at save time: every fact, list, unit, type and value set a rule names exists and fits.

A misspelt field or a wrong unit must be found here, by the author, and never in a decision. All problems are collected;
each has the location (`rule MN-1.condition`) and a suggestion where one is near.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Mapping

from gateway.core.errors import ConfigurationError, Issue
from gateway.rules import units
from gateway.rules.calendar import zone_of
from gateway.rules.catalogue import Catalogue, ListEntry
from gateway.rules.model import (
    MAX_DEPTH,
    MAX_NODES,
    AllOf,
    AnyOf,
    Choice,
    Compare,
    Condition,
    Fact,
    Known,
    Literal,
    Not,
    Operand,
    Plus,
    Quantified,
    Rule,
    RuleSet,
    SetName,
    Shifted,
    Span,
    Total,
    ValueSet,
    Window,
    Within,
    walk,
)

_ORDERED = frozenset({"lt", "le", "gt", "ge", "between"})
_DAYS = frozenset({"date", "dateTime"})


def check_ruleset(ruleset: RuleSet, catalogue: Catalogue) -> list[Issue]:
    """All problems of a rule set, in the order of its rules; an empty list when it can be released."""
    issues = list(_check_frame(ruleset, catalogue))
    for rule in ruleset.rules:
        issues.extend(_check_rule(rule, catalogue, ruleset.value_sets))
    return issues


def check_condition(
    condition: Condition, catalogue: Catalogue, value_sets: Mapping[str, ValueSet], location: str = "condition"
) -> list[Issue]:
    """All problems of one condition."""
    size, depth = len(walk(condition)), depth_of(condition)
    if size > MAX_NODES or depth > MAX_DEPTH:
        return [_issue("limit", location, f"{size} nodes, {depth} deep: at most {MAX_NODES} and {MAX_DEPTH}")]
    return list(_Checker(catalogue, value_sets, location).condition(condition, ""))


def raise_issues(issues: list[Issue], what: str) -> None:
    """Raise ConfigurationError that carries them all, if there are any."""
    if issues:
        raise ConfigurationError(
            f"{what}: {issues[0].text}" + (f" (and {len(issues) - 1} more)" if len(issues) > 1 else ""),
            location=issues[0].location,
            issues=tuple(issues),
        )


def depth_of(condition: Condition) -> int:
    """Nesting of a condition; iterative, so that a hostile one cannot exhaust the stack."""
    deepest, pending = 0, [(condition, 1)]
    while pending:
        node, depth = pending.pop()
        deepest = max(deepest, depth)
        if isinstance(node, AllOf | AnyOf):
            pending.extend((part, depth + 1) for part in node.parts)
        elif isinstance(node, Not):
            pending.append((node.part, depth + 1))
        elif isinstance(node, Quantified) and node.test is not None:
            pending.append((node.test, depth + 1))
    return deepest


def _issue(code: str, location: str, text: str) -> Issue:
    return Issue(code, location, text)


def _check_frame(ruleset: RuleSet, catalogue: Catalogue) -> Iterator[Issue]:
    where = f"ruleset {ruleset.id}"
    if "medical_necessity" in ruleset.automatic_denials:
        yield _issue("guard", where, "a medical-necessity denial is never automatic")
    if ruleset.default.type not in ("pend", "escalate"):
        yield _issue("default", where, "what no rule decides is pended or escalated")
    if ruleset.combine == "first-applicable" and {rule.id for rule in ruleset.rules} - set(ruleset.order):
        yield _issue("order", where, "first-applicable needs every rule in 'order'")
    if unknown := set(ruleset.order) - {rule.id for rule in ruleset.rules}:
        yield _issue("order", where, f"no rule {sorted(unknown)[0]!r}")
    if catalogue.find(ruleset.as_of) is None:
        yield _issue("fact", where, f"no fact {ruleset.as_of!r}{catalogue.hint(ruleset.as_of)}")
    try:
        zone_of(ruleset.zone)
    except ConfigurationError as error:
        yield _issue("zone", where, error.message)
    for value_set in ruleset.value_sets.values():
        if value_set.unit and units.dimension(value_set.unit) is None:
            yield _issue("unit", f"valueSets.{value_set.name}", f"no unit {value_set.unit!r}")
    yield from _overlaps(ruleset)


def _overlaps(ruleset: RuleSet) -> Iterator[Issue]:
    """Two versions of one rule may not be in force on the same day."""
    by_id: dict[str, list[Rule]] = {}
    for rule in ruleset.rules:
        by_id.setdefault(rule.id, []).append(rule)
    for rule_id, versions in by_id.items():
        ordered = sorted(versions, key=lambda rule: (rule.effective is not None, rule.effective, rule.version))
        for earlier, later in itertools.pairwise(ordered):
            ends = earlier.expiration
            if ends is None or later.effective is None or later.effective < ends:
                yield _issue("overlap", f"rule {rule_id}", f"versions {earlier.version} and {later.version} overlap")


def gaps(ruleset: RuleSet) -> list[Issue]:
    """Stretches in which no version of a rule is in force, between two that are: legal, but worth a look."""
    found = []
    for rule in ruleset.rules:
        following = [each for each in ruleset.rules if each.id == rule.id and each.effective is not None]
        later = sorted(each.effective for each in following if rule.expiration and each.effective >= rule.expiration)  # type: ignore[operator,type-var]
        if rule.expiration is not None and later and later[0] > rule.expiration:  # type: ignore[operator]
            text = f"no version from {rule.expiration} until {later[0]}"
            found.append(Issue("gap", f"rule {rule.id}", text, severity="warning"))
    return found


def _check_rule(rule: Rule, catalogue: Catalogue, value_sets: Mapping[str, ValueSet]) -> Iterator[Issue]:
    where = f"rule {rule.id}"
    if rule.effective and rule.expiration and rule.expiration <= rule.effective:
        yield _issue("dates", where, "the rule expires before it takes effect")
    if rule.action.type == "deny" and not rule.action.reason:
        yield _issue("reason", where, "a denial needs a specific reason")
    if rule.action.type == "modify" and rule.action.quantity is None and not rule.action.code:
        yield _issue("action", where, "modify needs a quantity or a code")
    if rule.action.type == "error" and not rule.action.error_code:
        yield _issue("action", where, "error needs an error code")
    for path in rule.action.request:
        if catalogue.find(path) is None and path not in catalogue.lists:
            yield _issue("fact", where, f"no fact {path!r}{catalogue.hint(path)}")
    yield from check_condition(rule.condition, catalogue, value_sets, f"{where}.condition")


class _Checker:
    """Walks one condition. `inside` is the list of the quantifier around the node, or empty."""

    def __init__(self, catalogue: Catalogue, value_sets: Mapping[str, ValueSet], location: str) -> None:
        self.catalogue, self.value_sets, self.location = catalogue, value_sets, location

    def condition(self, node: Condition, inside: str) -> Iterator[Issue]:
        if isinstance(node, AllOf | AnyOf):
            for part in node.parts:
                yield from self.condition(part, inside)
        elif isinstance(node, Not):
            yield from self.condition(node.part, inside)
        elif isinstance(node, Quantified):
            yield from self.quantified(node)
        elif isinstance(node, Known):
            yield from self.fact(node.fact, inside)
        elif isinstance(node, Within):
            yield from self.day(node.fact, inside)
            yield from self.window(node.window, inside)
        else:
            yield from self.compare(node, inside)

    def problem(self, code: str, text: str) -> Issue:
        return _issue(code, self.location, text)

    def fact(self, fact: Fact, inside: str) -> Iterator[Issue]:
        entry = self.catalogue.find(fact.path)
        if entry is None:
            yield self.problem("fact", f"no fact {fact.path[:80]!r}{self.catalogue.hint(fact.path)}")
        elif entry.list not in ("", inside, "services"):
            yield self.problem("scope", f"{fact.path!r} needs a quantifier over {entry.list}: any, every, no, latest …")

    def day(self, fact: Fact, inside: str) -> Iterator[Issue]:
        yield from self.fact(fact, inside)
        entry = self.catalogue.find(fact.path)
        if entry is not None and entry.type not in _DAYS:
            yield self.problem("type", f"{entry.label!r} is a {entry.type}, not a date")

    def window(self, window: Window | None, inside: str) -> Iterator[Issue]:
        if window is not None:
            yield from self.day(window.anchor, inside)

    def value_set(self, name: str) -> Iterator[Issue]:
        if name not in self.value_sets:
            yield self.problem("valueSet", f"no value set {name[:64]!r}")

    def records(self, name: str, concept: str, window: Window | None) -> Iterator[Issue]:
        entry = self.catalogue.lists.get(name)
        if entry is None:
            yield self.problem("list", f"no list {name[:64]!r}{self.catalogue.hint(name)}")
            return
        if concept:
            yield from self.value_set(concept)
            if entry.concept is None:
                yield self.problem("list", f"{entry.label!r} has neither code nor type")
        if window is not None and entry.date is None:
            yield self.problem("list", f"{entry.label!r} has no date")
        yield from self.window(window, name)

    def quantified(self, node: Quantified) -> Iterator[Issue]:
        yield from self.records(node.list, node.concept, node.window)
        entry = self.catalogue.lists.get(node.list)
        if entry is None:
            return
        if node.other and node.list != "services":
            yield self.problem("list", "'other' is for services: the line being decided is one")
        if node.quantifier == "latest" and (entry.date is None or node.test is None):
            yield self.problem("list", f"latest {entry.label} needs a date and a test")
        if node.test is not None:
            yield from self.condition(node.test, node.list)
            yield from self.concept_unit(node, entry)

    def concept_unit(self, node: Quantified, entry: ListEntry) -> Iterator[Issue]:
        expected = self.value_sets[node.concept].unit if node.concept in self.value_sets else ""
        if not expected or entry.value is None or node.test is None:
            return
        for part in walk(node.test):
            if not isinstance(part, Compare) or part.left != Fact(entry.value.path):
                continue
            for value in part.right.values if isinstance(part.right, Choice) else (part.right,):
                if isinstance(value, Literal) and (not value.unit or units.factor(value.unit, expected) is None):
                    yield self.problem("unit", f"{node.concept!r} is measured in {expected}, not {value.unit!r}")

    def compare(self, node: Compare, inside: str) -> Iterator[Issue]:
        if isinstance(node.left, Literal):
            yield self.problem("type", "a comparison begins with a fact")
            return
        kind = yield from self.operand(node.left, inside)
        unit = self.unit_of(node.left)
        if isinstance(node.right, SetName):
            yield from self.value_set(node.right.name)
            if kind != "string" or node.operator not in ("in", "notin", "under"):
                yield self.problem("type", "a value set holds codes: use it with in, not in or under")
            return
        rights = node.right.values if isinstance(node.right, Choice) else (node.right,)
        if isinstance(node.right, Choice) != (node.operator in ("in", "notin", "between")) and node.operator != "under":
            yield self.problem("type", f"{node.operator} does not fit its right side")
        if node.operator == "between" and len(rights) != 2:
            yield self.problem("type", "between needs two values")
        if node.operator == "under" and kind != "string":
            yield self.problem("type", "under is for codes")
        if node.operator in _ORDERED and kind in ("string", "boolean"):
            yield self.problem("type", f"a {kind} has no order")
        for right in rights:
            other = yield from self.operand(right, inside)
            if kind and other and kind != other and not {kind, other} <= _DAYS:
                yield self.problem("type", f"a {kind} cannot be compared with a {other}")
            if isinstance(right, Literal) and right.unit:
                yield from self.unit(right.unit, unit)

    def unit_of(self, operand: Operand) -> str:
        entry = self.catalogue.find(operand.path) if isinstance(operand, Fact) else None
        return entry.unit if entry is not None else ""

    def unit(self, given: str, expected: str) -> Iterator[Issue]:
        if units.dimension(given) is None:
            yield self.problem("unit", f"no unit {given!r}")
        elif expected and units.factor(given, expected) is None:
            yield self.problem("unit", f"{given!r} cannot be compared with {expected!r}")

    def operand(self, operand: Operand, inside: str) -> Generator[Issue, None, str]:
        """Yield problems; return the type ('' when it is unknown)."""
        if isinstance(operand, Literal):
            return operand.type
        if isinstance(operand, Fact):
            yield from self.fact(operand, inside)
            entry = self.catalogue.find(operand.path)
            return entry.type if entry is not None else ""
        if isinstance(operand, Shifted):
            yield from self.day(operand.base, inside)
            return "date"
        if isinstance(operand, Span):
            yield from self.day(operand.start, inside)
            yield from self.day(operand.end, inside)
        elif isinstance(operand, Total):
            yield from self.records(operand.list, operand.concept, operand.window)
            owner = self.catalogue.lists.get(operand.list)
            if owner is not None and (
                operand.field not in owner.fields or owner.fields[operand.field].type != "number"
            ):
                yield self.problem("fact", f"{owner.label!r} has no number {operand.field[:40]!r}")
        elif isinstance(operand, Plus):
            for term in operand.terms:
                kind = yield from self.operand(term, inside)
                if kind not in ("number", ""):
                    yield self.problem("type", f"a {kind} cannot be added")
        return "number"
