"""Draft orders of CRD hooks, CDex attachments, metric events, priority."""

from __future__ import annotations

import copy
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.fhir import wire
from adapters.fhir.wire import terms
from mappings.attachments import read_attachment
from mappings.decision_to_claimresponse import render
from mappings.fhir_pas import read_request
from mappings.fhir_r4 import facts_of_bundle
from mappings.information_request import control_number, information_keys
from mappings.pas_metrics import item_events
from tests.mappings.fhir import samples

DATA = Path(os.environ.get("GATEWAY_OUTSIDE_DATA", "/nonexistent")) / "pas"
outside = pytest.mark.skipif(not DATA.exists(), reason="GATEWAY_OUTSIDE_DATA is not set")
Element = dict[str, Any]


def test_the_facts_of_a_draft_order_are_those_of_a_request() -> None:
    people = samples.people("urn")
    coverage = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": people["Coverage"]}]}
    parts = (people["Order"] | {"priority": "urgent"}, people["Patient"], coverage)
    facts = facts_of_bundle({"entry": [{"resource": part} for part in parts]}, samples.reception())
    assert facts["services"][0]["code"] == "G0154"
    assert facts["coverage.memberId"] == "MEMBER77"
    assert facts["patient.birthDate"] == "1980-02-29"
    assert facts["request.priority"] == "expedited"


@outside
def test_an_outside_hook_call_has_facts() -> None:
    body = json.loads((DATA / "crd-ig/CRDServiceRequest.json").read_text())
    orders = body["context"]["draftOrders"]["entry"]
    parts = [orders[1]["resource"], *body["prefetch"].values()]
    facts = facts_of_bundle({"entry": [{"resource": part} for part in parts]}, samples.reception())
    assert facts["services"][0]["code"] == "E0431"
    assert facts["coverage.memberId"] == "88800933501"
    assert facts["coverage.active"]


@outside
@pytest.mark.parametrize(
    ("number", "tracking", "attach_to"), [(1, None, "claim"), (5, "trackingid1012", "preauthorization")]
)
def test_outside_attachments_are_read(number: int, tracking: str | None, attach_to: str) -> None:
    parameters = wire.parse((DATA / f"cdex-ig/cdex-parameters-example{number}.json").read_bytes(), "json")
    assert wire.validate_attachment(parameters) == []
    found = read_attachment(parameters)
    assert found.attach_to == attach_to
    assert found.final
    assert found.attachments
    if tracking:
        assert found.tracking_id == tracking
        assert found.lookup == (("attachment-control", tracking), ("administrative-reference", "adminrefnumber4657"))


def test_an_attachment_finds_the_case_that_asked_for_it() -> None:
    request = samples.request()
    wanted = {"fact": "a", "loinc": "28570-0", "line": "1"}
    decision = samples.decide("A4", request, requested_information=(wanted,))
    number = control_number(decision.case_id, wanted)
    assert information_keys(decision) == (("attachment-control", number),)
    assert number in str(render(request, decision))
    later = samples.decide("A4", request, requested_information=(wanted,), version=4)
    assert information_keys(later) == information_keys(decision)


def test_item_events_tell_what_the_public_metrics_ask() -> None:
    request = samples.request()
    facts = read_request(request, samples.reception())[0]
    decided = samples.RECEIVED + timedelta(hours=30)
    expected = {
        "A1": "approved",
        "A2": "approved",
        "A6": "approved",
        "A3": "denied",
        "A4": "",
        "C": "",
        "CT": "",
        "NA": "",
    }
    for action, determination in expected.items():
        decision = samples.decide(action, request, decided_at=decided)
        events = item_events(facts, decision, samples.RECEIVED, extended=True)
        assert [event.item for event in events] == [1, 2]
        assert {event.determination for event in events} == {determination}
        assert events[0].hours == 30.0
        assert events[0].priority == "expedited"
        assert events[0].priority_rule == "level of service U (urgent)"
        assert events[0].extended
        assert not events[0].appeal


def test_a_rejection_is_no_determination() -> None:
    request = samples.request()
    decision = samples.decide("A3", request, items=(), errors=({"code": "42"},))
    assert item_events({}, decision, samples.RECEIVED) == ()


def test_appeals_are_marked() -> None:
    request = samples.request(items=(samples.item(1, "http", certification="2"),))
    facts = read_request(request, samples.reception())[0]
    assert item_events(facts, samples.decide("A1", request), samples.RECEIVED)[0].appeal


@pytest.mark.parametrize(("level", "claim_priority", "priority"), [
    ("U", "normal", "expedited"), ("03", "normal", "expedited"), ("E", "normal", "standard"),
    ("", "stat", "expedited"), ("", "deferred", "standard"), ("E", "stat", "expedited"),
])  # fmt: skip
def test_priority_has_one_rule(level: str, claim_priority: str, priority: str) -> None:
    request = copy.deepcopy(samples.request())
    claim = request["entry"][0]["resource"]
    claim["extension"] = (
        [{"url": terms.LEVEL_OF_SERVICE, "valueCodeableConcept": samples.x12("1338", level)}] if level else []
    )
    claim["priority"] = samples.concept("http://terminology.hl7.org/CodeSystem/processpriority", claim_priority)
    facts = read_request(request, samples.reception())[0]
    assert facts["request.priority"] == priority
    assert facts["request.priorityRule"]
