"""A PAS request Bundle → 278 request (005010X217), for payers that are reached over X12.

The inverse of x12_278_to_fhir. What the 278 has no room for is reported in `Rendering.left_out`, never cut silently:
diagnoses beyond 12, event providers beyond 14, service providers beyond 10 a line, attachments themselves (275).
Updates carry only the items that changed (PAS 2.2.1); a cancel of everything carries the event alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from adapters.fhir.wire import BundleIndex, entries
from adapters.fhir.wire.elements import cancelled, code, coding, extension, extension_value, extensions, rows
from adapters.fhir.wire.terms import (
    ADMINISTRATION_REFERENCE,
    AUTHORIZATION_NUMBER,
    CARE_TEAM_SCOPE,
    CLAIM_ENCOUNTER,
    DIAGNOSIS_RECORDED,
    DOCUMENT_INFORMATION,
    LEVEL_OF_SERVICE,
    PAS_CODES,
    X12_ENTITY,
)
from adapters.x12.wire.tree import Loop
from gateway.core.errors import Unmappable
from gateway.core.ledger import Ledger
from mappings.claim_model import ClaimView, ServiceLine
from mappings.fhir_claim import view_claim
from mappings.x12_278_lines import is_assigner, names_service, write_line, write_quantity
from mappings.x12_278_terms import (
    CONDITION,
    DATE_ELEMENT,
    DIAGNOSIS_TYPE,
    EVENT_REVIEW,
    HOME_HEALTH,
    MAXIMUM_DIAGNOSES,
    MAXIMUM_EVENT_PROVIDERS,
    MAXIMUM_SERVICE_PROVIDERS,
    PATIENT_STATUS,
    TRACE_ASSIGNER,
)
from mappings.x12_dates import date_values, x12_day, x12_moment
from mappings.x12_parties import entity_type, noting, write_demographics, write_party, write_relation
from mappings.x12_tables import X12, inverse, name_qualifier, table

Element = dict[str, Any]
MAPPING = "claim_to_x12_278@1"
PAYOR = "urn:x12:005010:66:PI"
_EVENT_DATES = ("439", "484", "ABC", "431", "AAH", "435", "096")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """The transaction set, what it leaves out, and how to match the answer's lines."""

    tree: Loop
    left_out: Ledger
    traces: dict[str, int]
    """TRN02 of each line → item sequence."""
    sequences: tuple[int, ...]
    """Item sequence of each line, in order: an update carries the changed items only."""


class _Claim:
    """A PAS request with what it references at hand."""

    def __init__(self, bundle: Element) -> None:
        self.index = BundleIndex(bundle)
        self.claim: Element = entries(bundle)[0]["resource"]
        self.view: ClaimView = view_claim(bundle)
        self.bundle = bundle
        self.left_out = Ledger(MAPPING)
        self.shorten = noting(self.left_out)

    def resource(self, reference: Any) -> Element:
        """The resource meant, {} when it is not in the Bundle."""
        return self.index.resource(reference) or {}

    def party(self, reference: Any) -> tuple[Element, list[Element]]:
        """(person or organization, specialties): a PractitionerRole is followed to who it is about."""
        found = self.resource(reference)
        if found.get("resourceType") != "PractitionerRole":
            return found, rows(found, "type")
        specialty = rows(found, "specialty")
        return self.resource(found.get("practitioner")) or self.resource(found.get("organization")), specialty


def request(bundle: Element, *, now: datetime, trace_assigner: str = "", submitter_number: str = "") -> Rendering:
    """The 278 request for a PAS Bundle.

    `trace_assigner` (TRN03, ten characters) stands in where the Claim's identifier names none; `submitter_number` is
    BHT03 (default: the Bundle's identifier). Raises Unmappable when the patient, payer or requester is missing.
    """
    source = _Claim(bundle)
    root = Loop("278")
    day, clock = x12_moment(now)
    root.add("BHT", "0007", "13", (submitter_number or source.view.bundle_identifier[1])[:50] or "0", day, clock)
    payer = root.add_loop("2000A")
    payer.add("HL", "20")
    insurer = source.resource(source.claim.get("insurer"))
    requester, specialty = source.party(source.claim.get("provider"))
    if not insurer or not requester:
        raise Unmappable("a 278 needs the payer and the requester as resources of the Bundle")
    write_party(payer.add_loop("2010A"), "X3", _only(insurer), source.shorten)
    asking = payer.add_loop("2000B")
    asking.add("HL", "21")
    kind = entity_type(requester, "1P")
    write_party(asking.add_loop("2010B"), "FA" if kind == "FA" else "1P", requester, source.shorten, specialty)
    holder = _people(source, asking)
    lines = _event(source, holder, trace_assigner)
    traces = {trace[1]: line.sequence for line in lines for trace in line.traces if trace[1]}
    sequences = tuple(line.sequence for line in lines)
    return Rendering(tree=root, left_out=source.left_out, traces=traces, sequences=sequences)


def _only(organization: Element) -> Element:
    """A payer's name and number: 2010A has no more. A number of its own kind is a payor identification (NM108 PI)."""
    known = [row for row in rows(organization, "identifier") if name_qualifier(str(row.get("system", "")))]
    own = [{**row, "system": PAYOR} for row in rows(organization, "identifier") if row.get("value")]
    return {
        "resourceType": organization["resourceType"],
        "name": organization.get("name", ""),
        "identifier": known or own[:1],
    }


def _people(source: _Claim, asking: Loop) -> Loop:
    """2000C, and 2000D where the patient is not the subscriber. Returns the loop the event belongs into."""
    insurance = next(iter(rows(source.claim, "insurance")), {})
    coverage = source.resource(insurance.get("coverage"))
    patient = source.resource(source.claim.get("patient"))
    relationship = code(coverage.get("relationship"), X12 + "1069")
    if not relationship:
        relationship = inverse("codes", "relationships").get(code(coverage.get("relationship")), "18")
    subscriber = source.resource(coverage.get("subscriber")) or patient
    if not patient:
        raise Unmappable("a 278 needs the patient as resource of the Bundle")
    is_self = relationship == "18" or subscriber is patient
    loop = asking.add_loop("2000C")
    loop.add("HL", "22")
    name = loop.add_loop("2010C")
    write_party(name, "IL", _with_member_number(subscriber, source.view.member_id), source.shorten)
    write_demographics(name, subscriber)
    write_relation(name, subscriber, "18", is_subscriber=True)
    if is_self:
        return loop
    dependent = loop.add_loop("2000D")
    dependent.add("HL", "23")
    own = dependent.add_loop("2010D")
    write_party(own, "QC", {**patient, "identifier": _without_member_number(patient)}, source.shorten)
    write_demographics(own, patient)
    write_relation(own, patient, relationship, is_subscriber=False)
    return dependent


def _with_member_number(patient: Element, number: str) -> Element:
    """The subscriber with the member number in front: NM109 of 2010C is nothing else."""
    others = [row for row in _without_member_number(patient) if row.get("value") != number]
    member = (
        [{"type": {"coding": [{"code": "MB"}]}, "system": "urn:x12:005010:66:MI", "value": number}] if number else []
    )
    return {**patient, "identifier": member + others}


def _without_member_number(patient: Element) -> list[Element]:
    found = [row for row in rows(patient, "identifier") if code(row.get("type")) != "MB"]
    return [row for row in found if not str(row.get("system", "")).startswith("urn:x12:005010:66:")]


def _event(source: _Claim, holder: Loop, assigner: str) -> list[ServiceLine]:
    """2000E and its 2000F. Returns the items that became lines, in order."""
    claim, view = source.claim, source.view
    event = holder.add_loop("2000E")
    event.add("HL", "EV")
    for identifier in rows(claim, "identifier")[:3]:
        event.add("TRN", "1", str(identifier.get("value", ""))[:50], *_assigner(identifier, assigner))
    lines = [line for line in view.lines if line.change] if rows(claim, "related") else list(view.lines)
    first = next(iter(view.lines), None)
    level = code(extension_value(claim, LEVEL_OF_SERVICE))
    place = _place(first.element) if first else ""
    own = {
        str(part.get("url")): str(part.get("valueString", ""))
        for part in rows(extension(claim, EVENT_REVIEW), "extension")
    }
    event.add(
        "UM",
        own.get("UM01") or (first.request_type if first else "") or "HS",
        view.certification_type or ("S" if rows(claim, "related") else "I"),
        own.get("UM03") or (first.category if first else ""),
        place,
        _causes(claim),
        level,
        *(own.get(f"UM{at:02d}", "") for at in range(7, 11)),
    )
    for qualifier, url in (("BB", AUTHORIZATION_NUMBER), ("NT", ADMINISTRATION_REFERENCE)):
        number = str(extension_value(claim, url) or "")
        if number:
            event.add("REF", qualifier, number[:50])
    _dates(claim, event)
    _diagnoses(source, event)
    _conditions(claim, event)
    _stay(source, event)
    _documents(source, event)
    _care_team(source, event)
    if view.kind == "authorization.cancel" and view.certification_type == "3" and not lines:
        return []
    if len(view.lines) == 1 and not names_service(view.lines[0]):
        write_quantity(view.lines[0].element, event)
        return []
    write_quantity({"extension": rows(claim, "extension")}, event)
    for line in lines:
        loop = event.add_loop("2000F")
        write_line(line, loop, source.shorten, kind=code(claim.get("type")), event_place=place)
        _line_providers(source, line.element, loop)
    return lines


def _assigner(identifier: Element, otherwise: str) -> tuple[str, str]:
    """TRN03 and TRN04: from the system `urn:trnorg:…`, the assigner's identifier, or the configured one."""
    system = str(identifier.get("system", ""))
    named = str(((identifier.get("assigner") or {}).get("identifier") or {}).get("value", ""))
    trn03 = system.removeprefix(TRACE_ASSIGNER) if is_assigner(system) else ""
    department = next(
        (
            str(row.get("valueString", ""))
            for row in rows(identifier, "extension")
            if "SubDepartment" in str(row.get("url"))
        ),
        "",
    )
    return trn03[:10] or (named or otherwise or "0000000000")[:10].ljust(10, "0"), department[:50]


def _place(item: Element) -> Any:
    """UM04 of an item's location: place of service or type of bill."""
    place = coding(item.get("locationCodeableConcept"))
    if not place:
        return ""
    return (str(place["code"]), "A" if "nubc" in str(place.get("system", "")).lower() else "B")


def _causes(claim: Element) -> Any:
    """UM05 of an accident."""
    accident = claim.get("accident") or {}
    codes = [str(row["code"]) for row in rows(accident.get("type"), "coding") if str(row.get("system")) == X12 + "1362"]
    if not codes:
        return ""
    place = accident.get("locationAddress") or {}
    filled = [*codes[:3], "", "", ""][:3]
    return (*filled, str(place.get("state", "")), str(place.get("country", "")))


def _dates(claim: Element, event: Loop) -> None:
    names = {category: qualifier for qualifier, category in table("codes")["dates"].items()}
    accident = str((claim.get("accident") or {}).get("date", ""))
    if accident:
        event.add("DTP", "439", "D8", x12_day(accident))
    for row in rows(claim, "supportingInfo"):
        if cancelled(row):
            continue
        qualifier = names.get(code(row.get("category"), PAS_CODES), "") or code(row.get("category"), X12 + DATE_ELEMENT)
        kind, value = date_values(row, "timing")
        if qualifier in _EVENT_DATES and value:
            event.add("DTP", qualifier, kind, value)


def _diagnoses(source: _Claim, event: Loop) -> None:
    """HI: at most twelve; SNOMED and the like are reported, the 278 knows ICD only."""
    known = table("codes")
    composites: list[tuple[str, ...]] = []
    for row in sorted(rows(source.claim, "diagnosis"), key=lambda row: int(row.get("sequence", 0))):
        path = f"Claim.diagnosis[{row.get('sequence')}]"
        found = coding(row.get("diagnosisCodeableConcept"), known["systems"]["icd10"], known["systems"]["icd9"])
        if not found:
            source.left_out.add(path, "ignored", "no ICD code, which the 278 needs")
            continue
        if len(composites) == MAXIMUM_DIAGNOSES:
            source.left_out.add(path, "ignored", f"the 278 carries {MAXIMUM_DIAGNOSES} diagnoses")
            continue
        family = "icd9" if found["system"] == known["systems"]["icd9"] else "icd10"
        role = next((code(kind, DIAGNOSIS_TYPE) for kind in rows(row, "type")), "")
        qualifier = next(
            name
            for name, kind in known["diagnoses"].items()
            if kind["system"] == family and kind.get("type", "") == (role if role in _roles() else "")
        )
        day = x12_day(str(extension_value(row, DIAGNOSIS_RECORDED) or ""))
        composites.append((qualifier, str(found["code"]).replace(".", ""), *(("D8", day) if day else ())))
    if composites:
        event.add("HI", *composites)


def _roles() -> set[str]:
    return {str(kind["type"]) for kind in table("codes")["diagnoses"].values() if "type" in kind}


def _conditions(claim: Element, event: Loop) -> None:
    """CRC and CR6."""
    for row in extensions(claim, CONDITION)[:9]:
        parts = rows(row, "extension")
        category = next((code(part.get("valueCodeableConcept")) for part in parts if part.get("url") == "category"), "")
        is_met = next((part.get("valueBoolean") for part in parts if part.get("url") == "indicator"), True)
        codes = [code(part.get("valueCodeableConcept")) for part in parts if part.get("url") == "code"]
        if category and codes:
            event.add("CRC", category, "Y" if is_met else "N", *codes[:5])
    care = extension(claim, HOME_HEALTH)
    if care:
        found = {str(part.get("url")): part for part in rows(care, "extension")}
        prognosis = code((found.get("prognosis") or {}).get("valueCodeableConcept"))
        start = x12_day(str((found.get("date") or {}).get("valueDate", "")))
        if prognosis and start:
            event.add("CR6", prognosis, start, "", "", "", "", "W", "I")


def _stay(source: _Claim, event: Loop) -> None:
    """CL1 of the Encounter."""
    encounter = source.resource(extension_value(source.claim, CLAIM_ENCOUNTER))
    kind = next((code(row, X12 + "1315") for row in rows(encounter, "type") if code(row, X12 + "1315")), "")
    origin = code((encounter.get("hospitalization") or {}).get("admitSource"), X12 + "1314")
    status = code(extension_value(encounter, PATIENT_STATUS))
    home = str(extension_value(encounter, "urn:x12:005010:CL104") or "")
    if kind or origin or status or home:
        event.add("CL1", kind, origin, status, home)


def _documents(source: _Claim, event: Loop) -> None:
    """PWK (at most ten) and MSG; the documents themselves travel by 275."""
    count = 0
    for row in rows(source.claim, "supportingInfo"):
        if cancelled(row):  # PAS prof-8: it stays in the Claim, and counts no more
            source.left_out.add(f"Claim.supportingInfo[{row.get('sequence')}]", "ignored", "withdrawn by the sender")
            continue
        information = extension(row, DOCUMENT_INFORMATION)
        parts = {str(part.get("url")): part for part in rows(information, "extension")}
        report = code((parts.get("reportTypeCode") or {}).get("valueCodeableConcept"))
        if report:
            count += 1
            if count > 10:
                source.left_out.add(f"Claim.supportingInfo[{row.get('sequence')}]", "ignored", "the 278 carries 10 PWK")
                continue
            means = code((parts.get("transmissionMethod") or {}).get("valueCodeableConcept")) or "EL"
            number = str((parts.get("controlNumber") or {}).get("valueString", ""))[:50]
            text = source.shorten(
                str((parts.get("description") or {}).get("valueString", "")), 80, "Claim.supportingInfo"
            )
            event.add("PWK", report, means, "", "", "AC" if number else "", number, text)
        elif code(row.get("category"), PAS_CODES) == "freeFormMessage" and row.get("valueString"):
            if event.segment("MSG") is None:
                event.add("MSG", source.shorten(str(row["valueString"]), 264, "Claim.supportingInfo"))
            else:
                source.left_out.add(
                    f"Claim.supportingInfo[{row.get('sequence')}]", "ignored", "the 278 carries one MSG"
                )


def _care_team(source: _Claim, event: Loop) -> None:
    """2010EA: care team members of the whole claim."""
    count = 0
    for row in rows(source.claim, "careTeam"):
        if extension_value(row, CARE_TEAM_SCOPE) is False:
            continue
        count += 1
        if count > MAXIMUM_EVENT_PROVIDERS:
            path = f"Claim.careTeam[{row.get('sequence')}]"
            source.left_out.add(path, "ignored", f"the 278 carries {MAXIMUM_EVENT_PROVIDERS} event providers")
            continue
        _provider(source, row, event, "2010EA")


def _line_providers(source: _Claim, item: Element, loop: Loop) -> None:
    """2010F: care team members of one line only."""
    wanted = item.get("careTeamSequence", [])
    own = [row for row in rows(source.claim, "careTeam") if row.get("sequence") in wanted]
    members = [row for row in own if extension_value(row, CARE_TEAM_SCOPE) is False]
    for row in members[MAXIMUM_SERVICE_PROVIDERS:]:
        path = f"Claim.careTeam[{row.get('sequence')}]"
        source.left_out.add(path, "ignored", f"the 278 carries {MAXIMUM_SERVICE_PROVIDERS} providers a line")
    for row in members[:MAXIMUM_SERVICE_PROVIDERS]:
        _provider(source, row, loop, "2010F")


def _provider(source: _Claim, row: Element, holder: Loop, name: str) -> None:
    resource, specialty = source.party(row.get("provider"))
    if not resource:
        source.left_out.add(f"Claim.careTeam[{row.get('sequence')}]", "ignored", "who it is stands not in the Bundle")
        return
    entity = code(row.get("role"), X12_ENTITY) or "SJ"
    qualification = [row["qualification"]] if isinstance(row.get("qualification"), dict) else specialty
    write_party(holder.add_loop(name), entity, resource, source.shorten, qualification)
