"""One claim (2300) of an 837P, 837I or 837D → FHIR Claim Bundle and ledger.

What stands above the claim (billing provider, subscriber, patient, payer) comes from its parents. Other payers
(2320), repricing and ambulance details are carried verbatim in `reply.event`.
"""

from __future__ import annotations

from typing import Any

from adapters.fhir.wire.elements import identifier
from adapters.fhir.wire.terms import CLAIM_TYPE, IDENTIFIER_TYPE, PAS_CODES
from adapters.x12.wire.tree import Loop, Segment
from gateway.core.ledger import Ledger
from mappings.x12_278_items import exact, location, read_service, reference
from mappings.x12_278_terms import DATE_ELEMENT, PRIORITY, RELATIONSHIP, RELATIONSHIP_ELEMENT
from mappings.x12_278_to_fhir import read_diagnoses, read_document, read_provider
from mappings.x12_bundle import Build, Transmission
from mappings.x12_dates import iso_day, iso_moment, timed
from mappings.x12_parties import coverage_classes, read_organization, read_patient
from mappings.x12_tables import X12, concept, reference_system, table
from mappings.x12_trace import Tracer, root_of

MAPPING = "x12_837_to_fhir@1"
Element = dict[str, Any]
KINDS = {"837P": "professional", "837I": "institutional", "837D": "oral"}
CONTROL_NUMBER = "urn:x12:005010:CLM01"
PROVIDER_LOOPS = ("2310A", "2310B", "2310C", "2310D", "2310E", "2310F")
LINE_PROVIDER_LOOPS = ("2420A", "2420B", "2420C", "2420D", "2420E", "2420F")
PLACES = ("45", "PW")
"""NM101 of ambulance stops: no provider."""
PROCEDURES = {"BBR": "principal", "BBQ": "", "BR": "principal", "BQ": ""}
PROCEDURE_SYSTEMS = {
    "BBR": "http://www.cms.gov/Medicare/Coding/ICD10",
    "BBQ": "http://www.cms.gov/Medicare/Coding/ICD10",
}


def claim_bundle(loop: Loop, kind: str, transmission: Transmission, received_at: str) -> tuple[Element, Ledger]:
    """One 2300 with its ancestors → (Bundle, ledger). `kind`: professional, institutional or oral."""
    ledger = Ledger(MAPPING)
    root = root_of(loop)
    tracer, build = Tracer(root, ledger), Build(transmission)
    beginning = root.segment("BHT")
    for at in (1, 2, 6):
        tracer.take(beginning, at, "Bundle")
    number = tracer.take(beginning, 3, "Bundle.identifier")
    day, clock = (tracer.take(beginning, at, "Claim.created") for at in (4, 5))
    created = iso_moment(day, clock) or received_at
    claim = _claim(loop, kind, created, build, tracer)
    tracer.finish()
    bundle = build.bundle(claim, "Claim", number or transmission.transaction, created)
    return bundle, ledger


def _claim(loop: Loop, kind: str, created: str, build: Build, tracer: Tracer) -> Element:
    head = loop.segment("CLM")
    control = tracer.take(head, 1, "Claim.identifier")
    identifiers: list[Element] = [{"system": CONTROL_NUMBER, "value": control}]
    for segment in loop.segments("REF", "D9", "EA", "X4", "F5", "LX", "P4"):
        kind_of, value = tracer.take(segment, 1, "Claim.identifier"), tracer.take(segment, 2, "Claim.identifier")
        identifiers.append({"system": reference_system(kind_of), "value": value})
    patient, coverage = _people(loop, build, tracer)
    claim: Element = {"identifier": identifiers, "status": "active"}
    claim["type"] = {"coding": [{"system": CLAIM_TYPE, "code": kind}]}
    frequency = tracer.take(head, 5, "Claim.subType", 3)
    if frequency:
        claim["subType"] = concept("1325", frequency)
    claim |= {"use": "claim", "patient": patient, "created": created, "insurer": coverage["insurer"]}
    billing = loop.up("2000A")
    name = billing.loop("2010AA") if billing else None
    claim["provider"] = read_provider(name, "billing", build, tracer) if name else coverage["insurer"]
    claim["priority"] = {"coding": [{"system": PRIORITY, "code": "normal"}]}
    original = reference(loop, "F8", "Claim.related", tracer)
    if original:
        claim["related"] = [{"reference": {"system": reference_system("F8"), "value": original}}]
    team, lines = _lines(loop, head, build, tracer)
    if team:
        claim["careTeam"] = team
    information = _information(loop, tracer)
    if information:
        claim["supportingInfo"] = information
    diagnoses = read_diagnoses(list(loop.segments("HI")), tracer)
    if diagnoses:
        claim["diagnosis"] = diagnoses
    procedures = _procedures(loop, tracer)
    if procedures:
        claim["procedure"] = procedures
    insurance: Element = {"sequence": 1, "focal": True, "coverage": coverage["reference"]}
    authorization = reference(loop, "G1", "Claim.insurance.preAuthRef", tracer)
    if authorization:
        insurance["preAuthRef"] = [authorization]
    claim["insurance"] = [insurance]
    accident = loop.segment("DTP", "439")
    day = iso_day(tracer.take(accident, 3, "Claim.accident.date"))
    if day:
        claim["accident"] = {"date": day}
    claim["item"] = lines
    total = exact(tracer.take(head, 2, "Claim.total"))
    if total is not None:
        claim["total"] = {"value": total, "currency": "USD"}
    return {"resourceType": "Claim"} | claim


def _people(loop: Loop, build: Build, tracer: Tracer) -> tuple[Element, Element]:
    """(patient, {reference: coverage, insurer})."""
    holder, dependent = loop.up("2000B"), loop.up("2000C")
    payer = holder.loop("2010BB") if holder else None
    unnamed: Element = {"resourceType": "Organization", "active": True, "name": "unnamed"}
    insurer = build.add(read_organization(payer, tracer, "Organization(insurer)") if payer else unnamed, "insurer")
    member = holder.loop("2010BA") if holder else None
    subscriber = read_patient(member, tracer) if member else {"resourceType": "Patient"}
    subscriber_reference = build.add(subscriber, "subscriber")
    patient, code = subscriber_reference, tracer.take(holder.segment("SBR") if holder else None, 2, "Coverage") or "18"
    own = dependent.loop("2010CA") if dependent else None
    if dependent is not None and own is not None:
        patient = build.add(read_patient(own, tracer), "patient")
        code = tracer.take(dependent.segment("PAT"), 1, "Coverage.relationship") or "G8"
    codings = [{"system": X12 + RELATIONSHIP_ELEMENT, "code": code}]
    plain = table("codes")["relationships"].get(code)
    codings = [{"system": RELATIONSHIP, "code": plain}, *codings] if plain else codings
    coverage: Element = {"resourceType": "Coverage", "status": "active"}
    number = identifier(subscriber, kind="MB")
    if number:
        of_kind = {"coding": [{"system": IDENTIFIER_TYPE, "code": "MB"}]}
        coverage |= {"identifier": [{"type": of_kind, "value": number}], "subscriberId": number}
    policy = holder.segment("SBR") if holder else None
    classes = {"group": tracer.take(policy, 3, "Coverage.class"), "plan": tracer.take(policy, 4, "Coverage.class")}
    coverage |= {"subscriber": subscriber_reference, "beneficiary": patient, "relationship": {"coding": codings}}
    coverage |= {"payor": [insurer], **coverage_classes(classes)}
    order = tracer.take(policy, 1, "Coverage.order")
    if order in ("P", "S", "T"):
        coverage["order"] = "PST".index(order) + 1
    return patient, {"reference": build.add(coverage, "coverage"), "insurer": insurer}


def _lines(loop: Loop, head: Segment | None, build: Build, tracer: Tracer) -> tuple[list[Element], list[Element]]:
    """(careTeam, item) of the claim and its service lines (2400)."""
    team: list[Element] = []

    def member(provider: Loop) -> int:
        entity = provider.get("NM1", 1)
        team.append(
            {
                "sequence": len(team) + 1,
                "provider": read_provider(provider, f"provider-{len(team) + 1}", build, tracer),
                "role": concept("98", entity),
            }
        )
        return len(team)

    whole = [member(each) for name in PROVIDER_LOOPS for each in loop.loops(name) if each.get("NM1", 1) not in PLACES]
    items: list[Element] = []
    place = _place(head, tracer)
    for number, line in enumerate(loop.loops("2400"), 1):
        own = [
            member(each)
            for name in LINE_PROVIDER_LOOPS
            for each in line.loops(name)
            if each.get("NM1", 1) not in PLACES
        ]
        items.append(_line(line, number, place, whole + own, tracer))
    return team, items


def _place(head: Segment | None, tracer: Tracer) -> Element | None:
    """CLM05: place of service or type of bill (the same composite as UM04)."""
    if head is None:
        return None
    moved = Segment.build("UM", "", "", "", tuple(head.components(5)[:2]))
    for component in (1, 2):
        tracer.take(head, 5, "Claim.item.location", component)
    return location(moved, Tracer(Loop("none"), Ledger(MAPPING)))


def _line(line: Loop, sequence: int, place: Element | None, team: list[int], tracer: Tracer) -> Element:
    tracer.take(line.segment("LX"), 1, "Claim.item.sequence")
    extensions: list[Element] = []
    found = read_service(line, extensions, tracer)
    # The charge of a claim's line is for the line as a whole.
    charge = found.pop("unitPrice", None)
    item: Element = {"extension": extensions} if extensions else {}
    item |= {"sequence": sequence} | ({"careTeamSequence": team} if team else {}) | found
    item.setdefault(
        "productOrService",
        {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "not-applicable"}]},
    )
    served = line.segment("DTP", "472")
    if served is not None:
        for at in (1, 2, 3):
            tracer.take(served, at, "Claim.item.serviced")
        item |= timed(served.get(2), served.get(3), "serviced")
    own = tracer.take(line.segment("SV1"), 5, "Claim.item.location")
    if own:
        item["locationCodeableConcept"] = {
            "coding": [{"system": place["coding"][0]["system"] if place else "", "code": own}]
        }
    elif place:
        item["locationCodeableConcept"] = place
    if charge is not None:
        item["net"] = charge
    number = reference(line, "6R", "Claim.item.extension", tracer)
    if number:
        item.setdefault("extension", []).append({"url": reference_system("6R"), "valueString": number})
    return item


def _information(loop: Loop, tracer: Tracer) -> list[Element]:
    """DTP (but 439), PWK, NTE."""
    rows: list[Element] = []
    for segment in loop.segments("DTP"):
        timing = timed(segment.get(2), segment.get(3), "timing")
        if segment.get(1) == "439" or not timing:
            continue
        for at in (1, 2, 3):
            tracer.take(segment, at, "Claim.supportingInfo.timing")
        rows.append({"category": {"coding": [{"system": X12 + DATE_ELEMENT, "code": segment.get(1)}]}} | timing)
    rows += [read_document(segment, tracer) for segment in loop.segments("PWK")]
    for note in loop.segments("NTE"):
        tracer.take(note, 1, "Claim.supportingInfo")
        category = {"coding": [{"system": PAS_CODES, "code": "freeFormMessage"}]}
        rows.append({"category": category, "valueString": tracer.take(note, 2, "Claim.supportingInfo")})
    return [{"sequence": number} | row for number, row in enumerate(rows, 1)]


def _procedures(loop: Loop, tracer: Tracer) -> list[Element]:
    """HI of principal and other procedures of institutional claims."""
    rows: list[Element] = []
    for segment in loop.segments("HI"):
        for at in range(1, len(segment.fields)):
            qualifier, code = segment.get(at, 1), segment.get(at, 2)
            if qualifier not in PROCEDURES or not code:
                continue
            for component in range(1, 5):
                tracer.take(segment, at, "Claim.procedure", component)
            system = PROCEDURE_SYSTEMS.get(qualifier, "http://hl7.org/fhir/sid/icd-9-cm")
            row: Element = {"sequence": len(rows) + 1}
            day = iso_day(segment.get(at, 4))
            row |= {"date": day} if day else {}
            rows.append(row | {"procedureCodeableConcept": {"coding": [{"system": system, "code": code}]}})
    return rows
