"""A FHIR payer in trouble, one that refuses, and notifications that come twice, late, from a stranger or not at all."""

from __future__ import annotations

import copy
import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest

from adapters.fhir import wire
from gateway.core.ports import Decision, ItemDecision
from mappings.decision_to_claimresponse import render
from mappings.inquire import match_query
from mappings.subscription_notification import Event
from mappings.subscription_notification import render as notification
from tests.e2e.asked_fhir import ROUGH, SLOW, Answer, Call, FhirAsking, Told, asked_of, nothing, outcome
from tests.e2e.pas import Element, response
from tests.e2e.running import wait_for
from tests.e2e.test_pended import Receiver, receiver, subscribed, tasks_of
from tests.mappings.fhir.test_response import actions_of

__all__ = ["receiver"]
FHIR = {"content-type": "application/fhir+json"}
SUBSCRIPTION = "11111111-1111-4111-8111-111111111111"


def decided(call: Call, *actions: str, at: datetime | None = None, **more: Any) -> Element:
    """The response to a submitted request: one action for each item, the last one for all that follow."""
    actions = actions or ("A4",)
    items = tuple(
        ItemDecision(
            sequence=row["sequence"],
            action=(action := actions[min(number, len(actions) - 1)]),
            reasons=("0V",) if action == "A3" else (),
            authorization_number="AUTH9" if action == "A1" else "",
        )
        for number, row in enumerate(call.bundle["entry"][0]["resource"].get("item", []))
    )
    kinds = {item.action for item in items}
    decision = Decision(
        case_id="22222222-2222-4222-8222-222222222222",
        version=int(time.monotonic_ns() % 1_000_000_000),
        decided_at=at or datetime.now(UTC),
        action=next(iter(kinds)) if len(kinds) == 1 else "A2",
        items=items if not more.get("errors") else (),
        authorization_number="AUTH9" if "A1" in kinds else "",
        **more,
    )
    return render(call.bundle, decision)


def told(resource: Element, status: int = 200) -> Told:
    return status, dict(FHIR), wire.serialize(resource)


def approve(call: Call) -> Told:
    return told(decided(call, "A1"))


def pend(call: Call) -> Told:
    return told(decided(call, "A4"))


def silence(_: Call) -> None:
    time.sleep(2.5)


def reset(_: Call) -> None:
    return None


def unavailable(_: Call) -> Told:
    return 503, {}, b""


def throttled(_: Call) -> Told:
    return 429, {"retry-after": "3"}, outcome("throttled")


def garbage(_: Call) -> Told:
    return 200, {"content-type": "text/html"}, b"<html>busy, JANE DOE</html>"


def cut(call: Call) -> Told:
    return 200, FHIR | {"x-cut": "1"}, wire.serialize(decided(call, "A3"))[:200]


def half(call: Call) -> Told:
    return 200, dict(FHIR), wire.serialize(decided(call, "A3"))[:-200]


class Script:
    """Submissions are answered one after the other, the last answer goes on; other operations by `others`."""

    def __init__(self, *submits: Answer, **others: Answer) -> None:
        self.rest = list(submits)
        self.others = others

    def __call__(self, call: Call) -> Told | None:
        if call.path.endswith("Claim/$submit"):
            return (self.rest.pop(0) if len(self.rest) > 1 else self.rest[0])(call)
        if call.path.endswith("Claim/$inquire"):
            return self.others.get("inquire", empty)(call)
        return self.others.get("subscription", nothing)(call)


def empty(_: Call) -> Told:
    return 200, dict(FHIR), b'{"resourceType":"Parameters"}'


@pytest.fixture(autouse=True)
def quiet(plans: FhirAsking) -> Iterator[None]:
    yield
    plans.rough.script = nothing


@pytest.mark.parametrize(
    "trouble", [silence, reset, unavailable, throttled, garbage, cut, half], ids=lambda f: f.__name__
)
def test_a_payer_in_trouble_is_asked_the_same_again_until_it_answers(plans: FhirAsking, trouble: Answer) -> None:
    plans.rough.script = Script(trouble, trouble, approve)
    bundle, trace = asked_of(ROUGH, "X1001")
    answer, took = plans.post(bundle)
    assert took <= 12
    assert actions_of(response(answer)["item"]) in (["A1"], ["A4"])
    wait_for("the decision", 60, lambda: plans.decided(trace)[-1:] == ["A1"])
    assert "A3" not in plans.decided(trace)
    tries = plans.rough.of(trace)
    assert len(tries) == 3
    assert len({one.body for one in tries}) == 1
    assert len({one.headers["idempotency-key"] for one in tries}) == 1
    least = 2.9 if trouble is throttled else 1.9
    pauses = [later.at - earlier.at for earlier, later in pairwise(tries)]
    assert all(pause >= least for pause in pauses), pauses


def test_a_worker_that_dies_while_it_asks_asks_the_same_again(plans: FhirAsking) -> None:
    killed: list[int] = []

    def dies(call: Call) -> Told:
        if not killed:
            killed.append(plans.gateway.pids()["worker"])
            os.kill(killed[0], signal.SIGKILL)
            time.sleep(0.5)
        return approve(call)

    plans.rough.script = Script(dies)
    bundle, trace = asked_of(ROUGH, "X1001")
    answer, took = plans.post(bundle)
    assert took < 15  # nobody says "pended" in time, so the edge does
    assert actions_of(response(answer)["item"]) == ["A4"]
    # A worker that gives no sign of life for twenty seconds is taken for dead (workflows.sending.ALIVE).
    wait_for("the decision", 120, lambda: plans.decided(trace)[-1:] == ["A1"])
    tries = plans.rough.of(trace)
    assert len(tries) == 2
    assert len({(one.body, one.headers["idempotency-key"]) for one in tries}) == 1


def test_an_answer_after_fourteen_seconds_is_told_when_it_comes(plans: FhirAsking, receiver: Receiver) -> None:
    def late(call: Call) -> Told:
        time.sleep(14)
        return approve(call)

    plans.rough.script = Script(late)
    bundle, trace = asked_of(SLOW, "X1001")
    with subscribed(plans.gateway, receiver):
        answer, took = plans.post(bundle)
        assert took <= 12
        assert actions_of(response(answer)["item"]) == ["A4"]
        wait_for("our client is told", 40, lambda: receiver.kinds().count("event-notification") == 1)
    assert plans.decided(trace) == ["A4", "A1"]
    assert len(plans.rough.of(trace)) == 1


@pytest.mark.parametrize("status", [400, 403, 422])
def test_a_request_the_payer_refuses_is_operations_task(plans: FhirAsking, status: int) -> None:
    plans.rough.script = Script(lambda _: (status, dict(FHIR), outcome("required")))
    bundle, trace = asked_of(ROUGH, "X1001")
    answer, _ = plans.post(bundle)
    assert actions_of(response(answer)["item"]) == ["A4"]
    wait_for("a task", 30, lambda: tasks_of(plans.gateway, trace))
    (said,) = plans.events(trace, "PayerAnswered")
    assert said["data"]["codes"] == ["endpoint-refused", "required Bundle.entry[0].resource"]
    assert plans.decided(trace) == ["A4"]
    assert len(plans.rough.of(trace)) == 1


def test_an_outcome_in_place_of_an_answer_is_a_refusal(plans: FhirAsking) -> None:
    plans.rough.script = Script(lambda _: (200, dict(FHIR), outcome("processing")))
    bundle, trace = asked_of(ROUGH, "X1001")
    assert actions_of(response(plans.post(bundle)[0])["item"]) == ["A4"]
    wait_for("a task", 30, lambda: tasks_of(plans.gateway, trace))
    assert plans.events(trace, "PayerAnswered")[0]["data"]["codes"] == ["processing Bundle.entry[0].resource"]


def test_a_payer_that_cannot_respond_now_is_asked_anew(plans: FhirAsking) -> None:
    busy = ({"code": "42", "followUp": "R", "location": "2000A"},)
    plans.rough.script = Script(lambda call: told(decided(call, errors=busy)), approve)
    bundle, trace = asked_of(ROUGH, "X1001")
    plans.post(bundle)
    wait_for("the decision", 60, lambda: plans.decided(trace)[-1:] == ["A1"])
    first, second = plans.rough.of(trace)
    assert first.bundle["identifier"] != second.bundle["identifier"]
    assert first.traces == second.traces


def test_where_no_subscription_is_possible_pended_requests_are_inquired_about(plans: FhirAsking) -> None:
    asked_about: list[Element] = []

    def inquired(call: Call) -> Told:
        asked_about.append(call.bundle)
        (submitted,) = plans.rough.of(trace)
        action = "A4" if len(asked_about) < 3 else "A1"
        mine = decided(submitted, action, administrative_reference="REF77")
        other = copy.deepcopy(mine)
        other["identifier"]["value"] = "another"
        other["entry"][0]["resource"]["identifier"] = [{"value": "another"}]
        other["entry"][0]["resource"]["request"] = {"reference": "urn:uuid:33333333-3333-4333-8333-333333333333"}
        rows = [{"name": "return", "resource": row} for row in (other, mine)]
        return told({"resourceType": "Parameters", "parameter": rows})

    first = lambda call: told(decided(call, "A4", administrative_reference="REF77"))  # noqa: E731
    plans.rough.script = Script(first, inquire=inquired)
    bundle, trace = asked_of(ROUGH, "X1001")
    assert actions_of(response(plans.post(bundle)[0])["item"]) == ["A4"]
    wait_for("the decision", 60, lambda: plans.decided(trace) == ["A4", "A1"])
    kinds = [row["type"] for row in plans.events(trace)]
    assert kinds.count("PayerInquired") == 3
    assert kinds.count("PayerTookNote") == 2
    assert [issue for one in asked_about for issue in wire.validate_inquire(one) if issue.severity == "error"] == []
    assert {match_query(one).numbers for one in asked_about} == {(("administrative-reference", "REF77"),)}
    wait_for("the case is closed", 20, lambda: plans.events(trace)[-1]["type"] == "CaseClosed")


class Hook:
    """The payer's end of a subscription: it was given an address and a header, and notifies."""

    def __init__(self, plans: FhirAsking) -> None:
        self.plans = plans
        self.made: list[Call] = []

    def __call__(self, call: Call) -> Told:
        if call.method == "POST":
            self.made.append(call)
            return told({**call.bundle, "id": SUBSCRIPTION, "status": "requested"}, 201)
        if call.method == "GET" and call.path.endswith(SUBSCRIPTION) and self.made:
            return told({**self.made[-1].bundle, "id": SUBSCRIPTION, "status": "active"})
        return 404, {}, b""  # `$status` is not served here

    @property
    def channel(self) -> Element:
        found: Element = self.made[-1].bundle["channel"]
        return found

    def post(self, body: bytes, **headers: str) -> httpx.Response:
        name, _, value = self.channel["header"][0].partition(": ")
        shown = {name: value, **FHIR} | headers
        return httpx.post(self.channel["endpoint"], content=body, headers=shown, timeout=30)

    def notify(self, number: int, answer: Element) -> httpx.Response:
        stored = {"id": SUBSCRIPTION, **self.made[-1].bundle}
        event = Event(number=number, at=datetime.now(UTC), response=answer)
        bundle = notification(
            "event-notification", stored, now=datetime.now(UTC), base_url="https://payer.example/fhir", events=[event]
        )
        return self.post(wire.serialize(bundle))


@pytest.fixture
def hook(plans: FhirAsking) -> Hook:
    made = Hook(plans)
    plans.rough.script = Script(pend, subscription=made)
    wait_for("our subscription", 30, lambda: made.made)
    return made


def test_notifications_that_come_twice_late_or_with_gaps(plans: FhirAsking, hook: Hook) -> None:
    bundle, trace = asked_of(ROUGH, "X1001", "X1002")
    assert actions_of(response(plans.post(bundle)[0])["item"]) == ["A4", "A4"]
    (submitted,) = plans.rough.of(trace)
    start = datetime.now(UTC)
    early, late = (
        decided(submitted, *actions, at=start + timedelta(seconds=after))
        for after, actions in ((1, ("A1", "A4")), (2, ("A1", "A3")))
    )
    for number, answer in ((7, late), (7, late), (6, early)):
        assert hook.notify(number, answer).status_code == 200
    wait_for("both have come", 30, lambda: len(plans.events(trace, "MessageReceived")) == 3)
    wait_for("the decision", 30, lambda: plans.decided(trace)[-1:] == ["A2"])
    wait_for("the late one is noted", 30, lambda: plans.events(trace, "PayerAnswered"))
    assert plans.decided(trace) == ["A4", "A2"]
    assert plans.events(trace, "PayerAnswered")[0]["data"]["codes"] == ["overtaken"]
    assert plans.watch(ROUGH)["events"] == 7


def test_a_gap_in_the_events_is_filled_by_inquiring(plans: FhirAsking, hook: Hook) -> None:
    bundle, trace = asked_of(ROUGH, "X1001")
    other, other_trace = asked_of(ROUGH, "X1001")
    for one in (bundle, other):
        plans.post(one)
    (submitted,), (missed,) = plans.rough.of(trace), plans.rough.of(other_trace)

    def inquired(call: Call) -> Told:
        rows = [{"name": "return", "resource": decided(missed, "A1")}]
        return told({"resourceType": "Parameters", "parameter": rows})

    plans.rough.script = Script(pend, subscription=hook, inquire=inquired)
    number = plans.watch(ROUGH)["events"]
    assert hook.notify(number + 2, decided(submitted, "A1")).status_code == 200
    wait_for("both decisions", 30, lambda: [plans.decided(one) for one in (trace, other_trace)] == [["A4", "A1"]] * 2)


def heard(plans: FhirAsking, trace: str) -> list[dict[str, Any]]:
    """What happened in a case but that its payer was inquired: that has a clock of its own."""
    return [event for event in plans.events(trace) if event["type"] not in ("PayerInquired", "PayerTookNote")]


def test_strangers_and_garbage_are_refused(plans: FhirAsking, hook: Hook) -> None:
    bundle, trace = asked_of(ROUGH, "X1001")
    plans.post(bundle)
    (submitted,) = plans.rough.of(trace)
    before = heard(plans, trace)
    good = wire.serialize(
        notification(
            "event-notification",
            {"id": SUBSCRIPTION, **hook.made[-1].bundle},
            now=datetime.now(UTC),
            base_url="https://payer.example/fhir",
            events=[Event(number=1, at=datetime.now(UTC), response=decided(submitted, "A1"))],
        )
    )
    assert hook.post(good, Authorization="Bearer wrong").status_code == 401
    assert httpx.post(hook.channel["endpoint"], content=good, headers=FHIR).status_code == 401
    elsewhere = hook.channel["endpoint"].replace(ROUGH, "fhir-plan")
    shown = dict([hook.channel["header"][0].split(": ")])
    assert httpx.post(elsewhere, content=good, headers=FHIR | shown).status_code == 401
    assert httpx.post(elsewhere + "x", content=good, headers=FHIR | shown).status_code == 401
    tree = json.loads(good)
    tree["entry"][1]["resource"]["entry"][0]["resource"]["item"][0]["itemSequence"] = "JANE DOE"
    bodies = {
        b"": 400, b"{": 400, b"<x/>": 400, b"[" * 70: 400, b"{" * 100_000: 400,
        b'{"resourceType":"Patient"}': 422, b'{"resourceType":"Bundle","type":"history"}': 422,
        json.dumps(tree).encode(): 400, b" " * (17 << 20): 413,
    }  # fmt: skip
    for body, status in bodies.items():
        answer = hook.post(body)
        assert answer.status_code == status, (body[:60], answer.text)
        assert "JANE" not in answer.text
    assert hook.post(good, **{"content-type": "text/plain"}).status_code == 415
    assert heard(plans, trace) == before
    assert "JANE DOE" not in plans.gateway.logs()
