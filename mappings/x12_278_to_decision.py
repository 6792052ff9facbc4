"""A 278 response (005010X217) of a payer → `Decision`: what our own outbound requests are answered with.

Lines are matched to the request's items by their trace number where the request gave one (TRN*2 echoes it), else by
their order. AAA segments become business rejections with the loop they stand in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from adapters.x12.wire.tree import Loop
from gateway.core.ports import Decision, ItemDecision
from mappings.review_actions import ACTIONS, roll_up
from mappings.x12_278_items import exact
from mappings.x12_dates import iso_day, period_of
from mappings.x12_tables import procedure_system

RETRY_CODES = frozenset({"42", "80"})
RETRY_FOLLOW_UPS = frozenset({"P", "R", "W", "X"})
"""AAA03 and AAA04 that together mean: ask again later, with a new interchange and the same trace."""

CONTROL_NUMBER = "AC"
"""PWK05: the number behind it is an attachment control number."""
ANSWER_FOLLOWS = frozenset({"S", "Y"})
"""AAA04: do not send it again, it was passed on; we will answer."""
PAUSES = {"W": 30 * 86_400.0, "X": 10 * 86_400.0}
"""AAA04: resubmit after 30 and after 10 days, in seconds."""


def decision_of(
    event: Loop,
    *,
    case_id: str,
    version: int,
    received_at: datetime,
    traces: Mapping[str, int] | None = None,
    sequences: Sequence[int] = (),
) -> Decision:
    """One 2000E of a response, or the whole tree when it has none (rejected above), as a decision.

    `traces`: TRN02 of each requested line → its item sequence; `sequences`: the item sequences of the requested lines
    in order, for lines without a trace (default: 1, 2, 3 …).
    """
    rejections = _rejections(_top(event))
    items = _items(event, traces or {}, sequences)
    actions = [item.action for item in items]
    said = event.get("HCR", 1)
    number = event.get("HCR", 2) or next((item.authorization_number for item in items if item.authorization_number), "")
    start, end = _validity(event)
    for line in event.loops("2000F"):
        start, end = start or _validity(line)[0], end or _validity(line)[1]
    return Decision(
        case_id=case_id,
        version=version,
        decided_at=received_at,
        action=said if said in ACTIONS else roll_up(actions),
        items=tuple(items),
        authorization_number=number,
        administrative_reference=_reference(event, "NT"),
        valid_from=start,
        valid_to=end,
        requested_information=tuple(_requested(event, traces or {}, sequences)),
        errors=tuple(rejections),
    )


def retry_later(decision: Decision) -> bool:
    """Whether the payer asks for the same request again, later and by itself (AAA 42 or 80 with P, R, W or X)."""
    return bool(decision.errors) and all(
        error.get("code") in RETRY_CODES and error.get("followUp") in RETRY_FOLLOW_UPS for error in decision.errors
    )


def will_answer(decision: Decision) -> bool:
    """Whether the payer says that an answer follows by itself (AAA04 S or Y): nothing is to be sent again."""
    return bool(decision.errors) and all(error.get("followUp") in ANSWER_FOLLOWS for error in decision.errors)


def least_pause(decision: Decision) -> float:
    """Seconds before the same may be asked again."""
    return max((PAUSES.get(error.get("followUp", ""), 0.0) for error in decision.errors), default=0.0)


def _top(loop: Loop) -> Loop:
    while loop.parent is not None:
        loop = loop.parent
    return loop


def _items(event: Loop, traces: Mapping[str, int], sequences: Sequence[int]) -> list[ItemDecision]:
    lines = list(event.loops("2000F"))
    found = [_item(line, _sequence(line, number, traces, sequences), event) for number, line in enumerate(lines, 1)]
    if not lines and event.get("HCR", 1):
        found = [_item(event, sequence, event) for sequence in (sequences or (1,))]
    return [item for item in found if item.action]


def _sequence(line: Loop, number: int, traces: Mapping[str, int], sequences: Sequence[int]) -> int:
    by_order = sequences[number - 1] if number <= len(sequences) else number
    return next((traces[trace.get(2)] for trace in line.segments("TRN") if trace.get(2) in traces), by_order)


def _item(line: Loop, sequence: int, event: Loop) -> ItemDecision:
    review = line.segment("HCR") or event.segment("HCR")
    if review is None:
        return ItemDecision(sequence=sequence, action="")
    action = review.get(1)
    return ItemDecision(
        sequence=sequence,
        action=action,
        reasons=tuple(reason for reason in review.values(3) if reason),
        note=line.get("MSG", 1),
        authorization_number=review.get(2),
        changes=_changes(line) if action in ("A2", "A6") else {},
    )


def _changes(line: Loop) -> dict[str, Any]:
    """What is authorized, of a modified or partial line: code, quantity, unit, period."""
    changes: dict[str, Any] = {}
    for name, code_at, unit_at, quantity_at in (("SV1", 1, 3, 4), ("SV2", 2, 4, 5), ("SV3", 1, 0, 6)):
        segment = line.segment(name)
        if segment is None:
            continue
        if segment.get(code_at, 2):
            changes |= {"code": segment.get(code_at, 2), "system": procedure_system(segment.get(code_at, 1))}
        quantity = exact(segment.get(quantity_at))
        if quantity is not None:
            changes |= {"quantity": quantity, "unit": segment.get(unit_at) if unit_at else ""}
    delivered = exact(line.get("HSD", 2))
    if delivered is not None and "quantity" not in changes:
        changes |= {"quantity": delivered, "unit": line.get("HSD", 1)}
    served = line.segment("DTP", "472")
    period = period_of(served.get(2), served.get(3)) if served else {}
    return changes | ({"servicedPeriod": period} if period else {})


def _validity(loop: Loop) -> tuple[str, str]:
    """(first day, last day) from DTP 007 and 036."""
    effective, expires = loop.segment("DTP", "007"), loop.segment("DTP", "036")
    period = period_of(effective.get(2), effective.get(3)) if effective else {}
    start = period.get("start", "")
    end = period.get("end", "") if effective is not None and effective.get(2) == "RD8" else ""
    return start, end or (iso_day(expires.get(3)) if expires else "")


def _reference(loop: Loop, qualifier: str) -> str:
    segment = loop.segment("REF", qualifier)
    return segment.get(2) if segment else ""


def _requested(event: Loop, traces: Mapping[str, int], sequences: Sequence[int]) -> list[dict[str, str]]:
    """HI LOI codes and PWK report types: what the payer wants to see, and for which line.

    PWK06 (PWK05 = AC) is the payer's attachment control number. It stands for the codes beside it, too: the PWK says
    under which number, the HI says what; where there are as many of both, they follow each other.
    """
    found = _wanted_at(event, "")
    for at, line in enumerate(event.loops("2000F"), 1):
        found += _wanted_at(line, str(_sequence(line, at, traces, sequences)))
    text = event.get("MSG", 1)
    if found and text:
        found[0]["question"] = text
    return found


def _wanted_at(loop: Loop, line: str) -> list[dict[str, str]]:
    reports = [
        {"reportType": row.get(1), "controlNumber": row.get(6) if row.get(5) == CONTROL_NUMBER else ""}
        for row in loop.segments("PWK")
        if row.get(1)
    ]
    composites = [row.components(at) for row in loop.segments("HI") for at in range(1, len(row.fields))]
    codes = [parts[1] for parts in composites if parts[:1] == ["LOI"] and len(parts) > 1]
    if codes and len(reports) == len(codes):
        reports = [row | {"loinc": code} for row, code in zip(reports, codes, strict=True)]
    elif codes and len(reports) <= 1:
        alone = reports[0] if reports else {}
        reports = [alone | {"loinc": code} for code in codes]
    else:
        reports = [{"loinc": code} for code in codes] + reports
    return [{name: value for name, value in (row | {"line": line}).items() if value} for row in reports]


def _rejections(root: Loop) -> list[dict[str, str]]:
    """Every AAA with the loop it stands in (numbered where the loop repeats)."""
    found = []
    counts: dict[str, int] = {}
    seen: set[int] = set()
    for loop, segment in root.walk():
        if id(loop) not in seen:
            seen.add(id(loop))
            counts[loop.id] = counts.get(loop.id, 0) + 1
        if segment.id != "AAA" or not segment.get(3):
            continue
        number = counts[loop.id]
        place = loop.id if number == 1 else f"{loop.id}[{number}]"
        found.append({"code": segment.get(3), "followUp": segment.get(4), "location": place})
    return found
