"""A 278 inquiry (005010X215) → the query of `$inquire`, and the case found → the 278 response to it.

Whatever rail a case came by, it is found by the same rules (mappings/inquire.py) and told in X12: the inquiry's people
and traces, the case's services with its decision. Nothing found is AAA with AA (authorization not found). BHT02 is 28
for an inquiry and 49 for its answer, BHT06 RD, as public examples have it. Pure.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from adapters.x12.wire.tree import Loop, Segment
from gateway.core.errors import Unmappable
from gateway.core.ports import Decision
from mappings.decision_to_x12_278 import response
from mappings.inquire import FoundCase
from mappings.x12_dates import x12_day, x12_moment
from mappings.x12_tables import procedure_qualifier
from mappings.x12_trace import freeze, thaw

NOT_FOUND = {"code": "AA", "followUp": "C", "location": "2000E"}
NOT_NOW = {"code": "42", "followUp": "Y", "location": "2000E"}
"""A case is there, but its decision cannot be said in X12 as it stands (unable to respond at this time)."""


def answer(frozen_event: list[Any], found: FoundCase | None, now: datetime) -> Loop:
    """The transaction set that answers one inquiry with one case, or with none."""
    try:
        return _told(frozen_event, found, now)
    except Unmappable:
        return _told(frozen_event, None, now, NOT_NOW)


def _told(frozen_event: list[Any], found: FoundCase | None, now: datetime, instead: dict[str, str] = NOT_FOUND) -> Loop:
    asked = thaw(frozen_event)
    day, clock = x12_moment(now)
    if found is None:
        decision = Decision(case_id="", version=0, decided_at=now, action="", errors=(instead,))
    else:
        decision = _by_position(found)
        for event in asked.descendants("2000E"):
            _services(event, found.facts.get("services", []))
    told = response(freeze(asked), decision)
    told.items[0] = Segment.build("BHT", "0007", "49", asked.get("BHT", 3), day, clock, "RD")
    return told


def _by_position(found: FoundCase) -> Decision:
    """The decision with its items numbered as their services stand in the answer."""
    at = {row.get("sequence", 1): number for number, row in enumerate(found.facts.get("services", []), 1)}
    items = [replace(item, sequence=at.get(item.sequence, item.sequence)) for item in found.decision.items]
    return replace(found.decision, items=[item for item in items if item.sequence])


def _services(event: Loop, services: list[dict[str, Any]]) -> None:
    """The case's services in the place of those the inquiry named, if any."""
    dropped = {"HCR", "REF"}
    event.items = [
        row for row in event.items if not ((isinstance(row, Loop) and row.id == "2000F") or row.id in dropped)
    ]
    for service in services:
        line = event.add_loop("2000F")
        line.add("HL", "SS")
        if service.get("start"):
            start, end = x12_day(service["start"]), x12_day(service.get("end") or service["start"])
            line.add("DTP", "472", "RD8", f"{start}-{end}")
        quantity = str(service["quantity"]) if service.get("quantity") is not None else ""
        procedure = (procedure_qualifier(str(service.get("system", ""))), str(service.get("code", "")))
        line.add("SV1", procedure, "", "UN" if quantity else "", quantity)
