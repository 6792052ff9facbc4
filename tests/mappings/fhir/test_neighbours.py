"""Draft orders of CRD hooks, CDex attachments, metric events, priority."""

from __future__ import annotations

import copy
import json
import os
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
from mappings.pas_metrics import decided_lines
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


def test_the_event_of_a_decision_tells_what_the_public_metrics_ask() -> None:
    request = samples.request(items=(samples.item(1, "http"), samples.item(2, "http", "J1100", certification="2")))
    facts = read_request(request, samples.reception())[0]
    assert decided_lines(facts, samples.decide("A3", request)) == [
        {"sequence": 1, "action": "A3", "service": "G0154"},
        {"sequence": 2, "action": "A3", "service": "J1100", "appeal": True, "drug": True},
    ]


def test_a_rejection_is_no_determination() -> None:
    request = samples.request()
    assert decided_lines({}, samples.decide("A3", request, items=(), errors=({"code": "42"},))) == []


@pytest.mark.parametrize(
    ("code", "kept"),
    [("E0431", "E0431"), ("97110", "97110"), ("0123T", "0123T"), ("470", "470"), ("0002-8215-01", "0002-8215-01")]
    + [(name, "") for name in ("SMITH", "DOE JOHN", "JANE1", "1985-02-03", "123456789", "E0431 JOHN DOE", "")],
)
def test_only_codes_reach_the_open_part_of_an_event(code: str, kept: str) -> None:
    request = samples.request()
    facts = {"services": [{"sequence": 1, "code": code}]}
    assert decided_lines(facts, samples.decide("A1", request))[0]["service"] == kept


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
