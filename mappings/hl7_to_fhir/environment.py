"""What every converter may need besides the value: the graph, the partner's settings, the message's circumstances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Any

from .graph import Graph

Parts = list[str]
"""One repetition: its components, unescaped, each by its first sub-component. They count from 1, as in HL7; 0 is empty.
Never without a component 1. Where some component has more sub-components it is `Nested`."""


class Nested(list[str]):
    """Parts whose components have sub-components, which few fields of a feed do."""

    __slots__ = ("all",)

    def __init__(self, components: list[list[str]]) -> None:
        super().__init__(["", *(held[0] for held in components)])
        self.all = components


def part(parts: Parts, component: int, sub: int = 1) -> str:
    """One leaf; empty when absent."""
    if component < len(parts):
        if sub == 1:
            return parts[component]
        if isinstance(parts, Nested):
            held = parts.all[component - 1]
            return held[sub - 1] if sub <= len(held) else ""
    return ""


def subs(parts: Parts, component: int) -> list[str]:
    """All sub-components of a component; one empty one when absent."""
    if isinstance(parts, Nested) and component < len(parts):
        return parts.all[component - 1]
    return [part(parts, component)]


def within(parts: Parts, component: int) -> Parts:
    """The sub-components of a component as the components of a data type that is packed into it."""
    return ["", *subs(parts, component)]


def alone(parts: Parts, component: int) -> Parts:
    """One component as a repetition of its own, its sub-components below it."""
    held = subs(parts, component)
    return Nested([held]) if len(held) > 1 else ["", held[0]]


_ABSENT = [""] * 24


def padded(parts: Parts) -> list[str]:
    """The first sub-components with empty ones behind, for converters that look at many: no data type has more."""
    return parts + _ABSENT


def bare(parts: Parts, text: str) -> bool:
    """Whether the repetition is nothing but this text."""
    return len(parts) == 2 and parts[1] == text and len(subs(parts, 1)) == 1


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
    memory: Any = None
    """Kept conversions (`recall.Memory`), where the message has the usual delimiters."""
    unmapped: list[tuple[str, str]] = field(default_factory=list)
    """(map, code) of codes no vocabulary knew: they keep their original coding and are reported."""
    pending: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    """(resource, element) still waiting for the patient, who may come later in the message."""
