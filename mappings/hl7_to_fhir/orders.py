"""ORC, OBR, TQ1, SPM, RXO, RXE, RXA, RXR, RXC and OBX: orders, what they ask for, what came of them."""

from __future__ import annotations

from typing import Any

from . import primitives
from .contacts import xtn
from .cursor import LEAF, Components, Cursor
from .datatypes import ei, unit
from .environment import part, within
from .graph import Resource, absent, reference
from .job import Scope, concept, handles
from .primitives import code
from .results import put_value
from .vocabulary import vocabulary

_FINAL = frozenset({"final", "corrected", "amended", "appended"})


def _order_key(cursor: Cursor, scope: Scope) -> str:
    """The placer's number, else the filler's, else this segment. Equal numbers in one message stay two orders."""
    for number in (2, 3):
        if cursor.get(number):
            return f"{number}|{cursor.get(number, 2)}|{cursor.get(number, 3)}|{cursor.get(number)}"
    return scope.local_key(cursor)


_STATUSES = {"A": "active", "CA": "revoked", "CM": "completed", "DC": "revoked", "ER": "entered-in-error",
             "HD": "on-hold", "IP": "active", "RP": "revoked", "SC": "active"}  # fmt: skip
"""Table 0038."""


def _status(cursor: Cursor) -> str:
    """ServiceRequest.status after ORC-5, else ORC-1."""
    by_status = _STATUSES.get(cursor.get(5))
    target = vocabulary("OrderControlCode[ServiceRequest.status]").lookup(cursor.get(1))
    if cursor.get(1):
        cursor.mark(1, "ServiceRequest.status", LEAF, 1)
    if cursor.get(5):
        cursor.mark(5, "ServiceRequest.status", LEAF, 1)
    return by_status or (target[0] if target else "active")


@handles("ORC")
def common_order(cursor: Cursor, scope: Scope) -> None:
    """ORC → ServiceRequest, MedicationRequest or Immunization, by what follows in its group."""
    names = {child.name for child in scope.group.children if isinstance(child, Cursor)}
    if "RXA" in names:
        scope.immunization = _request("Immunization", cursor, scope)
        return
    if names & {"RXO", "RXE"}:
        scope.medication = _request("MedicationRequest", cursor, scope)
        scope.medication["status"] = {"revoked": "cancelled"}.get(status := _status(cursor), status)
        return
    if scope.order is not None and scope.group.name == "ORDER_OBSERVATION":
        scope.apply(cursor, scope.order)  # OUL: the order's ORC follows its OBR
        return
    scope.order = _request("ServiceRequest", cursor, scope)
    scope.order["status"] = _status(cursor)
    _timing(cursor, scope.order, 7, scope)


def _request(kind: str, cursor: Cursor, scope: Scope) -> Resource:
    resource = scope.make(kind, _order_key(cursor, scope), cursor)
    scope.link(resource, "patient" if kind == "Immunization" else "subject")
    scope.at_visit(resource)
    if kind != "Immunization":
        resource["intent"] = "order"
    return resource


_PRIORITIES = {"S": "stat", "A": "asap", "R": "routine", "P": "routine", "C": "routine", "T": "urgent", "UR": "urgent",
               "STAT": "stat", "ASAP": "asap", "ROUTINE": "routine", "URGENT": "urgent"}  # fmt: skip


def _timing(cursor: Cursor, order: Resource, number: int, scope: Scope) -> None:
    """Quantity and timing of old messages (TQ): quantity, interval, start, end, priority."""
    if not cursor.raw(number):
        return
    parts = cursor.first(number)
    taken: dict[int, str] = {}
    quantity = primitives.number(part(parts, 1))
    if quantity is not None and "quantityQuantity" not in order:
        order["quantityQuantity"] = {"value": quantity} | (
            {"unit": part(parts, 1, 2)} if part(parts, 1, 2).strip() else {}
        )
        taken[1] = "quantityQuantity"
    if priority := _PRIORITIES.get(part(parts, 6).strip().upper()):
        order.setdefault("priority", priority)
        taken[6] = "priority"
    taken |= _occurrence(order, part(parts, 4), part(parts, 5), scope, (4, 5))
    cursor.mark(number, "ServiceRequest", Components(taken))
    if len(taken) < sum(1 for leaf in parts if leaf):
        value = {"url": f"urn:gateway:hl7v2:{cursor.name}-{number}", "valueString": cursor.raw(number)}
        order.setdefault("extension", []).append(value)
        cursor.mark(number, "~ServiceRequest.extension")


def _occurrence(order: Resource, start: str, end: str, scope: Scope, places: tuple[int, int]) -> dict[int, str]:
    """When the service is to happen; one statement stands, the first. Returns which of the two places it took."""
    first, last = (primitives.date_time(text, scope.env.zone) if text else None for text in (start, end))
    if "occurrenceDateTime" in order or "occurrencePeriod" in order:
        same = bool(first) and last is None and order.get("occurrenceDateTime") == first
        return {places[0]: "occurrenceDateTime"} if same else {}
    if last:
        order["occurrencePeriod"] = ({"start": first} if first else {}) | {"end": last}
        return ({places[0]: "occurrencePeriod.start"} if first else {}) | {places[1]: "occurrencePeriod.end"}
    if first:
        order["occurrenceDateTime"] = first
        return {places[0]: "occurrenceDateTime"}
    return {}


@handles("OBR")
def observation_request(cursor: Cursor, scope: Scope) -> None:
    """OBR → ServiceRequest; with results also DiagnosticReport, and a Specimen where OBR names one."""
    results = (
        scope.job.code in {"ORU", "OUL"}
        or bool(cursor.get(25))
        or (scope.job.code in {"REF", "RQA", "RPA", "RRI"} and scope.group.find("OBX") is not None)
    )
    order = scope.order
    if order is None or order.get("code") or not _same_group(scope):
        order = scope.env.graph.add("ServiceRequest", _order_key(cursor, scope))
        scope.link(order)
        scope.at_visit(order)
    scope.apply(cursor, order)
    scope.job.note(cursor, order)
    order.setdefault("status", "active")
    order["intent"] = {"A": "instance-order", "G": "reflex-order"}.get(cursor.get(11), "order")
    cursor.mark(11, "ServiceRequest.intent", LEAF, 1)
    for number, path in _occurrence(
        order, cursor.get(6) or ("" if results else cursor.get(7)), "", scope, (6, 0)
    ).items():
        cursor.mark(number if cursor.get(6) else 7, f"ServiceRequest.{path}", LEAF, 1)
    _timing(cursor, order, 27, scope)
    _callback(cursor, order, scope)
    scope.order = scope.last = order
    _collection(cursor, order, scope)
    if results:
        scope.report = _report(cursor, order, scope)
        cursor.mark(1, "DiagnosticReport (order of entries)", LEAF, 1)
        if scope.report["status"] in _FINAL:
            order["status"] = "completed"


def _callback(cursor: Cursor, order: Resource, scope: Scope) -> None:
    """OBR-17: how to reach the requester."""
    person = scope.env.graph.find(order.get("requester"))
    if person is None:
        return
    for number, parts in enumerate(cursor.repetitions(17), 1):
        if phone := xtn(parts, scope.env, None):
            if phone not in person.setdefault("telecom", []):
                person["telecom"].append(phone)
            cursor.mark(17, "Practitioner.telecom", None, number)


def _same_group(scope: Scope) -> bool:
    """Whether the ServiceRequest at hand came from the ORC just before this OBR, not from an earlier pair."""
    last = scope.last
    return (
        last is scope.order
        or last is None
        or last["resourceType"] in {"ServiceRequest", "Specimen", "PractitionerRole"}
    )


def _collection(cursor: Cursor, order: Resource, scope: Scope) -> None:
    """Specimen fields of OBR (7–10, 14, 15): of the specimen at hand, or of one made for them."""
    if not any(cursor.raw(number) for number in (9, 10, 14, 15)):
        if scope.specimen is not None:
            _join(order, scope.specimen)
        return
    specimen = scope.specimen or scope.env.graph.add("Specimen", f"{scope.local_key(cursor)}|specimen")
    before = len(specimen)
    scope.apply(cursor, specimen, "OBR-Specimen")
    if scope.specimen is None and len(specimen) == before:
        scope.env.graph.drop(specimen)
        return
    scope.link(specimen)
    _join(order, specimen)


def _join(order: Resource, specimen: Resource) -> None:
    held = reference(specimen)
    if order.setdefault("specimen", [])[-1:] != [held]:
        order["specimen"].append(held)


def _report(cursor: Cursor, order: Resource, scope: Scope) -> Resource:
    report = scope.env.graph.add("DiagnosticReport", _order_key(cursor, scope))
    scope.apply(cursor, report)
    report.setdefault("status", "unknown")
    report.setdefault("code", absent())
    report["basedOn"] = [reference(order)]
    scope.link(report)
    scope.at_visit(report)
    if order.get("specimen"):
        report["specimen"] = list(order["specimen"])
    if "issued" in report and "T" not in report["issued"]:
        del report["issued"]
    return report


@handles("TQ1")
def timing(cursor: Cursor, scope: Scope) -> None:
    """TQ1 → timing and priority of the order at hand; what FHIR has no plain element for is carried."""
    target = scope.medication or scope.order or scope.immunization or scope.appointment
    if target is None:
        return
    scope.apply(cursor, target)
    cursor.owner = target
    if target["resourceType"] == "ServiceRequest":
        for number, path in _occurrence(target, cursor.get(7), cursor.get(8), scope, (7, 8)).items():
            cursor.mark(number, f"ServiceRequest.{path}", LEAF, 1)


@handles("SPM")
def specimen(cursor: Cursor, scope: Scope) -> None:
    """SPM → Specimen."""
    numbers = ei(within(cursor.first(2), 1), scope.env, None)
    key = f"{numbers.get('system', '')}|{numbers['value']}" if numbers else scope.local_key(cursor)
    resource = scope.make("Specimen", key, cursor)
    scope.link(resource)
    scope.specimen = resource
    if scope.order is not None:
        _join(scope.order, resource)
    if scope.report is not None:
        _join(scope.report, resource)


@handles("RXO", "RXE")
def medication(cursor: Cursor, scope: Scope) -> None:
    """RXO, RXE → MedicationRequest. What was encoded (RXE) stands; what was ordered differently is carried."""
    resource = scope.medication
    if resource is None:
        resource = scope.medication = _request("MedicationRequest", cursor, scope)
        resource["status"] = "active"
    if cursor.name == "RXE" and scope.group.find("RXO"):
        resource.pop("medicationCodeableConcept", None)
    scope.apply(cursor, resource)
    if resource.get("substitution") == {}:
        del resource["substitution"]
    resource.setdefault("medicationCodeableConcept", absent())
    cursor.owner = resource
    scope.last = resource


@handles("RXR", "RXC", "RXD")
def medication_detail(cursor: Cursor, scope: Scope) -> None:
    """RXR → route and site; RXC, RXD are carried with their medication."""
    target = scope.immunization or scope.medication
    if target is None:
        return
    scope.apply(cursor, target)
    cursor.owner = target


@handles("RXA")
def administration(cursor: Cursor, scope: Scope) -> None:
    """RXA → Immunization (VXU); elsewhere the administration is carried with its order."""
    resource = scope.immunization
    if resource is None:
        resource = scope.immunization = _request("Immunization", cursor, scope)
    scope.apply(cursor, resource)
    status = {"CP": "completed", "PA": "completed", "RE": "not-done", "NA": "not-done"}.get(cursor.get(20), "completed")
    resource["status"] = status
    if cursor.get(20):
        cursor.mark(20, "Immunization.status", LEAF, 1)
    if cursor.get(21) == "D":
        resource["status"] = "entered-in-error"
    if cursor.get(6) and cursor.get(6) != "999":
        amount: dict[str, Any] = {}
        put_value(amount, "NM", cursor, 6, scope)
        if quantity := amount.get("valueQuantity"):
            resource["doseQuantity"] = quantity | unit(cursor.first(7))
            cursor.mark(6, "Immunization.doseQuantity.value", LEAF, 1)
            cursor.mark(7, "Immunization.doseQuantity.unit")
    resource.setdefault("vaccineCode", absent())
    if "occurrenceDateTime" not in resource:
        resource["occurrenceString"] = "unknown"
    for parts in cursor.repetitions(9)[:1]:
        origin = code(parts[1])
        resource["primarySource"] = origin == "00"
        if origin and origin != "00":
            resource["reportOrigin"] = concept("urn:oid:2.16.840.1.114222.4.5.274", origin)
        cursor.mark(9, "Immunization.reportOrigin", None, 1)
    cursor.owner = resource
    scope.last = resource
