"""One `Decision` on a 278 request → the 278 response (005010X217), and its reading back.

The response echoes the request's event (kept verbatim in `reply.event`): the same hierarchy, traces turned to TRN*2,
and beside them what was decided: HCR with all codes of element 306, authorization dates, changed quantities, what is
missing (HI LOI, PWK, MSG), or the AAA of a business rejection at the loop it belongs to. Order and HL numbers are the
writer's. Pure: the same decision gives the same tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from adapters.x12.wire.tree import Loop, Segment
from gateway.core.errors import Unmappable
from gateway.core.ports import Decision, ItemDecision
from mappings.information_request import SUPPORT_DATA, control_number
from mappings.review_actions import ACTIONS, roll_up
from mappings.x12_278_to_decision import CONTROL_NUMBER
from mappings.x12_dates import x12_day, x12_moment
from mappings.x12_tables import procedure_qualifier, table
from mappings.x12_trace import thaw

MOST_REPORTS = 10
"""PWK in one loop."""
BY_MESSAGE = "EL"
"""PWK02: electronically, a 275 among it."""
EVENT_ECHO = ("UM", "REF", "DTP", "HI", "HSD", "CL1", "CR1", "CR2", "CR5", "CR6")
LINE_ECHO = ("UM", "REF", "DTP", "HI", "SV1", "SV2", "SV3", "TOO", "HSD")
NAME_ECHO = {
    "2010A": ("NM1",),
    "2010B": ("NM1", "REF", "PRV"),
    "2010C": ("NM1", "REF", "N3", "N4", "DMG", "INS"),
    "2010D": ("NM1", "REF", "N3", "N4", "DMG", "INS"),
    "2010EA": ("NM1", "REF", "N3", "N4", "PER", "PRV"),
    "2010F": ("NM1", "REF", "N3", "N4", "PER", "PRV"),
}
"""Segments of the request that a response repeats, by loop. PWK and MSG of the request are not its answer."""

LEVELS = ("2000A", "2000B", "2000C", "2000D", "2000E", "2000F")
_LOCATION = re.compile(r"(20\d0[A-F][A-C]?)(?:\[(\d+)\])?")
_NOTE_LENGTH = 264
"""Characters of MSG01."""


def response(frozen_event: list[Any], decision: Decision) -> Loop:
    """The transaction set for one event and the decision on it.

    Raises Unmappable for a code outside element 306, a denial without reason code, a decision on an unknown item.
    """
    request = thaw(frozen_event)
    root = Loop("278")
    day, clock = x12_moment(decision.decided_at)
    is_pended = decision.action == "A4" or any(item.action == "A4" for item in decision.items)
    root.add("BHT", "0007", "11", request.get("BHT", 3), day, clock, "19" if is_pended else "18")
    errors = _Errors(decision.errors)
    deepest = errors.deepest() if decision.errors and not decision.items else "2000F"
    _level(request, root, decision, errors, deepest)
    return root


class _Errors:
    """Business rejections by the loop they are told at."""

    def __init__(self, rows: Iterable[dict[str, str]]) -> None:
        self._rows = [(*_place(row.get("location", "")), row) for row in rows]

    def deepest(self) -> str:
        """The lowest level that must be repeated for every AAA to have its place."""
        levels = [f"2000{name[4]}" for name, _, _ in self._rows]
        return max(levels, key=LEVELS.index)

    def tell(self, loop: Loop, number: int = 1) -> None:
        """Add the AAA segments of this loop."""
        for name, at, row in self._rows:
            if name == loop.id and at == number:
                valid = "Y" if row["code"] in table("codes")["served_later"] else "N"
                loop.add("AAA", valid, "", row["code"], row.get("followUp", ""))


def _place(location: str) -> tuple[str, int]:
    """(loop that may hold an AAA, its number) of a location such as `2010C-NM109` or `2000F[2]`."""
    match = _LOCATION.match(location)
    if match is None:
        return "2000E", 1
    name = match[1]
    moved = {"2000B": "2010B", "2000C": "2010C", "2000D": "2010D", "2010F": "2010FA", "2010EB": "2000E"}
    return moved.get(name, name), int(match[2] or 1)


def _level(source: Loop, target: Loop, decision: Decision, errors: _Errors, deepest: str) -> None:
    """Repeat one hierarchy level and what is below it."""
    for loop in source.loops():
        if loop.id in LEVELS and LEVELS.index(loop.id) > LEVELS.index(deepest):
            continue
        if loop.id == "2000E":
            _event(loop, target.add_loop("2000E"), decision, errors, deepest)
        elif loop.id in NAME_ECHO:
            copy = _echo(loop, target.add_loop(loop.id), NAME_ECHO[loop.id])
            errors.tell(copy)
        elif loop.id in LEVELS:
            copy = _echo(loop, target.add_loop(loop.id), ("HL",))
            errors.tell(copy)
            _level(loop, copy, decision, errors, deepest)


def _echo(source: Loop, target: Loop, names: tuple[str, ...]) -> Loop:
    for segment in source.segments():
        if segment.id in names:
            target.items.append(segment)
    return target


def _event(source: Loop, target: Loop, decision: Decision, errors: _Errors, deepest: str) -> None:
    _echo(source, target, ("HL",))
    _traces(source, target)
    errors.tell(target)
    lines = list(source.loops("2000F"))
    decided = {item.sequence: item for item in decision.items}
    action = decision.action or roll_up([item.action for item in decision.items])
    if not decision.errors or decision.items:
        single = decided.get(1) if not lines else None
        _review(target, single or ItemDecision(sequence=0, action=action, reasons=_reasons(decision)), decision)
        if decision.administrative_reference:
            target.add("REF", "NT", decision.administrative_reference)
    changes = decided[1].changes if not lines and 1 in decided else {}
    _repeat(source, target, EVENT_ECHO, changes, drop_reference=bool(decision.administrative_reference))
    _wanted(target, decision, has_lines=bool(lines))
    notes = [decided[1].note] if not lines and 1 in decided else []
    _note(target, [*notes, *(row.get("question", "") for row in decision.requested_information)])
    for number, provider in enumerate(source.loops("2010EA"), 1):
        errors.tell(_echo(provider, target.add_loop("2010EA"), NAME_ECHO["2010EA"]), number)
    if deepest == "2000F":
        _lines(lines, target, decision, decided, errors)


def _lines(
    lines: list[Loop], target: Loop, decision: Decision, decided: dict[int, ItemDecision], errors: _Errors
) -> None:
    for number, line in enumerate(lines, 1):
        copy = _echo(line, target.add_loop("2000F"), ("HL",))
        _traces(line, copy)
        errors.tell(copy, number)
        item = decided.get(number)
        if item is not None:
            _review(copy, item, decision)
        _repeat(line, copy, LINE_ECHO, item.changes if item else {})
        _wanted(copy, decision, has_lines=False, only=number == 1)
        _note(copy, [item.note if item else ""])
        for at, provider in enumerate(line.loops("2010F"), 1):
            errors.tell(_echo(provider, copy.add_loop("2010FA"), NAME_ECHO["2010F"]), at)
    for number in sorted(set(decided) - set(range(1, max(len(lines), 1) + 1))):
        _added_line(target, decided[number], decision)


def _added_line(target: Loop, item: ItemDecision, decision: Decision) -> None:
    """A service that was not requested but is authorized."""
    if not item.changes.get("code"):
        raise Unmappable("a decision on an item that was not requested", location=f"item {item.sequence}")
    copy = target.add_loop("2000F")
    copy.add("HL", "SS")
    _review(copy, item, decision)
    qualifier = procedure_qualifier(str(item.changes.get("system", "")))
    quantity = str(item.changes.get("quantity", ""))
    unit = str(item.changes.get("unit", "") or "UN") if quantity else ""
    copy.add("SV1", (qualifier, str(item.changes["code"])), "", unit, quantity)
    _note(copy, [item.note])


def _traces(source: Loop, target: Loop) -> None:
    """The requester's traces come back as TRN*2."""
    for trace in source.segments("TRN"):
        target.add("TRN", "2", trace.get(2), trace.get(3), trace.get(4))


def _reasons(decision: Decision) -> tuple[str, ...]:
    """The event's reasons: those of its items, each once."""
    action = ACTIONS.get(decision.action)
    if action is None or not (action.needs_reason or not action.final):
        return ()
    return tuple(dict.fromkeys(reason for item in decision.items for reason in item.reasons))


def _review(target: Loop, item: ItemDecision, decision: Decision) -> None:
    """HCR, and the dates of an authorization (102 issued, 007 valid, 036 expires)."""
    action = ACTIONS.get(item.action)
    if action is None:
        raise Unmappable("a review action outside X12 element 306", location=f"item {item.sequence}")
    reasons = list(item.reasons)[:5]
    if action.needs_reason and not reasons:
        fallback = str(table("codes")["denial_without_code"])
        if not fallback:
            raise Unmappable("a denial needs a reason code (HCR03) on X12", location=f"item {item.sequence}")
        reasons = [fallback]
    number = (item.authorization_number or decision.authorization_number) if action.approved else ""
    target.add("HCR", item.action, number, reasons)
    if not action.approved:
        return
    target.add("DTP", "102", "D8", x12_moment(decision.decided_at)[0])
    start, end = x12_day(decision.valid_from), x12_day(decision.valid_to)
    if start and end:
        target.add("DTP", "007", "RD8", f"{start}-{end}")
    elif start:
        target.add("DTP", "007", "D8", start)
    elif end:
        target.add("DTP", "036", "D8", end)


def _repeat(
    source: Loop, target: Loop, names: tuple[str, ...], changes: dict[str, Any], *, drop_reference: bool = False
) -> None:
    """Repeat the request's segments, with what was authorized instead where that differs."""
    holder = _quantity_holder(source, changes)
    for segment in source.segments():
        if segment.id not in names or (segment.id == "REF" and drop_reference and segment.get(1) == "NT"):
            continue
        if segment.id == "HSD" and holder not in ("", "HSD"):
            continue  # it would contradict the quantity authorized in the service segment
        target.items.append(_changed(segment, changes, holder))
    period = changes.get("servicedPeriod") or {}
    if period and source.id == "2000F":
        target.items[:] = [item for item in target.items if not _is_service_date(item)]
        start, end = x12_day(str(period.get("start", ""))), x12_day(str(period.get("end", "")))
        target.add("DTP", "472", "RD8" if end else "D8", f"{start}-{end}" if end else start)
    if holder == "HSD" and target.segment("HSD") is None:
        target.add("HSD", str(changes.get("unit") or "VS"), str(changes["quantity"]))


def _is_service_date(item: Segment | Loop) -> bool:
    return isinstance(item, Segment) and item.id == "DTP" and item.get(1) == "472"


QUANTITY_AT = {"SV1": (3, 4), "SV2": (4, 5), "SV3": (0, 6), "HSD": (1, 2)}
"""(element of the unit, element of the quantity) of the segments that hold one."""
CODE_AT = {"SV1": 1, "SV2": 2, "SV3": 1}


def _quantity_holder(source: Loop, changes: dict[str, Any]) -> str:
    """Which segment says the authorized quantity: HSD for visits and days, else the service segment; "" for none."""
    if changes.get("quantity") is None:
        return ""
    service = next((item.id for item in source.segments() if item.id in CODE_AT), "")
    if not service or str(changes.get("unit", "")) in table("codes")["visit_units"]:
        return "HSD"
    counted = next((item for item in source.segments() if item.id in CODE_AT), None)
    is_silent = counted is not None and not counted.get(QUANTITY_AT[service][1])
    return "HSD" if is_silent and source.segment("HSD") is not None and not changes.get("unit") else service


def _changed(segment: Segment, changes: dict[str, Any], holder: str) -> Segment:
    unit_at, quantity_at = QUANTITY_AT.get(segment.id, (0, 0))
    code_at = CODE_AT.get(segment.id, 0)
    takes_quantity, takes_code = segment.id == holder, bool(changes.get("code")) and code_at > 0
    if not takes_quantity and not takes_code:
        return segment
    values: list[Any] = [_values(segment, at) for at in range(1, max(len(segment.fields), quantity_at + 1))]
    if takes_quantity:
        values[quantity_at - 1] = str(changes["quantity"])
        if unit_at:
            values[unit_at - 1] = str(
                changes.get("unit") or segment.get(unit_at) or ("VS" if holder == "HSD" else "UN")
            )
    if takes_code:
        system = str(changes.get("system", ""))
        qualifier = procedure_qualifier(system) if system else segment.get(code_at, 1)
        values[code_at - 1] = (qualifier, str(changes["code"]))
    return Segment.build(segment.id, *values)


def _values(segment: Segment, at: int) -> Any:
    """An element as `Segment.build` takes it: repetitions of composites."""
    return [tuple(segment.components(at, number)) for number in range(1, len(segment.repetitions(at)) + 1)] or ""


def _wanted(target: Loop, decision: Decision, *, has_lines: bool, only: bool = True) -> None:
    """What is missing, at the first line, or at the event when there are no lines: HI with its LOINC codes, PWK with
    the control number under which each is to come (PWK06; TRN02 of a 275)."""
    if has_lines or not only:
        return
    codes = list(dict.fromkeys(row["loinc"] for row in decision.requested_information if row.get("loinc")))
    if codes:
        wanted = [("LOI", code) for code in codes]
        present = next((item for item in target.items if isinstance(item, Segment) and item.id == "HI"), None)
        if present is not None:
            target.items.remove(present)
            wanted = [tuple(present.components(at)) for at in range(1, len(present.fields))] + wanted  # type: ignore[assignment]
        target.add("HI", *wanted[:12])
    for row in decision.requested_information[:MOST_REPORTS]:
        kind = row.get("reportType") or SUPPORT_DATA
        target.add("PWK", kind, BY_MESSAGE, "", "", CONTROL_NUMBER, control_number(decision.case_id, row))


def _note(target: Loop, texts: list[str]) -> None:
    text = " ".join(" ".join(text.split()) for text in texts if text.strip())
    if text:
        plain = "".join(letter if letter not in "*:^~|" else " " for letter in text)
        target.add("MSG", plain[:_NOTE_LENGTH].rstrip())
