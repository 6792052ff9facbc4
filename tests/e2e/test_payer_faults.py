"""A payer that cannot be reached, cannot answer or cannot read us: asked again in time, told to people, never A3."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from adapters.soap.wire.envelope import Fault
from tests.e2e.asked import HASTY, PER_SECOND, Asking, asked_of, scripted, wait_for
from tests.e2e.pas import response, update
from tests.e2e.payer import Answer, Submission, decided, refused_999, refused_ta1, rejected
from tests.e2e.test_pended import tasks_of
from tests.e2e.test_protocols import command
from tests.mappings.fhir.test_response import actions_of


def approve(asked_for: Submission) -> bytes:
    return decided(asked_for, "A1")


def silence(_: Submission) -> None:
    time.sleep(2.5)


def unavailable(_: Submission) -> int:
    return 503


def too_many(_: Submission) -> int:
    return 429


def fault(_: Submission) -> Fault:
    return Fault("Receiver", "the database is away")


def garbage(_: Submission) -> bytes:
    return b"ISA*00*nonsense"


def reset(_: Submission) -> None:
    return None


@pytest.mark.parametrize("trouble", [silence, unavailable, too_many, fault, garbage, reset], ids=lambda f: f.__name__)
def test_a_payer_in_trouble_is_asked_the_same_again_until_it_answers(asked: Asking, trouble: Answer) -> None:
    payer = asked.payers[HASTY]
    payer.script = scripted(trouble, trouble, approve)
    bundle, trace = asked_of(HASTY, "X1001")
    answer, took = asked.post(bundle)
    assert took <= 12
    assert actions_of(response(answer)["item"]) in (["A1"], ["A4"])
    wait_for("the decision", 60, lambda: asked.decided(trace)[-1:] == ["A1"])
    assert "A3" not in asked.decided(trace)
    tries = payer.of(trace)
    assert len(tries) == 3
    assert len({one.data for one in tries}) == 1
    assert len({one.payload_id for one in tries}) == 1
    pauses = [later.at - earlier.at for earlier, later in pairwise(tries)]
    assert all(pause >= 1.9 for pause in pauses), pauses


def test_a_payer_that_refuses_connections_is_pended_and_gets_it_once(asked: Asking) -> None:
    payer = asked.payers[HASTY]
    payer.script = approve
    payer.stop()
    try:
        bundle, trace = asked_of(HASTY, "X1001")
        answer, took = asked.post(bundle)
        assert took <= 12
        assert actions_of(response(answer)["item"]) == ["A4"]
    finally:
        payer.start()
    wait_for("the decision", 90, lambda: asked.decided(trace) == ["A4", "A1"])
    assert len(payer.of(trace)) == 1


def test_a_payer_that_cannot_respond_now_is_asked_anew_with_another_interchange(asked: Asking) -> None:
    payer = asked.payers[HASTY]
    payer.script = scripted(lambda one: rejected(one, "42", "R"), lambda one: rejected(one, "42", "P"), approve)
    bundle, trace = asked_of(HASTY, "X1001")
    answer, took = asked.post(bundle)
    assert took <= 12
    assert actions_of(response(answer)["item"]) in (["A1"], ["A4"])
    wait_for("the decision", 60, lambda: asked.decided(trace)[-1:] == ["A1"])
    tries = payer.of(trace)
    assert len(tries) == 3
    assert len({one.interchange for one in tries}) == 3
    assert len({one.traces for one in tries}) == 1
    assert len({one.tree.get("BHT", 3) for one in tries}) == 1
    assert [row["data"]["codes"] for row in asked.events(trace, "PayerAnswered")] == [["42"], ["42"]]


def test_a_rejection_that_is_to_be_corrected_is_told_and_not_asked_again(asked: Asking) -> None:
    payer = asked.payers[HASTY]
    payer.script = lambda one: rejected(one, "72", "C", "2010C")
    bundle, trace = asked_of(HASTY, "X1001")
    answer, _ = asked.post(bundle)
    told = response(answer)
    assert told["outcome"] == "error"
    assert told["error"][0]["code"]["coding"][0]["code"] == "72"
    assert "item" not in told or actions_of(told["item"]) != ["A3"]
    time.sleep(6)
    assert len(payer.of(trace)) == 1
    assert asked.decided(trace) == [""]


@pytest.mark.parametrize(("refusal", "code"), [(refused_999, "5"), (refused_ta1, "022")])
def test_a_refused_interchange_is_operations_task_and_pended(asked: Asking, refusal: Answer, code: str) -> None:
    payer = asked.payers[HASTY]
    payer.script = scripted(refusal, approve)
    bundle, trace = asked_of(HASTY, "X1001")
    answer, took = asked.post(bundle)
    assert took <= 12
    assert actions_of(response(answer)["item"]) == ["A4"]
    wait_for("a task", 30, lambda: tasks_of(asked.gateway, trace))
    (task,) = tasks_of(asked.gateway, trace)
    listed = command(asked.gateway, "tasks", "list", "--role", "operations", "--json")
    assert task in {row["task_id"] for row in json.loads(listed.stdout)}
    (said,) = asked.events(trace, "PayerAnswered")
    assert said["data"]["outcome"] == "refused"
    assert code in said["data"]["codes"]
    assert len(payer.of(trace)) == 1
    done = command(asked.gateway, "tasks", "again", task, "--reviewer", "ops-2")
    assert done.returncode == 0, done.stderr
    wait_for("the decision", 60, lambda: asked.decided(trace) == ["A4", "A1"])
    first, second = payer.of(trace)
    assert first.interchange != second.interchange
    assert tasks_of(asked.gateway, trace) == []


def test_updates_and_cancellation_ask_for_what_changed(asked: Asking) -> None:
    payer = asked.payers[HASTY]
    payer.script = lambda one: decided(one, "A1", number="AUTHCHAIN")
    first, _ = asked_of(HASTY, "X1001", "X1002")
    assert actions_of(response(asked.post(first)[0])["item"]) == ["A1", "A1"]
    second = update(first, "urn", cancel=2, add="X1003")
    payer.script = lambda one: decided(one, "C", "A3")
    answer = response(asked.post(second)[0])
    assert actions_of(answer["item"]) == ["A1", "C", "A3"]
    third = update(second, "urn", certification="3")
    payer.script = lambda one: decided(one, "C")
    assert set(actions_of(response(asked.post(third)[0])["item"])) == {"C"}
    trace = str(response(first)["identifier"][0]["value"])
    submitted = payer.of(trace)
    assert [one.event.get("UM", 2) for one in submitted] == ["I", "S", "3"], [
        one.event.get("UM", 2) for one in submitted
    ]
    changed = [[line.get("UM", 2) for line in one.event.loops("2000F")] for one in submitted]
    assert changed[1] == ["3", "I"], changed


def test_bursts_and_repetitions_stay_within_the_rate(asked: Asking) -> None:
    payer = asked.payers[HASTY]
    begun = len(payer.calls)
    trouble = iter([unavailable] * 8)

    def script(one: Submission) -> Any:
        return next(trouble, approve)(one)

    payer.script = script
    bundles = [asked_of(HASTY, "X1001") for _ in range(24)]
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda one: asked.post(one[0]), bundles))
    wait_for("all are decided", 240, lambda: all(asked.decided(trace)[-1:] == ["A1"] for _, trace in bundles))
    calls = payer.calls[begun:]
    assert len(calls) == 32
    for window in (1.0, 3.0):
        most = max(sum(start <= other < start + window for other in calls) for start in calls)
        assert most <= PER_SECOND * window * 1.05 + 1, (window, most)
