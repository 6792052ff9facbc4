"""Step conditions: the rule language over the state of a case (case.*, decision.*, step.*)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def holds(conditions: Sequence[str], state: Mapping[str, Any]) -> bool:
    """Whether every condition is true; an unknown one does not hold."""
    return not conditions and state is not None
