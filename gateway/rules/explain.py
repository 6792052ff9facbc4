"""Why and why not: every rule of a release with its status on a request, down to the value of every leaf.

Status: matched, not matched, unknown, out of date (not in force on the as-of day), not applicable (it asks for another
service code). The *deciding* leaves of a rule that did not match are those whose result kept it from matching.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from gateway.rules.direct import Record
from gateway.rules.engine import LineTrace, Outcome
from gateway.rules.kleene import negate
from gateway.rules.language.printer import print_condition
from gateway.rules.leaves import Scope, getter_of, raw_of
from gateway.rules.model import (
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Fact,
    Known,
    Leaf,
    Not,
    Quantified,
    Rule,
    Total,
    Truth,
    Within,
    leaves,
)
from gateway.rules.program import Program, required_codes
from gateway.rules.quantified import records_of
from gateway.rules.release import Release

STATUS = {True: "matched", False: "not matched", None: "unknown"}
WORD = {True: "true", False: "false", None: "unknown"}


@dataclass(frozen=True, slots=True)
class LeafReport:
    """One leaf: its text, its truth, the value found, where that fact comes from, and whether it decided."""

    text: str
    truth: Truth
    value: Any
    source: str
    deciding: bool


@dataclass(frozen=True, slots=True)
class RuleReport:
    """One rule on one line."""

    rule: Rule
    sequence: int
    status: str
    leaves: tuple[LeafReport, ...]

    def as_json(self) -> dict[str, Any]:
        """For `--json` and the console. Holds values of facts: it is as protected as they are."""
        return {
            "rule": self.rule.id,
            "version": self.rule.version,
            "name": self.rule.name,
            "category": self.rule.category,
            "action": self.rule.action.type,
            "sequence": self.sequence,
            "status": self.status,
            "leaves": [
                {
                    "text": leaf.text,
                    "truth": WORD[leaf.truth],
                    "value": leaf.value,
                    "source": leaf.source,
                    "deciding": leaf.deciding,
                }
                for leaf in self.leaves
            ],
        }


def explain(release: Release, facts: Record, outcome: Outcome) -> list[RuleReport]:
    """Every rule on every line, in the order of the strategy; pure, from the same facts the outcome was made of."""
    day = date.fromisoformat(outcome.record.as_of)
    return [
        _report(release.program, rule, facts, line, day) for line in outcome.trace for rule in release.program.rules
    ]


def _report(program: Program, rule: Rule, facts: Record, line: LineTrace, day: date) -> RuleReport:
    scope = program.scope
    results = {leaf: program.test(leaf)(facts, line.this, line.this) for leaf in leaves(rule.condition)}
    truth = value_of(rule.condition, results)
    status = STATUS[truth]
    if not rule.applies_on(day):
        status = "out of date"
    elif truth is False and _other_code(scope, rule, line.this):
        status = "not applicable"
    deciding = set(_deciding(rule.condition, results, truth))
    reports = tuple(
        LeafReport(
            print_condition(leaf, scope.catalogue),
            found,
            observed(scope, leaf, facts, line.this),
            source_of(leaf),
            leaf in deciding,
        )
        for leaf, found in results.items()
    )
    return RuleReport(rule, line.sequence, status, reports)


def _other_code(scope: Scope, rule: Rule, this: Record) -> bool:
    codes = required_codes(rule.condition, scope)
    return codes is not None and isinstance(this.get("code"), str) and this["code"] not in codes


def value_of(node: Condition, results: dict[Leaf, Truth]) -> Truth:
    """The truth of a tree from those of its leaves."""
    if isinstance(node, Not):
        return negate(value_of(node.part, results))
    if isinstance(node, AllOf | AnyOf):
        decisive = isinstance(node, AnyOf)
        found = [value_of(part, results) for part in node.parts]
        return decisive if decisive in found else None if None in found else not decisive
    return results[node]


def _deciding(node: Condition, results: dict[Leaf, Truth], truth: Truth) -> list[Leaf]:
    """The leaves that carry the result: of a false `all` the false parts, of an unknown one the unknown parts."""
    if isinstance(node, Not):
        return _deciding(node.part, results, negate(truth))
    if isinstance(node, AllOf | AnyOf):
        return [
            leaf for part in node.parts if value_of(part, results) is truth for leaf in _deciding(part, results, truth)
        ]
    return [node]


def observed(scope: Scope, leaf: Leaf, facts: Record, this: Record) -> Any:
    """The value a leaf looked at, as it stands in the facts; for a quantifier, its records."""
    if isinstance(leaf, Quantified):
        return [dict(record) for record in records_of(facts, leaf.list)]
    operand = leaf.left if isinstance(leaf, Compare) else leaf.fact
    if isinstance(operand, Fact):
        return raw_of(scope, operand.path)[0](facts, this, this)
    value = getter_of(scope, operand)[0](facts, this, this)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def source_of(leaf: Leaf) -> str:
    """The path the value comes from."""
    if isinstance(leaf, Quantified):
        return leaf.list
    if isinstance(leaf, Known | Within):
        return leaf.fact.path
    left = leaf.left
    if isinstance(left, Fact):
        return left.path
    return left.list if isinstance(left, Total) else type(left).__name__.lower()
