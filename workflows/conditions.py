"""Step conditions: the rule language over the state of a case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from gateway.rules.catalogue import Catalogue, catalogue_of
from gateway.rules.language.predicates import compile_condition
from gateway.rules.release import Predicate

STATE = {
    "version": 1,
    "facts": {
        "case.priority": {"label": "case priority", "type": "code"},
        "case.lane": {"label": "case lane", "type": "code"},
        "decision.action": {"label": "decision", "type": "code"},
        "step.outcome": {"label": "last outcome", "type": "code"},
    },
    "lists": {},
}
"""What conditions may read: codes only, so that no PHI is needed in a workflow."""


@cache
def catalogue() -> Catalogue:
    """The state's own fact catalogue."""
    return catalogue_of(STATE)


@cache
def compiled(text: str) -> Predicate:
    """A condition, compiled once. Raises ConfigurationError with the place and a suggestion."""
    return compile_condition(text, catalogue())


def holds(conditions: Sequence[str], state: Mapping[str, Any]) -> bool:
    """Whether every condition is true; an unknown one does not hold."""
    return all(compiled(text)(dict(state)) is True for text in conditions)
