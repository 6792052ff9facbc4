"""What is written to an EHR whose Claim was decided: one sound ClaimResponse whose references are the EHR's own."""

from __future__ import annotations

import copy
import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fhir import wire
from adapters.fhir.wire import terms
from gateway.core.ports import Decision
from mappings import decision_to_claimresponse
from mappings.decision_to_ehr import identity, render
from mappings.review_actions import ACTIONS
from tests.mappings.fhir import samples
from tests.mappings.fhir.test_own_claims import claim
from tests.mappings.fhir.test_response import ASKED, REJECTED, REQUESTS, actions_of

Element = dict[str, Any]
EHR = "https://ehr.test:8443/fhir"
PAS = "https://gateway.test/fhir/pas/2.2.1"
PEOPLE = ("Patient", "Insurer", "Requestor")


def alone(resource: Element) -> Element:
    """The message of a Claim that was posted without a Bundle, as the codec makes it."""
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": resource}]}


def written(message: Element, decision: Decision) -> Element:
    """The ClaimResponse; what holds for each is looked at here."""
    before = copy.deepcopy(message)
    response = render(message, decision, base_url=EHR, pas_url=PAS)
    assert message == before
    assert wire.serialize(response) == wire.serialize(render(message, decision, base_url=EHR, pas_url=PAS))
    assert wire.validate_resource(response) == []
    assert "meta" not in response
    inside = {f"#{row['id']}" for row in response.get("contained", ())}
    found = [row.value for row in wire.references_in(response, "ClaimResponse")]
    assert [one for one in found if one.startswith("#")] == [one for one in found if one in inside]
    assert {one for one in found if one.startswith("#")} == inside  # dom-3
    assert not [one for one in found if one.startswith("urn:")]
    return response


@pytest.mark.parametrize("scheme", ["http", "urn"])
@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_is_written_soundly(action: str, scheme: str) -> None:
    for message in (samples.request(scheme), samples.update(scheme), alone(claim())):
        asked = ASKED[:1] if action == "A4" else ()
        response = written(message, samples.decide(action, message, requested_information=asked))
        items = message["entry"][0]["resource"]["item"]
        wanted = ["C" if wire.elements.cancelled(item) else action for item in items]
        assert actions_of(response["item"]) == wanted


@pytest.mark.skipif(not REQUESTS, reason="GATEWAY_OUTSIDE_DATA is not set")
@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_outside_claims_are_answered_soundly(path: Path) -> None:
    message = wire.parse(path.read_bytes(), wire.FHIR_JSON)
    written(message, samples.decide("A6", message))
    written(alone(message["entry"][0]["resource"]), samples.decide("A6", message))


@given(st.integers(0, 2**32), st.sampled_from(["http", "urn"]), st.sampled_from(list(ACTIONS)))
def test_whatever_the_ehr_sends_of_it_the_answer_is_sound(seed: int, scheme: str, action: str) -> None:
    """Elements, identifiers, ids, addresses and whole entries left out, references in every form."""
    pick = random.Random(seed)
    message = samples.request(scheme)
    first, *others = message["entry"]
    required = (
        "resourceType",
        "item",
        "patient",
        "provider",
        "type",
        "status",
        "use",
        "created",
        "priority",
        "insurance",
    )
    first["resource"] = {
        name: value for name, value in first["resource"].items() if name in required or pick.random() < 0.6
    }
    if pick.random() < 0.3:
        first["resource"]["insurer"] = {"identifier": {"value": "PAYER1"}}
    others = [row for row in others if pick.random() < 0.6]
    for row in (first, *others):
        for holder, name in ((row, "fullUrl"), (row["resource"], "id"), (row["resource"], "identifier")):
            if pick.random() < 0.3:
                holder.pop(name, None)
    message["entry"] = [first, *others]
    asked = ASKED if action == "A4" else ()
    written(message, samples.decide(action, message, requested_information=asked))


def test_a_claim_posted_alone_is_answered_among_the_ehrs_own_resources() -> None:
    response = written(alone(claim()), samples.decide("A1", alone(claim())))
    assert response["request"] == {
        "reference": "Claim/c1",
        "identifier": {"system": "http://ehr.test/claims", "value": "N-c1"},
    }
    named = {name: response[name]["reference"] for name in ("patient", "insurer", "requestor")}
    assert named == {"patient": "Patient/p1", "insurer": "Organization/o1", "requestor": "Practitioner/d1"}
    assert (response["preAuthRef"], response["outcome"]) == ("AUTH77", "complete")
    providers = [row for row in response["extension"] if row["url"] == terms.AUTHORIZED_PROVIDER]
    assert providers == []  # named on the item only: the Claim has no care team
    assert '"Practitioner/d1"' in wire.serialize(response["item"][0]).decode()


def test_addresses_below_the_ehrs_base_are_relative_and_others_stay() -> None:
    response = written(samples.request("http"), samples.decide("A1", samples.request("http")))
    assert response["request"]["reference"] == f"Claim/{samples.IDS['Claim']}"
    assert response["patient"]["reference"] == f"Patient/{samples.IDS['Patient']}"
    moved = wire.parse(wire.serialize(samples.request("http")).replace(EHR.encode(), b"https://other.test/r4"), "json")
    response = written(moved, samples.decide("A1", moved))
    assert response["request"]["reference"] == f"https://other.test/r4/Claim/{samples.IDS['Claim']}"
    assert response["patient"]["reference"] == f"https://other.test/r4/Patient/{samples.IDS['Patient']}"


def test_what_has_no_address_is_meant_by_its_identifier() -> None:
    message = samples.request("urn")
    response = written(message, samples.decide("A1", message))
    by_type = {row["resource"]["resourceType"]: row["resource"] for row in reversed(message["entry"])}
    assert response["request"] == {"type": "Claim", "identifier": by_type["Claim"]["identifier"][0]}
    assert response["patient"] == {"type": "Patient", "identifier": by_type["Patient"]["identifier"][0]}
    nameless = copy.deepcopy(message)
    for row in nameless["entry"]:
        row["resource"].pop("identifier", None)
    response = written(nameless, samples.decide("A1", nameless))
    for name in ("request", "patient", "insurer"):
        assert response[name] == {"extension": [{"url": terms.DATA_ABSENT, "valueCode": "unknown"}]}


def test_the_medical_record_number_comes_before_other_identifiers() -> None:
    message = samples.request("urn")
    patient = next(row["resource"] for row in message["entry"] if row["resource"]["resourceType"] == "Patient")
    record = {"type": samples.concept(terms.IDENTIFIER_TYPE, "MR"), "system": "http://ehr.test/mrn", "value": "77"}
    patient["identifier"] = [{"system": "http://hl7.org/fhir/sid/us-ssn", "value": "1"}, record]
    assert written(message, samples.decide("A1", message))["patient"]["identifier"] == record


def test_who_is_contained_in_the_claim_is_meant_by_identifier_too() -> None:
    person = {"resourceType": "Patient", "id": "p", "identifier": [{"system": "http://ehr.test/mrn", "value": "77"}]}
    message = alone(claim(contained=[person], patient={"reference": "#p"}))
    response = written(message, samples.decide("A3", message))
    assert response["patient"] == {"type": "Patient", "identifier": person["identifier"][0]}


def test_what_the_payer_asks_for_is_contained() -> None:
    message = alone(claim())
    response = written(message, samples.decide("A4", message, requested_information=ASKED))
    kinds = {row["resourceType"] for row in response["contained"]}
    assert (kinds, len(response["contained"])) == ({"CommunicationRequest"}, len(ASKED))
    assert [row["reference"] for row in response["communicationRequest"]] == [
        f"#{row['id']}" for row in response["contained"]
    ]
    assert response["contained"][0]["identifier"][0]["system"].startswith(PAS)
    assert response["contained"][0]["requester"]["reference"] == "Organization/o1"


def test_one_claim_has_one_answer_and_each_rejection_its_own() -> None:
    message = alone(claim())
    pended = samples.decide("A4", message)
    later = dataclasses.replace(samples.decide("A1", message), version=5)
    assert identity(message, pended) == identity(message, later)
    assert written(message, pended)["id"] == identity(message, pended)
    revision = alone(claim("c2"))
    assert identity(revision, later) != identity(message, later)
    rejected = [
        dataclasses.replace(pended, version=version, items=(), action="", errors=REJECTED) for version in (6, 7)
    ]
    assert len({identity(message, one) for one in (pended, *rejected)}) == 3
    assert identity(message, dataclasses.replace(pended, case_id="other")) != identity(message, pended)


def test_a_rejection_points_into_the_claim() -> None:
    message = alone(claim())
    row = {"code": "33", "followUp": "N", "line": "1"}
    decision = samples.decide("", message, items=(), errors=(row,))
    response = written(message, decision)
    paths = [one["valueString"] for one in response["error"][0]["extension"] if one["url"] == terms.ERROR_PATH]
    assert (response["outcome"], paths) == ("error", ["Claim.item[0]"])


def test_a_withdrawn_claim_is_confirmed() -> None:
    message = alone(claim(status="cancelled"))
    response = written(message, samples.decide("A1", message))
    assert actions_of(response["item"]) == ["C"]


def test_it_says_what_the_pas_answer_says() -> None:
    message = samples.request("http")
    decision = samples.decide("A6", message)
    answer = decision_to_claimresponse.render(message, decision)["entry"][0]["resource"]
    response = written(message, decision)
    for name in ("outcome", "preAuthRef", "preAuthPeriod", "adjudication", "created", "identifier"):
        assert response[name] == answer[name]
