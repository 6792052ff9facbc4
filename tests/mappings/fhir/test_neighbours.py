"""CRD hooks, CDex attachments, capability statements, OpenAPI pieces, metric events."""

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
from gateway.core.errors import InvalidMessage
from mappings.attachments import read_attachment
from mappings.crd_cards import COVERAGE_INFORMATION, HOOKS, read_hook, render, requirement, services
from mappings.fhir_capability import openapi_intake_paths, openapi_paths, pas_capability, r4_capability
from mappings.fhir_pas import read_request
from mappings.information_request import control_number, information_keys
from mappings.pas_metrics import item_events
from tests.mappings.fhir import samples

DATA = Path(os.environ.get("GATEWAY_OUTSIDE_DATA", "/nonexistent")) / "pas"
outside = pytest.mark.skipif(not DATA.exists(), reason="GATEWAY_OUTSIDE_DATA is not set")
Element = dict[str, Any]


def hook(**changes: Any) -> Element:
    people = samples.people("urn")
    order = people["Order"] | {"id": "o1", "status": "draft"}
    coverage = people["Coverage"] | {"id": "cov1"}
    body: Element = {
        "hook": "order-sign",
        "hookInstance": "11111111-1111-4111-8111-111111111111",
        "context": {
            "userId": "Practitioner/1",
            "patientId": "1",
            "draftOrders": {"resourceType": "Bundle", "entry": [{"resource": order}]},
        },
        "prefetch": {
            "patient": people["Patient"] | {"id": "1"},
            "coverage": {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": coverage}]},
        },
    }
    return body | changes


def answer(action: str, **fields: Any) -> Element:
    order = read_hook(hook(), samples.reception())[0]
    decision = samples.decide(action, samples.request(), items=(), **fields)
    return render([requirement(order, decision)], now=samples.DECIDED, source="Sample Health Plan")


def coverage_information(response: Element) -> Element:
    found = response["systemActions"][0]["resource"]["extension"][-1]
    assert found["url"] == COVERAGE_INFORMATION
    return {row["url"]: next(v for k, v in row.items() if k.startswith("value")) for row in found["extension"]}


def test_the_facts_of_an_order_are_those_of_a_request() -> None:
    order = read_hook(hook(), samples.reception())[0]
    assert order.reference == "ServiceRequest/o1"
    assert order.facts["services"][0]["code"] == "G0154"
    assert order.facts["coverage.memberId"] == "MEMBER77"
    assert order.facts["patient.birthDate"] == "1980-02-29"


@pytest.mark.parametrize(
    ("action", "needed"), [("NA", "no-auth"), ("A1", "no-auth"), ("A4", "auth-needed"), ("CT", "auth-needed")]
)
def test_coverage_information_says_what_the_rules_say(action: str, needed: str) -> None:
    information = coverage_information(answer(action, authorization_number=""))
    assert information["pa-needed"] == needed
    assert information["coverage"] == {"reference": "Coverage/cov1"}
    assert {"covered", "date", "coverage-assertion-id"} <= set(information)


def test_an_authorization_in_place_is_named() -> None:
    information = coverage_information(answer("A1", authorization_number="AUTH77"))
    assert information["pa-needed"] == "satisfied"
    assert information["satisfied-pa-id"] == "AUTH77"


def test_documents_asked_for_stand_on_the_card() -> None:
    response = answer("A4", requested_information=({"loinc": "28570-0", "question": "Please send the sleep study."},))
    assert response["cards"][0]["summary"] == "Prior authorization is needed"
    assert len(response["cards"][0]["summary"]) < 140
    assert "sleep study" in response["cards"][0]["detail"]
    assert coverage_information(response)["doc-needed"] == "clinical"


def test_an_order_that_asks_nothing_gets_no_card() -> None:
    assert answer("NA")["cards"] == []


def test_only_selected_orders_are_answered_in_order_select() -> None:
    body = hook(hook="order-select")
    body["context"]["selections"] = ["ServiceRequest/other"]
    assert read_hook(body, samples.reception()) == ()


@pytest.mark.parametrize(
    "change", [{"hook": None}, {"hook": "patient-view"}, {"context": {}}, {"context": []}, {"hookInstance": ""}]
)
def test_bad_hook_calls_are_refused(change: Element) -> None:
    with pytest.raises(InvalidMessage) as caught:
        read_hook(hook(**change), samples.reception())
    assert caught.value.issues


def test_discovery_names_every_hook_once() -> None:
    assert [row["hook"] for row in services()["services"]] == list(HOOKS)


@outside
def test_an_outside_hook_call_is_read() -> None:
    body = json.loads((DATA / "crd-ig/CRDServiceRequest.json").read_text())
    orders = read_hook(body, samples.reception())
    assert [order.reference for order in orders] == ["ServiceRequest/1357", "ServiceRequest/2468"]
    assert all(order.coverage for order in orders)
    assert orders[1].facts["services"][0]["code"] == "E0431"
    assert orders[0].facts["coverage.memberId"] == "88800933501"


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
    assert number in str(
        __import__("mappings.decision_to_claimresponse", fromlist=["render"]).render(request, decision)
    )
    later = samples.decide("A4", request, requested_information=(wanted,), version=4)
    assert information_keys(later) == information_keys(decision)


@pytest.mark.parametrize("version", ["2.2.1", "2.0.1"])
def test_spec_55_capability_statement(version: str) -> None:
    statement = pas_capability(base_url="https://p.test/fhir/pas", now=samples.DECIDED, version=version)
    assert wire.validate_resource(statement) == []
    assert statement["fhirVersion"] == "4.0.1"
    resources = {row["type"]: row for row in statement["rest"][0]["resource"]}
    assert [row["definition"] for row in resources["Claim"]["operation"]] == [
        f"{terms.PAS}/OperationDefinition/Claim-submit|{version}",
        f"{terms.PAS}/OperationDefinition/Claim-inquiry|{version}",
    ]
    assert {"create", "update", "delete"} <= {row["code"] for row in resources["Subscription"]["interaction"]}
    assert resources["Subscription"]["extension"][0]["valueCanonical"] == terms.SUBSCRIPTION_TOPIC


@outside
def test_spec_55_ours_offers_what_the_guide_demands() -> None:
    theirs = json.loads((DATA / "ig-2.2.1/conformance/CapabilityStatement-IntermediaryCapabilities.json").read_text())
    ours = pas_capability(base_url="https://p.test", now=samples.DECIDED)
    mine = {row["type"]: row for row in ours["rest"][0]["resource"]}
    for row in theirs["rest"][0]["resource"]:
        wanted = {operation["definition"] for operation in row.get("operation", [])}
        assert wanted <= {operation["definition"] for operation in mine[row["type"]].get("operation", [])}
        codes = {interaction["code"] for interaction in row.get("interaction", [])}
        assert codes <= {interaction["code"] for interaction in mine[row["type"]].get("interaction", [])}


def test_the_intake_describes_itself() -> None:
    assert wire.validate_resource(r4_capability(base_url="https://p.test/fhir/r4", now=samples.DECIDED)) == []
    assert "/Patient" in openapi_intake_paths()


def test_openapi_paths_name_every_operation() -> None:
    paths = openapi_paths()
    assert {"/Claim/$submit", "/Claim/$inquire", "/Subscription/{id}/$status", "/$submit-attachment"} <= set(paths)
    assert "/$submit-attachment" not in openapi_paths(version="2.0.1")
    for item in (*paths.values(), *openapi_intake_paths().values()):
        for verb in set(item) - {"parameters"}:
            assert item[verb]["responses"]


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
