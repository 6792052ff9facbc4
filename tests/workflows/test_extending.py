"""A clock that is extended: whatever waits for a point on it waits anew, and whoever asked hears of it once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from tests.workflows.hands import CLOCK, ENDPOINT, PATIENCE, Hands, ended, reviewed, started, told, until, working
from tests.workflows.test_interpreter import MINUTE, definition
from workflows.inputs import CaseResult, Extension, ExtensionOutcome

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]

WEEK = timedelta(days=7)


async def extend(handle: WorkflowHandle[Any, Any], days: int = 7, identity: str = "u1") -> ExtensionOutcome:
    """What `gateway case extend` sends."""
    wanted = Extension(days=days, reason="The study is outstanding.", requested_by="plan", user="dr-7")
    update = handle.execute_update("extend", wanted, id=identity, result_type=ExtensionOutcome)
    return await asyncio.wait_for(update, PATIENCE)


async def test_escalations_and_the_end_move_with_the_clock(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A4"], endpoints=(ENDPOINT,))) as hands:
        handle = await started(hands, "extended")
        await until(lambda: hands.task != "")
        first = await extend(handle)
        assert first.due_at is not None
        assert await ended(handle, "extended") == CaseResult(status="completed", action="CT")
    roles = [call for call in hands.calls if call.name == "open_task"]
    assert [call.detail for call in roles] == ["clinician", "clinician", "lead_clinician", "medical_director"]
    assert roles[1].command.startswith("0.review.1.due.")
    longer = CLOCK + WEEK
    closed = next(call.after for call in hands.calls if call.name == "close_task")
    found = [roles[2].after, roles[3].after, closed]
    wanted = [longer * 0.5, longer * 0.8, longer + timedelta(days=30)]
    assert all(abs(after - moment) < 5 * MINUTE for after, moment in zip(found, wanted, strict=True)), found
    assert [call.command for call in hands.calls if call.name == "deliver"] == [
        f"{ENDPOINT}@2",
        f"{ENDPOINT}@{first.version} notice",
        f"{ENDPOINT}@{first.version + 1}",
    ]


async def test_a_later_extension_after_an_escalation_keeps_the_role(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A4"])) as hands:
        handle = await started(hands, "escalated")
        await environment.sleep(CLOCK * 0.6)
        await extend(handle)
        await until(lambda: len(hands.seen("open_task")) == 3)
        await reviewed(handle, hands, "A1")
        assert (await ended(handle)).action == "A1"
    assert [detail for _, detail in hands.seen("open_task")] == ["clinician", "lead_clinician", "lead_clinician"]


async def test_the_same_request_counts_once_and_a_refused_one_changes_nothing(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A4"])) as hands:
        handle = await started(hands, "repeated-extension")
        await until(lambda: hands.task != "")
        assert await extend(handle) == await extend(handle)
        hands.refusing = "at most 7 more calendar days are allowed"
        assert (await extend(handle, 14, "u2")).refused == hands.refusing
        await reviewed(handle, hands, "A1")
        await ended(handle)
    assert [call.command for call in hands.calls if call.name == "extend_clock"] == ["0.extend.u1", "0.extend.u2"]
    assert len(hands.seen("open_task")) == 2


async def test_a_wait_for_a_message_waits_longer(environment: WorkflowEnvironment) -> None:
    steps = """
    - {id: hold, type: wait, executor: {for: [authorization.attachment]}, timeout: due,
       next: {timeout: late, "*": decide}}
    - {id: decide, type: decision, executor: {ruleset: any}, next: {"*": end}}
    - {id: late, type: integration, executor: {deliver: reply, action: CT}, next: {"*": end}}
    """
    async with working(Hands(environment, ["A1"])) as hands:
        handle = await started(hands, "waiting", definition(steps))
        await environment.sleep(CLOCK * 0.9)
        await extend(handle)
        await environment.sleep(WEEK)
        await told(handle, 2, "authorization.attachment")
        assert (await ended(handle)).action == "A1"


async def test_a_notice_does_not_hide_a_message_that_nobody_has_looked_at(environment: WorkflowEnvironment) -> None:
    """The version of a notice is later than that of a message whose signal is still on its way."""
    async with working(Hands(environment, ["A4", "A1"], endpoints=(ENDPOINT,))) as hands:
        handle = await started(hands, "overtaken")
        await until(lambda: hands.task != "")
        outcome = await extend(handle)
        assert outcome.version > 3
        await told(handle, 3)
        assert (await ended(handle)).action == "A1"
