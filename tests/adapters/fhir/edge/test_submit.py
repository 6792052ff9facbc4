"""$submit and $inquire over a real server: accept before answer, the 12 seconds, and every negative answer."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from adapters.fhir.wire import parse, serialize, to_xml
from gateway.core.errors import ConfigurationError, MessageConflict, Unavailable
from gateway.core.ports import Decision, ItemDecision
from mappings.inquire import FoundCase
from tests.adapters.fhir.edge.bundles import inquiry_bundle, request_bundle
from tests.adapters.fhir.edge.fakes import World, running

SUBMIT = "/fhir/pas/2.2.1/Claim/$submit"
INQUIRE = "/fhir/pas/2.2.1/Claim/$inquire"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running() as started:
        yield started


def actions(bundle: dict[str, Any]) -> list[str]:
    found = []
    for line in bundle["entry"][0]["resource"]["item"]:
        for review in line["adjudication"][0]["extension"]:
            code = next(e for e in review["extension"] if e["url"].endswith("reviewActionCode"))
            found.append(code["valueCodeableConcept"]["coding"][0]["code"])
    return found


def outcome(response: httpx.Response) -> list[dict[str, Any]]:
    body = response.json()
    assert body["resourceType"] == "OperationOutcome", body
    assert response.headers["content-type"] == "application/fhir+json"
    issues: list[dict[str, Any]] = body["issue"]
    return issues


async def test_an_approval_is_answered_at_once_and_can_be_read_again(world: World) -> None:
    response = await world.submit(request_bundle("SVC-A1", "SVC-A3"))
    bundle = response.json()
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/fhir+json"
    assert actions(bundle) == ["A1", "A3"]
    assert bundle["identifier"] == {"system": "http://ehr.example/bundles", "value": "B1"}
    claim_response = bundle["entry"][0]["resource"]
    read = await world.http.get(f"/fhir/pas/2.2.1/ClaimResponse/{claim_response['id']}")
    assert read.status_code == 200
    assert read.json()["item"] == claim_response["item"]
    known = {"if-none-match": read.headers["etag"]}
    again = await world.http.get(f"/fhir/pas/2.2.1/ClaimResponse/{claim_response['id']}", headers=known)
    assert (again.status_code, again.content) == (304, b"")
    for several in (f'"other", {read.headers["etag"]}', '"1"', "*"):  # RFC 9110 13.1.2: a list, compared weakly; any
        known = {"if-none-match": several}
        again = await world.http.get(f"/fhir/pas/2.2.1/ClaimResponse/{claim_response['id']}", headers=known)
        assert (again.status_code, again.headers["etag"]) == (304, read.headers["etag"])
    whole = await world.http.get(f"/fhir/pas/2.2.1/Bundle/{bundle['id']}")
    assert whole.json()["entry"] == bundle["entry"]
    intake, reception = world.accept.accepted[0]
    assert (intake.type, reception.source, reception.client) == ("authorization.request", "fhir/demo", "demo")


async def test_echoed_resources_come_back_byte_for_byte(world: World) -> None:
    sent = request_bundle()
    sent["entry"][1]["resource"]["extension"] = [{"url": "http://x.example/e", "valueBoolean": False}]
    body = serialize(sent, "application/fhir+json").replace(b'"value":1,', b'"value":100.00,')
    response = await world.submit(body)
    assert b"100.00" in response.content
    by_url = {entry["fullUrl"]: entry["resource"] for entry in response.json()["entry"]}
    originals = {entry["fullUrl"]: entry["resource"] for entry in orjson.loads(body)["entry"]}
    echoed = set(by_url) & set(originals)
    assert len(echoed) >= 3
    for url in echoed:
        assert by_url[url] == originals[url]


async def test_the_same_request_twice_gets_the_same_answer(world: World) -> None:
    first, second = [await world.submit(request_bundle()) for _ in range(2)]
    ids = [r.json()["entry"][0]["resource"]["item"] for r in (first, second)]
    assert ids[0] == ids[1]
    keys = {intake.natural_key for intake, _ in world.accept.accepted}
    assert len(keys) == 1
    await world.submit(request_bundle("SVC-A3"))
    assert len({intake.natural_key for intake, _ in world.accept.accepted}) == 2


async def test_fifty_at_once_are_one_message_with_one_answer(world: World) -> None:
    body = serialize(request_bundle("SVC-A1", "SVC-A3"), "application/fhir+json")
    answers = await asyncio.gather(*(world.submit(body) for _ in range(50)))
    assert {response.status_code for response in answers} == {200}
    assert len({intake.natural_key for intake, _ in world.accept.accepted}) == 1
    assert len({orjson.dumps(response.json()["entry"][0]["resource"]["item"]) for response in answers}) == 1


async def test_a_slow_payer_is_answered_pended_within_the_budget() -> None:
    async with running(answer_seconds=1) as world:
        response = await asyncio.wait_for(world.submit(request_bundle("SVC-SLOW", "SVC-A1")), 10)
    assert response.status_code == 200
    assert actions(response.json()) == ["A4", "A4"]
    assert response.json()["entry"][0]["resource"]["outcome"] in {"complete", "partial"}


@pytest.mark.parametrize("service", ["SVC-NONE", "SVC-A4"])
async def test_no_decision_is_pended(world: World, service: str) -> None:
    assert actions((await world.submit(request_bundle(service))).json()) == ["A4"]


async def test_a_fault_behind_us_after_acceptance_is_pended_never_denied(world: World) -> None:
    world.decide.failure = Unavailable()
    assert actions((await world.submit(request_bundle("SVC-A3"))).json()) == ["A4"]


async def test_an_answer_that_cannot_be_kept_is_given_all_the_same(world: World) -> None:
    world.issued.failure = ConfigurationError()
    assert actions((await world.submit(request_bundle("SVC-A1"))).json()) == ["A1"]


async def test_a_denial_without_reason_is_withheld(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = Decision(
        case_id="x", version=1, decided_at=world.clock(), action="A3", items=(ItemDecision(sequence=1, action="A3"),)
    )

    async def decide(self: Any, envelope: Any, *, timeout: float) -> Decision:
        return bare

    monkeypatch.setattr(type(world.decide), "__call__", decide)
    assert actions((await world.submit(request_bundle())).json()) == ["A4"]


async def test_what_was_not_accepted_is_never_answered_positively(world: World) -> None:
    world.accept.failure = Unavailable()
    response = await world.submit(request_bundle())
    assert response.status_code == 503
    assert response.headers["retry-after"] == "10"
    assert outcome(response)[0]["code"] == "transient"
    assert world.decide.asked == []


async def test_a_client_that_understands_no_answer_is_told_before_anything_is_accepted(world: World) -> None:
    response = await world.submit(request_bundle(), accept="text/html")
    assert response.status_code == 406
    assert world.accept.accepted == []


async def test_a_known_key_with_other_content_is_a_conflict(world: World) -> None:
    world.decide.failure = MessageConflict()
    response = await world.submit(request_bundle())
    assert response.status_code == 409
    assert outcome(response)[0]["code"] == "duplicate"


async def test_a_client_that_disconnects_changes_nothing(world: World) -> None:
    world.decide.slow_seconds = 0.3
    with pytest.raises(httpx.ReadTimeout):
        await world.http.post(
            SUBMIT,
            content=serialize(request_bundle("SVC-SLOW")),
            headers={"content-type": "application/fhir+json"},
            timeout=httpx.Timeout(5, read=0.1),
        )
    for _ in range(100):
        if world.issued.rows:
            break
        await asyncio.sleep(0.02)
    assert world.decide.finished == 1
    assert any(key[2] == "ClaimResponse" for key in world.issued.rows)


async def test_the_older_version_is_served_by_the_same_core(world: World) -> None:
    response = await world.post("/fhir/pas/2.0.1/Claim/$submit", request_bundle("SVC-A1"))
    assert response.status_code == 200
    assert actions(response.json()) == ["A1"]
    assert world.accept.accepted[0][0].reply["version"] == "2.0.1"


async def test_xml_in_and_xml_out(world: World) -> None:
    body = to_xml(request_bundle("SVC-A1"))
    headers = {"content-type": "application/fhir+xml", "accept": "application/fhir+xml"}
    response = await world.http.post(SUBMIT, content=body, headers=headers)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/fhir+xml")
    assert actions(parse(response.content, "application/fhir+xml")) == ["A1"]


@pytest.mark.parametrize(
    ("accept", "query", "status", "form"),
    [
        ("*/*", "", 200, "json"),
        ("application/json+fhir", "", 200, "json"),
        ("text/html;q=0.9, application/fhir+xml;q=0.8", "", 200, "xml"),
        ("application/fhir+json;q=0.1, application/fhir+xml", "", 200, "xml"),
        ("text/html", "", 406, "json"),
        ("text/html", "?_format=xml", 200, "xml"),
        ("application/fhir+xml", "?_format=application/fhir+json", 200, "json"),
        ("application/fhir+json", "?_format=text/turtle", 406, "json"),
        ("application/fhir+json; fhirVersion=4.0", "", 200, "json"),
    ],
)
async def test_the_answers_form_is_negotiated(world: World, accept: str, query: str, status: int, form: str) -> None:
    response = await world.http.get(f"/fhir/pas/2.2.1/metadata{query}", headers={"accept": accept})
    assert response.status_code == status
    assert form in response.headers["content-type"]


def without(path: str) -> dict[str, Any]:
    """A request without one element, named by a dotted path."""
    bundle = copy.deepcopy(request_bundle())
    *steps, last = path.split(".")
    place: Any = bundle
    for step in steps:
        place = place[int(step)] if step.isdigit() else place[step]
    del place[int(last) if last.isdigit() else last]
    return bundle


def doubled() -> dict[str, Any]:
    bundle = request_bundle("SVC-A1", "SVC-A1")
    bundle["entry"][0]["resource"]["item"][1]["sequence"] = 1
    return bundle


@pytest.mark.parametrize(
    ("body", "expression"),
    [
        ({"resourceType": "Bundle", "type": "collection", "entry": []}, "Bundle.entry"),
        ({"resourceType": "Bundle"}, "Bundle"),
        ({"resourceType": "Patient"}, "Bundle"),
        (without("entry.0"), "Bundle.entry[0].resource"),
        (without("entry.1"), "Bundle.entry[0].resource"),
        (without("entry.1.fullUrl"), "Bundle.entry[1].fullUrl"),
        (without("entry.0.resource.insurance"), "Bundle.entry[0].resource"),
        (doubled(), "Bundle.entry[0].resource.item[1].sequence"),
    ],
)
async def test_invalid_requests_are_refused_with_one_outcome_and_kept_for_operations(
    world: World, body: dict[str, Any], expression: str
) -> None:
    response = await world.submit(body)
    assert response.status_code in {400, 422}
    issues = outcome(response)
    assert all(issue["severity"] and issue["code"] for issue in issues)
    assert any(e.startswith(expression) for issue in issues for e in issue.get("expression", []))
    assert world.accept.accepted == []
    assert len(world.refusals.rows) == 1


async def test_optional_elements_may_be_missing(world: World) -> None:
    for path in ("entry.1.resource.gender", "entry.1.resource.name", "entry.0.resource.item.0.quantity"):
        assert (await world.submit(without(path))).status_code == 200, path


async def test_inquire_returns_what_matches_and_nothing_else(world: World) -> None:
    nothing = await world.post(INQUIRE, inquiry_bundle())
    assert (nothing.status_code, nothing.json()) == (200, {"resourceType": "Parameters"})
    await world.submit(request_bundle())
    intake = world.accept.accepted[0][0]
    items = (ItemDecision(sequence=1, action="A1", authorization_number="AUTH2"),)
    decision = Decision(case_id="c", version=3, decided_at=world.clock(), action="A1", items=items)
    world.cases.cases = [
        FoundCase(facts=intake.facts, decision=decision, npis=("1234567893",), request_bundle=intake.resource)
    ]
    found = await world.post(INQUIRE, inquiry_bundle())
    assert found.status_code == 200
    (row,) = found.json()["parameter"]
    assert row["name"] == "return"
    assert actions(row["resource"]) == ["A1"]
    stranger = await world.post(INQUIRE, inquiry_bundle("M999"))
    assert stranger.json() == {"resourceType": "Parameters"}
    older = await world.post("/fhir/pas/2.0.1/Claim/$inquire", inquiry_bundle())
    assert older.json()["resourceType"] == "Bundle"
    empty = await world.post(INQUIRE, {"resourceType": "Bundle", "type": "collection", "entry": []})
    assert empty.status_code in {400, 422}
    assert outcome(empty)
