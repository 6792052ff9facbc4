"""The field ledger: one entry for each populated leaf of the message, from the marks the mapping left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from adapters.hl7.wire import NULL, Syntax
from gateway.core.ledger import Fate, Ledger, LedgerEntry

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
    for target, components, _ in marks:
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


def segment_entries(cursor: Cursor, reasons: Mapping[Any, str]) -> list[LedgerEntry]:
    """The entries of one segment, in the order of its leaves."""
    entries: list[LedgerEntry] = []
    syntax, name, index = cursor.syntax, cursor.name, cursor.index
    component, repetition, sub = (mark or "\0" for mark in (syntax.component, syntax.repetition, syntax.subcomponent))
    whole = reasons.get("*", "") or (cursor.default[1:] if cursor.default[:1] == "!" else "")
    for place in range(1, len(cursor.parts)):
        text = cursor.parts[place]
        number = place + cursor.offset
        if not text or (cursor.offset and number == 2):
            continue
        marks = cursor.marks.get(number) or []
        reason = reasons.get(number, "") or whole
        if component in text or repetition in text or sub in text:
            entries += _nested(text, syntax, (name, index, number), marks, reason)
        else:
            entries.append(_made((name, index, number, 1, 1, 1), *_fate(1, marks, reason)))
    return entries


def build(cursors: list[Cursor], ignored: Mapping[str, Mapping[Any, str]]) -> Ledger:
    """The ledger of a message."""
    ledger = Ledger(MAPPING)
    for cursor in cursors:
        ledger.entries += segment_entries(cursor, ignored.get(cursor.name, {}))
    return ledger
