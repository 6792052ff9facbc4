"""The PAS Response Bundle: every action, echo identity, closure, must-support, byte equality."""

from __future__ import annotations

import copy
import dataclasses
import os
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.fhir import wire
from adapters.fhir.wire import terms
from gateway.core.errors import Unmappable
from gateway.core.ports import Decision, ItemDecision
from mappings.decision_to_claimresponse import pended, render
from mappings.review_actions import ACTIONS
from tests.mappings.fhir import samples

DATA = Path(os.environ.get("GATEWAY_OUTSIDE_DATA", "/nonexistent")) / "pas"
REQUESTS = sorted(
    path
    for path in DATA.glob("ig-2.*/Bundle-*BundleExample.json")
    if "Response" not in path.name and "Inquiry" not in path.name
)
Element = dict[str, Any]
ASKED = (
    {"fact": "a", "question": "Please send the sleep study.", "loinc": "28570-0", "line": "1", "due": "2026-01-29"},
    {"fact": "b", "reportType": "PY", "line": "2", "modifier": "18804-5"},
    {"fact": "c", "loinc": "102089-0", "questionnaire": "context-1", "line": "1"},
)
REJECTED = ({"code": "T4", "followUp": "C", "location": "2010A-NM103", "path": "Bundle.entry[1].resource.name"},)


def response_of(bundle: Element) -> Element:
    return bundle["entry"][0]["resource"]


def actions_of(items: list[Element]) -> list[str]:
    found = []
    for item in items:
        for row in item["adjudication"][0]["extension"][0]["extension"]:
            if row["url"] == terms.REVIEW_ACTION_CODE:
                found.append(row["valueCodeableConcept"]["coding"][0]["code"])
    return found


def check(request: Element, response: Element) -> None:
    """What holds for every answer, whatever it says."""
    assert wire.validate_response(response) == []
    updated = "related" in response_of(request)
    whole = wire.closure(response, skip=frozenset({"request"} if updated else ()))
    assert not whole.dangling
    assert not whole.ambiguous
    for reference in wire.references_in(response, "Bundle"):
        assert reference.value.startswith(("http://", "https://", "urn:uuid:", "#"))
    by_url = {entry["fullUrl"]: entry["resource"] for entry in request["entry"] if "fullUrl" in entry}
    for entry in response["entry"]:
        assert entry["fullUrl"].startswith(("http://", "https://", "urn:uuid:"))
        before = by_url.get(entry["fullUrl"])
        if before is not None:
            assert entry["resource"].get("id") == before.get("id")
            assert entry["resource"].get("identifier") == before.get("identifier")
        else:
            assert entry["fullUrl"] == f"urn:uuid:{entry['resource']['id']}"
    claim_response = response_of(response)
    assert claim_response["outcome"] in ("complete", "partial", "error")
    assert claim_response["identifier"] == response_of(request)["identifier"]
    assert response["identifier"] == request["identifier"]
    for entry in response["entry"]:
        assert wire.validate_resource(entry["resource"]) == []


@pytest.mark.parametrize("scheme", ["http", "urn"])
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("version", ["2.2.1", "2.0.1"])
def test_every_action_renders_soundly(action: str, scheme: str, version: str) -> None:
    request = samples.request(scheme)
    asked = ASKED if action == "A4" else ()
    response = render(request, samples.decide(action, request, requested_information=asked), version=version)
    check(request, response)
    claim_response = response_of(response)
    assert actions_of(claim_response["item"]) == [action, action]
    assert [item["itemSequence"] for item in claim_response["item"]] == [1, 2]
    parts = {row["url"] for a in claim_response.get("adjudication", []) for row in a["extension"][0]["extension"]}
    assert parts == {"A1": {"number"}, "A2": {"number"}, "A6": {"number"}, "A3": {"reasonCode"}}.get(action, set())


@pytest.mark.skipif(not REQUESTS, reason="GATEWAY_OUTSIDE_DATA is not set")
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_action_on_outside_requests(path: Path, action: str) -> None:
    request = wire.parse(path.read_bytes(), "application/fhir+json")
    response = render(request, samples.decide(action, request), version=path.parent.name.removeprefix("ig-"))
    check(request, response)


def test_the_same_decision_gives_the_same_bytes_whenever_and_wherever() -> None:
    request = samples.request()
    decision = samples.decide("A6", request)
    again = wire.parse(wire.serialize(request), "json")
    assert wire.serialize(render(request, decision)) == wire.serialize(render(again, copy.deepcopy(decision)))
    later = dataclasses.replace(decision, version=2)
    assert render(request, later)["id"] != render(request, decision)["id"]


def test_a_request_is_not_changed_by_its_answer() -> None:
    request = samples.request()
    before = copy.deepcopy(request)
    render(request, samples.decide("A4", request, requested_information=ASKED))
    assert request == before


def test_modified_item_has_an_added_item_with_the_same_sequence() -> None:
    request = samples.request()
    response = response_of(render(request, samples.decide("A6", request)))
    assert [item["itemSequence"] for item in response["addItem"]] == [[1], [2]]
    assert actions_of(response["addItem"]) == ["A1", "A1"]
    assert response["addItem"][0]["quantity"] == {
        "value": Decimal("5.0"), "unit": "Visits", "system": terms.X12_UNIT, "code": "VS",
    }  # fmt: skip
    assert response["addItem"][0]["extension"][1] == {"url": terms.EPSDT, "valueBoolean": False}


def test_a_wholly_new_item_is_added_beside() -> None:
    request = samples.request()
    decision = samples.decide("A1", request)
    new = ItemDecision(sequence=9, action="A1", changes={"code": "E0601", "system": terms.HCPCS})
    response = response_of(render(request, dataclasses.replace(decision, items=(*decision.items, new))))
    assert response["addItem"][0]["itemSequence"] == [9]
    assert len(response["item"]) == 2


APPROVED = ItemDecision(sequence=2, action="A1")
UNSAYABLE = {
    "denial without reason": (ItemDecision(sequence=1, action="A3"), APPROVED),
    "denial with blank note": (ItemDecision(sequence=1, action="A3", note="  "), APPROVED),
    "unknown action": (ItemDecision(sequence=1, action="A9"), APPROVED),
    "an item undecided": (APPROVED,),
    "denial of nothing": (
        ItemDecision(sequence=1, action="A1"),
        APPROVED,
        ItemDecision(sequence=8, action="A3", note="n"),
    ),
}


@pytest.mark.parametrize("items", UNSAYABLE.values(), ids=UNSAYABLE)
def test_what_cannot_be_said_is_refused(items: tuple[ItemDecision, ...]) -> None:
    request = samples.request()
    with pytest.raises(Unmappable):
        render(request, samples.decide("A1", request, items=items))


def test_a_case_denied_as_a_whole_without_a_reason_is_refused() -> None:
    request = samples.request()
    with pytest.raises(Unmappable):
        render(request, samples.decide("A3", request, items=()))


def test_a_denial_carries_reason_and_note() -> None:
    request = samples.request()
    response = response_of(render(request, samples.decide("A3", request)))
    parts = response["item"][0]["adjudication"][0]["extension"][0]["extension"]
    assert {"url": "reasonCode", "valueCodeableConcept": samples.concept(terms.X12_REASON, "0V")} in parts
    assert response["item"][0]["noteNumber"] == [1]
    assert response["processNote"] == [
        {"number": 1, "type": "display", "text": "Not medically necessary by policy 12."}
    ]
    assert "preAuthRef" not in response
    assert not any(row["url"] == "number" for row in parts)


def test_business_rejection_is_an_error_and_no_denial() -> None:
    request = samples.request()
    decision = samples.decide("A3", request, items=(), errors=REJECTED)
    for version, element in (("2.2.1", "extension"), ("2.0.1", "valueString")):
        response = response_of(render(request, decision, version=version))
        assert response["outcome"] == "error"
        assert "item" not in response
        assert response["error"][0]["code"] == samples.concept(terms.X12_REJECT_REASON, "T4")
        assert element in response["error"][0]["extension"][1]
        assert "A3" not in str(response)


def test_a_rejection_without_a_place_points_at_its_line() -> None:
    request = samples.request()
    rows = ({"code": "33", "line": "2"}, {"code": "15", "line": "0"})
    errors = response_of(render(request, samples.decide("A4", request, items=(), errors=rows)))["error"]
    paths = [next(e["valueString"] for e in row["extension"] if e["url"] == terms.ERROR_PATH) for row in errors]
    assert paths == ["Bundle.entry[0].resource.item[1]", "Bundle.entry[0].resource"]
    elements = [next(e for e in row["extension"] if e["url"] == terms.ERROR_ELEMENT) for row in errors]
    assert [row["extension"][0]["valueString"] for row in elements] == ["2000F", "2000E"]


def test_mixed_items_are_partial_only_while_some_are_pended() -> None:
    request = samples.request()
    for codes, outcome in ((("A1", "A4"), "partial"), (("A4", "A4"), "complete"), (("A1", "CT"), "complete")):
        items = tuple(ItemDecision(sequence=number, action=code) for number, code in enumerate(codes, 1))
        response = response_of(render(request, samples.decide(codes[0], request, items=items)))
        assert response["outcome"] == outcome


def test_pended_answer_covers_every_item() -> None:
    request = samples.update()
    decision = pended("case-1", 1, request, samples.RECEIVED)
    response = response_of(render(request, decision))
    assert actions_of(response["item"]) == ["A4", "C", "A4"]
    assert decision.action == "A4"
    check(request, render(request, decision))
    assert pended("case-1", 1, {}, samples.RECEIVED).items == ()


def test_cancelled_items_of_an_update_are_answered() -> None:
    request = samples.update()
    decision = samples.decide("A1", request)
    open_items = tuple(item for item in decision.items if item.sequence != 2)
    for items in (open_items, decision.items):
        response = response_of(render(request, dataclasses.replace(decision, items=items)))
        assert actions_of(response["item"]) == ["A1", "C", "A1"]


def test_withdrawing_the_whole_request_cancels_every_item() -> None:
    request = samples.update()
    certification = {"url": terms.CERTIFICATION_TYPE, "valueCodeableConcept": samples.x12("1322", "3")}
    response_of(request)["extension"].append(certification)
    whole = (ItemDecision(sequence=0, action="A1"),)
    response = response_of(render(request, samples.decide("A1", request, items=whole, authorization_number="")))
    assert actions_of(response["item"]) == ["C", "C", "C"]
    response_of(request).pop("item")
    answer = render(request, samples.decide("A1", request, items=whole, authorization_number=""))
    assert "item" not in response_of(answer)
    check(request, answer)


def test_a_decision_on_the_request_as_a_whole_covers_its_items() -> None:
    request = samples.request()
    whole = (ItemDecision(sequence=0, action="A3", note="Not covered by policy 12."),)
    response = response_of(render(request, samples.decide("A3", request, items=whole)))
    assert actions_of(response["item"]) == ["A3", "A3"]
    assert [item["noteNumber"] for item in response["item"]] == [[1], [1]]
    assert "addItem" not in response


def test_a_rejected_item_is_answered_by_its_error_beside_decided_ones() -> None:
    request = samples.request()
    decided = (ItemDecision(sequence=1, action="A1"),)
    answer = render(request, samples.decide("A1", request, items=decided, errors=REJECTED))
    response = response_of(answer)
    assert response["outcome"] == "error"
    assert [item["itemSequence"] for item in response["item"]] == [1, 2]
    assert "extension" not in response["item"][1]["adjudication"][0]
    check(request, answer)


def test_transmission_identifiers_are_swapped() -> None:
    request = samples.request()
    response = response_of(render(request, samples.decide("A1", request)))
    swapped = {row["url"]: row["valueString"] for row in response["extension"][0]["extension"]}
    assert swapped == {
        "applicationSenderCode": "PAYERAPP",
        "applicationReceiverCode": "PROVIDERAPP",
        "interchangeSenderID": "PAYERID",
        "interchangeReceiverID": "PROVIDERID",
    }


def test_false_stays_false_and_reviewer_is_named() -> None:
    request = samples.request()
    decision = samples.decide("A1", request, human_reviewed=False, reviewer={"npi": "1", "specialty": "207Q00000X"})
    text = wire.serialize(render(request, decision)).decode()
    assert '"wasHumanReviewedFlag","valueBoolean":false' in text
    assert '"valueDecimal":100.00' in text
    assert "Müller-Óscar" in text


def test_large_documents_are_not_echoed_but_the_claim_is_still_named() -> None:
    request = samples.request()
    request["entry"][9]["resource"]["content"][0]["attachment"]["data"] = "QUJD" * 100_000
    response = render(request, samples.decide("A1", request))
    kinds = {entry["resource"]["resourceType"] for entry in response["entry"]}
    assert "DocumentReference" not in kinds
    assert response_of(response)["request"]["reference"] == request["entry"][0]["fullUrl"]
    assert not wire.validate_response(response)


def test_the_claim_of_an_update_is_named_but_not_echoed() -> None:
    request = samples.update()
    response = render(request, samples.decide("A1", request))
    assert "Claim" not in {entry["resource"]["resourceType"] for entry in response["entry"]}
    assert response_of(response)["request"]["reference"] == request["entry"][0]["fullUrl"]
    check(request, response)
    by_urn = samples.update("urn")
    response = render(by_urn, samples.decide("A1", by_urn))
    named = response_of(response)["request"]
    assert named["extension"] == [{"url": terms.DATA_ABSENT, "valueCode": "unsupported"}]
    assert named["identifier"] == response_of(by_urn)["identifier"][0]
    check(by_urn, response)


def test_lenient_requests_with_dangling_references_still_get_a_closed_answer() -> None:
    request = samples.request()
    request["entry"] = [e for e in request["entry"] if e["resource"]["resourceType"] not in ("Location", "Patient")]
    for entry in request["entry"][3:]:
        entry.pop("fullUrl")
    response = render(request, samples.decide("A1", request))
    assert not wire.closure(response).dangling
    assert not wire.validate_response(response)


def test_information_requests_become_communication_requests_and_one_task_per_kind() -> None:
    request = samples.request()
    response = render(
        request, samples.decide("A4", request, requested_information=ASKED), base_url="https://p.test/pas"
    )
    kinds = [entry["resource"]["resourceType"] for entry in response["entry"]]
    assert kinds.count("CommunicationRequest") == 3
    assert kinds.count("Task") == 3
    tasks = [entry["resource"] for entry in response["entry"] if entry["resource"]["resourceType"] == "Task"]
    assert [task["code"]["coding"][0]["code"] for task in tasks] == [
        "attachment-request-code",
        "attachment-request-code",
        "attachment-request-questionnaire",
    ]
    assert all(task["input"][0]["valueUrl"] == "https://p.test/pas" for task in tasks)
    assert tasks[2]["input"][1]["valueString"] == "context-1"


def found_paths(value: Any, path: str = "") -> set[str]:
    """Every element path of a resource, `[x]` for choices, and every extension as path + '!' + its URL's last part."""
    found: set[str] = set()
    if isinstance(value, list):
        return set().union(*(found_paths(child, path) for child in value)) if value else set()
    if not isinstance(value, dict):
        return found
    for name, child in value.items():
        if name == "extension":
            found |= {f"{path}!{row['url'].rpartition('/')[2]}" for row in child}
            continue
        choice = next((stem for stem in ("serviced", "location", "value", "content") if name.startswith(stem)), name)
        step = f"{choice}[x]" if choice != name else name
        inner = f"{path}.{step}" if path else step
        found |= {inner} | found_paths(child, inner)
    return found


def session() -> list[Element]:
    """Answers of one session: what scripted decisions can bring about."""
    request = samples.request()
    reviewed: Element = {"human_reviewed": True, "reviewer": {"npi": "1", "specialty": "207Q00000X"}}
    decisions: list[Decision] = [samples.decide(action, request, **reviewed) for action in ACTIONS]
    decisions.append(samples.decide("A4", request, requested_information=ASKED))
    decisions.append(samples.decide("A4", request, items=(), errors=REJECTED))
    answers = [render(request, decision) for decision in decisions]
    return [*answers, render(request, decisions[0], request_absent="unsupported")]


def test_every_must_support_element_occurs_in_a_session() -> None:
    table = yaml.safe_load((Path(__file__).parent / "must_support.yaml").read_text())
    total = 0
    for kind, wanted in table.items():
        resources = [e["resource"] for answer in session() for e in answer["entry"]]
        found = set().union(*(found_paths(row) for row in resources if row["resourceType"] == kind))
        names = set(wanted["elements"]) | {f"{p}!{n}" for p, rows in wanted["extensions"].items() for n in rows}
        assert names - found == set()
        total += len(names) if kind == "ClaimResponse" else 0
    assert total == 72


@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["http", "urn"]), st.sampled_from(list(ACTIONS)))
def test_echo_identity_and_closure_hold_for_any_subset_of_a_request(seed: int, scheme: str, action: str) -> None:
    pick = random.Random(seed)
    request = samples.request(scheme, tuple(samples.item(n, scheme) for n in range(1, pick.randint(2, 4))))
    for entry in request["entry"]:
        resource = entry["resource"]
        for name in list(resource):
            keep = ("resourceType", "id", "identifier", "item", "patient", "insurer", "provider", "type", "status")
            if name not in keep and resource["resourceType"] == "Claim" and pick.random() < 0.3:
                del resource[name]
    request["entry"][1:] = pick.sample(request["entry"][1:], len(request["entry"]) - 1)
    response = render(request, samples.decide(action, request))
    whole = wire.closure(response, skip=frozenset({"request"}))
    assert not whole.dangling
    assert not whole.ambiguous
    by_url = {entry["fullUrl"]: entry["resource"] for entry in request["entry"]}
    for entry in response["entry"]:
        if entry["fullUrl"] in by_url:
            before = by_url[entry["fullUrl"]]
            assert (entry["resource"]["id"], entry["resource"].get("identifier")) == (
                before["id"],
                before.get("identifier"),
            )
