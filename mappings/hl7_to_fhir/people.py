"""PID, PD1, NK1, GT1, MRG, ROL, PRT, PRD, CTD and the master files of staff (MFE, STF, PRA, CER)."""

from __future__ import annotations

from typing import Any

from adapters.hl7.wire import NULL

from .actors import location, organization, practitioner
from .cursor import CODED, LEAF, Cursor
from .datatypes import cwe, cx, numbered
from .environment import part
from .graph import Resource, reference
from .job import Scope, concept, handles
from .primitives import date, string

ROLE = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"


def _patient_key(cursor: Cursor, scope: Scope, fields: tuple[int, ...]) -> str:
    """The medical record number where there is one, else the first identifier, else this segment."""
    for number in fields:
        repetitions = [parts for parts in cursor.repetitions(number) if parts[1] not in {"", NULL}]
        preferred = [parts for parts in repetitions if part(parts, 5) == "MR"] or repetitions
        if preferred and (held := numbered(preferred[0], scope.env)):
            return f"{held[0] or part(preferred[0], 4)}|{held[1]}"
    return scope.local_key(cursor)


@handles("PID")
def patient(cursor: Cursor, scope: Scope) -> None:
    """PID → Patient, the account (PID-18) and the mother's identifier (PID-21)."""
    job = scope.job
    resource, new = scope.env.graph.resource("Patient", _patient_key(cursor, scope, (3, 2, 4)))
    if new:
        scope.apply(cursor, resource)
    else:
        scope.apply(cursor, {"resourceType": "Patient"})
    if cursor.get(25):
        cursor.mark(24, "Patient.multipleBirthInteger")
    if cursor.get(29):
        cursor.mark(30, "Patient.deceasedDateTime")
    scope.patient = scope.last = resource
    job.note(cursor, resource)
    if job.patient is None:
        job.patient = resource
    for parts in cursor.repetitions(18)[:1]:
        if held := cx(parts, scope.env, None):
            account = _identified("Account", held, scope)
            account |= {"identifier": [held], "status": "active", "subject": [reference(resource)]}
            job.account = job.account or account
            cursor.mark(18, "Account.identifier", None, 1)
    for number, parts in enumerate(cursor.repetitions(21), 1):
        if held := cx(parts, scope.env, None):
            mother = _identified("RelatedPerson", held, scope)
            mother |= {
                "identifier": [held],
                "patient": reference(resource),
                "relationship": [concept(ROLE, "MTH", "mother")],
            }
            cursor.mark(21, "RelatedPerson.identifier", None, number)


def _identified(kind: str, held: dict[str, Any], scope: Scope) -> Resource:
    """The resource an Identifier names."""
    assigner = held.get("system") or held.get("assigner", {}).get("display", "")
    return scope.env.graph.resource(kind, f"{assigner}|{held['value']}")[0]


@handles("PD1")
def demographics(cursor: Cursor, scope: Scope) -> None:
    """PD1 → Patient."""
    if scope.patient is not None:
        scope.apply(cursor, scope.patient)


@handles("NK1")
def next_of_kin(cursor: Cursor, scope: Scope) -> None:
    """NK1 → RelatedPerson."""
    resource = scope.make("RelatedPerson", scope.local_key(cursor), cursor)
    scope.link(resource, "patient")


@handles("GT1")
def guarantor(cursor: Cursor, scope: Scope) -> None:
    """GT1 → RelatedPerson (or Organization where only a company is named), guarantor of an Account."""
    company = string(cursor.get(21)) if not cursor.get(3) else None
    account = scope.job.account or scope.env.graph.resource("Account", f"{scope.env.control}|guarantor")[0]
    scope.job.account = account
    account["status"] = "active"
    if "subject" not in account and scope.patient is not None:
        account["subject"] = [reference(scope.patient)]
    if company:
        party = organization(["", company], scope.env) or {}
        cursor.owner = party
        cursor.mark(21, "Organization.name", None, 1)
    else:
        party = scope.make("RelatedPerson", scope.local_key(cursor), cursor)
        scope.link(party, "patient")
    if party:
        account.setdefault("guarantor", []).append({"party": reference(party)})


@handles("MRG")
def merge(cursor: Cursor, scope: Scope) -> None:
    """MRG → the patient that was merged away, linked both ways."""
    survivor = scope.patient
    old, new = scope.env.graph.resource("Patient", _patient_key(cursor, scope, (1, 4, 2)))
    scope.job.note(cursor, old)
    if new:
        scope.apply(cursor, old)
    else:
        scope.apply(cursor, {"resourceType": "Patient"})
    for number, kind in ((3, "Account"), (5, "Encounter")):
        for parts in cursor.repetitions(number)[:1]:
            held = cx(parts, scope.env, None)
            if held and survivor is not None:
                value = {"url": f"urn:gateway:hl7v2:MRG-{number}", "valueIdentifier": held}
                old.setdefault("extension", []).append(value)
                cursor.mark(number, f"~{kind}.identifier", None, 1)
    if survivor is None or survivor is old or scope.job.trigger in {"A45", "A44", "A43"}:
        return
    old["active"] = False
    _link(old, survivor, "replaced-by")
    _link(survivor, old, "replaces")


def _link(holder: Resource, other: Resource, kind: str) -> None:
    link = {"other": reference(other), "type": kind}
    if link not in holder.setdefault("link", []):
        holder["link"].append(link)


def _participant(cursor: Cursor, scope: Scope, role_field: int, person_field: int) -> Resource | None:
    """A role and a person → PractitionerRole."""
    people = [found for parts in cursor.repetitions(person_field) if (found := practitioner(parts, scope.env))]
    if not people:
        return None
    cursor.mark(person_field, "PractitionerRole.practitioner")
    role = scope.env.graph.add("PractitionerRole", scope.local_key(cursor))
    if coded := cwe(cursor.first(role_field), scope.env, None):
        role["code"] = [coded]
        cursor.mark(role_field, "PractitionerRole.code", None, 1)
    role["practitioner"] = reference(people[0])
    return role


def _involve(role: Resource, scope: Scope) -> None:
    """Hang a participant where the segment before it has a place for one."""
    target = scope.last or scope.encounter or scope.patient
    kind = target["resourceType"] if target else ""
    if target is None:
        return
    if kind == "Patient":
        target.setdefault("generalPractitioner", []).append(reference(role))
    elif kind in {"Observation", "ServiceRequest", "DiagnosticReport"}:
        target.setdefault("performer", []).append(reference(role))
    elif kind in {"Procedure", "Immunization"}:
        target.setdefault("performer", []).append({"actor": reference(role)})
    elif kind == "Encounter":
        target.setdefault("participant", []).append({"individual": reference(role)})


@handles("ROL")
def role(cursor: Cursor, scope: Scope) -> None:
    """ROL → PractitionerRole."""
    resource = _participant(cursor, scope, 3, 4)
    if resource is None:
        return
    scope.apply(cursor, resource, "ROL-own")
    cursor.owner = resource
    _involve(resource, scope)


@handles("PRT")
def participation(cursor: Cursor, scope: Scope) -> None:
    """PRT → PractitionerRole; a device or an organization alone is one too."""
    resource = _participant(cursor, scope, 4, 5)
    if resource is None:
        resource = scope.env.graph.add("PractitionerRole", scope.local_key(cursor))
        if coded := cwe(cursor.first(4), scope.env, None):
            resource["code"] = [coded]
            cursor.mark(4, "PractitionerRole.code", None, 1)
    for parts in cursor.repetitions(8)[:1]:
        if found := organization(parts, scope.env):
            resource["organization"] = reference(found)
            cursor.mark(8, "PractitionerRole.organization", None, 1)
    for number, parts in enumerate(cursor.repetitions(9), 1):
        if place := location(parts, scope.env):
            resource.setdefault("location", []).append(reference(place))
            cursor.mark(9, "PractitionerRole.location", None, number)
    scope.apply(cursor, resource, "PRT-own")
    cursor.owner = resource
    _involve(resource, scope)


@handles("PRD", "CTD")
def provider(cursor: Cursor, scope: Scope) -> None:
    """PRD, CTD → PractitionerRole with Practitioner or Organization, and Location."""
    role_resource = scope.make("PractitionerRole", scope.local_key(cursor), cursor)
    name = cursor.first(2)
    person_named = bool(part(name, 1) and (part(name, 2) or len(name) > 3))
    if person_named or not cursor.get(2):
        person = _provider_person(cursor, scope)
        if person:
            role_resource["practitioner"] = reference(person)
    else:
        found = organization(["", part(name, 1)], scope.env)
        if found:
            cursor.mark(2, "Organization.name", LEAF, 1)
            _organization_details(cursor, found, scope)
            role_resource["organization"] = reference(found)
    for parts in cursor.repetitions(4)[:1]:
        if place := location(parts, scope.env):
            role_resource["location"] = [reference(place)]
            cursor.mark(4, f"{cursor.name} Location", None, 1)
    if cursor.name == "PRD":
        _provider_organization(cursor, role_resource, scope)
    scope.last = role_resource


def _provider_person(cursor: Cursor, scope: Scope) -> Resource | None:
    number = cursor.get(7)
    if not (number or cursor.get(2)):
        return None
    kind = cursor.get(7, 2)
    key = f"{kind}|{number}" if number else f"{scope.local_key(cursor)}"
    person, new = scope.env.graph.resource("Practitioner", key)
    scope.apply(cursor, person if new else {"resourceType": "Practitioner"}, f"{cursor.name}-Practitioner")
    return person


def _organization_details(cursor: Cursor, found: Resource, scope: Scope) -> None:
    held: Resource = {"resourceType": "Practitioner"}
    scope.apply(cursor, held, f"{cursor.name}-Practitioner")
    for element in ("identifier", "address", "telecom"):
        for value in held.get(element, ()):
            if value not in found.setdefault(element, []):
                found[element].append(value)


def _provider_organization(cursor: Cursor, role_resource: Resource, scope: Scope) -> None:
    """PRD-10 name, 11 address, 13 communication of the provider's organization."""
    if not cursor.raw(10):
        return
    found = organization(cursor.first(10), scope.env)
    if found is None:
        return
    cursor.mark(10, "Organization.name", None, 1)
    scope.apply(cursor, found, "PRD-Organization")
    role_resource["organization"] = reference(found)


@handles("STF")
def staff(cursor: Cursor, scope: Scope) -> None:
    """STF → Practitioner."""
    key = _patient_key(cursor, scope, (2,))
    resource, _ = scope.env.graph.resource("Practitioner", key)
    scope.apply(cursor, resource)
    scope.last = resource
    scope.job.note(cursor, resource)


@handles("PRA")
def practitioner_detail(cursor: Cursor, scope: Scope) -> None:
    """PRA → PractitionerRole of the staff member before it."""
    person = scope.last
    resource = scope.make("PractitionerRole", scope.local_key(cursor), cursor)
    if person is not None and person["resourceType"] == "Practitioner":
        resource["practitioner"] = reference(person)


@handles("CER")
def certificate(cursor: Cursor, scope: Scope) -> None:
    """CER → a qualification of the staff member: what it is, its number, who gave it, how long (2.5.1, 15.4.2)."""
    staff_members = scope.job.made.get("STF")
    if not staff_members:
        return
    person = cursor.owner = staff_members[-1][1]
    target = "Practitioner.qualification"
    kind = cwe(cursor.first(10), scope.env, None) if cursor.raw(10) else None
    held: dict[str, Any] = {"code": kind or {"text": "certificate"}}
    if kind:
        cursor.mark(10, f"{target}.code", CODED, 1)
    if number := cursor.take(2, f"{target}.identifier.value"):
        held["identifier"] = [{"value": number}]
    starts = next((field for field in (25, 24, 23) if date(cursor.get(field))), 0)
    period = {"start": date(cursor.get(starts)) if starts else None, "end": date(cursor.get(27))}
    if any(period.values()):
        held["period"] = {name: value for name, value in period.items() if value}
        for field, name in ((starts, "start"), (27, "end")):
            if name in held["period"]:
                cursor.mark(field, f"{target}.period.{name}", LEAF, 1)
    if cursor.raw(4) and (issuer := organization(cursor.first(4), scope.env)):
        held["issuer"] = reference(issuer)
        cursor.mark(4, f"{target}.issuer", None, 1)
    person.setdefault("qualification", []).append(held)


@handles("MFI", "MFE")
def master_file(cursor: Cursor, scope: Scope) -> None:
    """MFI, MFE → carried with the header: which file, what to do with the entry."""
    cursor.owner = scope.job.header
