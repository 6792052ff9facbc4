"""Typed documents: the rule model as plain data, for YAML, JSON, the database and the content hash.

A condition is one of

    {all: [...]} {any: [...]} {not: {...}}
    {fact: patient.age, gte: 65}            operators eq ne lt lte gt gte in notIn under between; unit: "%"
    {fact: service.code, in: {valueSet: home-oxygen}}      or a list of values
    {fact: coverage.start, known: true}
    {fact: request.serviceStart, within: {duration: P30D, direction: before, anchor: request.receivedAt}}
    {quantifier: any, list: observations, concept: spo2, within: {duration: P30D}, test: {...}, count: 2, other: true}
    {fact: diagnoses, anyIn: {valueSet: hypoxemia}}        short for quantifier any with a concept

and the left side may be {total: {...}}, {span: {...}}, {plus: [...]}, {literal: ...} or {fact: …, after: P12M} in place
of a fact; a right side that is not a plain value is one of these too. `read` and `write` are exact inverses.
"""

from __future__ import annotations

from gateway.rules.documents.reading import read_condition, read_rule
from gateway.rules.documents.rulesets import read_ruleset, read_value_set
from gateway.rules.documents.writing import write_condition, write_rule, write_ruleset, write_value_set

__all__ = [
    "read_condition",
    "read_rule",
    "read_ruleset",
    "read_value_set",
    "write_condition",
    "write_rule",
    "write_ruleset",
    "write_value_set",
]
