"""One patient event of a 278 request (005010X217) → a PAS-shaped request Bundle, facts and ledger.

The mapping follows the element hints PAS publishes (x12.md 5.3 in the project's sources); where PAS has no place, an
extension `urn:x12:005010:…` carries the value, and the event as a whole travels verbatim in `reply.event`: nothing is
lost. Ids are UUIDv5 of the message's natural key: mapping the same bytes twice gives the same Bundle.
"""

from __future__ import annotations

from typing import Any

from adapters.fhir.wire.elements import identifier
from adapters.fhir.wire.terms import (
    ADMINISTRATION_REFERENCE,
    AUTHORIZATION_NUMBER,
    CARE_TEAM_SCOPE,
    CERTIFICATION_TYPE,
    CLAIM_ENCOUNTER,
    CLAIM_TYPE,
    DIAGNOSIS_RECORDED,
    DOCUMENT_INFORMATION,
    IDENTIFIER_TYPE,
    LEVEL_OF_SERVICE,
    PAS_CODES,
    SUB_DEPARTMENT,
    TRANSMISSION_IDENTIFIERS,
)
from adapters.x12.wire.tree import Loop, Segment
from gateway.core.ledger import Ledger
from mappings.x12_278_items import read_items, reference, trace_identifier
from mappings.x12_278_terms import (
    CAUSE_ELEMENT,
    CERTIFICATION_ELEMENT,
    CONDITION,
    CONDITION_CATEGORY_ELEMENT,
    CONDITION_ELEMENT,
    DATE_ELEMENT,
    DIAGNOSIS_TYPE,
    EVENT_REVIEW,
    HOME_HEALTH,
    LEVEL_ELEMENT,
    PATIENT_STATUS,
    PRIORITY,
    PROGNOSIS_ELEMENT,
    RELATIONSHIP,
    RELATIONSHIP_ELEMENT,
    REPORT_ELEMENT,
    TIMING,
    TRANSMISSION_ELEMENT,
)
from mappings.x12_bundle import Build, Transmission
from mappings.x12_dates import iso_day, iso_moment, period_of, timed
from mappings.x12_parties import (
    coverage_classes,
    group_and_plan,
    read_organization,
    read_patient,
    read_practitioner,
    read_specialty,
)
from mappings.x12_tables import X12, concept, dotted, table
from mappings.x12_trace import Tracer, root_of

MAPPING = "x12_278_to_fhir@1"
Element = dict[str, Any]


def request_bundle(event: Loop, transmission: Transmission, received_at: str) -> tuple[Element, Ledger]:
    """One 2000E (with its ancestors) → (PAS request Bundle, ledger). `received_at` stands in for a missing BHT04."""
    ledger = Ledger(MAPPING)
    root = root_of(event)
    tracer = Tracer(root, ledger)
    build = Build(transmission)
    beginning = root.segment("BHT")
    for at in (1, 2, 6):
        tracer.take(beginning, at, "Bundle")
    number = tracer.take(beginning, 3, "Bundle.identifier")
    created = iso_moment(tracer.take(beginning, 4, "Claim.created"), tracer.take(beginning, 5, "Claim.created"))
    created = created or received_at
    claim = _claim(event, build, tracer, transmission) | {"created": created}
    tracer.finish()
    return build.bundle({"resourceType": "Claim"} | claim, "Claim", number, created), ledger


def _claim(event: Loop, build: Build, tracer: Tracer, transmission: Transmission) -> Element:
    review = event.segment("UM")
    urgent = tracer.take(review, 6, "Claim.extension(levelOfService)")
    patient, coverage = _people(event, build, tracer)
    claim: Element = {"extension": _claim_extensions(event, urgent, tracer, transmission)}
    traces = [_event_trace(segment, tracer) for segment in event.segments("TRN")]
    claim["identifier"] = traces or [{"system": "urn:x12:005010:TRN", "value": build.name("trace")}]
    claim |= {
        "status": "active",
        "type": {"coding": [{"system": CLAIM_TYPE, "code": _claim_type(event)}]},
        "use": "preauthorization",
        "patient": patient,
        "insurer": coverage.pop("insurer"),
        "provider": _requester(event, build, tracer),
        "priority": {"coding": [{"system": PRIORITY, "code": "stat" if urgent in ("U", "03") else "normal"}]},
    }
    team, scopes = _care_team(event, build, tracer)
    if team:
        claim["careTeam"] = team
    information = _supporting_information(event, tracer)
    if information:
        claim["supportingInfo"] = information
    diagnoses = read_diagnoses(list(event.segments("HI")), tracer)
    if diagnoses:
        claim["diagnosis"] = diagnoses
    claim["insurance"] = [{"sequence": 1, "focal": True, "coverage": coverage["reference"]}]
    accident = _accident(event, tracer)
    if accident:
        claim["accident"] = accident
    encounter = _encounter(event, build, tracer, patient)
    if encounter:
        claim["extension"].append({"url": CLAIM_ENCOUNTER, "valueReference": encounter})
    claim["item"] = read_items(event, tracer)
    for item in claim["item"]:
        members = scopes.get(item["sequence"])
        if members:
            item["careTeamSequence"] = members
    return claim


def _event_trace(segment: Any, tracer: Tracer) -> Element:
    identifier = trace_identifier(segment, tracer)
    department = tracer.take(segment, 4, "Claim.identifier.extension")
    if department:
        identifier["extension"] = [{"url": SUB_DEPARTMENT, "valueString": department}]
    return identifier


def _claim_extensions(event: Loop, level: str, tracer: Tracer, transmission: Transmission) -> list[Element]:
    """Transmission identifiers, UM02, UM06, REF*BB, REF*NT, CRC, CR6."""
    said = {
        "interchangeSenderID": transmission.sender,
        "interchangeReceiverID": transmission.receiver,
        "applicationSenderCode": transmission.application_sender,
        "applicationReceiverCode": transmission.application_receiver,
    }
    parts = [{"url": name, "valueString": value} for name, value in said.items() if value]
    found: list[Element] = [{"url": TRANSMISSION_IDENTIFIERS, "extension": parts}] if parts else []
    certification = tracer.take(event.segment("UM"), 2, "Claim.extension(certificationType)")
    if certification:
        found.append({"url": CERTIFICATION_TYPE, "valueCodeableConcept": concept(CERTIFICATION_ELEMENT, certification)})
    found += _event_review(event, tracer)
    if level:
        found.append({"url": LEVEL_OF_SERVICE, "valueCodeableConcept": concept(LEVEL_ELEMENT, level)})
    for qualifier, url in (("BB", AUTHORIZATION_NUMBER), ("NT", ADMINISTRATION_REFERENCE)):
        number = reference(event, qualifier, url, tracer)
        if number:
            found.append({"url": url, "valueString": number})
    for condition in event.segments("CRC"):
        target = "Claim.extension(conditionCode)"
        category = concept(CONDITION_CATEGORY_ELEMENT, tracer.take(condition, 1, target))
        inner: list[Element] = [{"url": "category", "valueCodeableConcept": category}]
        inner.append({"url": "indicator", "valueBoolean": tracer.take(condition, 2, target) == "Y"})
        codes = [tracer.take(condition, at, target) for at in range(3, 8)]
        inner += [{"url": "code", "valueCodeableConcept": concept(CONDITION_ELEMENT, code)} for code in codes if code]
        found.append({"url": CONDITION, "extension": inner})
    care = event.segment("CR6")
    if care is not None:
        target = "Claim.extension(homeHealthCareInformation)"
        prognosis = concept(PROGNOSIS_ELEMENT, tracer.take(care, 1, target))
        inner = [{"url": "prognosis", "valueCodeableConcept": prognosis}]
        day = iso_day(tracer.take(care, 2, target))
        found.append({"url": HOME_HEALTH, "extension": [*inner, *([{"url": "date", "valueDate": day}] if day else [])]})
    return found


def _event_review(event: Loop, tracer: Tracer) -> list[Element]:
    """What stands in the event's UM and HSD and has no place of its own beside service lines."""
    target = "Claim.extension"
    review, delivery = event.segment("UM"), event.segment("HSD")
    has_lines = next(event.loops("2000F"), None) is not None
    places = (1, 3, 7, 8, 9, 10) if has_lines else (7, 8, 9, 10)
    found: list[Element] = []
    for url, segment, wanted in (
        (EVENT_REVIEW, review, places),
        (TIMING, delivery if has_lines else None, tuple(range(1, 9))),
    ):
        values = {at: tracer.take(segment, at, target) for at in wanted}
        name = segment.id if segment else ""
        parts = [{"url": f"{name}{at:02d}", "valueString": value} for at, value in values.items() if value]
        if parts:
            found.append({"url": url, "extension": parts})
    return found


def _people(event: Loop, build: Build, tracer: Tracer) -> tuple[Element, Element]:
    """(reference to the patient, {reference: to the coverage, insurer: to the payer})."""
    payer, subscriber, dependent = event.up("2000A"), event.up("2000C"), event.up("2000D")
    payer_name = payer.loop("2010A") if payer else None
    organization = read_organization(payer_name, tracer, "Organization(insurer)") if payer_name else {}
    insurer = build.add(organization or {"resourceType": "Organization", "active": True, "name": "unnamed"}, "insurer")
    member = subscriber.loop("2010C") if subscriber else None
    holder = read_patient(member, tracer) if member else {"resourceType": "Patient"}
    subscriber_reference = build.add(holder, "subscriber")
    patient, code = subscriber_reference, "18"
    own = dependent.loop("2010D") if dependent else None
    if own is not None:
        patient = build.add(read_patient(own, tracer), "patient")
        tracer.take(own.segment("INS"), 1, "Coverage.relationship")
        code = tracer.take(own.segment("INS"), 2, "Coverage.relationship") or "G8"
    elif member is not None:
        for at in (1, 2):
            tracer.take(member.segment("INS"), at, "Coverage.relationship")
    number = identifier(holder, kind="MB")
    codings = [{"system": X12 + RELATIONSHIP_ELEMENT, "code": code}]
    plain = table("codes")["relationships"].get(code)
    if plain:
        codings.insert(0, {"system": RELATIONSHIP, "code": plain})
    coverage: Element = {"resourceType": "Coverage", "status": "active"}
    if number:
        kind = {"coding": [{"system": IDENTIFIER_TYPE, "code": "MB"}]}
        coverage["identifier"] = [{"type": kind, "value": number}]
        coverage["subscriberId"] = number
    coverage |= {
        "subscriber": subscriber_reference,
        "beneficiary": patient,
        "relationship": {"coding": codings},
        "payor": [insurer],
        **coverage_classes(group_and_plan(holder)),
    }
    return patient, {"reference": build.add(coverage, "coverage"), "insurer": insurer}


def _requester(event: Loop, build: Build, tracer: Tracer) -> Element:
    loop = event.up("2000B")
    name = loop.loop("2010B") if loop else None
    if name is None:
        return build.add({"resourceType": "Organization", "active": True, "name": "unnamed"}, "requester")
    return read_provider(name, "requester", build, tracer)


def read_provider(loop: Loop, name: str, build: Build, tracer: Tracer) -> Element:
    """A name loop → Organization, or Practitioner behind a PractitionerRole that has the specialty."""
    specialty = read_specialty(loop, tracer, "PractitionerRole")
    if loop.get("NM1", 2) != "1":
        organization = read_organization(loop, tracer, "Organization")
        organization["type"] += specialty
        return build.add(organization, name)
    tracer.take(loop.segment("NM1"), 1, "Claim.careTeam.role")
    person = build.add(read_practitioner(loop, tracer, "Practitioner"), f"{name}-person")
    role: Element = {"resourceType": "PractitionerRole", "active": True, "practitioner": person}
    return build.add(role | ({"specialty": specialty} if specialty else {}), name)


def _care_team(event: Loop, build: Build, tracer: Tracer) -> tuple[list[Element], dict[int, list[int]]]:
    """(careTeam, item sequence → careTeam sequences): event providers for the whole claim, others for their line."""
    team: list[Element] = []
    scopes: dict[int, list[int]] = {}

    def member(loop: Loop, *, is_whole: bool) -> int:
        number = len(team) + 1
        entity = loop.get("NM1", 1)
        reference_ = read_provider(loop, f"provider-{number}", build, tracer)
        row: Element = {"extension": [{"url": CARE_TEAM_SCOPE, "valueBoolean": is_whole}], "sequence": number}
        row |= {"provider": reference_, "role": concept("98", entity)}
        specialty = read_specialty(loop, tracer, "Claim.careTeam.qualification")
        team.append(row | ({"qualification": specialty[0]} if specialty else {}))
        return number

    for loop in event.loops("2010EA"):
        member(loop, is_whole=True)
    for sequence, line in enumerate(event.loops("2000F"), 1):
        scopes[sequence] = [member(loop, is_whole=False) for loop in line.loops("2010F")]
    return team, scopes


def _supporting_information(event: Loop, tracer: Tracer) -> list[Element]:
    """DTP, PWK and MSG of the event."""
    rows: list[Element] = []
    target = "Claim.supportingInfo"
    names = table("codes")["dates"]
    for segment in event.segments("DTP"):
        qualifier = segment.get(1)
        if qualifier == "439":
            continue
        timing = timed(segment.get(2), segment.get(3), "timing")
        if not timing:
            continue
        for at in (1, 2, 3):
            tracer.take(segment, at, f"{target}.timing")
        system, code = (PAS_CODES, names[qualifier]) if qualifier in names else (X12 + DATE_ELEMENT, qualifier)
        rows.append({"category": {"coding": [{"system": system, "code": code}]}} | timing)
    for holder in (event, *event.loops("2000F")):
        for segment in holder.segments("PWK"):
            rows.append(read_document(segment, tracer))
    message = tracer.take(event.segment("MSG"), 1, target)
    if message:
        category = {"coding": [{"system": PAS_CODES, "code": "freeFormMessage"}]}
        rows.append({"category": category, "valueString": message})
    return [{"sequence": number} | row for number, row in enumerate(rows, 1)]


def read_document(segment: Any, tracer: Tracer) -> Element:
    """PWK: what will come, how, and under which control number."""
    target = "Claim.supportingInfo.extension(documentInformation)"
    report, means = tracer.take(segment, 1, target), tracer.take(segment, 2, target)
    parts: list[Element] = [{"url": "reportTypeCode", "valueCodeableConcept": concept(REPORT_ELEMENT, report)}]
    if means:
        parts.append({"url": "transmissionMethod", "valueCodeableConcept": concept(TRANSMISSION_ELEMENT, means)})
    tracer.take(segment, 5, target)
    number, description = tracer.take(segment, 6, target), tracer.take(segment, 7, target)
    if number:
        parts.append({"url": "controlNumber", "valueString": number})
    if description:
        parts.append({"url": "description", "valueString": description})
    category = {"coding": [{"system": PAS_CODES, "code": "additionalInformation"}]}
    return {"extension": [{"url": DOCUMENT_INFORMATION, "extension": parts}], "category": category}


def read_diagnoses(segments: list[Segment], tracer: Tracer) -> list[Element]:
    """HI: code, role and date of each diagnosis. Composites of other lists (procedures, conditions) are left alone."""
    known = table("codes")
    rows: list[Element] = []
    for segment, at in ((each, at) for each in segments for at in range(1, len(each.fields))):
        target = "Claim.diagnosis"
        kind = known["diagnoses"].get(segment.get(at, 1))
        if kind is None or not segment.get(at, 2):
            continue
        tracer.take(segment, at, target, 1)
        code = tracer.take(segment, at, target, 2)
        row: Element = {}
        days = period_of(tracer.take(segment, at, target, 3), tracer.take(segment, at, target, 4))
        if days:
            row["extension"] = [{"url": DIAGNOSIS_RECORDED, "valueDate": days["start"]}]
        row["sequence"] = len(rows) + 1
        coding = {"system": known["systems"][kind["system"]], "code": dotted(code, kind["system"])}
        row["diagnosisCodeableConcept"] = {"coding": [coding]}
        if kind.get("type"):
            row["type"] = [{"coding": [{"system": DIAGNOSIS_TYPE, "code": kind["type"]}]}]
        rows.append(row)
    return rows


def _accident(event: Loop, tracer: Tracer) -> Element:
    """UM05 and DTP*439."""
    review = event.segment("UM")
    causes = [tracer.take(review, 5, "Claim.accident.type", component) for component in (1, 2, 3)]
    state = tracer.take(review, 5, "Claim.accident.location", 4)
    country = tracer.take(review, 5, "Claim.accident.location", 5)
    found: Element = {}
    date_ = event.segment("DTP", "439")
    for at in (1, 2):
        tracer.take(date_, at, "Claim.accident.date")
    day = iso_day(tracer.take(date_, 3, "Claim.accident.date"))
    if day:
        found["date"] = day
    codings = [{"system": X12 + CAUSE_ELEMENT, "code": code} for code in causes if code]
    if codings:
        found["type"] = {"coding": codings}
    place = {name: value for name, value in (("state", state), ("country", country)) if value}
    if place:
        found["locationAddress"] = place
    return found


def _encounter(event: Loop, build: Build, tracer: Tracer, patient: Element) -> Element | None:
    """CL1: admission type and source, patient status."""
    stay = event.segment("CL1")
    if stay is None:
        return None
    kind, source = tracer.take(stay, 1, "Encounter.type"), tracer.take(stay, 2, "Encounter.hospitalization.admitSource")
    status, home = tracer.take(stay, 3, "Encounter.extension"), tracer.take(stay, 4, "Encounter.extension")
    encounter: Element = {"resourceType": "Encounter"}
    extensions: list[Element] = []
    if status:
        extensions.append({"url": PATIENT_STATUS, "valueCodeableConcept": concept("1352", status)})
    if home:
        extensions.append({"url": "urn:x12:005010:CL104", "valueString": home})
    if extensions:
        encounter["extension"] = extensions
    encounter["status"] = "planned"
    encounter["class"] = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"}
    if kind:
        encounter["type"] = [concept("1315", kind)]
    encounter["subject"] = patient
    if source:
        encounter["hospitalization"] = {"admitSource": concept("1314", source)}
    return build.add(encounter, "encounter")


def _claim_type(event: Loop) -> str:
    """professional, institutional or oral, from the service segments, else from the kind of place (UM04-2)."""
    for line in event.loops("2000F"):
        for name, kind in (("SV2", "institutional"), ("SV3", "oral"), ("SV1", "professional")):
            if line.segment(name) is not None:
                return kind
    return "institutional" if event.get("UM", 4, 2) == "A" or event.get("UM", 1) == "AR" else "professional"
