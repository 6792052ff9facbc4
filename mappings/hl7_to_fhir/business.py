"""IN1, IN2, IN3, FT1, SCH, AIS, AIG, AIL, AIP, TXA: insurance, charges, appointments, documents."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from . import primitives
from .actors import location, organization, practitioner
from .contacts import xad, xpn, xtn
from .cursor import CODED, LEAF, PAIR, Components, Cursor
from .datatypes import cp, cwe, cx
from .environment import Env, part
from .graph import Resource, absent, reference
from .job import Scope, handles
from .recall import organization_of
from .special import coverage_class


def _payer(cursor: Cursor, env: Env) -> Resource | None:
    """IN1-3 to IN1-7 → the payer's Organization."""
    held = cx(cursor.first(3), env, None) if cursor.raw(3) else None
    if held is None:
        found = organization(cursor.first(4), env)
    else:
        key = f"{held.get('system') or held.get('assigner', {}).get('display', '')}|{held['value']}"
        found, new = env.graph.resource("Organization", key)
        if new:
            found["identifier"] = [held]
    if found is None:
        return None
    cursor.mark(3, "Organization.identifier", None, 1)
    if name := cursor.get(4):
        found.setdefault("name", name)
        cursor.mark(4, "Organization.name", CODED, 1)
    found.setdefault("name", held["value"] if held else "unknown")
    for number, parts in enumerate(cursor.repetitions(5), 1):
        if address := xad(parts, env, None):
            if address not in found.setdefault("address", []):
                found["address"].append(address)
            cursor.mark(5, "Organization.address", None, number)
    if contact := xpn(cursor.first(6), env, None) if cursor.raw(6) else None:
        entry = {"name": contact}
        if entry not in found.setdefault("contact", []):
            found["contact"].append(entry)
        cursor.mark(6, "Organization.contact.name", None, 1)
    for number, parts in enumerate(cursor.repetitions(7), 1):
        if phone := xtn(parts, env, None):
            if phone not in found.setdefault("telecom", []):
                found["telecom"].append(phone)
            cursor.mark(7, "Organization.telecom", None, number)
    return found


def _subscriber(cursor: Cursor, coverage: Resource, scope: Scope) -> None:
    """IN1-16, 18, 19, 43: the insured; the patient, or a RelatedPerson."""
    relation = next((c["code"] for c in coverage.get("relationship", {}).get("coding", ())[:1]), "")
    if not any(cursor.raw(number) for number in (16, 18, 19, 43)):
        if relation == "self" and scope.patient is not None:
            coverage["subscriber"] = reference(scope.patient)
        return
    if relation == "self" and scope.patient is not None:
        holder: Resource = {"resourceType": "Patient"}
        coverage["subscriber"] = reference(scope.patient)
    else:
        holder = scope.env.graph.add("RelatedPerson", f"{scope.local_key(cursor)}|subscriber")
        scope.link(holder, "patient")
        coverage["subscriber"] = reference(holder)
    scope.apply(cursor, holder, "IN1-RelatedPerson")


def _policy_holder(cursor: Cursor, coverage: Resource, scope: Scope) -> None:
    """IN1-9, 10, 11, 44: the group and the employer behind it."""
    if group := cursor.get(8) or cursor.get(9):
        coverage.setdefault("class", []).append(coverage_class("group", group, cursor.get(9)))
        cursor.mark(8, "Coverage.class[group].value", LEAF, 1)
        cursor.mark(9, "Coverage.class[group].name", CODED, 1)
    held = cx(cursor.first(10), scope.env, None) if cursor.raw(10) else None
    name = cursor.get(11)
    if not (held or name):
        return
    key = f"{held.get('system') or cursor.get(10, 4)}|{held['value']}" if held else f"name|{name}"
    employer, _ = scope.env.graph.resource("Organization", key)
    if held:
        employer.setdefault("identifier", [held])
        cursor.mark(10, "Organization.identifier", None, 1)
    employer.setdefault("name", name or (held or {})["value"])
    cursor.mark(11, "Organization.name", CODED, 1)
    for parts in cursor.repetitions(44)[:1]:
        if address := xad(parts, scope.env, None):
            employer.setdefault("address", [address])
            cursor.mark(44, "Organization.address", None, 1)
    coverage["policyHolder"] = reference(employer)


@handles("IN1")
def insurance(cursor: Cursor, scope: Scope) -> None:
    """IN1 → Coverage with payer, insured and employer."""
    member = cursor.get(49) or cursor.get(36)
    key = f"{cursor.get(3)}|{cursor.get(2)}|{member}" if member else scope.local_key(cursor)
    coverage = scope.make("Coverage", key, cursor)
    coverage["status"] = "active"
    if member:
        coverage["subscriberId"] = member
    if not cursor.get(22) and (order := primitives.integer(cursor.get(1), 1)) is not None:
        coverage["order"] = order
        cursor.mark(1, "Coverage.order", LEAF, 1)
    else:
        cursor.mark(1, "!set id: order only")
    found = organization_of("payer", (3, 4, 5, 6, 7), cursor, scope.env, _payer)
    coverage["payor"] = [reference(found)] if found else [absent()]
    _policy_holder(cursor, coverage, scope)
    _subscriber(cursor, coverage, scope)
    cursor.owner = coverage
    scope.link(coverage, "beneficiary")
    scope.coverage = coverage


@handles("IN2", "IN3")
def insurance_detail(cursor: Cursor, scope: Scope) -> None:
    """IN2, IN3 → the Coverage before them."""
    if scope.coverage is None:
        return
    scope.apply(cursor, scope.coverage)
    cursor.owner = scope.coverage


_CHARGE_STATUS = {"CG": "billable", "CD": "aborted", "PY": "billed", "AJ": "billable", "CO": "billable"}


@handles("FT1")
def charge(cursor: Cursor, scope: Scope) -> None:
    """FT1 → ChargeItem."""
    identifier = cursor.get(2)
    resource = scope.make(
        "ChargeItem", f"{identifier}|{cursor.index}" if identifier else scope.local_key(cursor), cursor
    )
    resource["status"] = _CHARGE_STATUS.get(cursor.get(6), "unknown")
    cursor.mark(6, "ChargeItem.status", CODED, 1)
    if code := cwe(cursor.first(25), scope.env, None) if cursor.raw(25) else None:
        resource["code"] = code
        cursor.mark(25, "ChargeItem.code", None, 1)
        if cursor.raw(7):
            value = {"url": "urn:gateway:hl7v2:FT1-7", "valueString": cursor.raw(7)}
            resource.setdefault("extension", []).append(value)
            cursor.marks.pop(7, None)
            cursor.mark(7, "~ChargeItem.extension")
    resource.setdefault("code", {"text": "unspecified charge"})
    amount = cp(cursor.first(11), scope.env, None) if cursor.raw(11) else None
    if amount is not None and "priceOverride" not in resource:
        resource["priceOverride"] = amount
        cursor.mark(11, "ChargeItem.priceOverride", PAIR, 1)
    scope.link(resource)
    if scope.encounter is not None:
        resource["context"] = reference(scope.encounter)
    if isinstance(resource.get("enterer"), dict) and not resource["enterer"]:
        del resource["enterer"]
    cursor.owner = resource
    scope.charge = resource


_TIMES = Components({3: "end", 4: "start", 5: "end"})
_APPOINTMENT = {"S12": "booked", "S13": "booked", "S14": "booked", "S15": "cancelled", "S16": "cancelled",
                "S17": "entered-in-error", "S26": "noshow"}  # fmt: skip


@handles("SCH")
def schedule(cursor: Cursor, scope: Scope) -> None:
    """SCH → Appointment."""
    placer, filler = cursor.get(1), cursor.get(2)
    key = f"{placer or filler}|{cursor.get(1, 2)}" if placer or filler else scope.local_key(cursor)
    resource = scope.make("Appointment", key, cursor)
    if scope.job.trigger in {"S15", "S16", "S17", "S26"} or "status" not in resource:
        resource["status"] = _APPOINTMENT.get(scope.job.trigger, "booked")
    if cursor.get(25):
        cursor.mark(25, "Appointment.status")
    start, end = (cursor.get(11, 4), cursor.get(11, 5)) if cursor.raw(11) else ("", "")
    _times(resource, start, end, cursor.get(9) or cursor.get(11, 3), cursor.get(10), scope)
    cursor.mark(11, "Appointment", _TIMES, 1)
    cursor.mark(9, "Appointment.minutesDuration", LEAF, 1)
    cursor.mark(10, "Appointment.minutesDuration", CODED, 1)
    for number, role in ((16, "filler contact"), (12, "placer contact"), (20, "entered by")):
        for parts in cursor.repetitions(number)[:1]:
            if person := practitioner(parts, scope.env):
                entry = {"actor": reference(person), "type": [{"text": role}], "status": "accepted"}
                resource.setdefault("participant", []).append(entry)
                cursor.mark(number, "Appointment.participant.actor", None, 1)
    cursor.owner = resource
    scope.appointment = resource


_UNIT_MINUTES = {
    "M": 1,
    "MIN": 1,
    "MINUTES": 1,
    "MINUTE": 1,
    "H": 60,
    "HR": 60,
    "HOURS": 60,
    "D": 1440,
    "S": 1 / 60,
    "SEC": 1 / 60,
}


def _times(resource: Resource, start: str, end: str, duration: str, units: str, scope: Scope) -> None:
    """Start, end and length of an appointment; an end without a start says nothing."""
    first = primitives.instant(start, scope.env.zone) if start else None
    last = primitives.instant(end, scope.env.zone) if end else None
    length = primitives.number(duration.lstrip("Mm")) if duration else None
    minutes = round(float(length) * _UNIT_MINUTES.get(units.upper().strip() or "M", 1)) if length is not None else None
    if minutes is not None and 0 < minutes < 525_600:
        resource["minutesDuration"] = minutes
        if first and "T" in first and last is None:
            last = (datetime.fromisoformat(first) + timedelta(minutes=minutes)).isoformat()
    if first and "T" in first:
        resource["start"] = first
        if last and "T" in last:
            resource["end"] = last


@handles("AIS", "AIG", "AIL", "AIP")
def appointment_resource(cursor: Cursor, scope: Scope) -> None:
    """AIS → service; AIG, AIL, AIP → participants of the Appointment."""
    appointment = scope.appointment
    if appointment is None:
        return
    if cursor.name == "AIS":
        if service := cwe(cursor.first(3), scope.env, None):
            appointment.setdefault("serviceType", []).append(service)
            cursor.mark(3, "Appointment.serviceType", None, 1)
        _start(cursor, appointment, 4, 7, 8, scope)
        cursor.owner = appointment
        scope.last = appointment
        return
    entry = _participant(cursor, scope)
    if entry is not None:
        appointment.setdefault("participant", []).append(entry)
    first = {"AIG": 8, "AIL": 6, "AIP": 6}[cursor.name]
    _start(cursor, appointment, first, first + 3, first + 4, scope)
    cursor.owner = appointment
    scope.last = appointment


def _start(cursor: Cursor, appointment: Resource, start: int, duration: int, units: int, scope: Scope) -> None:
    if cursor.get(start) and "start" not in appointment:
        _times(appointment, cursor.get(start), "", cursor.get(duration), cursor.get(units), scope)
        cursor.mark(start, "Appointment.start", LEAF, 1)
        cursor.mark(duration, "Appointment.minutesDuration", LEAF, 1)
        cursor.mark(units, "Appointment.minutesDuration", CODED, 1)


def _participant(cursor: Cursor, scope: Scope) -> dict[str, Any] | None:
    parts = cursor.first(3)
    actor: Resource | None = None
    if cursor.name == "AIL":
        actor = location(parts, scope.env)
    elif cursor.name == "AIP":
        actor = practitioner(parts, scope.env)
    elif value := primitives.string(part(parts, 1) or part(parts, 2)):
        actor, _ = scope.env.graph.resource("Device", f"{part(parts, 3)}|{value}")
        actor["identifier"] = [{"value": value}]
        actor["deviceName"] = [{"name": part(parts, 2) or value, "type": "user-friendly-name"}]
    if actor is None:
        return None
    cursor.mark(3, "Appointment.participant.actor", None if cursor.name != "AIG" else PAIR, 1)
    entry: dict[str, Any] = {"actor": reference(actor), "status": "accepted"}
    if kind := cwe(cursor.first(4), scope.env, None) if cursor.raw(4) else None:
        entry["type"] = [kind]
        cursor.mark(4, "Appointment.participant.type", None, 1)
    return entry


_DOCUMENT_STATUS = {"OB": "superseded", "CA": "entered-in-error", "UN": "current", "AV": "current"}


@handles("TXA")
def document(cursor: Cursor, scope: Scope) -> None:
    """TXA → DocumentReference; its content are the OBX that follow."""
    number, assigner = cursor.get(12), cursor.get(12, 2)
    resource = scope.make("DocumentReference", f"{assigner}|{number}" if number else scope.local_key(cursor), cursor)
    resource["status"] = _DOCUMENT_STATUS.get(cursor.get(19), "current")
    if scope.job.trigger == "T11":
        resource["status"] = "entered-in-error"
    if parent := cursor.get(13):
        resource["relatesTo"] = [
            {
                "code": "replaces" if scope.job.trigger in {"T09", "T10"} else "appends",
                "target": {"identifier": {"value": parent}},
            }
        ]
        cursor.mark(13, "DocumentReference.relatesTo", None, 1)
    if "date" in resource and "T" not in resource["date"]:
        del resource["date"]
    if cursor.raw(3) and (media := cursor.get(3).lower()):
        cursor.mark(3, "DocumentReference.content.attachment.contentType", LEAF, 1)
        resource.setdefault("category", []).append({"text": media})
    resource["content"] = [{"attachment": absent()}]
    scope.link(resource)
    if scope.encounter is not None:
        resource["context"] = {"encounter": [reference(scope.encounter)]}
    cursor.owner = resource
    scope.document = resource
