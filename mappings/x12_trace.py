"""Reading a transaction leaf by leaf with the ledger's record, and keeping an event verbatim for the way back."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from adapters.x12.wire.splitter import Separators
from adapters.x12.wire.tree import Loop, Segment
from gateway.core.ledger import Ledger

KEPT = Separators("\x1d", "\x1f", "\x1e", "\x1c")
"""Separators of kept segments: characters no X12 value may hold."""

_LEAF = re.compile(r"(\d\d)(?:\((\d+)\))?(?:-(\d+))?$")

STRUCTURE = {
    "ST": "envelope",
    "SE": "envelope",
    "HL": "hierarchy, rebuilt on the way back",
    "LS": "loop bracket",
    "LE": "loop bracket",
}
"""Segments whose content is position, not meaning."""


class Tracer:
    """Takes values out of a tree and remembers where each went."""

    def __init__(self, root: Loop, ledger: Ledger) -> None:
        self._root = root
        self._ledger = ledger
        self._taken: dict[tuple[int, int, int, int], str] = {}

    def take(self, segment: Segment | None, element: int, target: str, component: int = 0, repetition: int = 1) -> str:
        """The value, recorded as mapped to `target`; "" when absent."""
        if segment is None:
            return ""
        value = segment.get(element, component, repetition)
        if value:
            self._taken[id(segment), element, repetition, component or 1] = target
        return value

    def finish(self, kept_in: str = "reply.event") -> None:
        """Record every populated leaf: mapped where taken, ignored where it is structure, else carried."""
        for path, segment in self._paths():
            for leaf, _ in segment.leaves():
                match = _LEAF.search(leaf)
                if match is None:
                    continue
                place = (id(segment), int(match[1]), int(match[2] or 1), int(match[3] or 1))
                full = f"{path}/{leaf}"
                if place in self._taken:
                    self._ledger.add(full, "mapped", self._taken[place])
                elif segment.id in STRUCTURE:
                    self._ledger.add(full, "ignored", STRUCTURE[segment.id])
                else:
                    self._ledger.add(full, "carried", kept_in)

    def _paths(self) -> list[tuple[str, Segment]]:
        """Each segment with the name of its loop, numbered where a loop occurs more than once."""
        found: list[tuple[str, Segment]] = []
        counts: Counter[str] = Counter()
        names: dict[int, str] = {}
        for loop, segment in self._root.walk():
            if id(loop) not in names:
                counts[loop.id] += 1
                number = counts[loop.id]
                names[id(loop)] = loop.id if number == 1 else f"{loop.id}[{number}]"
            found.append((names[id(loop)], segment))
        return found


def root_of(loop: Loop) -> Loop:
    """The transaction set a loop stands in."""
    while loop.parent is not None:
        loop = loop.parent
    return loop


def freeze(loop: Loop) -> list[Any]:
    """A loop as JSON: [id, items…], a segment being its text with `KEPT` separators."""
    items = [freeze(item) if isinstance(item, Loop) else item.rendered(KEPT) for item in loop.items]
    return [loop.id, *items]


def thaw(frozen: list[Any], parent: Loop | None = None) -> Loop:
    """Inverse of `freeze`."""
    loop = Loop(str(frozen[0]), parent)
    for item in frozen[1:]:
        loop.items.append(thaw(item, loop) if isinstance(item, list) else Segment(str(item), KEPT))
    return loop


def path_to(loop: Loop) -> Loop:
    """A copy of the transaction that holds `loop` whole and of its ancestors only what is theirs: no sibling branches.

    Siblings with a hierarchy level of their own, or of the same loop, go; names, dates and references stay.
    """
    chain = [loop]
    while chain[-1].parent is not None:
        chain.append(chain[-1].parent)
    return _branch(chain[::-1], None)


def _branch(chain: list[Loop], parent: Loop | None) -> Loop:
    original = chain[0]
    if len(chain) == 1:
        return _adopted(original, parent)
    here = Loop(original.id, parent)
    is_placed = False
    for item in original.items:
        if item is chain[1]:
            here.items.append(_branch(chain[1:], here))
            is_placed = True
        elif isinstance(item, Segment):
            here.items.append(item)
        elif item.id != chain[1].id and item.segment("HL") is None:
            here.items.append(_adopted(item, here))
    if not is_placed:
        # A unit of a large file: its parents know it no longer. What follows it there has not been read yet.
        here.items.append(_branch(chain[1:], here))
    return here


def _adopted(loop: Loop, parent: Loop | None) -> Loop:
    """The same items under another parent; the original tree stays as it is."""
    copy = Loop(loop.id, parent)
    copy.items = [_adopted(item, copy) if isinstance(item, Loop) else item for item in loop.items]
    return copy
