"""Synthetic PAS requests and subscriptions, small and complete. Codes are made up where a licence would be needed."""

from __future__ import annotations

import copy
import uuid
from typing import Any

PAS = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/"
BASE = "http://ehr.example/fhir"
BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"


def coded(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def item(sequence: int, service: str) -> dict[str, Any]:
    return {
        "extension": [
            {
                "url": PAS + "extension-serviceItemRequestType",
                "valueCodeableConcept": coded("https://codesystem.x12.org/005010/1525", "HS"),
            },
            {
                "url": PAS + "extension-certificationType",
                "valueCodeableConcept": coded("https://codesystem.x12.org/005010/1322", "I"),
            },
            {
                "url": PAS + "extension-itemTraceNumber",
                "valueIdentifier": {"system": "http://ehr.example/trace", "value": f"T{sequence}"},
            },
        ],
        "sequence": sequence,
        "category": coded("https://codesystem.x12.org/005010/1365", "1"),
        "productOrService": coded("http://codes.example/services", service),
        "locationCodeableConcept": coded("https://www.cms.gov/Medicare/Coding/place-of-service-codes", "11"),
        "servicedDate": "2026-03-01",
        "quantity": {"value": 1, "unit": "UN"},
    }


def request_bundle(*services: str, number: str = "B1") -> dict[str, Any]:
    """A first request for these service codes."""
    claim = {
        "resourceType": "Claim",
        "id": "c1",
        "identifier": [{"system": "http://ehr.example/claims", "value": number}],
        "status": "active",
        "type": coded("http://terminology.hl7.org/CodeSystem/claim-type", "professional"),
        "use": "preauthorization",
        "patient": {"reference": f"{BASE}/Patient/p1"},
        "created": "2026-01-10",
        "insurer": {"reference": f"{BASE}/Organization/o2"},
        "provider": {"reference": f"{BASE}/Organization/o1"},
        "priority": coded("http://terminology.hl7.org/CodeSystem/processpriority", "normal"),
        "insurance": [{"sequence": 1, "focal": True, "coverage": {"reference": f"{BASE}/Coverage/v1"}}],
        "item": [item(n, service) for n, service in enumerate(services or ("SVC-A1",), 1)],
    }
    patient = {
        "resourceType": "Patient",
        "id": "p1",
        "identifier": [{"system": "http://payer.example/members", "value": "M100"}],
        "name": [{"family": "Müller", "given": ["Zoë"]}],
        "gender": "female",
        "birthDate": "1970-01-01",
    }
    coverage = {
        "resourceType": "Coverage",
        "id": "v1",
        "identifier": [
            {
                "type": coded("http://terminology.hl7.org/CodeSystem/v2-0203", "MB"),
                "system": "http://payer.example/members",
                "value": "M100",
            }
        ],
        "status": "active",
        "beneficiary": {"reference": f"{BASE}/Patient/p1"},
        "relationship": coded("http://terminology.hl7.org/CodeSystem/subscriber-relationship", "self"),
        "payor": [{"reference": f"{BASE}/Organization/o2"}],
    }
    npi = "http://hl7.org/fhir/sid/us-npi"
    organizations = [
        {
            "resourceType": "Organization",
            "id": name,
            "identifier": [{"system": npi, "value": value}],
            "active": True,
            "name": title,
        }
        for name, value, title in (("o1", "1234567893", "Clinic"), ("o2", "1245319599", "Payer"))
    ]
    resources = [claim, patient, coverage, *organizations]
    return {
        "resourceType": "Bundle",
        "identifier": {"system": "http://ehr.example/bundles", "value": number},
        "type": "collection",
        "timestamp": "2026-01-15T11:59:00Z",
        "entry": [{"fullUrl": f"{BASE}/{r['resourceType']}/{r['id']}", "resource": r} for r in resources],
    }


def inquiry_bundle(member: str = "M100") -> dict[str, Any]:
    """Ask for everything of a member."""
    bundle = copy.deepcopy(request_bundle(number="Q1"))
    claim = bundle["entry"][0]["resource"]
    del claim["item"]
    bundle["entry"][2]["resource"]["identifier"][0]["value"] = member
    return bundle


def subscription(endpoint: str, organization: str = "1234567893", **channel: Any) -> dict[str, Any]:
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "answers to our requests",
        "criteria": "http://hl7.org/fhir/us/davinci-pas/SubscriptionTopic/PASSubscriptionTopic",
        "_criteria": {
            "extension": [
                {"url": BACKPORT + "backport-filter-criteria", "valueString": f"org-identifier={organization}"}
            ]
        },
        "channel": {
            "type": "rest-hook",
            "endpoint": endpoint,
            "payload": "application/fhir+json",
            "_payload": {"extension": [{"url": BACKPORT + "backport-payload-content", "valueCode": "full-resource"}]},
            "header": ["Authorization: Bearer receiver-token", "X-Own: 1"],
            **channel,
        },
    }


def attachment(tracking: str = "ACN-1") -> dict[str, Any]:
    identifier = {"system": "http://payer.example/acn", "value": tracking}
    document = {
        "resourceType": "DocumentReference",
        "id": str(uuid.UUID(int=7)),
        "status": "current",
        "content": [{"attachment": {"contentType": "text/plain", "data": "aGVsbG8="}}],
    }
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "TrackingId", "valueIdentifier": identifier},
            {"name": "AttachTo", "valueCode": "preauthorization"},
            {"name": "MemberId", "valueIdentifier": {"system": "http://payer.example/members", "value": "M100"}},
            {"name": "Attachment", "part": [{"name": "Content", "resource": document}]},
        ],
    }
