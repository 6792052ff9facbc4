"""Plain R4 intake, CDex attachments and CDS Hooks."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.fhir.inbound import Advice
from adapters.fhir.inbound.intake import TYPES
from gateway.core.errors import Unavailable
from tests.adapters.fhir.edge.bundles import attachment
from tests.adapters.fhir.edge.fakes import World, running

PATIENT: dict[str, Any] = {"resourceType": "Patient", "identifier": [{"system": "http://x.example", "value": "1"}]}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running(hook_seconds=0.5) as started:
        yield started


async def test_a_posted_resource_is_created_and_can_be_read(world: World) -> None:
    response = await world.post("/fhir/r4/Patient", PATIENT)
    assert response.status_code == 201
    location = response.headers["location"].removeprefix("http://gateway.example")
    assert location.startswith("/fhir/r4/Patient/")
    read = await world.http.get(location.removesuffix("/_history/1"))
    assert read.json() == {**PATIENT, "id": read.json()["id"]}
    assert (await world.http.get(location)).content == read.content
    assert (await world.http.get(location.replace("_history/1", "_history/2"))).status_code == 404
    assert (await world.http.get(location, headers={"if-none-match": response.headers["etag"]})).status_code == 304
    assert world.accept.accepted[0][0].raw.size > 0
    minimal = await world.post("/fhir/r4/Patient", PATIENT, prefer="return=minimal")
    assert (minimal.status_code, minimal.content) == (201, b"")
    assert (await world.post("/fhir/r4/Encounter", PATIENT)).status_code == 400
    world.accept.failure = Unavailable()
    assert (await world.post("/fhir/r4/Patient", PATIENT)).status_code == 503


async def test_bundles_are_accepted_whole(world: World) -> None:
    entry = {"resource": PATIENT, "request": {"method": "POST", "url": "Patient"}}
    for kind in ("transaction", "batch"):
        response = await world.post("/fhir/r4", {"resourceType": "Bundle", "type": kind, "entry": [entry]})
        assert response.status_code == 200
        body = response.json()
        assert (body["type"], len(body["entry"])) == (f"{kind}-response", 1)
    collection = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": PATIENT}]}
    assert (await world.post("/fhir/r4", collection)).json()["issue"][0]["severity"] == "information"
    count = len(world.accept.accepted)
    removal = {"resource": PATIENT, "request": {"method": "DELETE", "url": "Patient/1"}}
    refused = await world.post("/fhir/r4", {"resourceType": "Bundle", "type": "batch", "entry": [removal]})
    assert refused.status_code == 422
    assert (await world.post("/fhir/r4", {"resourceType": "Bundle", "type": "searchset"})).status_code == 400
    assert len(world.accept.accepted) == count


async def test_every_served_type_is_in_metadata(world: World) -> None:
    statement = (await world.http.get("/fhir/r4/metadata")).json()
    assert [row["type"] for row in statement["rest"][0]["resource"]] == list(TYPES)


async def test_pas_metadata_says_what_the_guide_demands(world: World) -> None:
    for version in ("2.2.1", "2.0.1"):
        response = await world.http.get(f"/fhir/pas/{version}/metadata", headers={"authorization": ""})
        statement = response.json()
        assert response.status_code == 200
        assert (statement["fhirVersion"], statement["rest"][0]["mode"]) == ("4.0.1", "server")
        assert statement["implementationGuide"][0].endswith(f"|{version}")
        rows = {row["type"]: row for row in statement["rest"][0]["resource"]}
        operations = {row["definition"].rsplit("/", 1)[1] for row in rows["Claim"]["operation"]}
        assert operations == {"Claim-submit", "Claim-inquiry"}
        codes = {row["code"] for row in rows["Subscription"]["interaction"]}
        assert {"create", "update", "delete"} <= codes
        asked = {row["name"]: row["definition"].rsplit("/", 1)[1] for row in rows["Subscription"]["operation"]}
        assert asked == {"status": "backport-subscription-status", "events": "backport-subscription-events"}
        topic = rows["Subscription"]["extension"][0]
        assert topic["url"].endswith("capabilitystatement-subscriptiontopic-canonical")
        assert topic["valueCanonical"].endswith("SubscriptionTopic/PASSubscriptionTopic")


async def test_an_attachment_finds_the_case_that_asked(world: World) -> None:
    path = "/fhir/pas/2.2.1/$submit-attachment"
    response = await world.post(path, attachment())
    assert (response.status_code, response.json()["issue"][0]["severity"]) == (200, "information")
    assert world.accept.accepted[0][0].type == "authorization.attachment"
    unknown = await world.post(path, attachment("ACN-2"))
    assert unknown.status_code == 422
    assert len(world.accept.accepted) == 1
    bare = {**attachment(), "parameter": attachment()["parameter"][1:]}
    assert (await world.post(path, bare)).status_code in {400, 422}


ORDER: dict[str, Any] = {
    "resourceType": "ServiceRequest",
    "id": "s1",
    "status": "draft",
    "intent": "order",
    "subject": {"reference": "Patient/1"},
}
COVERAGE: dict[str, Any] = {
    "resourceType": "Coverage",
    "id": "v1",
    "status": "active",
    "beneficiary": {"reference": "Patient/1"},
    "payor": [{"display": "Payer"}],
}


def hook(name: str = "order-sign", **context: Any) -> dict[str, Any]:
    other = {**ORDER, "id": "s2"}
    return {
        "hook": name,
        "hookInstance": "6f1f4f4e-0000-4000-8000-000000000000",
        "context": {
            "userId": "Practitioner/1",
            "patientId": "1",
            "draftOrders": {"resourceType": "Bundle", "entry": [{"resource": ORDER}, {"resource": other}]},
            **context,
        },
        "prefetch": {"coverage": {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": COVERAGE}]}},
    }


def parts(action: dict[str, Any]) -> dict[str, Any]:
    (extension,) = action["resource"]["extension"]
    return {row["url"]: next(v for k, v in row.items() if k.startswith("value")) for row in extension["extension"]}


async def test_discovery_names_the_hooks(world: World) -> None:
    services = (await world.http.get("/cds-services")).json()["services"]
    assert {row["hook"] for row in services} == {"order-sign", "order-select"}
    assert all(row["prefetch"]["coverage"] for row in services)


async def test_signing_tells_what_each_order_needs(world: World) -> None:
    world.advice = lambda order: (
        Advice(documentation="clinical", questionnaires=("http://payer.example/Questionnaire/1",), assertion_id="A-1")
        if order["id"] == "s1"
        else Advice(authorization="no-auth")
    )
    response = await world.post("/cds-services/order-sign-crd", hook())
    assert response.status_code == 200
    body = response.json()
    assert [card["summary"] for card in body["cards"]] == [
        "Prior authorization needed",
        "No prior authorization needed",
    ]
    first, second = (parts(action) for action in body["systemActions"])
    assert (first["pa-needed"], first["doc-needed"], first["coverage-assertion-id"]) == (
        "auth-needed",
        "clinical",
        "A-1",
    )
    assert first["coverage"] == {"reference": "Coverage/v1"}
    assert first["date"] == "2026-01-15"
    assert second["pa-needed"] == "no-auth"
    again = hook()
    again["context"]["draftOrders"]["entry"] = [{"resource": body["systemActions"][0]["resource"]}]
    replaced = (await world.post("/cds-services/order-sign-crd", again)).json()["systemActions"][0]
    assert len(replaced["resource"]["extension"]) == 1


async def test_selecting_tells_of_the_selected_orders_only(world: World) -> None:
    body = hook("order-select", selections=["ServiceRequest/s2"])
    answer = (await world.post("/cds-services/order-select-crd", body)).json()
    assert [action["resource"]["id"] for action in answer["systemActions"]] == ["s2"]


async def test_a_caller_can_switch_it_off(world: World) -> None:
    body = {**hook(), "extension": {"davinci-crd.configuration": {"coverage-info": False}}}
    assert (await world.post("/cds-services/order-sign-crd", body)).json() == {"cards": []}


async def test_slow_rules_do_not_stop_the_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def advise(self: Any, tenant: str, order: dict[str, Any], prefetch: dict[str, Any]) -> Advice:
        if order["id"] == "s2":
            await asyncio.sleep(60)
        return Advice()

    monkeypatch.setattr(World, "advise", advise)
    async with running(hook_seconds=0.3) as other:
        answer = (await other.post("/cds-services/order-sign-crd", hook())).json()
    assert [action["resource"]["id"] for action in answer["systemActions"]] == ["s1"]


async def test_orders_that_are_no_fhir_are_left_out(world: World) -> None:
    body = hook(
        draftOrders={"resourceType": "Bundle", "entry": [{"resource": ORDER}, {"resource": {**ORDER, "code": 7}}]}
    )
    answer = (await world.post("/cds-services/order-sign-crd", body)).json()
    assert len(answer["systemActions"]) == 1


@pytest.mark.skipif("GATEWAY_OUTSIDE_DATA" not in os.environ, reason="GATEWAY_OUTSIDE_DATA is not set")
async def test_the_guides_published_hook_call_is_answered(world: World) -> None:
    body = json.loads((Path(os.environ["GATEWAY_OUTSIDE_DATA"]) / "pas/crd-ig/CRDServiceRequest.json").read_bytes())
    body["prefetch"] = {**body.get("prefetch", {}), "coverage": COVERAGE}
    response = await world.post("/cds-services/order-sign-crd", body)
    assert response.status_code == 200
    orders = [e for e in body["context"]["draftOrders"]["entry"] if e["resource"]["resourceType"] == "ServiceRequest"]
    assert len(response.json()["systemActions"]) >= len(orders) > 0


async def test_hooks_say_what_they_need(world: World) -> None:
    path = "/cds-services/order-sign-crd"
    assert (await world.post(path, {**hook(), "prefetch": {}})).status_code == 412
    assert (await world.post(path, hook("order-select"))).status_code == 400
    assert (await world.post(path, {**hook(), "hookInstance": ""})).status_code == 400
    assert (await world.post(path, hook(draftOrders={"resourceType": "Bundle"}))).status_code == 400
    assert (await world.post("/cds-services/none", hook())).status_code == 404
    assert (await world.post(path, hook(), authorization="Bearer x")).status_code == 401
