"""276 and 277 (005010X212) ⇄ Task: one subscriber's claims, asked about or told about.

A Task has code `status`, its focus the claim by its trace; the 277's status codes (STC) are outputs.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from adapters.fhir.wire.elements import identifier
from adapters.x12.wire.tree import Loop
from gateway.core.ledger import Ledger
from mappings.x12_278_items import exact
from mappings.x12_bundle import Build, Transmission
from mappings.x12_dates import iso_moment, timed, x12_moment
from mappings.x12_parties import read_organization, read_patient
from mappings.x12_tables import reference_system
from mappings.x12_trace import Tracer, root_of, thaw

MAPPING = "x12_276_to_fhir@1"
Element = dict[str, Any]
CATEGORY, STATUS = "https://codesystem.x12.org/external/507", "https://codesystem.x12.org/external/508"
CLAIMS = ("2200D", "2200E")
FINAL = ("F0", "F1", "F2", "F3", "F4")
"""Status categories of a claim that is finished."""


def status_bundle(loop: Loop, transmission: Transmission, received_at: datetime) -> tuple[Element, Element, Ledger]:
    """One 2000D with its ancestors → (Bundle with a Task per claim, facts, ledger)."""
    ledger = Ledger(MAPPING)
    root = root_of(loop)
    tracer, build = Tracer(root, ledger), Build(transmission)
    beginning = root.segment("BHT")
    for at in (1, 2, 6):
        tracer.take(beginning, at, "Bundle")
    number = tracer.take(beginning, 3, "Bundle.identifier") or transmission.transaction
    day, clock = (tracer.take(beginning, at, "Task.authoredOn") for at in (4, 5))
    created = iso_moment(day, clock) or received_at.isoformat()
    names = {
        "owner": (loop.up("2000A"), "2100A"),
        "requester": (loop.up("2000B"), "2100B"),
        "provider": (loop.up("2000C"), "2100C"),
    }
    parties: dict[str, Element] = {}
    for role, (holder, name) in names.items():
        found = holder.loop(name) if holder else None
        if found is not None:
            parties[role] = build.add(read_organization(found, tracer, f"Task.{role}"), role)
    person = loop.loop("2000E")
    member = loop.loop("2100D")
    subscriber = _patient(loop, member, tracer)
    patient = build.add(subscriber, "subscriber")
    own = person.loop("2100E") if person else None
    if person is not None and own is not None:
        patient = build.add(_patient(person, own, tracer), "patient")
    claims = [claim for holder in (loop, person) if holder for name in CLAIMS for claim in holder.loops(name)]
    tasks = [_task(claim, created, patient, parties, tracer) for claim in claims]
    tasks = tasks or [_bare(created, patient, parties)]
    for at, task in enumerate(tasks[1:], 2):
        build.add(task, f"Task-{at}")
    tracer.finish()
    facts: Element = {
        "request.type": "claimstatus",
        "request.receivedAt": received_at.isoformat(),
        "request.submitter": transmission.sender,
        "request.traceNumber": tasks[0].get("identifier", [{}])[0].get("value", ""),
        "coverage.memberId": identifier(subscriber, kind="MB"),
    }
    known = {name: value for name, value in facts.items() if value}
    return build.bundle(tasks[0], "Task-1", number, created), known, ledger


def _patient(holder: Loop, name: Loop | None, tracer: Tracer) -> Element:
    """NM1 of the name loop with the DMG that stands one level up."""
    together = Loop(name.id if name else "none")
    together.items = [*(name.segments() if name else ()), *holder.segments("DMG")]
    return read_patient(together, tracer)


def _bare(created: str, patient: Element, parties: dict[str, Element]) -> Element:
    task: Element = {"resourceType": "Task", "status": "requested", "intent": "order"}
    task |= {"code": {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "status"}]}}
    task |= {"for": patient, "authoredOn": created}
    return task | {role: parties[role] for role in ("requester", "owner") if role in parties}


def _task(claim: Loop, created: str, patient: Element, parties: dict[str, Element], tracer: Tracer) -> Element:
    task = _bare(created, patient, parties)
    task["code"] = {"text": "claim status"}
    trace = claim.segment("TRN")
    tracer.take(trace, 1, "Task.identifier")
    task["identifier"] = [{"system": "urn:x12:005010:TRN", "value": tracer.take(trace, 2, "Task.identifier")}]
    inputs: list[Element] = []
    for segment in claim.segments("REF"):
        kind, value = tracer.take(segment, 1, "Task.input"), tracer.take(segment, 2, "Task.input")
        inputs.append({"type": {"text": reference_system(kind)}, "valueString": value})
    amount = exact(tracer.take(claim.segment("AMT"), 2, "Task.input"))
    if amount is not None:
        tracer.take(claim.segment("AMT"), 1, "Task.input")
        inputs.append({"type": {"text": "charge"}, "valueMoney": {"value": amount, "currency": "USD"}})
    for served in claim.segments("DTP", "472"):
        for at in (1, 2, 3):
            tracer.take(served, at, "Task.input")
        inputs.append({"type": {"text": "service date"}} | timed(served.get(2), served.get(3), "value"))
    if inputs:
        task["input"] = inputs
    outputs = [_status(segment, tracer) for segment in claim.segments("STC")]
    if outputs:
        category = claim.get("STC", 1, 1)
        task |= {"output": outputs, "status": "completed" if category in FINAL else "in-progress"}
    return task


def _status(segment: Any, tracer: Tracer) -> Element:
    category, code = tracer.take(segment, 1, "Task.output", 1), tracer.take(segment, 1, "Task.output", 2)
    codings = [{"system": CATEGORY, "code": category}, {"system": STATUS, "code": code}]
    return {"type": {"text": "claim status"}, "valueCodeableConcept": {"coding": codings}}


ECHO = {"2100A": ("NM1",), "2100B": ("NM1",), "2100C": ("NM1",), "2100D": ("NM1",), "2100E": ("NM1",)}
REPEATED = {"1K", "BLT", "EJ", "XZ", "D9"}
"""REF01 that a 277 repeats of its 276."""


def status_response(frozen_event: list[Any], found: dict[str, tuple[str, str]], told_at: datetime) -> Loop:
    """The 277 for one inquiry. `found`: TRN02 → (status category, status code); other claims are not found (A4, 35)."""
    request = thaw(frozen_event)
    root = Loop("277")
    day, clock = x12_moment(told_at)
    root.add("BHT", "0010", "08", request.get("BHT", 3), day, clock, "DG")
    _repeat(request, root, found, day)
    return root


def _repeat(source: Loop, target: Loop, found: dict[str, tuple[str, str]], day: str) -> None:
    for loop in source.loops():
        if loop.id in ECHO:
            target.add_loop(loop.id).items += [item for item in loop.segments() if item.id in ECHO[loop.id]]
        elif loop.id in CLAIMS:
            copy = target.add_loop(loop.id)
            number = loop.get("TRN", 2)
            copy.add("TRN", "2", number)
            charge = next((segment.get(2) for segment in loop.segments("AMT", "T3")), "")
            copy.add("STC", found.get(number, ("A4", "35")), day, "", charge or "0")
            copy.items += [item for item in loop.segments("REF") if item.get(1) in REPEATED]
            copy.items += list(loop.segments("DTP", "472"))
        elif loop.id.startswith("2000"):
            copy = target.add_loop(loop.id)
            copy.add("HL", loop.get("HL", 3))
            _repeat(loop, copy, found, day)
