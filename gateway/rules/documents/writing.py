"""Model → document. Only what differs from the default is written, so equal models are equal documents."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from gateway.rules.calendar import print_duration
from gateway.rules.model import (
    Action,
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
)

Document = dict[str, Any]
SAID = {
    "title": "title",
    "system": "system",
    "unit": "unit",
    "question": "question",
    "loinc": "loinc",
    "report_type": "reportType",
    "modifier": "modifier",
    "questionnaire": "questionnaire",
    "source": "source",
}
"""Texts of a value set: field → key in a document."""
OPERATORS = {
    "eq": "eq", "ne": "ne", "lt": "lt", "le": "lte", "gt": "gt", "ge": "gte", "in": "in", "notin": "notIn",
    "under": "under", "between": "between",
}  # fmt: skip


def write_number(number: Decimal) -> int | str:
    """An integer as such, anything else as its exact decimal text."""
    if number == number.to_integral_value() and abs(number) < 10**15:
        return int(number)
    return format(number.normalize(), "f")


def write_literal(literal: Literal) -> Any:
    """A plain value where the type is evident; `{number: "19.99"}`, `{date: …}`, `{dateTime: …}` where it is not."""
    value = literal.value
    if isinstance(value, Decimal):
        number = write_number(value)
        return number if isinstance(number, int) else {"number": number}
    if isinstance(value, datetime):
        return {"dateTime": value.isoformat()}
    if isinstance(value, date):
        return {"date": value.isoformat()}
    return value


def write_window(window: Window) -> Document:
    """Always complete."""
    return {
        "duration": print_duration(window.length),
        "direction": window.direction,
        "anchor": window.anchor.path,
    }


def write_operand(operand: Operand) -> Document:
    """Any left or right side."""
    if isinstance(operand, Fact):
        return {"fact": operand.path}
    if isinstance(operand, Shifted):
        return {"fact": operand.base.path, operand.direction: print_duration(operand.by)}
    if isinstance(operand, Span):
        return {"span": {"unit": operand.unit, "start": operand.start.path, "end": operand.end.path}}
    if isinstance(operand, Plus):
        return {"plus": [write_operand(term) for term in operand.terms]}
    if isinstance(operand, Total):
        body: Document = {"list": operand.list, "field": operand.field}
        if operand.concept:
            body["concept"] = operand.concept
        if operand.window is not None:
            body["within"] = write_window(operand.window)
        return {"total": body}
    return {"literal": write_literal(operand), **({"unit": operand.unit} if operand.unit else {})}


def write_condition(condition: Condition) -> Document:
    """Inverse of `read_condition`."""
    if isinstance(condition, AllOf):
        return {"all": [write_condition(part) for part in condition.parts]}
    if isinstance(condition, AnyOf):
        return {"any": [write_condition(part) for part in condition.parts]}
    if isinstance(condition, Not):
        return {"not": write_condition(condition.part)}
    if isinstance(condition, Known):
        return {"fact": condition.fact.path, "known": True}
    if isinstance(condition, Within):
        return {"fact": condition.fact.path, "within": write_window(condition.window)}
    if isinstance(condition, Quantified):
        return _quantified(condition)
    return _compare(condition)


def _compare(leaf: Compare) -> Document:
    document = write_operand(leaf.left)
    key, right = OPERATORS[leaf.operator], leaf.right
    if isinstance(right, SetName):
        return {**document, key: {"valueSet": right.name}}
    if isinstance(right, Choice):
        unit = next((literal.unit for literal in right.values if literal.unit), "")
        return {**document, key: [write_literal(value) for value in right.values], **({"unit": unit} if unit else {})}
    if isinstance(right, Literal) and not isinstance(leaf.left, Literal):
        return {**document, key: write_literal(right), **({"unit": right.unit} if right.unit else {})}
    return {**document, key: write_operand(right)}


def _quantified(leaf: Quantified) -> Document:
    document: Document = {"quantifier": leaf.quantifier, "list": leaf.list}
    if leaf.quantifier in ("at least", "at most", "exactly"):
        document["count"] = leaf.count
    if leaf.other:
        document["other"] = True
    if leaf.concept:
        document["concept"] = leaf.concept
    if leaf.test is not None:
        document["test"] = write_condition(leaf.test)
    if leaf.window is not None:
        document["within"] = write_window(leaf.window)
    return document


def write_action(action: Action) -> Document:
    """The action with the parameters that are set."""
    document: Document = {"type": action.type}
    parameters: Document = {}
    if action.duration is not None:
        parameters["duration"] = print_duration(action.duration)
    if action.quantity is not None:
        parameters["quantity"] = write_number(action.quantity)
    for name, value in (
        ("unit", action.unit),
        ("code", action.code),
        ("role", action.role),
        ("errorCode", action.error_code),
        ("followUp", action.follow_up),
        ("request", list(action.request)),
    ):
        if value:
            parameters[name] = value
    if parameters:
        document["params"] = parameters
    reason: Document = {}
    for name, value in (
        ("text", action.reason),
        ("codes", list(action.reason_codes)),
        ("citation", action.citation),
    ):
        if value:
            reason[name] = value
    if reason:
        document["reason"] = reason
    return document


def write_rule(rule: Rule) -> Document:
    """Inverse of `read_rule`."""
    document: Document = {"id": rule.id, "name": rule.name, "category": rule.category, "version": rule.version}
    if rule.priority:
        document["priority"] = rule.priority
    if rule.effective is not None:
        document["effectiveDate"] = rule.effective.isoformat()
    if rule.expiration is not None:
        document["expirationDate"] = rule.expiration.isoformat()
    if rule.author:
        document["author"] = rule.author
    if rule.source:
        document["source"] = rule.source
    document["condition"] = write_condition(rule.condition)
    document["action"] = write_action(rule.action)
    if rule.notifications:
        document["notifications"] = [{"to": each.to, "template": each.template} for each in rule.notifications]
    return document


def write_value_set(value_set: ValueSet) -> Document:
    """Inverse of `read_value_set`; codes sorted."""
    document: Document = {"version": value_set.version, "codes": sorted(value_set.codes)}
    for name, key in SAID.items():
        if getattr(value_set, name):
            document[key] = getattr(value_set, name)
    if value_set.file_hash:
        document["fileHash"] = value_set.file_hash
    if value_set.effective is not None:
        document["effectiveDate"] = value_set.effective.isoformat()
    if value_set.expiration is not None:
        document["expirationDate"] = value_set.expiration.isoformat()
    return document


def write_ruleset(ruleset: RuleSet) -> Document:
    """Inverse of `read_ruleset`. Rules and value sets come sorted: the order of files is no content."""
    document: Document = {"id": ruleset.id, "version": ruleset.version, "combine": ruleset.combine}
    for name, value in (
        ("name", ruleset.name),
        ("order", list(ruleset.order)),
        ("automaticDenials", list(ruleset.automatic_denials)),
        ("citation", ruleset.citation),
    ):
        if value:
            document[name] = value
    document["default"] = write_action(ruleset.default)
    document["asOf"] = ruleset.as_of
    document["zone"] = ruleset.zone
    if ruleset.effective is not None:
        document["effectiveDate"] = ruleset.effective.isoformat()
    if ruleset.expiration is not None:
        document["expirationDate"] = ruleset.expiration.isoformat()
    if ruleset.facts:
        document["facts"] = dict(ruleset.facts)
    document["valueSets"] = {name: write_value_set(each) for name, each in sorted(ruleset.value_sets.items())}
    document["rules"] = [write_rule(rule) for rule in sorted(ruleset.rules, key=lambda rule: (rule.id, rule.version))]
    return document
