"""One segment being mapped: its decoded fields, and a note of everything that was taken from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.hl7.wire import NULL, Segment, Syntax, unescape

from .environment import Parts, part

Mark = tuple[str, Mapping[int, str] | None, int]
"""(FHIR path, component → sub-path or None for all, repetition or 0 for all)."""
_LEAF: Mapping[int, str] = {1: ""}


REPETITIONS = 500
"""Repetitions of one field that are mapped; real messages have tens. What comes after is carried as written."""


def decode(text: str, syntax: Syntax) -> list[Parts]:
    """A field as written → its first repetitions, of components of sub-components, unescaped."""
    repetitions = text.split(syntax.repetition, REPETITIONS)[:REPETITIONS] if syntax.repetition else [text]
    component, sub, escape = syntax.component, syntax.subcomponent, syntax.escape
    if escape and escape in text:
        return [
            [
                [unescape(leaf, syntax) for leaf in (piece.split(sub) if sub else [piece])]
                for piece in (repetition.split(component) if component else [repetition])
            ]
            for repetition in repetitions
        ]
    if sub and sub in text:
        return [[piece.split(sub) for piece in repetition.split(component)] for repetition in repetitions]
    if component and component in text:
        return [[[piece] for piece in repetition.split(component)] for repetition in repetitions]
    return [[[repetition]] for repetition in repetitions]


class Cursor:
    """A segment with what was read from it. Fields count from 1, as in HL7."""

    __slots__ = ("_decoded", "default", "index", "marks", "name", "offset", "owner", "parts", "segment", "syntax")

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.name = segment.name
        self.index = segment.index
        self.parts = segment.parts
        self.syntax = segment.syntax
        self.offset = 1 if segment.name in {"MSH", "FHS", "BHS"} else 0
        self.marks: dict[int, list[Mark]] = {}
        self._decoded: dict[int, list[Parts]] = {}
        self.owner: dict[str, Any] | None = None
        """The resource that carries, as written, the fields nobody took."""
        self.default = ""
        """`!reason`: fields nobody marked are left out on purpose."""

    def raw(self, n: int) -> str:
        """Field n as written."""
        place = n - self.offset
        return self.parts[place] if 0 < place < len(self.parts) else ""

    def repetitions(self, n: int) -> list[Parts]:
        """Field n, decoded once."""
        found = self._decoded.get(n)
        if found is None:
            text = self.raw(n)
            found = self._decoded[n] = decode(text, self.syntax) if text else []
        return found

    def first(self, n: int) -> Parts:
        """The first repetition of field n; one empty component when absent."""
        found = self.repetitions(n)
        return found[0] if found else [[""]]

    def get(self, n: int, component: int = 1, sub: int = 1) -> str:
        """One leaf of the first repetition; empty when absent or the explicit null."""
        value = part(self.first(n), component, sub)
        return "" if value == NULL else value

    def mark(self, n: int, target: str, components: Mapping[int, str] | None = None, repetition: int = 0) -> None:
        """Note that field n went to `target`; prefix `~` = carried, `!` = ignored with that reason."""
        self.marks.setdefault(n, []).append((target, components, repetition))

    def take(self, n: int, target: str, component: int = 1) -> str:
        """Read one leaf of the first repetition and note it as mapped."""
        value = self.get(n, component)
        if value:
            self.mark(n, target, _LEAF if component == 1 else {component: ""}, 1)
        return value


def put(resource: dict[str, Any], steps: tuple[str, ...], many: bool, value: Any) -> bool:
    """Set or append a value at a path; False when a single element is taken already."""
    holder = resource
    for step in steps[:-1]:
        holder = holder.setdefault(step, {})
    last = steps[-1]
    if many:
        held = holder.setdefault(last, [])
        if value not in held:
            held.append(value)
        return True
    if last in holder:
        return bool(holder[last] == value)
    holder[last] = value
    return True
