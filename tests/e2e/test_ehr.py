"""What an EHR posts to /fhir/r4 is decided, and each decision is written to that EHR once."""

from __future__ import annotations

import json
import uuid
from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.e2e.asked_fhir import CLINIC, Call, FhirAsking, Told, outcome
from tests.e2e.ehr import FHIR, Ehr, ehr
from tests.e2e.pas import Element
from tests.e2e.running import Gateway, wait_for
from tests.e2e.test_pended import attachment, tasks_of
from tests.e2e.test_protocols import command, rows
from tests.mappings.fhir.test_own_claims import PRIOR, claim
from tests.mappings.fhir.test_response import actions_of

__all__ = ["ehr"]
ACTIONS = {"X1001": "A1", "X1002": "A6", "X1004": "A3", "X1005": "A4"}


def of(code: str, identity: str = "", **changes: Any) -> Element:
    """A Claim of the EHR's for one service."""
    item = {"sequence": 1, "productOrService": {"coding": [{"code": code}]}}
    return claim(identity or f"c-{uuid.uuid4().hex[:12]}", item=[item], **changes)


def post(gateway: Gateway, resource: Element) -> str:
    """The id of the Claim that was posted."""
    answer = httpx.post(f"{gateway.http}/fhir/r4/Claim", json=resource, headers=gateway.headers, timeout=30)
    assert answer.status_code == 201, answer.text
    return str(resource["id"])


def settled(plans: FhirAsking, identity: str) -> list[dict[str, Any]]:
    """The deliveries of a Claim's case, once none is under way and the case is closed."""
    trace = f"N-{identity}"
    wait_for("the case is closed", 60, lambda: [row["type"] for row in plans.events(trace)][-1:] == ["CaseClosed"])
    statement = "SELECT endpoint, state, attempts, receipt FROM workflow.deliveries WHERE case_id = $1::text::uuid"
    return [dict(row) for row in rows(plans.gateway, statement, plans.case_id(trace))]


def only(ehr: Ehr, identity: str) -> tuple[str, list[Element]]:
    """The one ClaimResponse on a Claim: its address and versions."""
    ((where, versions),) = ehr.answers(identity).items()
    return where, versions


def repeated(calls: list[Call]) -> list[list[Call]]:
    """Calls with the same body, where there are several."""
    bodies = dict.fromkeys(one.body for one in calls)
    found = [[one for one in calls if one.body == body] for body in bodies]
    return [same for same in found if len(same) > 1]


def unavailable(_: Call) -> Told:
    return 503, {}, b""


def test_each_decision_is_written_once_and_later_ones_take_its_place(plans: FhirAsking, ehr: Ehr) -> None:
    ehr.trouble = [unavailable]
    claims = {code: post(plans.gateway, of(code)) for code in ACTIONS}
    for code, identity in claims.items():
        wait_for(f"the answer to {code}", 60, lambda identity=identity: ehr.answers(identity))
        response = only(ehr, identity)[1][-1]
        assert actions_of(response["item"]) == [ACTIONS[code]]
        assert response["patient"]["reference"] == "Patient/p1"
    wait_for("a task", 30, lambda: tasks_of(plans.gateway, f"N-{claims['X1005']}"))
    (task,) = tasks_of(plans.gateway, f"N-{claims['X1005']}")
    done = command(plans.gateway, "tasks", "decide", task, "--action", "A1", "--reviewer", "dr-7")
    assert done.returncode == 0, done.stderr
    told = {code: settled(plans, identity) for code, identity in claims.items()}
    assert {(row["endpoint"], row["state"]) for found in told.values() for row in found} == {
        (f"ehr/{CLINIC}", "delivered")
    }
    assert {code: len(found) for code, found in told.items()} == {"X1001": 1, "X1002": 1, "X1004": 1, "X1005": 2}
    versions = {code: only(ehr, identity)[1] for code, identity in claims.items()}
    assert {code: len(found) for code, found in versions.items()} == {code: len(told[code]) for code in told}
    assert actions_of(versions["X1005"][-1]["item"]) == ["A1"]
    calls = [one for identity in claims.values() for one in ehr.writes(identity)]
    assert len(calls) == 1 + sum(map(len, versions.values()))
    ((first, again),) = repeated(calls)
    assert (first.path, first.headers["idempotency-key"]) == (again.path, again.headers["idempotency-key"])
    assert {one.headers["authorization"].removeprefix("Bearer ") for one in calls} <= set(ehr.issued)


def test_what_was_not_confirmed_is_written_again_the_same(plans: FhirAsking, ehr: Ehr) -> None:
    def kept_and_cut(call: Call) -> None:
        ehr.keep(call)

    ehr.trouble = [kept_and_cut]
    identity = post(plans.gateway, of("X1004"))
    (told,) = settled(plans, identity)
    assert (told["state"], told["attempts"]) == ("delivered", 2)
    _, versions = only(ehr, identity)
    assert versions[0] == versions[1]
    assert len({one.body for one in ehr.writes(identity)}) == 1


def test_a_token_that_ended_is_asked_for_anew_and_waiting_is_done_as_asked(plans: FhirAsking, ehr: Ehr) -> None:
    ehr.good.clear()
    before = len(ehr.issued)
    ehr.trouble = [lambda _: (429, {"retry-after": "3"}, outcome("throttled"))]
    identity = post(plans.gateway, of("X1001"))
    (told,) = settled(plans, identity)
    assert told["state"] == "delivered"
    calls = ehr.writes(identity)
    tokens = [one.headers["authorization"].removeprefix("Bearer ") for one in calls]
    assert tokens[-2:] == ehr.issued[before:] * 2  # asked for once, and used from then on
    assert len(calls) in (2, 3)  # three where the gateway held a token of before
    assert [later.at - earlier.at for earlier, later in pairwise(calls)][-1] >= 2.9
    assert len(only(ehr, identity)[1]) == 1


@pytest.mark.parametrize("status", [400, 404, 409, 412, 422])
def test_what_the_ehr_refuses_is_parked_with_the_reason(plans: FhirAsking, ehr: Ehr, status: int) -> None:
    said = outcome("required").replace(b"Bundle.entry[0].resource", b"ClaimResponse.insurer")
    ehr.trouble = [lambda _: (status, dict(FHIR), said)]
    identity = post(plans.gateway, of("X1001"))
    (told,) = settled(plans, identity)
    reason = f"the endpoint answered {status}; required at ClaimResponse.insurer"
    assert (told["state"], told["attempts"], told["receipt"]["reference"]) == ("refused", 1, reason)
    assert len(ehr.writes(identity)) == 1
    shown = command(plans.gateway, "trace", plans.case_id(f"N-{identity}"), "--json")
    assert [row["details"] for row in json.loads(shown.stdout) if row["what"] == "refused"] == [
        f"ehr/{CLINIC}, 1 attempt(s): {reason}"
    ]
    assert reason in plans.gateway.logs()


def test_a_claim_that_changes_keeps_its_case_and_its_answer(plans: FhirAsking, ehr: Ehr) -> None:
    identity = post(plans.gateway, of("X1001"))
    settled(plans, identity)
    for resource, action in ((of("X1002", identity), "A6"), (of("X1002", identity, status="cancelled"), "C")):
        post(plans.gateway, resource)
        wait_for("the decision", 60, lambda action=action: plans.decided(f"N-{identity}")[-1:] == [action])
        settled(plans, identity)
    _, versions = only(ehr, identity)
    assert [actions_of(row["item"]) for row in versions] == [["A1"], ["A6"], ["C"]]
    assert "preAuthRef" not in versions[-1]


def test_a_revision_that_is_rejected_leaves_what_was_decided(plans: FhirAsking, ehr: Ehr) -> None:
    identity = post(plans.gateway, of("X1004"))
    settled(plans, identity)
    related = [{"claim": {"reference": f"Claim/{identity}"}, "relationship": PRIOR}]
    revision = post(plans.gateway, of("X1001", related=related))
    wait_for("the rejection", 60, lambda: ehr.answers(revision))
    assert only(ehr, revision)[1][-1]["outcome"] == "error"
    assert plans.case_id(f"N-{revision}") == plans.case_id(f"N-{identity}")
    assert [actions_of(row["item"]) for row in only(ehr, identity)[1]] == [["A3"]]


def test_a_document_that_was_asked_for_in_the_answer_brings_the_decision(plans: FhirAsking, ehr: Ehr) -> None:
    identity = post(plans.gateway, of("X1009"))
    wait_for("the answer", 60, lambda: ehr.answers(identity))
    (wanted,) = only(ehr, identity)[1][-1]["contained"]
    number = wanted["identifier"][0]
    assert number["system"].startswith(f"{plans.gateway.http}/fhir/pas/2.2.1/")
    path = f"{plans.gateway.http}/fhir/pas/2.2.1/$submit-attachment"
    given = attachment(number["value"], "MEMBER77", final=True)
    sent = httpx.post(path, json=given, headers=plans.gateway.headers, timeout=30)
    assert sent.status_code == 200, sent.text
    settled(plans, identity)
    assert [actions_of(row["item"]) for row in only(ehr, identity)[1]] == [["A4"], ["A1"]]


def test_without_an_ehr_nobody_is_told(plans: FhirAsking, ehr: Ehr) -> None:
    # The payer's gateway knows of no EHR: the decision is made, and stays with the case.
    there = FhirAsking(plans.payer, {}, {}, plans.payer, plans.rough, plans.ehr)
    identity = post(plans.payer, of("X1001"))
    assert settled(there, identity) == []
    assert there.decided(f"N-{identity}") == ["A1"]
    assert plans.ehr.calls == [one for one in plans.ehr.calls if identity.encode() not in one.body]


def test_nothing_of_a_person_or_a_token_is_logged(plans: FhirAsking, ehr: Ehr) -> None:
    logs = plans.gateway.logs()
    for word in ("JANE", "Patient/p1", "BEGIN EC", "token-0"):
        assert word not in logs, word
