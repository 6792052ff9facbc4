"""A request of thousands of entries takes time with their number, not with its square: any client may send one."""

from __future__ import annotations

import time
from typing import Any

import pytest

from adapters.fhir import wire
from gateway.core.envelope import Raw
from mappings.decision_to_claimresponse import pended, render
from mappings.fhir_codec import FhirCodec
from tests.mappings.fhir import samples

MANY = 6000
Element = dict[str, Any]


def url(number: int) -> str:
    return f"urn:uuid:{number:08x}-0000-4000-8000-000000000000"


def chain(bundle: Element) -> None:
    """Organizations, each part of the next; the Claim leads to the first."""
    for number in range(MANY):
        resource = {"resourceType": "Organization", "name": "x", "partOf": {"reference": url(number + 1)}}
        bundle["entry"].append({"fullUrl": url(number), "resource": resource})
    del bundle["entry"][-1]["resource"]["partOf"]
    bundle["entry"][0]["resource"]["supportingInfo"][0]["valueReference"] = {"reference": url(0)}


def documents(bundle: Element) -> None:
    """Documents, each named by an entry of supportingInfo."""
    claim = bundle["entry"][0]["resource"]
    first, document = claim["supportingInfo"][0], {"resourceType": "DocumentReference", "status": "current"}
    content = [{"attachment": {"contentType": "text/plain", "data": "eA=="}}]
    for number in range(MANY):
        bundle["entry"].append({"fullUrl": url(number), "resource": document | {"content": content}})
        row = first | {"sequence": 100 + number, "valueReference": {"reference": url(number)}}
        claim["supportingInfo"].append(row)


def members(bundle: Element) -> None:
    """A care team of thousands, each member a resource of its own."""
    claim = bundle["entry"][0]["resource"]
    (person,) = [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Practitioner"]
    for number in range(MANY):
        bundle["entry"].append({"fullUrl": url(number), "resource": person})
        row = claim["careTeam"][0] | {"sequence": 100 + number, "provider": {"reference": url(number)}}
        claim["careTeam"].append(row)


@pytest.mark.parametrize("grow", [chain, documents, members])
def test_reading_and_answering_is_linear(grow: Any) -> None:
    bundle = samples.request("urn")
    grow(bundle)
    raw = Raw.of(wire.serialize(bundle), "application/fhir+json")
    begun = time.process_time()
    (intake,) = FhirCodec().read(raw, samples.reception()).intakes
    assert intake.resource is not None
    render(intake.resource, pended("c", 1, intake.resource, samples.RECEIVED))
    assert time.process_time() - begun < 15  # with its square it took minutes


def test_a_feed_of_thousands_of_inquiries_is_linear() -> None:
    inquiry = {
        "resourceType": "CoverageEligibilityRequest", "status": "active", "purpose": ["benefits"],
        "created": "2026-01-15", "insurer": {"display": "x"},
    }  # fmt: skip
    asked = {"method": "POST", "url": "CoverageEligibilityRequest"}
    patient = {"fullUrl": url(MANY), "resource": {"resourceType": "Patient", "id": "p"}, "request": asked}
    rows = [
        {"fullUrl": url(n), "resource": inquiry | {"patient": {"reference": url(MANY)}}, "request": asked}
        for n in range(MANY)
    ]
    raw = Raw.of(wire.serialize({"resourceType": "Bundle", "type": "batch", "entry": [*rows, patient]}), "json")
    begun = time.process_time()
    found = FhirCodec(operation="intake", version="r4").read(raw, samples.reception()).intakes
    assert len(found) == MANY
    assert time.process_time() - begun < 20
