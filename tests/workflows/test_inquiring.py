"""A payer that pends is inquired about, on a time-skipping server: at what pace, beside what, and until when."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.workflows.hands import CLOCK, Hands, ended, reviewed, started, told, until, working
from workflows import definitions
from workflows.inputs import StepOutcome

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]

FIRST, LONGEST = timedelta(minutes=15), timedelta(hours=6)
ASKED = StepOutcome(outcome="asked", inquire_after=FIRST.total_seconds(), inquire_longest=LONGEST.total_seconds())


def made(action: str) -> StepOutcome:
    return StepOutcome(outcome=action, decision={"action": action})


def payers_case() -> dict[str, Any]:
    return definitions.load()["payer_authorization"]


def inquiries(hands: Hands) -> list[timedelta]:
    return [call.after for call in hands.calls if call.name == "inquire" and call.detail == "inquired"]


async def test_pauses_double_and_an_answer_that_says_something_ends_it(environment: WorkflowEnvironment) -> None:
    given = Hands(environment, ["A1"], turns=[ASKED, made("A4"), made("A1")], learnings=["sent"] * 7 + ["answered"])
    async with working(given) as hands:
        handle = await started(hands, "inquired", payers_case())
        assert (await ended(handle, "inquired")).action == "A1"
    pauses = [after - before for before, after in pairwise(inquiries(hands))]
    wanted = [min(FIRST * 2**number, LONGEST) for number in range(1, 8)]
    assert len(pauses) == 7
    assert all(abs(found - want) < timedelta(seconds=30) for found, want in zip(pauses, wanted, strict=True)), pauses
    assert hands.seen("payer") == [("payer", "asked"), ("payer", "A4"), ("payer", "A1")]
    assert hands.seen("open_task") == []


async def test_what_was_only_received_is_inquired_about(environment: WorkflowEnvironment) -> None:
    given = Hands(environment, ["A1"], turns=[ASKED], sendings=["sent"], learnings=["unavailable"])
    async with working(given) as hands:
        handle = await started(hands, "inquired_received", payers_case())
        await until(lambda: hands.seen("conclude") == [("conclude", "A4")])
        await environment.sleep(FIRST + timedelta(minutes=1))
        await until(lambda: bool(hands.seen("inquired")))
        hands.learnings, hands.turns = ["answered"], [made("A1")]
        assert (await ended(handle, "inquired_received")).action == "A1"


async def test_missed_events_are_inquired_about_at_once(environment: WorkflowEnvironment) -> None:
    given = Hands(environment, ["A1"], turns=[ASKED, made("A4")], learnings=["answered"])
    async with working(given) as hands:
        handle = await started(hands, "inquired_at_once", payers_case())
        await until(lambda: ("payer", "A4") in hands.seen())
        hands.turns = [made("A1")]
        await handle.signal("inquire")
        assert (await ended(handle, "inquired_at_once")).action == "A1"
    assert inquiries(hands)[0] < FIRST


async def test_nothing_is_inquired_about_after_the_decision_or_another_request(
    environment: WorkflowEnvironment,
) -> None:
    given = Hands(environment, ["A1"], turns=[ASKED, made("A4")])
    async with working(given) as hands:
        handle = await started(hands, "inquired_update", payers_case())
        await until(lambda: ("payer", "A4") in hands.seen())
        hands.turns, hands.sendings = [StepOutcome(outcome="asked"), made("A1")], ["answered"]
        await told(handle, 9)
        assert (await ended(handle, "inquired_update")).action == "A1"
    assert inquiries(hands) == []


async def test_a_person_who_is_reminded_is_not_disturbed_by_inquiries(environment: WorkflowEnvironment) -> None:
    given = Hands(environment, ["A1"], turns=[ASKED, made("A4")])
    async with working(given) as hands:
        handle = await started(hands, "inquired_reminded", payers_case())
        await until(lambda: ("payer", "A4") in hands.seen())
        await environment.sleep(CLOCK + timedelta(hours=20))
        await until(lambda: hands.task != "")
        before = len(inquiries(hands))
        await environment.sleep(timedelta(hours=20))
        await until(lambda: len(inquiries(hands)) > before)
        assert len(hands.seen("open_task")) == 1
        await reviewed(handle, hands, "A1")
        assert (await ended(handle, "inquired_reminded")).action == "A1"
