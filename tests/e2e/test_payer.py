"""A payer that decides is asked over X12 278 while a client waits: on the line, late on the line, and by files."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.e2e.asked import FILES, PATIENT, Asking, asked_of, wait_for
from tests.e2e.pas import Element, response
from tests.e2e.payer import decided, refused_999, refused_ta1, submission
from tests.e2e.test_pended import Receiver, receiver, subscribed, tasks_of
from tests.mappings.fhir.test_response import actions_of

__all__ = ["receiver"]


def told(receiver: Receiver) -> list[Element]:
    """The ClaimResponses of the notifications received."""
    found = []
    for _, bundle in receiver.received:
        inside = [row["resource"] for row in bundle["entry"] if row["resource"]["resourceType"] == "Bundle"]
        found += [row["entry"][0]["resource"] for row in inside]
    return found


def after(seconds: float, *actions: str, **more: Any) -> Any:
    def script(asked_for: Any) -> bytes:
        time.sleep(seconds)
        return decided(asked_for, *actions, **more)

    return script


def test_an_answer_in_five_seconds_is_the_answer(asked: Asking) -> None:
    payer = asked.payers[PATIENT]
    payer.script = after(5, "A1", "A3", number="AUTH5")
    bundle, trace = asked_of(PATIENT, "X1001", "X1002")
    answer, took = asked.post(bundle)
    assert 5 < took < 12
    assert actions_of(response(answer)["item"]) == ["A1", "A3"]
    assert response(answer)["preAuthRef"] == "AUTH5"
    assert response(answer)["identifier"] == response(bundle)["identifier"]
    (only,) = payer.of(trace)
    assert only.event.get("TRN", 3) == response(bundle)["identifier"][0]["system"].removeprefix("urn:trnorg:")
    assert [row["type"] for row in asked.events(trace)] == [
        "CaseOpened", "PayerAsked", "MessageReceived", "DecisionMade", "CaseClosed"
    ]  # fmt: skip
    again, _ = asked.post(bundle)
    assert response(again) == response(answer)
    assert len(payer.of(trace)) == 1


def test_an_answer_after_twenty_seconds_is_told_when_it_comes(asked: Asking, receiver: Receiver) -> None:
    payer = asked.payers[PATIENT]
    payer.script = after(20, "A1", number="AUTH20")
    bundle, trace = asked_of(PATIENT, "X1001")
    with subscribed(asked.gateway, receiver):
        answer, took = asked.post(bundle)
        assert took <= 12
        assert actions_of(response(answer)["item"]) == ["A4"]
        assert receiver.kinds().count("event-notification") == 0
        wait_for("the notification", 40, lambda: receiver.kinds().count("event-notification") == 1)
        (late,) = told(receiver)
        assert actions_of(late["item"]) == ["A1"]
        assert late["preAuthRef"] == "AUTH20"
        assert asked.decided(trace) == ["A4", "A1"]
        wait_for("the case is closed", 20, lambda: asked.events(trace)[-1]["type"] == "CaseClosed")
        assert len(payer.of(trace)) == 1
        assert receiver.kinds().count("event-notification") == 1


def test_a_payer_that_pends_answers_later_by_a_file(asked: Asking, receiver: Receiver) -> None:
    payer = asked.payers[PATIENT]
    payer.script = after(0, "A4")
    bundle, trace = asked_of(PATIENT, "X1001")
    with subscribed(asked.gateway, receiver):
        answer, took = asked.post(bundle)
        assert took < 9
        assert actions_of(response(answer)["item"]) == ["A4"]
        (only,) = payer.of(trace)
        stranger = decided(only, "A3")
        asked.leave(FILES, "stranger.x12", stranger)  # somebody else's drop, with the payer's name in it
        wait_for("it is read", 30, lambda: len(asked.events(trace, "PayerAnswered")) == 1)
        assert asked.events(trace, "PayerAnswered")[0]["data"]["outcome"] == "noted"
        final = decided(only, "A1", number="AUTHFILE")
        asked.leave(PATIENT, "later.x12", final)
        wait_for("the notification", 40, lambda: receiver.kinds().count("event-notification") == 1)
        (late,) = told(receiver)
        assert actions_of(late["item"]) == ["A1"]
        asked.leave(PATIENT, "again.x12", decided(only, "A1", number="AUTHFILE"))
        wait_for("it is read", 30, lambda: len(asked.events(trace, "PayerAnswered")) == 2)
        assert asked.decided(trace) == ["A4", "A1"]
        wait_for("the case is closed", 20, lambda: asked.events(trace)[-1]["type"] == "CaseClosed")
        assert receiver.kinds().count("event-notification") == 1


def test_a_payer_that_is_asked_by_files(asked: Asking, receiver: Receiver) -> None:
    bundle, trace = asked_of(FILES, "X1001", "X1002")
    with subscribed(asked.gateway, receiver):
        answer, took = asked.post(bundle)
        assert took < 9
        assert actions_of(response(answer)["item"]) == ["A4", "A4"]
        (data,) = [one for one in asked.left(FILES) if trace.encode() in one]
        asked.leave(FILES, "answer.x12", decided(submission(data), "A1", "A3"))
        wait_for("the notification", 40, lambda: receiver.kinds().count("event-notification") == 1)
        (late,) = told(receiver)
        assert actions_of(late["item"]) == ["A1", "A3"]
        assert json.dumps(late["identifier"]) == json.dumps(response(bundle)["identifier"])
        assert len([one for one in asked.left(FILES) if trace.encode() in one]) == 1


@pytest.mark.parametrize(("refusal", "code"), [(refused_999, "5"), (refused_ta1, "022")])
def test_a_refusal_by_a_file_is_operations_task(asked: Asking, refusal: Any, code: str) -> None:
    bundle, trace = asked_of(FILES, "X1001")
    answer, _ = asked.post(bundle)
    assert actions_of(response(answer)["item"]) == ["A4"]
    (data,) = [one for one in asked.left(FILES) if trace.encode() in one]
    asked.leave(FILES, f"refused-{code}.x12", refusal(submission(data)))
    wait_for("a task", 40, lambda: tasks_of(asked.gateway, trace))
    (said,) = asked.events(trace, "PayerAnswered")
    assert (said["data"]["outcome"], code in said["data"]["codes"]) == ("refused", True)
    assert asked.decided(trace) == ["A4"]
