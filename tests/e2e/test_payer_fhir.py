"""A payer that decides is asked over Da Vinci PAS while a client waits; the payer is a gateway like ours."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway import samples as shipped
from tests.e2e.asked_fhir import HOUSE, OLD, PLAN, FhirAsking, asked_of
from tests.e2e.pas import response, update
from tests.e2e.running import wait_for
from tests.mappings.fhir.test_response import actions_of


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


def test_updates_and_cancels_continue_the_payers_case(plans: FhirAsking) -> None:
    bundle, trace = asked_of(PLAN, "X1001", "X1004")
    first = response(plans.post(bundle)[0])
    changed = update(bundle, "urn", add="X1002")
    second = response(plans.post(changed)[0])
    assert actions_of(second["item"]) == ["A1", "A3", "A6"]
    assert second["preAuthRef"] == first["preAuthRef"]
    gone = update(changed, "urn", certification="3")
    third = response(plans.post(gone)[0])
    assert set(actions_of(third["item"])) == {"C"}
    kinds = [row["data"]["type"] for row in plans.of_payer(trace) if row["type"] in ("CaseOpened", "MessageReceived")]
    assert kinds == ["authorization.request", "authorization.update", "authorization.cancel"]


def test_a_278_is_decided_over_fhir_and_answered_in_x12(plans: FhirAsking) -> None:
    sample = shipped.request_278("X1001", datetime.now(UTC))
    plans.leave(HOUSE, "request.x12", sample.data)
    wait_for("the answer", 60, lambda: any(b"ST*278*" in one and b"HCR*A1*" in one for one in plans.left(HOUSE)))
    (told,) = [one for one in plans.left(HOUSE) if b"ST*278*" in one]
    assert f"TRN*2*{sample.trace}".encode() in told
    assert [row["data"]["action"] for row in plans.of_payer(sample.trace, "DecisionMade")] == ["A1"]
