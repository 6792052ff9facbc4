"""Scenarios beside the rules: facts in, expected outcome and reasons out; and what they have seen of every leaf.

    - name: saturation of 87 % qualifies
      asOf: 2026-03-01                      # optional
      reviewer: {id: md-1, rationale: …}    # optional
      facts: {…}
      expect: {action: approve, rules: [MN-O2-001], unknown: [observations], items: {1: approve}}

`base` at the top of the file holds facts that every scenario starts from; a fact of null is taken out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from gateway.core.errors import ConfigurationError
from gateway.rules.documents.reading import day, mapping, sequence, text
from gateway.rules.engine import Outcome, Reviewer, evaluate
from gateway.rules.explain import WORD
from gateway.rules.files import read_yaml
from gateway.rules.language.printer import print_condition
from gateway.rules.model import Known, Leaf, Quantified, Truth, leaves
from gateway.rules.release import Release

CLOCK = datetime(2026, 1, 15, 12, tzinfo=UTC)
"""The instant a scenario is decided at; it only enters the record."""
_KEYS = frozenset({"name", "asOf", "reviewer", "facts", "expect"})
_EXPECTED = frozenset({"action", "code", "rules", "unknown", "items", "tasks", "validTo"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One case with the outcome its author expects."""

    name: str
    facts: dict[str, Any]
    expect: dict[str, Any]
    as_of: date | None = None
    reviewer: Reviewer | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a scenario; no differences means it passed."""

    scenario: Scenario
    outcome: Outcome
    differences: tuple[str, ...]


@dataclass(slots=True)
class Coverage:
    """Per rule and leaf: the truths seen."""

    seen: dict[tuple[str, Leaf], set[Truth]] = field(default_factory=dict)
    matched: set[str] = field(default_factory=set)

    def missing(self, release: Release) -> list[str]:
        """`rule: leaf never true, false or unknown`, of what it can be."""
        found = []
        for (rule, leaf), truths in self.seen.items():
            words = [WORD[truth] for truth in possible(leaf, release) if truth not in truths]
            if words:
                found.append(f"{rule}: {print_condition(leaf, release.catalogue)} never {', '.join(words)}")
        return found

    def share(self, release: Release) -> float:
        """Seen truths over possible ones, 0 to 1."""
        count = sum(len(possible(leaf, release)) for _, leaf in self.seen)
        return sum(len(truths) for truths in self.seen.values()) / count if count else 1.0


def possible(leaf: Leaf, release: Release) -> tuple[Truth, ...]:
    """The truths a leaf can have: what is absent may still come, so `is known` is never false, nor is `any` without a
    test over a list that may be incomplete (and `no` is never true).
    """
    bare = isinstance(leaf, Quantified) and leaf.test is None and not release.catalogue.lists[leaf.list].complete
    if isinstance(leaf, Known) or (bare and isinstance(leaf, Quantified) and leaf.quantifier in ("any", "every")):
        return (True, None)
    if bare and isinstance(leaf, Quantified) and leaf.quantifier == "no":
        return (False, None)
    return (True, False, None)


def read_scenarios(data: bytes, name: str = "scenarios.yaml") -> list[Scenario]:
    """Read a file. Raises ConfigurationError with the location of what is wrong."""
    body = read_yaml(data, name)
    document = mapping(body if isinstance(body, dict) else {"scenarios": body}, name, frozenset({"base", "scenarios"}))
    base = dict(mapping(document.get("base", {}), f"{name}.base"))
    entries = sequence(document.get("scenarios"), name)
    return [_scenario(each, base, f"{name}[{index}]") for index, each in enumerate(entries)]


def _scenario(value: object, base: dict[str, Any], location: str) -> Scenario:
    body = mapping(value, location, _KEYS)
    facts = plain({**base, **mapping(body.get("facts", {}), f"{location}.facts")})
    reviewer = mapping(body.get("reviewer", {}), f"{location}.reviewer", frozenset({"id", "rationale", "specialty"}))
    expect = dict(mapping(body.get("expect"), f"{location}.expect", _EXPECTED))
    if "action" not in expect:
        raise ConfigurationError("a scenario expects an action", location=location)
    return Scenario(
        name=text(body.get("name"), f"{location}.name", 200),
        facts={key: found for key, found in facts.items() if found is not None},
        expect=expect,
        as_of=day(body["asOf"], f"{location}.asOf") if "asOf" in body else None,
        reviewer=Reviewer(**reviewer) if reviewer else None,
    )


def plain(value: Any) -> Any:
    """YAML's dates as the ISO strings that facts carry."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value.isoformat() if isinstance(value, date) else value


def run(release: Release, scenario: Scenario) -> Result:
    """Decide one scenario and compare."""
    outcome = evaluate(release, scenario.facts, as_of=scenario.as_of, now=CLOCK, reviewer=scenario.reviewer)
    return Result(scenario, outcome, tuple(_differences(scenario.expect, outcome)))


def _differences(expect: dict[str, Any], outcome: Outcome) -> Iterable[str]:
    seen: dict[str, Any] = {
        "action": outcome.action,
        "code": outcome.code,
        "rules": sorted({item["rule"] for item in outcome.record.items if item["rule"]}),
        "unknown": sorted({each.get("concept") or each["fact"] for each in outcome.record.unknown}),
        "items": {item.sequence: item.action for item in outcome.items},
        "tasks": sorted(task["kind"] for task in outcome.tasks),
        "validTo": outcome.valid_to,
    }
    for key, value in expect.items():
        wanted = sorted(value) if isinstance(value, list) else plain(value)
        if seen[key] != wanted:
            yield f"{key}: expected {wanted}, got {seen[key]}"


def run_all(release: Release, scenarios: Iterable[Scenario]) -> tuple[list[Result], Coverage]:
    """All scenarios, and what they saw of every leaf of every rule."""
    coverage = Coverage({(rule.id, leaf): set() for rule in release.ruleset.rules for leaf in leaves(rule.condition)})
    results = []
    for scenario in scenarios:
        result = run(release, scenario)
        results.append(result)
        for line in result.outcome.trace:
            by_leaf = dict(zip(line.plan.leaves, line.results, strict=True))
            for rule, truth in zip(line.plan.rules, line.truths, strict=True):
                if truth:
                    coverage.matched.add(rule.id)
            _see_all(release, coverage, scenario, line.this, by_leaf)
    return results, coverage


def _see_all(release: Release, coverage: Coverage, scenario: Scenario, this: Any, by_leaf: dict[Leaf, Truth]) -> None:
    """Leaves the index left out are asked too: coverage is about the policy, not about the plan."""
    for (_, leaf), truths in coverage.seen.items():
        if leaf in by_leaf:
            truths.add(by_leaf[leaf])
        else:
            truths.add(release.program.test(leaf)(scenario.facts, this, this))
