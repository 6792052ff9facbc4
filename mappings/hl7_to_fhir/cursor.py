"""One segment being mapped: its decoded fields, and a note of everything that was taken from it."""

from __future__ import annotations

from functools import lru_cache
from operator import itemgetter
from typing import Any

from adapters.hl7.wire import NULL, Segment, Syntax, unescape
from adapters.hl7.wire.message import HEADERS

from .environment import Nested, Parts, part


class Components(dict[int, str]):
    """Which components of a field went somewhere: number → sub-path; prefix `~` = carried, `!` = ignored, and why."""

    __slots__ = ("mapped",)

    def __init__(self, places: dict[int, str]) -> None:
        super().__init__(places)
        count = 0
        while self.get(count + 1, "!")[:1] not in {"~", "!"}:
            count += 1
        self.mapped = count
        """How many components from the first on are plainly mapped, without a gap."""


LEAF = Components({1: ""})
"""Only the first component: fields of a simple type."""
CODED = Components({1: "", 2: "", 3: ""})
"""Code, text and coding system."""
PAIR = Components({1: "", 2: ""})


@lru_cache(maxsize=64)
def only(component: int) -> Components:
    """One component alone."""
    return Components({component: ""})


Mark = tuple[str, Components | None, int, int]
"""(FHIR path, its components or None for all, repetition or 0 for all, how many components it maps without a gap)."""
_ALL = 1_000_000


def marked(target: str, components: Components | None, repetition: int) -> Mark:
    """A mark; prefix `~` of the target = carried, `!` = ignored with that reason."""
    mapped = 0 if target[0] in "~!" else _ALL if components is None else components.mapped
    return target, components, repetition, mapped


REPETITIONS = 500
"""Repetitions of one field that are mapped; real messages have tens. What comes after is carried as written."""


def decode(text: str, syntax: Syntax) -> list[Parts]:
    """A field as written → its first repetitions, each in components, unescaped."""
    if text.isalnum():  # no delimiter is a letter or a digit
        return [["", text]]
    component, repetition, sub, escape = syntax.component, syntax.repetition, syntax.subcomponent, syntax.escape
    repetitions = [text]
    if repetition and repetition in text:
        repetitions = text.split(repetition, REPETITIONS)[:REPETITIONS]
    if (escape and escape in text) or (sub and sub in text):
        return [_nested(one, syntax) for one in repetitions]
    if component:
        return [(component + one).split(component) for one in repetitions]
    return [["", one] for one in repetitions]


def _nested(text: str, syntax: Syntax) -> Parts:
    """One repetition with sub-components or escapes."""
    component, sub = syntax.component, syntax.subcomponent
    held = [
        [unescape(leaf, syntax) for leaf in (piece.split(sub) if sub else (piece,))]
        for piece in (text.split(component) if component else (text,))
    ]
    return Nested(held) if any(len(leaves) > 1 for leaves in held) else ["", *(leaves[0] for leaves in held)]


_text = itemgetter(1)


class Cursor:
    """A segment with what was read from it. Fields count from 1, as in HL7."""

    __slots__ = (
        "_decoded", "default", "filled", "index", "marks", "name", "owner", "segment", "syntax",
    )  # fmt: skip

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.name = segment.name
        self.index = segment.index
        self.syntax = segment.syntax
        offset = 1 if segment.name in HEADERS else 0
        self.filled = filled = dict(filter(_text, enumerate(segment.parts, offset)))
        """Number → text as written of the populated fields; the delimiters (MSH-1, MSH-2) are not data."""
        del filled[offset]  # the name
        if offset:
            filled.pop(2, None)
        self.marks: dict[int, list[Mark]] = {}
        self._decoded: dict[int, list[Parts]] = {}
        self.owner: dict[str, Any] | None = None
        """The resource that carries, as written, the fields nobody took."""
        self.default = ""
        """`!reason`: fields nobody marked are left out on purpose."""

    def raw(self, n: int) -> str:
        """Field n as written."""
        return self.filled.get(n, "")

    def repetitions(self, n: int) -> list[Parts]:
        """Field n, decoded once."""
        found = self._decoded.get(n)
        if found is None:
            text = self.filled.get(n)
            found = self._decoded[n] = decode(text, self.syntax) if text is not None else []
        return found

    def first(self, n: int) -> Parts:
        """The first repetition of field n; one empty component when absent."""
        found = self.repetitions(n)
        return found[0] if found else ["", ""]

    def get(self, n: int, component: int = 1, sub: int = 1) -> str:
        """One leaf of the first repetition; empty when absent or the explicit null."""
        text = self.filled.get(n)
        if text is None:
            return ""
        if text.isalnum():
            return text if component == sub == 1 else ""
        value = part(self.repetitions(n)[0], component, sub)
        return "" if value == NULL else value

    def mark(self, n: int, target: str, components: Components | None = None, repetition: int = 0) -> None:
        """Note that field n went to `target`; see `marked`."""
        mapped = 0 if target[0] in "~!" else _ALL if components is None else components.mapped
        self.marks.setdefault(n, []).append((target, components, repetition, mapped))

    def take(self, n: int, target: str, component: int = 1) -> str:
        """Read one leaf of the first repetition and note it as mapped."""
        value = self.get(n, component)
        if value:
            self.mark(n, target, only(component), 1)
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
