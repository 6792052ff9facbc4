"""Reading payers' answers: what we render reads back as the same decision; outside answers are understood."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from adapters.fhir import wire
from gateway.core.errors import InvalidMessage
from mappings.claimresponse_to_decision import read_decision, response_bundles, trace_numbers
from mappings.decision_to_claimresponse import render
from mappings.inquire import render_inquiry_response
from mappings.review_actions import ACTIONS
from mappings.subscription_notification import Event
from mappings.subscription_notification import render as notify
from tests.mappings.fhir import samples
from tests.mappings.fhir.test_inquire import case
from tests.mappings.fhir.test_response import ASKED, REJECTED
from tests.mappings.fhir.test_subscription import subscription

DATA = Path(os.environ.get("GATEWAY_OUTSIDE_DATA", "/nonexistent")) / "pas"
outside = pytest.mark.skipif(not DATA.exists(), reason="GATEWAY_OUTSIDE_DATA is not set")


def reread(bundle: dict[str, Any]) -> Any:
    again = wire.parse(wire.serialize(bundle), "json")
    return read_decision(again, case_id="case-1", version=1, received_at=samples.DECIDED)


@pytest.mark.parametrize("version", ["2.2.1", "2.0.1"])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_rendered_decision_reads_back(action: str, version: str) -> None:
    request = samples.request()
    decision = samples.decide(action, request)
    got = reread(render(request, decision, version=version))
    assert got.action == decision.action
    assert (got.valid_from, got.valid_to) == (decision.valid_from, decision.valid_to)
    assert got.authorization_number == decision.authorization_number
    for ours, theirs in zip(decision.items, got.items, strict=True):
        assert (theirs.sequence, theirs.action, theirs.note) == (ours.sequence, ours.action, ours.note)
        assert tuple(theirs.reasons) == tuple(ours.reasons)
        assert theirs.authorization_number == ours.authorization_number
        if ours.changes:
            assert theirs.changes["quantity"] == ours.changes["quantity"]


@pytest.mark.parametrize("version", ["2.2.1", "2.0.1"])
def test_rejections_and_questions_read_back(version: str) -> None:
    request = samples.request()
    rejected = reread(render(request, samples.decide("A4", request, items=(), errors=REJECTED), version=version))
    assert rejected.errors == REJECTED
    asked = reread(render(request, samples.decide("A4", request, requested_information=ASKED), version=version))
    assert [row.get("loinc", row.get("reportType")) for row in asked.requested_information] == [
        "28570-0",
        "PY",
        "102089-0",
    ]


def test_an_answer_without_review_actions_is_pended_not_approved() -> None:
    request = samples.request()
    bundle = render(request, samples.decide("A1", request))
    response = bundle["entry"][0]["resource"]
    response.pop("adjudication")
    for item in response["item"]:
        item["adjudication"] = [{"category": samples.concept("x", "submitted")}]
    assert reread(bundle).action == "A4"


def test_every_shape_of_answer_is_opened() -> None:
    inquiry = samples.inquiry()
    for version in ("2.2.1", "2.0.1"):
        answer = render_inquiry_response(inquiry, [case()], now=samples.DECIDED, version=version)
        assert reread(response_bundles(answer)[0]).action == "A1"
    renamed = {
        "resourceType": "Parameters",
        "parameter": [{"name": "responseBundle", "resource": {"resourceType": "Bundle"}}],
    }
    assert len(response_bundles(renamed)) == 1
    request = samples.request()
    told = Event(number=1, at=samples.DECIDED, response=render(request, samples.decide("A3", request)))
    history = notify(
        "event-notification", subscription(), now=samples.DECIDED, base_url="https://p.test", events=[told]
    )
    assert [reread(bundle).action for bundle in response_bundles(history)] == ["A3"]
    assert response_bundles({"resourceType": "OperationOutcome"}) == []


def test_no_claim_response_is_said() -> None:
    with pytest.raises(InvalidMessage):
        reread({"resourceType": "Bundle", "entry": []})


def test_trace_numbers_lead_back_to_the_request() -> None:
    request = samples.request()
    found = trace_numbers(render(request, samples.decide("A1", request)))
    assert found == (("urn:trnorg:9012345678", "TRN-0001"), ("urn:trnorg:1", "TRACE1"), ("urn:trnorg:1", "TRACE2"))


EXPECTED = {
    "ig-2.2.1/Bundle-ReferralAuthorizationResponseBundleExample": "A1",
    "ig-2.2.1/Bundle-ReferralPendingAuthorizationResponseBundleExample": "A4",
    "ig-2.2.1/Bundle-RejectionResponseBundleExample": "A3",
    "ig-2.0.1/Bundle-ReferralAuthorizationResponseBundleExample": "A1",
    "ig-2.2.1/Parameters-PASClaimInquiryOperationResponseExample": "A1",
    "ig-2.2.1/Bundle-PASSubscriptionNotification": "A1",
}


@outside
@pytest.mark.parametrize("name", EXPECTED)
def test_outside_answers_are_understood(name: str) -> None:
    answer = wire.parse((DATA / f"{name}.json").read_bytes(), "json")
    bundles = response_bundles(answer)
    assert bundles
    assert reread(bundles[0]).action == EXPECTED[name]


@outside
def test_an_outside_rejection_is_no_denial() -> None:
    answer = wire.parse((DATA / "ig-2.2.1/Bundle-ErrorResponseBundleExample.json").read_bytes(), "json")
    got = reread(answer)
    assert [row["code"] for row in got.errors] == ["04", "T4"]
    assert got.errors[1]["location"] == "2010A-NM103"
    assert got.errors[1]["followUp"] == "C"
    assert got.action == "A4"
