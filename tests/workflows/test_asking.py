"""A case that a payer decides, on a time-skipping server: who is told what when, and that every path ends."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.workflows.hands import CLOCK, ENDPOINT, PATIENCE, Hands, ended, reviewed, started, told, until, working
from workflows import definitions
from workflows.inputs import CaseResult, StepOutcome

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]

ASKED, AGAIN, NOTED, REFUSED = (StepOutcome(outcome=name) for name in ("asked", "again", "noted", "refused"))
WITHIN = timedelta(seconds=10)


def made(action: str, **more: Any) -> StepOutcome:
    return StepOutcome(outcome=action, decision={"action": action}, **more)


def payers_case() -> dict[str, Any]:
    return definitions.load()["payer_authorization"]


async def test_an_answer_on_the_line_is_the_decision(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A1"], turns=[ASKED, made("A1")])) as hands:
        handle = await started(hands, "asked", payers_case(), lane="fast")
        update = handle.execute_update("decision", id="decision:asked:0", result_type=dict)
        assert (await asyncio.wait_for(update, PATIENCE))["action"] == "A1"
        assert await ended(handle, "asked") == CaseResult(status="completed", action="A1")
    assert hands.seen() == [("payer", "asked"), ("ask", "answered"), ("payer", "A1")]
    assert hands.calls[1].command == f"{ENDPOINT}@2"


async def test_who_waits_is_told_pended_in_time_and_the_decision_when_it_comes(
    environment: WorkflowEnvironment,
) -> None:
    given = Hands(environment, ["A1"], endpoints=(ENDPOINT,), turns=[ASKED, made("A1")], sendings=["slow"])
    async with working(given) as hands:
        handle = await started(hands, "asked_late", payers_case())
        await until(lambda: ("ask", "slow") in hands.seen())
        await environment.sleep(WITHIN)
        await until(lambda: ("deliver", "delivered") in hands.seen())
        hands.release.set()
        assert (await ended(handle, "asked_late")).action == "A1"
    assert hands.seen() == [
        ("payer", "asked"),
        ("ask", "slow"),
        ("conclude", "A4"),
        ("deliver", "delivered"),
        ("payer", "A1"),
        ("deliver", "delivered"),
        ("close_case", "completed"),
    ]
    pended = next(call for call in hands.calls if call.name == "conclude")
    assert abs(pended.after - WITHIN) < timedelta(seconds=5)


async def test_what_was_only_received_is_pended_at_once_and_answered_by_a_message(
    environment: WorkflowEnvironment,
) -> None:
    async with working(Hands(environment, ["A1"], turns=[ASKED], sendings=["sent"])) as hands:
        handle = await started(hands, "asked_by_file", payers_case())
        await until(lambda: ("conclude", "A4") in hands.seen())
        hands.turns = [NOTED]
        await told(handle, 7, "authorization.response")
        await until(lambda: hands.seen("payer")[-2:] == [("payer", "noted"), ("payer", "waiting")])
        hands.turns = [made("A4", more=True), made("A1")]
        await told(handle, 8, "authorization.response")
        assert (await ended(handle, "asked_by_file")).action == "A1"
    assert hands.seen("conclude") == [("conclude", "A4")]


async def test_ask_again_later(environment: WorkflowEnvironment) -> None:
    long = StepOutcome(outcome="again", pause=timedelta(days=2).total_seconds())
    async with working(Hands(environment, ["A1"], turns=[ASKED, AGAIN, ASKED, long, ASKED, made("A1")])) as hands:
        handle = await started(hands, "asked_again", payers_case())
        assert (await ended(handle, "asked_again")).action == "A1"
    assert [detail for _, detail in hands.seen("payer")] == [
        "asked", "again", "asked (again)", "again", "waiting", "asked (again)", "A1"
    ] or [detail for _, detail in hands.seen("payer")] == [
        "asked", "again", "asked (again)", "again", "asked (again)", "A1"
    ]  # fmt: skip
    asks = [call.after for call in hands.calls if call.name == "ask"]
    assert timedelta(seconds=2) <= asks[1] - asks[0] < WITHIN
    assert asks[2] - asks[1] >= timedelta(days=2)
    assert len(hands.seen("conclude")) == 1


async def test_nobody_can_be_reached_until_operations_mend_it(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A1"], turns=[ASKED], sendings=["unavailable"])) as hands:
        definition = payers_case()
        definition["steps"][0]["retry"]["until"] = "PT20M"  # as it ships: seven days, a thousand attempts
        handle = await started(hands, "asked_in_vain", definition)
        await until(lambda: ("ask", "unavailable") in hands.seen())
        await environment.sleep(timedelta(minutes=25))
        await until(lambda: ("payer", "refused (failed)") in hands.seen())
        await until(lambda: hands.task != "")
        assert hands.seen("conclude", "open_task")[:2] == [("conclude", "A4"), ("open_task", "operations")]
        hands.turns, hands.sendings = [ASKED, made("A1")], ["answered"]
        await reviewed(handle, hands, "again")
        assert (await ended(handle, "asked_in_vain")).action == "A1"
    assert ("payer", "asked (again)") in hands.seen()


async def test_a_refused_request_is_a_task_and_a_person_may_decide_it(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A1"], turns=[ASKED, REFUSED])) as hands:
        handle = await started(hands, "asked_refused", payers_case())
        await until(lambda: hands.task != "")
        await reviewed(handle, hands, "A1")
        assert (await ended(handle, "asked_refused")).action == "A1"
    assert hands.seen("conclude") == [("conclude", "A4")]


async def test_an_update_waits_for_the_line_and_is_then_asked(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A1"], turns=[ASKED], sendings=["slow", "answered"])) as hands:
        handle = await started(hands, "asked_update", payers_case())
        await until(lambda: ("ask", "slow") in hands.seen())
        await told(handle, 9)
        await until(lambda: ("payer", "waiting (sending)") in hands.seen())
        hands.turns = [NOTED, ASKED, made("A1")]
        hands.release.set()
        assert (await ended(handle, "asked_update")).action == "A1"
    assert [detail for name, detail in hands.seen("payer", "ask") if name == "ask"] == ["slow", "answered"]


async def test_a_payer_that_never_answers(environment: WorkflowEnvironment) -> None:
    """Promise 3: a person is reminded at the end of the clock, and thirty days later the case ends."""
    async with working(Hands(environment, ["A1"], turns=[ASKED], sendings=["sent"])) as hands:
        assert (await ended(await started(hands, "asked_never", payers_case()), "asked_never")).action == "CT"
    assert hands.seen("conclude", "open_task", "close_task") == [
        ("conclude", "A4"), ("open_task", "operations"), ("close_task", ""), ("conclude", "CT")
    ]  # fmt: skip
    opened = next(call.after for call in hands.calls if call.name == "open_task")
    assert abs(opened - CLOCK) < timedelta(minutes=5)


async def test_a_case_reopened_by_what_was_said_before_ends(environment: WorkflowEnvironment) -> None:
    settled = StepOutcome(outcome="settled")
    async with working(Hands(environment, ["A1"], turns=[NOTED, settled])) as hands:
        handle = await started(hands, "asked_settled", payers_case(), run=5)
        assert (await ended(handle, "asked_settled")).status == "completed"
    assert hands.seen() == [("payer", "noted"), ("payer", "settled"), ("close_case", "completed")]
