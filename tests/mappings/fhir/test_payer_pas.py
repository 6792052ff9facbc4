"""What a payer says that is asked over PAS: every review action, in pieces, late, for other versions, or nothing."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.fhir import wire
from adapters.fhir.wire import terms
from gateway.core.envelope import Intake, Reception
from gateway.core.errors import InvalidMessage, MalformedMessage
from gateway.core.exact_json import dumps
from gateway.core.ports import Decision, ItemDecision
from gateway.stages.decide import as_json, from_json
from mappings import payer_answers
from mappings.claim_to_pas import request
from mappings.decision_to_claimresponse import render
from mappings.payer_pas import NO_REASON, Asked, answer_of, inquiry, numbers_of, question, read_answer
from tests.adapters.fhir.test_wire_notification import spoil
from tests.mappings.fhir import samples
from tests.mappings.fhir.test_reading_answers import DATA, outside

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
RECEPTION = Reception(tenant="t", source="fhir/plan", received_at=NOW, client="plan")
Element = dict[str, Any]
OURS = "00000000-0000-4000-8000-000000000001"
ITEMS = (samples.item(1, "urn"), samples.item(2, "urn", "97112"))


def asked(version: str = "2.2.1") -> tuple[Element, Asked]:
    made = request(samples.request("urn", ITEMS), identity="case:2", now=NOW, sender="US", whole=True, version=version)
    return made.bundle, question(made, version=version)


def given(*items: ItemDecision, version: str = "2.2.1", at: datetime = NOW, **more: Any) -> Element:
    """What our own payer's side answers."""
    kinds = {item.action for item in items}
    action = next(iter(kinds)) if len(kinds) == 1 else "A2" if kinds else ""
    decision = Decision(case_id="payers", version=4, decided_at=at, action=action, items=items, **more)
    return render(asked(version)[0], decision, version=version)


def read(answer: Element) -> Intake:
    found = read_answer(wire.serialize(answer), RECEPTION)
    assert found is not None
    return found


def decided(answer: Element, before: Decision | None = None, wanted: tuple[int, ...] = (1, 2)) -> Decision:
    record = asked()[1].record
    return payer_answers.decision_from(
        read(answer).reply, record, case_id=OURS, version=5, received_at=NOW, wanted=wanted, before=before
    )


A1, A3 = ItemDecision(sequence=1, action="A1", authorization_number="AUTH1"), ItemDecision(sequence=2, action="A3")


@pytest.mark.parametrize("version", ["2.2.1", "2.0.1"])
@pytest.mark.parametrize("action", ["A1", "A2", "A3", "A4", "A6", "C", "CT", "NA"])
def test_every_review_action_is_read_by_item(action: str, version: str) -> None:
    changes = {"quantity": 5, "unit": "VS"} if action in ("A2", "A6") else {}
    one = ItemDecision(
        sequence=1, action=action, changes=changes, reasons=("0V",) if action == "A3" else (),
        authorization_number="AUTH1" if action in ("A1", "A2", "A6") else "",
    )  # fmt: skip
    more = {"authorization_number": "AUTH1", "valid_from": "2026-03-02", "valid_to": "2026-06-02"}
    answer = given(one, replace(one, sequence=2), version=version, **more)
    found = decided(answer)
    assert [item.action for item in found.items] == [action, action]
    assert found.action == action
    if action in ("A1", "A2", "A6"):
        assert (found.authorization_number, found.valid_from, found.valid_to) == tuple(more.values())
    if action == "A3":
        assert found.items[0].reasons == ("0V",)
    if action == "A6":
        assert found.items[0].changes["quantity"] == 5


def test_a_denial_without_a_reason_says_so_and_can_be_passed_on() -> None:
    answer = given(A1, replace(A3, reasons=("0V",)))
    for item in answer["entry"][0]["resource"]["item"]:
        for part in item["adjudication"][0]["extension"]:
            part["extension"] = [row for row in part["extension"] if row["url"] != "reasonCode"]
    found = decided(answer)
    assert [item.note for item in found.items] == ["", NO_REASON]
    assert render(asked()[0], found)["entry"][0]["resource"]["outcome"] == "complete"


def test_business_rejections_are_errors_and_no_decision() -> None:
    answer = given(errors=({"code": "72", "followUp": "C", "location": "2010C", "path": "Bundle.entry[4]"},))
    found = decided(answer)
    assert (found.items, found.action) == ((), "")
    assert found.errors[0]["code"] == "72"
    assert found.errors[0]["followUp"] == "C"
    answer["entry"][0]["resource"]["error"][0]["code"] = {"text": "no"}
    assert decided(answer).errors[0]["code"] == "33"


def test_what_is_added_follows_the_last_item_and_foreign_items_are_left_out() -> None:
    answer = given(A1, replace(A3, reasons=("0V",)))
    response = answer["entry"][0]["resource"]
    response["item"].append({**copy.deepcopy(response["item"][0]), "itemSequence": 7})
    response["addItem"] = [
        {
            "productOrService": samples.concept(terms.HCPCS, "G0299"),
            "adjudication": copy.deepcopy(response["item"][0]["adjudication"]),
        }
    ]
    found = decided(answer)
    assert [(item.sequence, item.action) for item in found.items] == [(1, "A1"), (2, "A3"), (3, "A1")]
    assert found.items[2].changes == {"code": "G0299"}


def test_an_answer_to_a_part_leaves_the_rest_as_it_was() -> None:
    answer = given(A1, replace(A3, reasons=("0V",)))
    answer["entry"][0]["resource"]["item"].pop(0)
    before = Decision(case_id=OURS, version=3, decided_at=NOW, action="A1", items=(A1,))
    found = decided(answer, before=before)
    assert [(item.sequence, item.action) for item in found.items] == [(1, "A1"), (2, "A3")]


@pytest.mark.parametrize("tasks_only", [False, True])
def test_what_the_payer_wants_to_see_becomes_ours(tasks_only: bool) -> None:
    wanted = ({"loinc": "34117-2", "line": "2"}, {"reportType": "77", "question": "", "line": "1"})
    pending = ItemDecision(sequence=1, action="A4"), ItemDecision(sequence=2, action="A4")
    answer = given(*pending, requested_information=wanted, administrative_reference="REF9")
    if tasks_only:
        answer["entry"] = [e for e in answer["entry"] if e["resource"]["resourceType"] != "CommunicationRequest"]
    found = decided(answer)
    assert found.action == "A4"
    assert found.administrative_reference == "REF9"
    told = {(row.get("loinc"), row.get("reportType"), row.get("line")) for row in found.requested_information}
    assert told == {("34117-2", None, "2"), (None, "77", "1")}
    assert all(row["controlNumber"] for row in found.requested_information)
    again = render(asked()[0], found)
    kinds = [entry["resource"]["resourceType"] for entry in again["entry"]]
    assert kinds.count("CommunicationRequest") == 2


def test_nothing_decided_is_pended() -> None:
    answer = given(A1, replace(A3, reasons=("0V",)))
    for name in ("item", "preAuthRef", "adjudication"):
        answer["entry"][0]["resource"].pop(name, None)
    assert [item.action for item in decided(answer).items] == ["A4", "A4"]


def test_an_answer_is_known_by_what_it_echoes_and_by_nobody_elses() -> None:
    record = asked()[1].record
    intake = read(given(A1, replace(A3, reasons=("0V",))))
    keys = asked()[1].keys("plan")
    assert ["asked", "fhir/plan", "bundle", record["bundle"]] in intake.reply["parents"]
    assert ("asked", ("fhir/plan", "bundle", record["bundle"])) in keys
    assert payer_answers.answers(intake.reply, record)
    stranger = record | {"bundle": "b", "claim": "c", "traces": ["t"]}
    assert not payer_answers.answers(intake.reply, stranger)
    assert payer_answers.answers(intake.reply, stranger | {"numbers": ["AUTH1"]})
    assert not payer_answers.answers(intake.reply, {"trns": [["1", "T"]], "bht": "B"})


def test_the_same_content_is_the_same_message() -> None:
    answer = given(A1, replace(A3, reasons=("0V",)))
    assert read(answer).natural_key == answer_of(answer, RECEPTION).natural_key
    assert (
        read(answer).natural_key != read(given(A1, replace(A3, reasons=("0V",)), at=NOW.replace(hour=13))).natural_key
    )


def test_what_was_said_earlier_does_not_overtake_what_was_said_later() -> None:
    first, later = (read(given(A1, replace(A3, reasons=("0V",)), at=NOW.replace(hour=hour))).reply for hour in (9, 10))
    assert payer_answers.overtaken(first, [later])
    assert not payer_answers.overtaken(later, [first])
    assert not payer_answers.overtaken(first, [first])
    assert not payer_answers.overtaken(first | {"at": "soon"}, [later])


def test_an_operation_outcome_is_a_refusal_with_codes_only() -> None:
    issue = {"severity": "error", "code": "required", "expression": ["Bundle.entry[0].resource.item[1]"]}
    secret = {"severity": "error", "code": "JANE DOE", "expression": ["Patient.name.where(family='DOE')"]}
    outcome = {"resourceType": "OperationOutcome", "issue": [issue | {"diagnostics": "JANE DOE"}, secret]}
    found = read_answer(dumps(outcome), RECEPTION)
    assert found is not None
    assert found.type == "authorization.rejected"
    assert found.reply["codes"] == ["required Bundle.entry[0].resource.item[1]", "unknown"]
    outcome["issue"] = [{"severity": "information", "code": "informational"}]
    assert read_answer(dumps(outcome), RECEPTION) is None


@pytest.mark.parametrize(
    "data",
    [
        b"<html>busy</html>", b"", b"{", b'{"resourceType":"Bundle","type":"collection"}', b"[]",
        b'{"resourceType":"Patient"}', wire.serialize(given(A1, replace(A3, reasons=("0V",))))[:-40],
        b'{"resourceType":"ClaimResponse","resourceType":"ClaimResponse"}', b"[" * 100000, b"\xff\xfe",
    ],
)  # fmt: skip
def test_what_is_no_answer_is_not_read_as_one(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        read_answer(data, RECEPTION)


def test_an_inquiry_names_the_number_the_payer_gave_else_the_services() -> None:
    bundle, _ = asked()
    by_number = wire.parse(
        inquiry(bundle, numbers={"administrative-reference": "REF9"}, identity="i", now="2026-03-02T12:00:00Z",
                version="2.2.1"), wire.FHIR_JSON,
    )  # fmt: skip
    issues = [issue for issue in wire.validate_inquire(by_number) if issue.severity == "error"]
    assert issues == []
    claim = by_number["entry"][0]["resource"]
    assert "item" not in claim
    assert {"url": terms.ADMINISTRATION_REFERENCE, "valueString": "REF9"} in claim["extension"]
    assert claim["identifier"] != bundle["entry"][0]["resource"]["identifier"]
    plain = wire.parse(
        inquiry(bundle, numbers={}, identity="i", now="2026-03-02T12:00:00Z", version="2.2.1"), wire.FHIR_JSON
    )
    assert len(plain["entry"][0]["resource"]["item"]) == 2
    assert read_answer(b'{"resourceType":"Parameters"}', RECEPTION) is None


def test_numbers_of_an_answer() -> None:
    answer = given(A1, replace(A3, reasons=("0V",)), authorization_number="AUTH1", administrative_reference="REF9")
    assert numbers_of(answer) == {"authorization": "AUTH1", "administrative-reference": "REF9"}


def test_a_request_that_pas_would_refuse_is_not_sent() -> None:
    made = request(samples.request("urn", ITEMS), identity="case:2", now=NOW, whole=True)
    made.claim["item"][0]["sequence"] = 2
    with pytest.raises(InvalidMessage):
        question(made, version="2.2.1")


def test_spoiled_answers_are_read_and_can_be_passed_on_or_are_none() -> None:
    wanted = ({"loinc": "34117-2", "line": "2"}, {"reportType": "77", "question": "what", "line": "1"})
    modified = ItemDecision(sequence=1, action="A6", changes={"quantity": 5, "unit": "VS"})
    answers = [
        given(A1, replace(A3, reasons=("0V",))),
        given(modified, ItemDecision(sequence=2, action="A4"), requested_information=wanted),
        given(errors=({"code": "72", "followUp": "C", "location": "2010C", "path": "Bundle.entry[4]"},)),
    ]
    bundle, record = asked()[0], asked()[1].record
    draw, outcomes = random.Random(20260302), Counter[str]()
    for _ in range(1500):
        answer = copy.deepcopy(draw.choice(answers))
        said = [row for row in answer["entry"] if row["resource"]["resourceType"] in ("Task", "CommunicationRequest")]
        spoil(draw.choice([answer, answer["entry"][0]["resource"], *said]), draw)
        try:
            intake = read_answer(dumps(answer), RECEPTION)
        except MalformedMessage:
            outcomes["malformed"] += 1
            continue
        assert intake is not None
        found = payer_answers.decision_from(
            intake.reply, record, case_id=OURS, version=5, received_at=NOW, wanted=(1, 2), before=None
        )
        assert render(bundle, from_json(json.loads(dumps(as_json(found)))))["type"] == "collection"
        outcomes["read"] += 1
    assert min(outcomes.values()) > 100, outcomes


@outside
def test_outside_answers_become_decisions_and_outside_requests_can_be_asked() -> None:
    record = {"by": "fhir", "bundle": "b", "claim": "c", "traces": [], "sequences": {"1": 1, "2": 2}}
    found: dict[str, str] = {}
    asked_for = 0
    for path in sorted(DATA.glob("**/*.json")):
        resource = wire.parse(path.read_bytes(), wire.FHIR_JSON) if b'"resourceType"' in path.read_bytes() else {}
        kinds = [(row.get("resource") or {}).get("resourceType") for row in wire.entries(resource)]
        if kinds[:1] == ["Claim"] and "nquir" not in path.name and "inferno" not in str(path.parent):
            question(request(resource, identity="x", now=NOW, whole=True), version="2.2.1")
            asked_for += 1
        if "Response" in path.name and kinds[:1] == ["ClaimResponse"]:
            intake = read_answer(path.read_bytes(), RECEPTION)
            assert intake is not None
            given_by = payer_answers.decision_from(
                intake.reply, record, case_id=OURS, version=5, received_at=NOW, wanted=(1,), before=None
            )
            found[path.name] = given_by.action or given_by.errors[0]["code"]
    assert asked_for >= 3
    assert len(found) >= 4
    assert found["Bundle-ErrorResponseBundleExample.json"] == "04"
    assert found["Bundle-ReferralPendingAuthorizationResponseBundleExample.json"] == "A4"
    assert found["Bundle-RejectionResponseBundleExample.json"] == "A3"
