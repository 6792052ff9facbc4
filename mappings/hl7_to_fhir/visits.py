"""PV1, PV2, AL1, IAM, DG1, PR1, PRB, ACC: the visit and what is known, found and done in it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from . import primitives
from .cursor import CODED, LEAF, Cursor
from .datatypes import cwe, numbered
from .graph import Resource, absent, reference
from .job import Job, Scope, concept, handles
from .vocabulary import system_uri, vocabulary

_BY_EVENT = {"A03": "finished", "A11": "cancelled", "A27": "cancelled", "A38": "cancelled", "A05": "planned",
             "A14": "planned", "A13": "in-progress", "A21": "onleave", "A22": "in-progress"}  # fmt: skip
"""Events that say more about the visit than its class and its end do."""
_CLEAR = frozenset({"finished", "cancelled", "onleave"})


@handles("PV1")
def visit(cursor: Cursor, scope: Scope) -> None:
    """PV1 → Encounter."""
    job = scope.job
    key = ""
    for number in (19, 50):
        if cursor.get(number) and (held := numbered(cursor.first(number), scope.env)):
            key = f"{held[0] or cursor.get(number, 4)}|{held[1]}"
            break
    resource, new = scope.env.graph.resource("Encounter", key or scope.local_key(cursor))
    scope.apply(cursor, resource if new else {"resourceType": "Encounter"})
    by_event = _BY_EVENT.get(job.trigger, "") if job.code in {"ADT", "BAR"} else ""
    if by_event in _CLEAR or "status" not in resource:
        resource["status"] = by_event or ("finished" if cursor.get(45) else "unknown")
    if "class" not in resource:
        resource["class"] = {"system": "http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "code": "UNK"}
    if cursor.get(2):
        cursor.mark(2, "Encounter.status", LEAF, 1)
    scope.link(resource)
    scope.encounter = scope.last = resource
    job.note(cursor, resource)
    if job.encounter is None:
        job.encounter = resource


@handles("PV2")
def visit_detail(cursor: Cursor, scope: Scope) -> None:
    """PV2 → Encounter."""
    if scope.encounter is not None:
        scope.apply(cursor, scope.encounter)


@handles("AL1", "IAM")
def allergy(cursor: Cursor, scope: Scope) -> None:
    """AL1, IAM → AllergyIntolerance."""
    resource = scope.make("AllergyIntolerance", scope.local_key(cursor), cursor)
    system = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
    resource.setdefault("clinicalStatus", concept(system, "active"))
    severity = vocabulary("AllergySeverity[AllergyIntolerance.reaction.severity]").lookup(cursor.get(4))
    if resource.get("reaction") and severity and severity[0] in {"mild", "moderate", "severe"}:
        resource["reaction"][0]["severity"] = severity[0]
        cursor.mark(4, "AllergyIntolerance.reaction.severity", CODED, 1)
    scope.link(resource, "patient")
    scope.at_visit(resource)


def described_code(cursor: Cursor, resource: Resource, text: int, method: int) -> None:
    """The code of a diagnosis or procedure: coding method and description of old messages have fields of their own."""
    held = resource.get("code")
    kind = resource["resourceType"]
    if held is None and cursor.get(text):
        held = resource["code"] = {}
    if held is None:
        return
    first = (held.get("coding") or [{}])[0]
    if (name := cursor.get(method)) and first:
        if "system" not in first or first["system"].startswith("urn:id:"):
            first["system"] = system_uri(name)
        cursor.mark(method, f"{kind}.code.coding.system", LEAF, 1)
    if description := cursor.get(text):
        held.setdefault("text", description)
        cursor.mark(text, f"{kind}.code.text", None, 1)


_DIAGNOSIS_ROLE = {"A": "AD", "W": "AD", "F": "DD"}
_ROLE_SYSTEM = "http://terminology.hl7.org/CodeSystem/diagnosis-role"


@handles("DG1")
def diagnosis(cursor: Cursor, scope: Scope) -> None:
    """DG1 → Condition, and a diagnosis of the visit."""
    resource = scope.make("Condition", scope.local_key(cursor), cursor)
    described_code(cursor, resource, 4, 2)
    resource["category"] = [concept("http://terminology.hl7.org/CodeSystem/condition-category", "encounter-diagnosis")]
    if cursor.get(21) == "D":
        system = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
        resource["verificationStatus"] = concept(system, "entered-in-error")
    if cursor.get(21):
        cursor.mark(21, "Condition.verificationStatus", LEAF, 1)
    scope.link(resource)
    scope.at_visit(resource)
    asked = scope.order or scope.medication
    if asked is not None:
        asked.setdefault("reasonReference", []).append(reference(resource))


def _encounter_diagnosis(cursor: Cursor, condition: Resource, encounter: Resource) -> None:
    """DG1-6 and DG1-15: what the diagnosis is to the visit."""
    entry: dict[str, Any] = {"condition": reference(condition)}
    cursor.mark(1, "Encounter.diagnosis (order)", LEAF, 1)
    if use := primitives.code(cursor.get(6)):
        codings = [{"system": "http://terminology.hl7.org/CodeSystem/v2-0052", "code": use}]
        if target := _DIAGNOSIS_ROLE.get(use):
            codings.insert(0, {"system": _ROLE_SYSTEM, "code": target})
        entry["use"] = {"coding": codings}
        cursor.mark(6, "Encounter.diagnosis.use", LEAF, 1)
    if (rank := primitives.integer(cursor.get(15), 1)) is not None:
        entry["rank"] = rank
        cursor.mark(15, "Encounter.diagnosis.rank", LEAF, 1)
    encounter.setdefault("diagnosis", []).append(entry)


@handles("PR1")
def procedure(cursor: Cursor, scope: Scope) -> None:
    """PR1 → Procedure: done, or asked for in a request for authorization."""
    resource = scope.make("Procedure", scope.local_key(cursor), cursor)
    described_code(cursor, resource, 4, 2)
    resource["status"] = "preparation" if scope.job.code in {"RQA", "RPA"} else "completed"
    start = primitives.date_time(cursor.get(5), scope.env.zone)
    minutes = primitives.integer(cursor.get(7), 0)
    if start and minutes is not None and "T" in start:
        end = (datetime.fromisoformat(start) + timedelta(minutes=min(minutes, 525_600))).isoformat()
        resource["performedPeriod"] = {"start": start, "end": end}
        cursor.mark(5, "Procedure.performedPeriod.start", LEAF, 1)
        cursor.mark(7, "Procedure.performedPeriod.end", LEAF, 1)
    elif start:
        resource["performedDateTime"] = start
        cursor.mark(5, "Procedure.performedDateTime", LEAF, 1)
    scope.link(resource)
    scope.at_visit(resource)


@handles("PRB")
def problem(cursor: Cursor, scope: Scope) -> None:
    """PRB → Condition of the problem list; the same problem in later messages is the same resource."""
    identifier, assigner = cursor.get(4), cursor.get(4, 2)
    key = f"{assigner}|{identifier}" if identifier else scope.local_key(cursor)
    resource = scope.make("Condition", key, cursor)
    described_code(cursor, resource, 0, 0)
    resource["category"] = [concept("http://terminology.hl7.org/CodeSystem/condition-category", "problem-list-item")]
    deleted = cursor.take(1, "Condition.verificationStatus") == "DE" or scope.job.trigger == "PC3"
    system = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
    resource["verificationStatus"] = concept(system, "entered-in-error" if deleted else "confirmed")
    if not deleted:
        status = "resolved" if "abatementDateTime" in resource else "active"
        resource["clinicalStatus"] = concept("http://terminology.hl7.org/CodeSystem/condition-clinical", status)
    if cursor.get(7) and cursor.get(16):
        cursor.mark(16, "!onset date of PRB-7 is kept")
    scope.link(resource)
    scope.at_visit(resource)


@handles("ACC")
def accident(cursor: Cursor, scope: Scope) -> None:
    """ACC → Observation of the accident, carrying what FHIR has no element for."""
    resource = scope.env.graph.add("Observation", scope.local_key(cursor))
    resource["status"] = "final"
    kind = cwe(cursor.first(2), scope.env, None) if cursor.raw(2) else None
    resource["code"] = kind or {"text": "Accident"}
    if kind:
        cursor.mark(2, "Observation.code")
    if at := primitives.date_time(cursor.get(1), scope.env.zone):
        resource["effectiveDateTime"] = at
        cursor.mark(1, "Observation.effectiveDateTime", LEAF, 1)
    if text := cursor.take(8, "Observation.valueString") or cursor.take(3, "Observation.valueString"):
        resource["valueString"] = text
    cursor.owner = resource
    scope.link(resource)
    scope.job.note(cursor, resource)


def finish_conditions(job: Job) -> None:
    """Conditions need a code or say that they have none; diagnoses belong to the visit, wherever its PV1 stood."""
    for cursor, resource in [*job.made.get("DG1", ()), *job.made.get("PRB", ())]:
        resource.setdefault("code", absent())
        if cursor.name == "DG1" and job.encounter is not None:
            _encounter_diagnosis(cursor, resource, job.encounter)
            resource.setdefault("encounter", reference(job.encounter))
