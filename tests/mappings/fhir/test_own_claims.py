"""Preauthorizations of an EHR's feed (plain R4): which of them are one case, and what each asks of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from adapters.fhir import wire
from gateway.core.envelope import Intake, Raw
from gateway.stages.revise import REQUEST, UPDATE, WITHDRAWAL
from mappings.fhir_codec import FhirCodec
from tests.mappings.fhir import samples

Element = dict[str, Any]
PRIOR = samples.concept("http://terminology.hl7.org/CodeSystem/ex-relatedclaimrelationship", "prior")
OTHER = samples.concept("http://terminology.hl7.org/CodeSystem/ex-relatedclaimrelationship", "associated")


def posted(resource: Element, client: str = "ehr-a") -> list[Intake]:
    codec = FhirCodec(operation="intake", version="r4")
    reading = codec.read(Raw.of(wire.serialize(resource), wire.FHIR_JSON), samples.reception(client))
    assert not reading.refused, reading.issues
    return list(reading.intakes)


def claim(identity: str = "c1", **changes: Any) -> Element:
    """A Claim as an EHR posts it alone: its references lead to the EHR."""
    parties = {"patient": "Patient/p1", "insurer": "Organization/o1", "provider": "Practitioner/d1"}
    found: Element = {
        "resourceType": "Claim",
        "id": identity,
        "identifier": [{"system": "http://ehr.test/claims", "value": f"N-{identity}"}],
        "status": "active",
        "type": samples.concept("http://terminology.hl7.org/CodeSystem/claim-type", "professional"),
        "use": "preauthorization",
        **{name: {"reference": where} for name, where in parties.items()},
        "created": "2026-01-15",
        "priority": {"coding": [{"code": "normal"}]},
        "insurance": [{"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/v1"}}],
        "item": [{"sequence": 1, "productOrService": {"coding": [{"code": "X1001"}]}}],
    }
    return {name: value for name, value in (found | changes).items() if value is not None}


def one(resource: Element, client: str = "ehr-a") -> Intake:
    (found,) = posted(resource, client)
    return found


def test_a_claim_sent_again_from_its_address_is_the_same_case() -> None:
    first, changed = one(claim()), one(claim(created="2026-01-16"))
    assert (first.type, changed.type) == (REQUEST, REQUEST)
    assert first.natural_key != changed.natural_key
    assert first.case_key == changed.case_key
    assert [key for key in first.reply["aliases"] if key[0] == "claim-address"] == changed.reply["parents"]
    for other in (one(claim("c2")), one(claim(patient={"reference": "Patient/p2"})), one(claim(), "ehr-b")):
        assert other.case_key != first.case_key
        assert not set(map(tuple, other.reply["parents"])) & set(map(tuple, first.reply["aliases"]))


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error"])
def test_a_claim_that_is_no_longer_active_takes_its_request_back(status: str) -> None:
    first, gone = one(claim()), one(claim(status=status))
    assert gone.type == WITHDRAWAL
    assert gone.case_key == first.case_key
    assert gone.facts["request.certificationType"] == "3"


@pytest.mark.parametrize(
    "named",
    [
        {"reference": "Claim/c1"},
        {"reference": "Claim/c1/_history/3"},
        {"identifier": {"system": "http://ehr.test/claims", "value": "N-c1"}},
    ],
)
def test_a_claim_that_names_a_prior_one_revises_its_case(named: Element) -> None:
    revision = one(claim("c2", related=[{"claim": named, "relationship": PRIOR}]))
    assert revision.type == UPDATE
    assert set(map(tuple, revision.reply["parents"])) & set(map(tuple, one(claim()).reply["aliases"]))


def test_a_claim_that_is_only_associated_is_another_one() -> None:
    beside = one(claim("c2", related=[{"claim": {"reference": "Claim/c1"}, "relationship": OTHER}]))
    assert beside.type == REQUEST
    assert not set(map(tuple, beside.reply["parents"])) & set(map(tuple, one(claim()).reply["aliases"]))


@pytest.mark.parametrize("scheme", ["http", "urn"])
def test_the_prior_claim_in_the_bundle_is_no_request_of_its_own(scheme: str) -> None:
    first, revision = one(samples.request(scheme)), one(samples.update(scheme))
    assert (first.type, revision.type) == (REQUEST, UPDATE)


def test_an_associated_claim_in_the_bundle_is_a_request_of_its_own() -> None:
    rows = [claim("c2", related=[{"claim": {"reference": "Claim/c1"}, "relationship": OTHER}]), claim()]
    found = posted({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": row} for row in rows]})
    assert [one.type for one in found] == [REQUEST, REQUEST]


def test_absolute_and_relative_names_of_one_prior_claim_are_one() -> None:
    base = "https://ehr.test/fhir"
    first = one({"resourceType": "Bundle", "type": "batch", "entry": [entry(claim(), f"{base}/Claim/c1", "PUT")]})
    for named in ("Claim/c1", f"{base}/Claim/c1"):
        second = claim("c2", related=[{"claim": {"reference": named}, "relationship": PRIOR}])
        bundle = {"resourceType": "Bundle", "type": "batch", "entry": [entry(second, f"{base}/Claim/c2", "PUT")]}
        assert set(map(tuple, one(bundle).reply["parents"])) & set(map(tuple, first.reply["aliases"]))


def entry(resource: Element, url: str, method: str) -> Element:
    return {"fullUrl": url, "resource": resource, "request": {"method": method, "url": "Claim"}}


def test_a_urn_is_no_address_unless_the_entry_replaces_a_resource() -> None:
    urn = "urn:uuid:11111111-1111-4111-8111-111111111111"

    def sent(method: str, **changes: Any) -> Intake:
        rows = [entry(claim(**changes), urn, method)]
        return one({"resourceType": "Bundle", "type": "transaction", "entry": rows})

    assert sent("POST").case_key != sent("POST", created="2026-01-16").case_key
    assert sent("POST").reply["parents"] == []
    assert sent("PUT").case_key == sent("PUT", created="2026-01-16").case_key == one(claim()).case_key


def test_what_is_no_preauthorization_is_as_it_was() -> None:
    billed = one(copy.deepcopy(claim(use="claim")))
    assert billed.type == "claim.submit"
    assert billed.reply == {"rail": "fhir-r4", "client": "ehr-a"}


def test_claims_that_name_themselves_or_each_other_are_messages_all_the_same() -> None:
    def entry(identity: str, prior: str) -> Element:
        related = [{"claim": {"reference": f"Claim/{prior}"}, "relationship": PRIOR}]
        return {"fullUrl": f"http://ehr.test/Claim/{identity}", "resource": claim(identity, related=related)}

    patient = {"fullUrl": "http://ehr.test/Patient/p1", "resource": {"resourceType": "Patient", "id": "p1"}}
    for claims in ([entry("a", "a")], [entry("a", "b"), entry("b", "a")]):
        bundle = {"resourceType": "Bundle", "type": "collection", "entry": [patient, *claims]}
        found = [
            entry["resource"]["id"] for each in posted(bundle) if each.resource for entry in each.resource["entry"][:1]
        ]
        assert found == [row["resource"]["id"] for row in claims]
