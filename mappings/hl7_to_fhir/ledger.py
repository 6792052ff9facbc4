"""The field ledger: one entry for each populated leaf of the message, from the marks the mapping left.

What travels is less than the whole (design D1): how many fields met which fate, and those that were not plainly mapped.
So `account` only counts what is plainly mapped, and makes entries of the rest; all entries are made when somebody asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from adapters.hl7.wire import NULL, Syntax
from gateway.core.ledger import Fate, LedgerEntry, counted, summarized

from .cursor import Cursor, Mark

MAPPING = "hl7v2_to_fhir@1"


@lru_cache(maxsize=65536)
def _made(place: tuple[str, int, int, int, int, int], fate: Fate, target: str) -> LedgerEntry:
    """One entry; a feed has few different ones, so they are made once (paths and targets only, never content)."""
    name, index, number, repetition, component, sub = place
    suffix = f".{sub}" if sub > 1 else ""
    return LedgerEntry(f"{name}[{index}]-{number}[{repetition}].{component}{suffix}", fate, target)


@lru_cache(maxsize=65536)
def _said(target: str, sub: str) -> tuple[int, Fate, str]:
    """What a mark says of one component: rank (the lower wins), fate, target or reason."""
    for flagged in (sub, target):
        if flagged[:1] == "!":
            return 2, "ignored", flagged[1:]
    if sub[:1] == "~" or target[:1] == "~":
        return 1, "carried", f"{target.lstrip('~')}.{sub[1:]}" if sub[1:] else target.lstrip("~")
    return 0, "mapped", f"{target}.{sub}" if sub else target


def _fate(component: int, marks: Sequence[Mark], reason: str) -> tuple[Fate, str]:
    """The fate of one leaf: mapped where any mark maps it, else carried, else ignored, else unknown."""
    best: tuple[int, Fate, str] = (3, "ignored", reason) if reason else (3, "unknown", "")
    for target, components, _, _ in marks:
        sub = "" if components is None else components.get(component)
        if sub is None:
            continue
        said = _said(target, sub)
        if not said[0]:
            return "mapped", said[2]
        if said[0] < best[0]:
            best = said
    return best[1], best[2]


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else [text]


def _nested(
    text: str, syntax: Syntax, place: tuple[str, int, int], marks: list[Mark], reason: str
) -> list[LedgerEntry]:
    """The entries of a field with repetitions or components."""
    if syntax.repetition not in text or not syntax.repetition:
        return _repetition(text, syntax, (*place, 1), [mark for mark in marks if mark[2] < 2], reason)
    entries: list[LedgerEntry] = []
    of_repetition: dict[int, list[Mark]] = {}
    for mark in marks:
        of_repetition.setdefault(mark[2], []).append(mark)
    of_all = of_repetition.get(0, [])
    for number, written in enumerate(text.split(syntax.repetition), 1):
        own = of_repetition.get(number)
        entries += _repetition(written, syntax, (*place, number), own + of_all if own else of_all, reason)
    return entries


def _repetition(
    text: str, syntax: Syntax, place: tuple[str, int, int, int], marks: list[Mark], reason: str
) -> list[LedgerEntry]:
    """The entries of one repetition."""
    entries: list[LedgerEntry] = []
    nested = syntax.subcomponent
    for position, component in enumerate(_split(text, syntax.component), 1):
        if not component:
            continue
        fate = _fate(position, marks, reason)
        if component == NULL and text != NULL:
            fate = _GONE
        if not nested or nested not in component:
            entries.append(_made((*place, position, 1), *fate))
            continue
        for sub, leaf in enumerate(component.split(nested), 1):
            if leaf:
                entries.append(_made((*place, position, sub), *(_GONE if leaf == NULL else fate)))
    return entries


_GONE: tuple[Fate, str] = ("ignored", "explicit null of a component: left out")


class MessageLedger:
    """The ledger of one message (`gateway.core.ledger.FieldLedger`)."""

    __slots__ = ("_cursors", "_ignored", "_mapped", "_rest", "mapping")

    def __init__(self, cursors: Sequence[Cursor], ignored: Mapping[str, Mapping[Any, str]]) -> None:
        self.mapping = MAPPING
        self._cursors, self._ignored = cursors, ignored
        self._mapped, self._rest = _account(cursors, ignored)

    @property
    def entries(self) -> list[LedgerEntry]:
        """All entries, in the order of the message's leaves; made anew each time."""
        return [
            entry
            for cursor in self._cursors
            for number, text in cursor.filled.items()
            for entry in _entries(cursor, number, text, _reason(cursor, number, self._ignored))
        ]

    def counts(self) -> dict[str, int]:
        """How many fields met which fate."""
        return counted(self._rest, self._mapped)

    def summary(self) -> dict[str, object]:
        """What goes on the wire."""
        return summarized(self.mapping, self._rest, self._mapped)


def _reason(cursor: Cursor, number: int, ignored: Mapping[str, Mapping[Any, str]]) -> str:
    """Why a field is left out where nobody took it."""
    reasons = ignored.get(cursor.name, {})
    return reasons.get(number, "") or reasons.get("*", "") or cursor.default[1:]


def _entries(cursor: Cursor, number: int, text: str, reason: str) -> list[LedgerEntry]:
    """The entries of one field, in the order of its leaves."""
    syntax, name, index = cursor.syntax, cursor.name, cursor.index
    marks = cursor.marks.get(number, [])
    if text.isalnum() or not any(mark in text for mark in syntax.encoding_characters):
        fate = _fate(1, marks, reason) if marks else ("ignored", reason) if reason else _UNKNOWN
        return [_made((name, index, number, 1, 1, 1), *fate)]
    return _nested(text, syntax, (name, index, number), marks, reason)


_UNKNOWN: tuple[Fate, str] = ("unknown", "")


def _account(cursors: Sequence[Cursor], ignored: Mapping[str, Mapping[Any, str]]) -> tuple[int, list[LedgerEntry]]:
    """How many leaves are plainly mapped, and the entries of the others."""
    count = 0
    rest: list[LedgerEntry] = []
    syntax = cursors[0].syntax
    component, sub = syntax.component, syntax.subcomponent or syntax.component
    repetition = syntax.repetition or component
    for cursor in cursors:
        marks_of = cursor.marks
        for number, text in cursor.filled.items():
            marks = marks_of.get(number)
            if marks is not None:
                mapped = marks[0][3]
                if text.isalnum():
                    if mapped:
                        count += 1
                        continue
                elif mapped > text.count(component) and repetition not in text and NULL not in text:
                    # The first mark alone maps all there is.
                    leaves = text.replace(sub, component).split(component)
                    count += len(leaves) - leaves.count("")
                    continue
            for entry in _entries(cursor, number, text, _reason(cursor, number, ignored)):
                if entry.fate == "mapped":
                    count += 1
                else:
                    rest.append(entry)
    return count, rest
