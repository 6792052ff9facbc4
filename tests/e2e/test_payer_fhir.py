"""A payer that decides is asked over Da Vinci PAS while a client waits; the payer is a gateway like ours."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime

import httpx
import pytest

from gateway import samples as shipped
from gateway.cli.send import mllp_exchange
from tests.e2e.asked_fhir import HOUSE, OLD, PLAN, FhirAsking, asked_of
from tests.e2e.pas import response, update
from tests.e2e.running import wait_for
from tests.e2e.test_cross_rail import naming, rqa
from tests.e2e.test_payer import told
from tests.e2e.test_pended import Receiver, attachment, receiver, subscribed
from tests.e2e.test_protocols import rows
from tests.mappings.fhir.test_response import actions_of

__all__ = ["receiver"]


@pytest.mark.parametrize("plan", [PLAN, OLD])
@pytest.mark.parametrize("scheme", ["urn", "http"])
def test_the_payers_decision_is_the_answer(plans: FhirAsking, plan: str, scheme: str) -> None:
    codes = {"X1001": "A1", "X1002": "A6", "X1003": "A2", "X1004": "A3", "X1006": "NA", "X1007": "CT"}
    bundle, trace = asked_of(plan, *codes, scheme=scheme)
    answer, took = plans.post(bundle)
    assert took < 12
    assert actions_of(response(answer)["item"]) == list(codes.values())
    assert response(answer)["identifier"] == response(bundle)["identifier"]
    theirs = plans.of_payer(trace)
    assert [row["type"] for row in theirs] == ["CaseOpened", "DecisionMade", "CaseClosed"]
    ours = plans.events(trace)
    assert [row["type"] for row in ours] == [
        "CaseOpened",
        "PayerAsked",
        "MessageReceived",
        "DecisionMade",
        "CaseClosed",
    ]
    again, _ = plans.post(bundle)
    assert response(again) == response(answer)
    assert len(plans.of_payer(trace)) == 3


def test_a_business_rejection_of_the_payers_is_told(plans: FhirAsking) -> None:
    bundle, trace = asked_of(PLAN, "X1008")
    told = response(plans.post(bundle)[0])
    assert told["outcome"] == "error"
    assert told["error"][0]["code"]["coding"][0]["code"] == "33"
    assert plans.decided(trace) == [""]


@pytest.mark.parametrize("plan", [PLAN, OLD])
@pytest.mark.parametrize("scheme", ["urn", "http"])
def test_updates_and_cancels_continue_the_payers_case(plans: FhirAsking, plan: str, scheme: str) -> None:
    bundle, trace = asked_of(plan, "X1001", "X1004", scheme=scheme)
    first = response(plans.post(bundle)[0])
    changed = update(bundle, scheme, add="X1002")
    second = response(plans.post(changed)[0])
    assert actions_of(second["item"]) == ["A1", "A3", "A6"]
    assert second["preAuthRef"] == first["preAuthRef"]
    gone = update(changed, scheme, certification="3")
    third = response(plans.post(gone)[0])
    assert set(actions_of(third["item"])) == {"C"}
    kinds = [row["data"]["type"] for row in plans.of_payer(trace) if row["type"] in ("CaseOpened", "MessageReceived")]
    assert kinds == ["authorization.request", "authorization.update", "authorization.cancel"]


def test_documents_the_payer_asked_for_reach_it_and_bring_its_decision(plans: FhirAsking, receiver: Receiver) -> None:
    plans.watched(PLAN)
    bundle, trace = asked_of(PLAN, "X1009")
    with subscribed(plans.gateway, receiver):
        answer, _ = plans.post(bundle)
        assert actions_of(response(answer)["item"]) == ["A4"]
        found = [row["resource"] for row in answer["entry"]]
        (wanted,) = [row for row in found if row["resourceType"] == "CommunicationRequest"]
        path = f"{plans.gateway.http}/fhir/pas/2.2.1/$submit-attachment"
        given = attachment(wanted["identifier"][0]["value"], "MEMBER77", final=True)
        sent = httpx.post(path, json=given, headers=plans.gateway.headers, timeout=30)
        assert sent.status_code == 200, sent.text
        wait_for("the notification", 60, lambda: receiver.kinds().count("event-notification") == 1)
        (late,) = told(receiver)
        assert actions_of(late["item"]) == ["A1"]
    assert len(plans.events(trace, "DocumentsForwarded")) == len(plans.events(trace, "DocumentsTaken")) == 1
    theirs = [row["data"]["type"] for row in plans.of_payer(trace, "MessageReceived")]
    assert theirs == ["authorization.attachment"]
    assert plans.decided(trace) == ["A4", "A1"]


def answered_278(plans: FhirAsking, name: str, data: bytes, trace: str) -> str:
    """The 278 response that the clearinghouse finds in its folder."""
    plans.leave(HOUSE, name, data)

    def found() -> list[bytes]:
        return [one for one in plans.left(HOUSE) if b"ST*278*" in one and f"TRN*2*{trace}*".encode() in one]

    wait_for("the answer", 60, found)
    return found()[-1].decode()


def test_a_278_is_decided_over_fhir_and_answered_in_x12(plans: FhirAsking) -> None:
    sample = shipped.request_278("X1001", datetime.now(UTC))
    told = answered_278(plans, "request.x12", sample.data, sample.trace)
    number = next(line for line in told.split("~") if line.strip().startswith("HCR*A1*")).split("*")[2].strip()
    assert [row["data"]["action"] for row in plans.of_payer(sample.trace, "DecisionMade")] == ["A1"]
    again = shipped.request_278("X1002", datetime.now(UTC))
    revised = answered_278(plans, "revision.x12", naming(again.data, "S", number), again.trace)
    assert f"HCR*A6*{number}" in revised
    last = shipped.request_278("X1002", datetime.now(UTC))
    cancelled = answered_278(plans, "cancel.x12", naming(last.data, "3", number), last.trace)
    assert "HCR*C" in cancelled
    theirs = plans.of_payer(sample.trace)
    kinds = [row["data"]["type"] for row in theirs if row["type"] in ("CaseOpened", "MessageReceived")]
    assert kinds == ["authorization.request", "authorization.update", "authorization.cancel"]


def test_an_hl7_request_is_decided_over_fhir_and_answered_in_hl7(plans: FhirAsking) -> None:
    referral = f"R{datetime.now(UTC):%H%M%S%f}"
    answer = asyncio.run(mllp_exchange(plans.gateway.mllp, rqa("I08", referral)))
    assert "RPA^I08" in answer
    (made,) = plans.of_payer(referral, "DecisionMade")
    assert made["data"]["action"] == "A1"
    assert plans.decided(referral) == ["A1"]
    gone = asyncio.run(mllp_exchange(plans.gateway.mllp, rqa("I11", referral)))
    assert "RPA^I11" in gone
    assert plans.decided(referral) == ["A1", "C"]


@pytest.mark.parametrize("plan", [PLAN, OLD])
def test_a_later_decision_comes_by_our_subscription(plans: FhirAsking, receiver: Receiver, plan: str) -> None:
    watch = plans.watched(plan)
    bundle, trace = asked_of(plan, "X1005")
    with subscribed(plans.gateway, receiver):
        answer, took = plans.post(bundle)
        assert took < 9
        assert actions_of(response(answer)["item"]) == ["A4"]
        plans.decide_at_payer(trace, "A1")
        wait_for("our client is told", 60, lambda: receiver.kinds().count("event-notification") == 1)
        (late,) = told(receiver)
        assert actions_of(late["item"]) == ["A1"]
        assert late["identifier"] == response(bundle)["identifier"]
    assert plans.decided(trace) == ["A4", "A1"]
    assert plans.events(trace, "PayerInquired") == []
    assert plans.watch(plan)["events"] == watch["events"] + 1
    wait_for("the case is closed", 20, lambda: plans.events(trace)[-1]["type"] == "CaseClosed")


def test_what_the_payer_wants_to_see_is_asked_of_our_client(plans: FhirAsking) -> None:
    bundle, _ = asked_of(PLAN, "X1009")
    answer, _ = plans.post(bundle)
    assert actions_of(response(answer)["item"]) == ["A4"]
    kinds = [entry["resource"]["resourceType"] for entry in answer["entry"]]
    assert kinds.count("CommunicationRequest") == kinds.count("Task") == 1


def test_a_subscription_the_payer_has_lost_is_made_anew_and_what_was_missed_is_inquired_about(
    plans: FhirAsking,
) -> None:
    before = plans.watched(PLAN)
    bundle, trace = asked_of(PLAN, "X1005")
    plans.post(bundle)
    gone = "DELETE FROM workflow.subscriptions WHERE id = $1 RETURNING id"
    assert len(rows(plans.payer, gone, uuid.UUID(before["subscription"]))) == 1
    plans.decide_at_payer(trace, "A3", "--reason", "0V", "--note", "The criteria are not met.")
    wait_for("the decision", 60, lambda: plans.decided(trace) == ["A4", "A3"])
    assert len(plans.events(trace, "PayerInquired")) == 1
    after = plans.watched(PLAN)
    assert after["subscription"] not in ("", before["subscription"])


def test_nothing_of_a_person_or_a_token_is_logged(plans: FhirAsking) -> None:
    logs = plans.gateway.logs()
    secret = (plans.payer.state / "secrets" / "bearer.token").read_text().strip()
    for word in (secret, "DOE", "JANE", "member1", "BEGIN EC", "urn:trnorg"):
        assert word not in logs, word
