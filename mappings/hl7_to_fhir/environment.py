"""What every converter may need besides the value: the graph, the partner's settings, the message's circumstances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Any

from .graph import Graph

Parts = list[list[str]]
"""One repetition: components, each a list of sub-components, unescaped. Never empty, no component is empty."""


def part(parts: Parts, component: int, sub: int = 1) -> str:
    """One leaf; empty when absent."""
    if component <= len(parts):
        subs = parts[component - 1]
        if sub <= len(subs):
            return subs[sub - 1]
    return ""


@dataclass(slots=True)
class Env:
    """One conversion."""

    graph: Graph
    control: str
    """Identity of the message within its source: what message-scoped ids are made of."""
    zone: tzinfo = UTC
    """Zone of times that name none."""
    systems: Mapping[str, str] = field(default_factory=dict)
    """A partner's namespaces (HD.1) → system URIs."""
    unmapped: list[tuple[str, str]] = field(default_factory=list)
    """(map, code) of codes no vocabulary knew: they keep their original coding and are reported."""
    pending: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    """(resource, element) still waiting for the patient, who may come later in the message."""
