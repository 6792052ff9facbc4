"""Conditions outside rules, in the same language: workflow steps' `if`, routing."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.rules.catalogue import Catalogue
from gateway.rules.language.parser import parse_condition
from gateway.rules.leaves import Scope
from gateway.rules.model import ValueSet
from gateway.rules.release import Predicate, predicate


def compile_condition(
    text: str, catalogue: Catalogue, *, value_sets: Mapping[str, ValueSet] | None = None, zone: str = "UTC"
) -> Predicate:
    """A condition ready to ask: `predicate(facts) -> True | False | None`; None is unknown.

    Raises ConfigurationError with line, column and a suggestion for text that cannot be read, or with every problem
    for a condition that names unknown facts, units or value sets.
    """
    return predicate(parse_condition(text, catalogue), catalogue, Scope(catalogue, value_sets or {}, zone))
