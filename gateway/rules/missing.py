"""What is missing: the unknown leaves of an undecided rule as questions a provider can answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.rules.catalogue import ListEntry
from gateway.rules.direct import Record
from gateway.rules.leaves import Scope, getter_of, raw_of
from gateway.rules.model import (
    AllOf,
    AnyOf,
    Condition,
    Fact,
    Known,
    Leaf,
    Not,
    Plus,
    Quantified,
    Rule,
    Shifted,
    Span,
    Total,
    Truth,
    Within,
)
from gateway.rules.program import join


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing to ask for: a fact, or a record of a concept in a list."""

    fact: str
    concept: str
    question: str
    loinc: str
    rule: str
    details: tuple[tuple[str, str], ...] = ()
    """`reportType`, `modifier`, `questionnaire`: what else the concept says of how it is asked for."""

    def request(self) -> dict[str, str]:
        """The entry of Decision.requested_information."""
        return {"fact": self.fact, "question": self.question, "loinc": self.loinc, **dict(self.details)}

    def as_json(self) -> dict[str, str]:
        """The entry of the decision record."""
        return {"fact": self.fact, "concept": self.concept, "rule": self.rule}


def missing_of_rule(
    scope: Scope, rule: Rule, facts: Record, this: Record, results: Sequence[Truth], position: Mapping[Leaf, int]
) -> list[Missing]:
    """What an unknown rule waits for, in reading order."""
    found: dict[tuple[str, str], Missing] = {}
    for leaf in _undecided(rule.condition, results, position):
        for each in missing_of_leaf(scope, leaf, facts, this, rule.id):
            found.setdefault((each.fact, each.concept), each)
    return list(found.values())


def _undecided(node: Condition, results: Sequence[Truth], position: Mapping[Leaf, int]) -> Iterator[Leaf]:
    """The unknown leaves that keep the condition unknown: a false `all` or a true `any` needs no answer."""
    if isinstance(node, AllOf | AnyOf):
        if join(node, position)(results) is None:
            for part in node.parts:
                yield from _undecided(part, results, position)
    elif isinstance(node, Not):
        yield from _undecided(node.part, results, position)
    elif results[position[node]] is None:
        yield node


def missing_of_leaf(scope: Scope, leaf: Leaf, facts: Record, this: Record, rule: str) -> Iterator[Missing]:
    """The absent facts of one unknown leaf; for a quantifier, the record of its concept."""
    if isinstance(leaf, Quantified):
        entry = scope.catalogue.lists[leaf.list]
        yield _record(scope, entry, leaf.concept, rule)
        return
    operands: tuple[object, ...]
    if isinstance(leaf, Known):
        operands = (leaf.fact,)
    elif isinstance(leaf, Within):
        operands = (leaf.fact, leaf.window.anchor)
    else:
        operands = (leaf.left, leaf.right)
    blank = [fact for operand in operands for fact in _facts_of(operand) if _absent(scope, fact, facts, this)]
    totals = [
        total
        for operand in operands
        for total in _totals_of(operand)
        if getter_of(scope, total)[0](facts, this, this) is None
    ]
    # Nothing absent: a value is there, but of another type or unit, and has to be asked for again.
    again = [] if totals else [fact for operand in operands for fact in _facts_of(operand)]
    for fact in blank or again:
        entry_of_fact = scope.catalogue.require(fact.path)
        question = entry_of_fact.question or f"Please state: {_label(scope, fact)}."
        yield Missing(fact.path, "", question, entry_of_fact.loinc, rule)
    for total in totals:
        yield _record(scope, scope.catalogue.lists[total.list], total.concept, rule)


def _label(scope: Scope, fact: Fact) -> str:
    entry = scope.catalogue.require(fact.path)
    return f"{scope.catalogue.lists[entry.list].label} {entry.label}" if entry.list else entry.label


def _absent(scope: Scope, fact: Fact, facts: Record, this: Record) -> bool:
    return getter_of(scope, fact)[0](facts, this, this) is None and raw_of(scope, fact.path) is not None


def _facts_of(operand: object) -> list[Fact]:
    if isinstance(operand, Fact):
        return [operand]
    if isinstance(operand, Shifted):
        return [operand.base]
    if isinstance(operand, Span):
        return [operand.start, operand.end]
    if isinstance(operand, Plus):
        return [fact for term in operand.terms for fact in _facts_of(term)]
    return []


def _totals_of(operand: object) -> list[Total]:
    if isinstance(operand, Total):
        return [operand]
    return [total for term in operand.terms for total in _totals_of(term)] if isinstance(operand, Plus) else []


def _record(scope: Scope, entry: ListEntry, concept: str, rule: str) -> Missing:
    value_set = scope.value_sets.get(concept)
    if value_set is not None and value_set.question:
        question = value_set.question
    else:
        what = (value_set.title or value_set.name) if value_set is not None else ""
        question = entry.question or f"Please send: {entry.label} {what}".rstrip() + "."
    if value_set is None:
        return Missing(entry.name, concept, question, "", rule)
    said = {
        "reportType": value_set.report_type,
        "modifier": value_set.modifier,
        "questionnaire": value_set.questionnaire,
    }
    details = tuple((name, value) for name, value in said.items() if value)
    return Missing(entry.name, concept, question, value_set.loinc, rule, details)
