"""The field ledger: one entry for each populated leaf of the message, from the marks the mapping left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.ledger import Ledger, LedgerEntry

from .cursor import Cursor, Mark

MAPPING = "hl7v2_to_fhir@1"


def _entry(path: str, place: int, repetition: int, marks: list[Mark], reason: str) -> LedgerEntry:
    """The fate of one leaf: mapped where any mark maps it, else carried, else ignored, else unknown."""
    best: tuple[int, str, str] = (3, "unknown", "")
    for target, components, number in marks:
        if number and number != repetition:
            continue
        sub = "" if components is None else components.get(place)
        if sub is None:
            continue
        text, rank = target, 0
        for flagged in (sub, target):
            if flagged[:1] == "~":
                rank, text = max(rank, 1), flagged[1:] or target
            elif flagged[:1] == "!":
                rank, text = 2, flagged[1:]
                break
        if rank == 0 and sub:
            text = f"{target}.{sub}"
        if rank < best[0]:
            best = (rank, ("mapped", "carried", "ignored")[rank], text.lstrip("~"))
            if rank == 0:
                break
    if best[0] == 3 and reason:
        return LedgerEntry(path, "ignored", reason)
    return LedgerEntry(path, best[1], best[2])  # type: ignore[arg-type]


def segment_entries(cursor: Cursor, reasons: Mapping[Any, str]) -> list[LedgerEntry]:
    """The entries of one segment, in the order of its leaves."""
    entries: list[LedgerEntry] = []
    syntax = cursor.syntax
    whole = reasons.get("*", "") or (cursor.default[1:] if cursor.default[:1] == "!" else "")
    for place in range(1, len(cursor.parts)):
        text = cursor.parts[place]
        if not text:
            continue
        number = place + cursor.offset
        if cursor.offset and number == 2:
            continue
        marks = cursor.marks.get(number) or []
        reason = reasons.get(number, "") or whole
        start = f"{cursor.name}[{cursor.index}]-{number}["
        if not (
            (syntax.component and syntax.component in text)
            or (syntax.repetition and syntax.repetition in text)
            or (syntax.subcomponent and syntax.subcomponent in text)
        ):
            entries.append(_entry(f"{start}1].1", 1, 1, marks, reason))
            continue
        repetitions = text.split(syntax.repetition) if syntax.repetition else [text]
        for index, repetition in enumerate(repetitions, 1):
            components = repetition.split(syntax.component) if syntax.component else [repetition]
            for position, component in enumerate(components, 1):
                if not component:
                    continue
                for sub, leaf in enumerate(component.split(syntax.subcomponent) if syntax.subcomponent else [component], 1):
                    if leaf:
                        path = f"{start}{index}].{position}" + (f".{sub}" if sub > 1 else "")
                        entries.append(_entry(path, position, index, marks, reason))
    return entries


def build(cursors: list[Cursor], ignored: Mapping[str, Mapping[Any, str]]) -> Ledger:
    """The ledger of a message."""
    ledger = Ledger(MAPPING)
    for cursor in cursors:
        ledger.entries += segment_entries(cursor, ignored.get(cursor.name, {}))
    return ledger
