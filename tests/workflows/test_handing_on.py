"""Documents are handed on beside the case, on a time-skipping server: its decision waits for nothing of it."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.testing import WorkflowEnvironment

from tests.workflows.hands import Hands, ended, reviewed, started, told, until, working
from workflows import definitions
from workflows.inputs import StepOutcome

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]

ASKED = StepOutcome(outcome="asked")
BROUGHT = "authorization.attachment"


def made(action: str, **more: Any) -> StepOutcome:
    return StepOutcome(outcome=action, decision={"action": action}, **more)


def payers_case() -> dict[str, Any]:
    return definitions.load()["payer_authorization"]


async def decided(hands: Hands, handle: Any, record: str) -> None:
    hands.turns = [made("A1")]
    await told(handle, 90, "authorization.response")
    assert (await ended(handle, record)).action == "A1"


async def test_what_comes_is_sent_one_after_the_other(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A1"], turns=[ASKED, made("A4")])) as hands:
        handle = await started(hands, "forwarded", payers_case())
        await until(lambda: ("payer", "A4") in hands.seen())
        hands.forwards = ["forwarding", "forwarding"]
        await told(handle, 50, BROUGHT)
        await until(lambda: len(hands.seen("forward")) == 3)
        await decided(hands, handle, "forwarded")
    assert hands.seen("forward", "shipped") == [
        ("forward", "forwarding"), ("shipped", "sent"), ("forward", "forwarding"), ("shipped", "sent"),
        ("forward", "waiting"),
    ]  # fmt: skip
    assert hands.seen("payer") == [("payer", "asked"), ("payer", "A4"), ("payer", "A1")]
    assert hands.seen("open_task") == []


async def test_what_a_turn_finds_in_the_stream_needs_no_signal(environment: WorkflowEnvironment) -> None:
    given = Hands(environment, ["A1"], turns=[ASKED, made("A4", documents=True)], forwards=["forwarding"])
    async with working(given) as hands:
        handle = await started(hands, "forwarded_unheard", payers_case())
        await until(lambda: ("shipped", "sent") in hands.seen())
        await decided(hands, handle, "forwarded_unheard")


async def test_what_is_refused_is_a_task_beside_the_case_and_sent_again(environment: WorkflowEnvironment) -> None:
    given = Hands(environment, ["A1"], turns=[ASKED, made("A4")], shipments=["refused", "sent"])
    async with working(given) as hands:
        handle = await started(hands, "forwarded_refused", payers_case())
        await until(lambda: ("payer", "A4") in hands.seen())
        hands.forwards = ["forwarding", "refused"]
        await told(handle, 50, BROUGHT)
        await until(lambda: ("forward", "refused") in hands.seen())
        review = {"task_id": hands.task, "reviewer": "r1", "action": "A1"}
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update("review", review, result_type=bool)
        hands.forwards = ["forwarding"]
        await reviewed(handle, hands, "again")
        await until(lambda: ("shipped", "sent") in hands.seen())
        await decided(hands, handle, "forwarded_refused")
    assert hands.seen("forward", "shipped")[:6] == [
        ("forward", "forwarding"), ("shipped", "refused"), ("forward", "refused"),
        ("forward", "waiting close r1"), ("forward", "forwarding again"), ("shipped", "sent"),
    ]  # fmt: skip
    assert hands.seen("payer")[-1] == ("payer", "A1")


async def test_a_decision_ends_the_task_and_does_not_wait_for_documents(environment: WorkflowEnvironment) -> None:
    given = Hands(environment, ["A1"], turns=[ASKED, made("A4")], shipments=["slow"])
    async with working(given) as hands:
        handle = await started(hands, "forwarded_slow", payers_case())
        await until(lambda: ("payer", "A4") in hands.seen())
        hands.forwards = ["refused"]
        await told(handle, 50, BROUGHT)
        await until(lambda: ("forward", "refused") in hands.seen())
        hands.forwards = ["forwarding"]
        await told(handle, 51, BROUGHT)
        await until(lambda: ("shipped", "slow") in hands.seen())
        await decided(hands, handle, "forwarded_slow")
        hands.release.set()
    assert hands.seen("forward")[-1] == ("forward", "waiting close")


async def test_what_nobody_takes_is_for_people(environment: WorkflowEnvironment) -> None:
    given = Hands(environment, ["A1"], turns=[ASKED, made("A4")], shipments=["in vain"])
    async with working(given) as hands:
        handle = await started(hands, "forwarded_never", payers_case())
        await until(lambda: ("payer", "A4") in hands.seen())
        hands.forwards = ["forwarding", "refused"]
        await told(handle, 50, BROUGHT)
        await until(lambda: ("forward", "refused") in hands.seen())
        await decided(hands, handle, "forwarded_never")
    assert ("forward", "waiting failed") in hands.seen()


async def test_messages_that_bring_no_documents_change_nothing(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A1"], turns=[ASKED, made("A4")])) as hands:
        handle = await started(hands, "not_forwarded", payers_case())
        await until(lambda: ("payer", "A4") in hands.seen())
        await told(handle, 50, "clinical.adt")
        await decided(hands, handle, "")
    assert hands.seen("forward") == []
