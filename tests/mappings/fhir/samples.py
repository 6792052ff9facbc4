"""Synthetic PAS requests and decisions, built by code so that every test can vary one thing."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from adapters.fhir.wire import terms
from gateway.core.envelope import Reception
from gateway.core.ports import Decision, ItemDecision

Element = dict[str, Any]

RECEIVED = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
DECIDED = datetime(2026, 1, 15, 12, 0, 7, tzinfo=UTC)
BASES = {"http": "https://ehr.test:8443/fhir/", "urn": "urn:uuid:"}
IDS = {
    "Claim": "c1a1b2c3-0001-4000-8000-000000000001",
    "ParentClaim": "c1a1b2c3-0001-4000-8000-000000000002",
    "Patient": "c1a1b2c3-0001-4000-8000-000000000003",
    "Insurer": "c1a1b2c3-0001-4000-8000-000000000004",
    "Requestor": "c1a1b2c3-0001-4000-8000-000000000005",
    "Coverage": "c1a1b2c3-0001-4000-8000-000000000006",
    "Role": "c1a1b2c3-0001-4000-8000-000000000007",
    "Practitioner": "c1a1b2c3-0001-4000-8000-000000000008",
    "Location": "c1a1b2c3-0001-4000-8000-000000000009",
    "Order": "c1a1b2c3-0001-4000-8000-00000000000a",
    "Document": "c1a1b2c3-0001-4000-8000-00000000000b",
    "Observation": "c1a1b2c3-0001-4000-8000-00000000000c",
}
TYPES = {
    "ParentClaim": "Claim",
    "Insurer": "Organization",
    "Requestor": "Organization",
    "Role": "PractitionerRole",
    "Order": "ServiceRequest",
    "Document": "DocumentReference",
}


def url(name: str, scheme: str) -> str:
    """fullUrl of a sample resource."""
    path = IDS[name] if scheme == "urn" else f"{TYPES.get(name, name)}/{IDS[name]}"
    return BASES[scheme] + path


def reference(name: str, scheme: str) -> Element:
    """A Reference: absolute for urn fullUrls, relative for http ones (as most senders do)."""
    return {"reference": url(name, scheme) if scheme == "urn" else f"{TYPES.get(name, name)}/{IDS[name]}"}


def x12(element: str, code: str) -> Element:
    """A concept of an X12 code system."""
    return {"coding": [{"system": terms.X12 + element, "code": code}]}


def concept(system: str, code: str) -> Element:
    """A concept."""
    return {"coding": [{"system": system, "code": code}]}


def item(sequence: int, scheme: str, code: str = "G0154", certification: str = "I") -> Element:
    """One fully filled item: everything the profile marks mustSupport."""
    extension: list[Element] = [
        {"url": terms.ITEM_TRACE_NUMBER, "valueIdentifier": {"system": "urn:trnorg:1", "value": f"TRACE{sequence}"}},
        {"url": terms.AUTHORIZATION_NUMBER, "valueString": f"OLD{sequence}"},
        {"url": terms.ADMINISTRATION_REFERENCE, "valueString": f"REF{sequence}"},
        {"url": terms.REQUEST_TYPE, "valueCodeableConcept": x12("1525", "HS")},
        {"url": terms.CERTIFICATION_TYPE, "valueCodeableConcept": x12("1322", certification)},
        {"url": terms.CODE_END, "valueCodeableConcept": concept(terms.HCPCS, "G0156")},
        {"url": terms.EPSDT, "valueBoolean": False},
        {"url": terms.NURSING_HOME_STATUS, "valueCodeableConcept": x12("1345", "2")},
        {"url": terms.NURSING_HOME_LEVEL, "valueCodeableConcept": x12("1337", "2")},
        {"url": terms.REVENUE_UNIT_RATE_LIMIT, "valueDecimal": Decimal("100.00")},
        {"url": terms.REQUESTED_SERVICE, "valueReference": reference("Order", scheme)},
    ]
    return {
        "extension": extension,
        "sequence": sequence,
        "careTeamSequence": [2],
        "diagnosisSequence": [1],
        "informationSequence": [1],
        "revenue": concept("https://www.nubc.org/CodeSystem/RevenueCodes", "0202"),
        "category": x12("1365", "42"),
        "productOrService": concept(terms.HCPCS, code),
        "modifier": [concept(terms.HCPCS, "U1")],
        "servicedPeriod": {"start": "2026-02-01", "end": "2026-03-01"},
        "locationCodeableConcept": concept("https://www.cms.gov/Medicare/Coding/place-of-service-codes", "12"),
        "quantity": {"value": Decimal("10.0"), "unit": "Visits", "system": terms.X12_UNIT, "code": "VS"},
        "unitPrice": {"value": Decimal("85.50"), "currency": "USD"},
    }


def claim(scheme: str, items: tuple[Element, ...]) -> Element:
    """The Claim of the sample request."""
    information = {
        "url": terms.DOCUMENT_INFORMATION,
        "extension": [
            {"url": "reportTypeCode", "valueCodeableConcept": x12("755", "PY")},
            {"url": "controlNumber", "valueString": "ACN-1"},
        ],
    }
    pas = terms.PAS_CODES
    return {
        "resourceType": "Claim",
        "id": IDS["Claim"],
        "extension": [
            {"url": terms.LEVEL_OF_SERVICE, "valueCodeableConcept": x12("1338", "U")},
            {
                "url": terms.TRANSMISSION_IDENTIFIERS,
                "extension": [
                    {"url": "applicationSenderCode", "valueString": "PROVIDERAPP"},
                    {"url": "applicationReceiverCode", "valueString": "PAYERAPP"},
                    {"url": "interchangeSenderID", "valueString": "PROVIDERID"},
                    {"url": "interchangeReceiverID", "valueString": "PAYERID"},
                ],
            },
        ],
        "identifier": [
            {
                "extension": [
                    {"url": terms.JURISDICTION, "valueCodeableConcept": concept("https://www.usps.com/", "MA")},
                    {"url": terms.SUB_DEPARTMENT, "valueString": "223412"},
                ],
                "system": "urn:trnorg:9012345678",
                "value": "TRN-0001",
            }
        ],
        "status": "active",
        "type": concept(terms.CLAIM_TYPE, "professional"),
        "use": "preauthorization",
        "patient": reference("Patient", scheme),
        "created": "2026-01-15T11:59:00+00:00",
        "insurer": reference("Insurer", scheme),
        "provider": reference("Requestor", scheme),
        "priority": concept("http://terminology.hl7.org/CodeSystem/processpriority", "normal"),
        "careTeam": [
            {
                "extension": [{"url": terms.CARE_TEAM_SCOPE, "valueBoolean": True}],
                "sequence": 1,
                "provider": reference("Role", scheme),
                "role": x12("98", "SJ"),
            },
            {
                "extension": [{"url": terms.CARE_TEAM_SCOPE, "valueBoolean": False}],
                "sequence": 2,
                "provider": reference("Requestor", scheme),
            },
        ],
        "supportingInfo": [
            {
                "extension": [information],
                "sequence": 1,
                "category": concept(pas, "additionalInformation"),
                "valueReference": reference("Document", scheme),
            },
            {
                "extension": [information],
                "sequence": 2,
                "category": concept(pas, "additionalInformation"),
                "valueReference": reference("Observation", scheme),
            },
            {
                "sequence": 3,
                "category": concept(pas, "admissionDates"),
                "timingPeriod": {"start": "2026-02-01", "end": "2026-02-02"},
            },
            {"sequence": 4, "category": concept(pas, "dischargeDates"), "timingDate": "2026-02-09"},
            {"sequence": 5, "category": concept(pas, "freeFormMessage"), "valueString": "see Müller's note"},
        ],
        "diagnosis": [{"sequence": 1, "diagnosisCodeableConcept": concept(terms.ICD10, "G89.4")}],
        "insurance": [{"sequence": 1, "focal": True, "coverage": reference("Coverage", scheme)}],
        "item": list(items),
    }


def people(scheme: str) -> dict[str, Element]:
    """The resources the Claim leads to, by sample name."""
    return {
        "Requestor": {
            "resourceType": "Organization",
            "identifier": [{"system": terms.NPI, "value": "1111111112"}],
            "active": True,
            "type": [x12("98", "X3")],
            "name": "Sample Clinic",
        },
        "Insurer": {
            "resourceType": "Organization",
            "identifier": [{"system": "http://payer.test/id", "value": "PAYER1"}],
            "active": True,
            "name": "Sample Health Plan",
        },
        "Coverage": {
            "resourceType": "Coverage",
            "identifier": [{"type": concept(terms.IDENTIFIER_TYPE, "MB"), "value": "MEMBER77"}],
            "status": "active",
            "subscriberId": "MEMBER77",
            "beneficiary": reference("Patient", scheme),
            "relationship": concept(terms.X12 + "1069", "18"),
            "period": {"start": "2026-01-01"},
            "payor": [reference("Insurer", scheme)],
        },
        "Patient": {
            "resourceType": "Patient",
            "identifier": [{"system": "http://ehr.test/mrn", "value": "P-9"}],
            "name": [{"family": "Müller-Óscar", "given": ["Zoë"]}],
            "gender": "female",
            "birthDate": "1980-02-29",
        },
        "Role": {
            "resourceType": "PractitionerRole",
            "practitioner": reference("Practitioner", scheme),
            "location": [reference("Location", scheme)],
            "telecom": [{"system": "phone", "value": "555 0100"}],
        },
        "Practitioner": {
            "resourceType": "Practitioner",
            "identifier": [{"system": terms.NPI, "value": "2222222228"}],
            "name": [{"family": "Sample", "given": ["Ada"]}],
        },
        "Location": {"resourceType": "Location", "name": "Sample site"},
        "Order": {
            "resourceType": "ServiceRequest",
            "status": "active",
            "intent": "order",
            "code": concept(terms.HCPCS, "G0154"),
            "subject": reference("Patient", scheme),
        },
        "Document": {
            "resourceType": "DocumentReference",
            "status": "current",
            "type": concept(terms.LOINC, "11505-5"),
            "subject": reference("Patient", scheme),
            "date": "2026-01-10T08:00:00Z",
            "content": [{"attachment": {"contentType": "text/plain", "data": "bm90ZQ=="}}],
        },
        "Observation": {
            "resourceType": "Observation",
            "status": "final",
            "code": concept(terms.LOINC, "59408-5"),
            "subject": reference("Patient", scheme),
            "effectiveDateTime": "2026-01-09",
            "valueQuantity": {"value": Decimal("88.0"), "unit": "%", "system": terms.UCUM, "code": "%"},
        },
    }


def request(scheme: str = "http", items: tuple[Element, ...] | None = None) -> Element:
    """A whole PAS Request Bundle, sound by every rule."""
    chosen = items if items is not None else (item(1, scheme), item(2, scheme, "E0431"))
    resources = {"Claim": claim(scheme, chosen)} | people(scheme)
    return {
        "resourceType": "Bundle",
        "identifier": {"system": "http://ehr.test/submission", "value": "SUB-1"},
        "type": "collection",
        "timestamp": "2026-01-15T11:59:00Z",
        "entry": [
            {"fullUrl": url(name, scheme), "resource": resource | {"id": IDS[name]}}
            for name, resource in resources.items()
        ],
    }


def update(scheme: str = "http") -> Element:
    """An update of `request`: item 2 cancelled, item 3 added, item 1 as it was; the prior Claim is included."""
    before = request(scheme)
    cancelled = item(2, scheme, "E0431", certification="3")
    cancelled["extension"].append({"url": terms.INFO_CHANGED, "valueCode": "changed"})
    cancelled["modifierExtension"] = [{"url": terms.INFO_CANCELLED, "valueBoolean": True}]
    added = item(3, scheme, "E0600")
    added["extension"].append({"url": terms.INFO_CHANGED, "valueCode": "added"})
    bundle = copy.deepcopy(before)
    parent = copy.deepcopy(before["entry"][0]["resource"]) | {"id": IDS["ParentClaim"]}
    bundle["entry"][0]["resource"]["item"] = [item(1, scheme), cancelled, added]
    bundle["entry"][0]["resource"]["related"] = [
        {
            "claim": reference("ParentClaim", scheme),
            "relationship": concept("http://terminology.hl7.org/CodeSystem/ex-relatedclaimrelationship", "prior"),
        }
    ]
    bundle["entry"].insert(1, {"fullUrl": url("ParentClaim", scheme), "resource": parent})
    bundle["identifier"]["value"] = "SUB-2"
    return bundle


def inquiry(scheme: str = "http") -> Element:
    """An inquiry by member and provider, without items."""
    bundle = request(scheme, ())
    claim_inquiry = bundle["entry"][0]["resource"]
    for name in ("careTeam", "supportingInfo", "diagnosis", "item", "extension"):
        claim_inquiry.pop(name, None)
    return bundle


def reception(client: str = "clinic-a", **attributes: str) -> Reception:
    """A reception at RECEIVED."""
    return Reception(tenant="t1", source="fhir/pas", received_at=RECEIVED, client=client, attributes=attributes)


def decide(action: str, bundle: Element, **fields: Any) -> Decision:
    """A decision with the same action for each item of the request."""
    reasons = ("0V",) if action == "A3" else ()
    note = "Not medically necessary by policy 12." if action == "A3" else ""
    changes = {"quantity": Decimal("5.0")} if action in ("A2", "A6") else {}
    number = "AUTH77" if action in ("A1", "A2", "A6") else ""
    items = tuple(
        ItemDecision(
            sequence=row["sequence"],
            action=action,
            reasons=reasons,
            note=note,
            changes=changes,
            authorization_number=number,
        )
        for row in bundle["entry"][0]["resource"].get("item", [])
    )
    defaults: dict[str, Any] = {
        "case_id": "case-1",
        "version": 1,
        "decided_at": DECIDED,
        "action": action,
        "items": items,
        "authorization_number": number,
        "valid_from": "2026-02-01" if number else "",
        "valid_to": "2026-04-30" if number else "",
    }
    return Decision(**(defaults | fields))
