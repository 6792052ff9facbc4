"""MSH, EVN, MSA, ERR, SFT and NTE: the message's header, its circumstances, and the notes anywhere in it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from adapters.hl7.wire import NULL

from . import primitives
from .actors import organization, practitioner
from .cursor import CODED, LEAF, Components, Cursor
from .environment import Parts, subs
from .graph import Resource, absent, reference
from .job import Scope, concept, handles

_EVENT = Components({1: "event", 2: "event", 3: "definition"})
_APPLICATION = Components({1: "name", 2: "endpoint", 3: "endpoint"})
_FACILITY = Components({1: "name", 2: "identifier", 3: "identifier"})
_RESPONSIBLE = Components({1: "name", 3: "identifier", 6: "identifier", 7: "identifier", 10: "identifier"})
EVENT_SYSTEM = "http://terminology.hl7.org/CodeSystem/v2-0003"


def _endpoint(cursor: Cursor, field: int) -> str:
    """An application (HD) as endpoint: its universal id where it has one, else a name of ours."""
    text = cursor.raw(field)
    if text.isalnum():
        return _application(text)
    universal, kind = cursor.get(field, 2), cursor.get(field, 3).upper()
    if universal and kind == "ISO":
        return f"urn:oid:{universal}"
    if universal and kind == "UUID":
        return f"urn:uuid:{universal}"
    return _application(universal or cursor.get(field) or "unknown")


@lru_cache(maxsize=1024)
def _application(name: str) -> str:
    """The name of ours for an application; a feed has few."""
    return "urn:gateway:hl7v2:application:" + "".join(letter if letter.isalnum() else "-" for letter in name)


def _facility(cursor: Cursor, field: int, scope: Scope, path: str) -> dict[str, Any] | None:
    name, universal, kind = cursor.raw(field), "", ""
    if not name.isalnum():
        name, universal, kind = cursor.get(field), cursor.get(field, 2), cursor.get(field, 3)
    if not (name or universal):
        return None
    found = organization(["", name or universal], scope.env)
    if found is None:
        return None
    if universal and "identifier" not in found:
        value = f"urn:oid:{universal}" if kind.upper() == "ISO" else universal
        found["identifier"] = [{"system": "urn:ietf:rfc:3986", "value": value}]
    cursor.mark(field, path, _FACILITY)
    return reference(found)


@handles("MSH")
def message_header(cursor: Cursor, scope: Scope) -> None:
    """MSH → MessageHeader with sender and receiver."""
    job = scope.job
    header = scope.env.graph.add("MessageHeader", scope.env.control)
    code, trigger, structure = cursor.get(9), cursor.get(9, 2), cursor.get(9, 3)
    if code and trigger and structure:
        cursor.mark(9, "MessageHeader", _EVENT, 1)
    else:
        for component, path in _EVENT.items():
            cursor.take(9, f"MessageHeader.{path}", component)
    event = primitives.code(trigger) or primitives.code(code) or "unknown"
    header["eventCoding"] = {
        "system": EVENT_SYSTEM,
        "code": event,
        "display": f"{code}^{trigger}" + (f"^{structure}" if structure else ""),
    }
    header["source"] = {"endpoint": _endpoint(cursor, 3)}
    if name := cursor.get(3):
        header["source"]["name"] = name
    cursor.mark(3, "MessageHeader.source", _APPLICATION)
    cursor.mark(7, "Bundle.timestamp")
    cursor.mark(10, "MessageHeader.id", LEAF)
    if any(cursor.get(number) for number in (5, 6, 25)):
        target: dict[str, Any] = {"endpoint": _endpoint(cursor, 5)}
        if name := cursor.get(5):
            target["name"] = name
        cursor.mark(5, "MessageHeader.destination", _APPLICATION)
        if receiver := _facility(cursor, 6, scope, "MessageHeader.destination.receiver"):
            target["receiver"] = receiver
        header["destination"] = [target]
    if sender := _facility(cursor, 4, scope, "MessageHeader.sender"):
        header["sender"] = sender
    if responsible := _responsible(cursor, scope):
        header["responsible"] = responsible
    if language := primitives.code(cursor.take(19, "Bundle.language")):
        header["language"] = language
    if (mode := primitives.code(cursor.take(11, "MessageHeader.meta.tag"))) and mode != "P":
        header["meta"] = {"tag": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0103", "code": mode}]}
    cursor.owner = job.header = header


def _responsible(cursor: Cursor, scope: Scope) -> dict[str, Any] | None:
    if not cursor.raw(22):
        return None
    found = organization(cursor.first(22), scope.env)
    cursor.mark(22, "MessageHeader.responsible", _RESPONSIBLE, 1)
    return reference(found) if found else None


@handles("EVN")
def event(cursor: Cursor, scope: Scope) -> None:
    """EVN → Provenance of the message: when it was recorded, why, by whom."""
    recorded = primitives.instant(cursor.get(2), scope.env.zone) or scope.job.sent
    if not recorded:
        return
    provenance = scope.env.graph.add("Provenance", scope.env.control)
    header = scope.job.header
    provenance["target"] = [reference(header)] if header else [absent()]
    if occurred := primitives.date_time(cursor.take(6, "Provenance.occurredDateTime"), scope.env.zone):
        provenance["occurredDateTime"] = occurred
    provenance["recorded"] = recorded
    cursor.mark(2, "Provenance.recorded", LEAF, 1)
    scope.apply(cursor, provenance)
    agents: list[dict[str, Any]] = []
    for number, parts in enumerate(cursor.repetitions(5), 1):
        if person := practitioner(parts, scope.env):
            agents.append({"who": reference(person)})
            cursor.mark(5, "Provenance.agent", None, number)
    if cursor.raw(7):
        facility = organization(["", cursor.first(7)[1]], scope.env)
        if facility:
            agents.append({"who": reference(facility)})
        cursor.mark(7, "Provenance.agent", CODED, 1)
    sender = header.get("sender") if header else None
    provenance["agent"] = agents or [{"who": sender or {"display": "sending application"}}]


@handles("MSA")
def acknowledgment(cursor: Cursor, scope: Scope) -> None:
    """MSA → MessageHeader.response."""
    code = cursor.take(1, "MessageHeader.response.code")
    control = cursor.take(2, "MessageHeader.response.identifier")
    cursor.owner = scope.job.header
    if scope.job.header is not None and control:
        meaning = {"A": "ok", "E": "transient-error", "R": "fatal-error"}.get(code[1:2], "fatal-error")
        identifier = primitives.code(control) or "unknown"
        kept = "".join(
            letter if letter.isascii() and (letter.isalnum() or letter in "-.") else "-" for letter in identifier
        )
        scope.job.header["response"] = {"identifier": kept[:64], "code": meaning}


@handles("ERR")
def error(cursor: Cursor, scope: Scope) -> None:
    """ERR → OperationOutcome, referred to by MessageHeader.response."""
    outcome = scope.env.graph.add("OperationOutcome", scope.local_key(cursor))
    cursor.owner = outcome
    severity = {"E": "error", "W": "warning", "I": "information", "F": "fatal"}.get(
        cursor.take(4, "OperationOutcome.issue.severity"), "error"
    )
    issue: dict[str, Any] = {"severity": severity, "code": "processing"}
    if cursor.raw(3):
        scope.apply(cursor, issue, "ERR-OperationOutcome")
    location = "^".join(leaf for leaf in cursor.first(2) if leaf)
    if location:
        issue["location"] = [location]
        cursor.mark(2, "OperationOutcome.issue.location")
    if text := cursor.take(8, "OperationOutcome.issue.diagnostics") or cursor.take(
        7, "OperationOutcome.issue.diagnostics"
    ):
        issue["diagnostics"] = text
    outcome["issue"] = [issue]
    if scope.job.header is not None and "response" in scope.job.header:
        scope.job.header["response"]["details"] = reference(outcome)


@handles("SFT")
def software(cursor: Cursor, scope: Scope) -> None:
    """SFT → MessageHeader.source.software and .version."""
    header = scope.job.header
    if header is None:
        return
    source = header["source"]
    if "software" in source:
        cursor.default = "!an earlier SFT names the software"
        return
    source["software"] = cursor.take(3, "MessageHeader.source.software") or "unknown"
    if version := cursor.take(2, "MessageHeader.source.version"):
        source["version"] = version
    cursor.owner = header


_NOTE = frozenset({"Observation", "ServiceRequest", "Specimen", "Condition", "MedicationRequest", "Procedure",
                   "AllergyIntolerance", "Immunization", "ChargeItem"})  # fmt: skip


@handles("NTE")
def note(cursor: Cursor, scope: Scope) -> None:
    """NTE → a note of the resource before it."""
    lines = [repetition.plain() for repetition in cursor.segment.field(3)]
    text = "\n".join(line for line in lines if line != NULL)
    if not text.strip():
        return
    target = scope.last or scope.job.header
    if target is None:
        return
    kind = target["resourceType"]
    cursor.owner = target
    annotation: dict[str, Any] = {"text": text}
    if author := " ".join(_leaves(cursor.first(5))):
        annotation["authorString"] = author
    if at := primitives.date_time(cursor.get(6), scope.env.zone):
        annotation["time"] = at
    if kind in _NOTE:
        target.setdefault("note", []).append(annotation)
        _mark_note(cursor, f"{kind}.note")
        return
    if kind in {"Appointment", "DocumentReference"}:
        element = "comment" if kind == "Appointment" else "description"
        target[element] = "\n".join(part for part in (target.get(element), text) if part)
    elif kind == "ClaimResponse":
        notes = target.setdefault("processNote", [])
        notes.append({"number": len(notes) + 1, "type": "display", "text": text})
    elif kind == "Claim":
        remark(target, text)
    else:
        value = {"url": "urn:gateway:hl7v2:NTE-3", "valueString": text}
        target.setdefault("extension", []).append(value)
        cursor.mark(3, f"~{kind}.extension")
        return
    cursor.mark(3, f"{kind} note")


def _leaves(parts: Parts) -> list[str]:
    return [leaf for component in range(1, len(parts)) for leaf in subs(parts, component) if leaf]


def _mark_note(cursor: Cursor, path: str) -> None:
    cursor.mark(3, f"{path}.text")
    cursor.mark(5, f"{path}.authorString")
    cursor.mark(6, f"{path}.time", LEAF)


def remark(claim: Resource, text: str) -> None:
    """A free text of the requester in a Claim."""
    information = claim.setdefault("supportingInfo", [])
    category = concept("http://terminology.hl7.org/CodeSystem/claiminformationcategory", "info")
    information.append({"sequence": len(information) + 1, "category": category, "valueString": text})
