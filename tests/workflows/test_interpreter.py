"""The interpreter on a time-skipping server: every path ends, on the clock, and what is repeated counts once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import yaml
from temporalio.client import WorkflowUpdateFailedError
from temporalio.testing import WorkflowEnvironment

from gateway.infra import temporal
from tests.workflows.hands import CLOCK, ENDPOINT, PATIENCE, Hands, ended, reviewed, started, told, until, working
from workflows import definitions
from workflows.definitions import MAX_VISITS
from workflows.inputs import CaseResult, Review

pytestmark = [
    pytest.mark.connected,
    pytest.mark.timeout(180),
]

MINUTE = timedelta(minutes=1)


def definition(steps: str) -> dict[str, Any]:
    """A small definition of these steps."""
    content = {"name": "sample", "version": "1", "type": "appeal", "steps": yaml.safe_load(steps)}
    return definitions.parse(yaml.safe_dump(content), "sample")


async def test_an_approval_is_one_activity_and_closes(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A1"])) as hands:
        handle = await started(hands, "approve")
        assert await ended(handle, "approve") == CaseResult(status="completed", action="A1")
    assert hands.calls[0].command == "0.decide.1"
    assert hands.seen() == [("decide", "A1")]


async def test_a_decision_is_delivered_and_the_case_closed(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A3"], endpoints=(ENDPOINT,))) as hands:
        assert await ended(await started(hands, "deliver"), "deliver") == CaseResult(status="completed", action="A3")
    assert hands.seen() == [("decide", "A3"), ("deliver", "delivered"), ("close_case", "completed")]
    assert hands.calls[1].command == f"{ENDPOINT}@2"


async def test_a_caller_that_waits_gets_the_decision(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A4"])) as hands:
        handle = await started(hands, "fast", lane="fast")
        update = handle.execute_update("decision", id="decision:fast:0", result_type=dict)
        assert await asyncio.wait_for(update, PATIENCE) == {"action": "A4", "version": 2}
        await until(lambda: hands.task != "")
        await reviewed(handle, hands, "A1")
        assert (await ended(handle, "fast")).action == "A1"


async def test_a_pended_case_is_decided_by_a_person(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A4"], endpoints=(ENDPOINT,))) as hands:
        handle = await started(hands, "review")
        await until(lambda: hands.task != "")
        await reviewed(handle, hands, "A3")
        assert await ended(handle, "review") == CaseResult(status="completed", action="A3")
    assert hands.seen() == [
        ("decide", "A4"),
        ("deliver", "delivered"),
        ("open_task", "clinician"),
        ("close_task", "A3"),
        ("deliver", "delivered"),
        ("close_case", "completed"),
    ]
    assert [call.command for call in hands.calls if call.name == "deliver"] == [f"{ENDPOINT}@2", f"{ENDPOINT}@3"]


async def test_only_the_open_task_is_answered(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A4"])) as hands:
        handle = await started(hands, "refused")
        await until(lambda: hands.task != "")
        for task in ("", "another"):
            with pytest.raises(WorkflowUpdateFailedError):
                await handle.execute_update("review", Review(task_id=task, reviewer="r1", action="A1"))
        first = hands.task
        await reviewed(handle, hands, "A4")
        await until(lambda: hands.task != first)
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update("review", Review(task_id=first, reviewer="r1", action="A1"))
        await reviewed(handle, hands, "A1")
        assert (await ended(handle)).action == "A1"


async def test_nobody_can_answer_while_no_task_is_open(environment: WorkflowEnvironment) -> None:
    """An answer kept for the next task would decide what nobody has looked at."""
    async with working(Hands(environment, ["A1"], endpoints=(ENDPOINT,), deliveries=["unavailable"])) as hands:
        handle = await started(hands, "no-task")
        await until(lambda: ("deliver", "unavailable") in hands.seen())
        review = Review(task_id="", reviewer="r1", action="A1")
        with pytest.raises(WorkflowUpdateFailedError):
            await asyncio.wait_for(handle.execute_update("review", review), PATIENCE)
        hands.deliveries = ["delivered"]
        assert (await ended(handle)).status == "completed"


async def test_nobody_answers(environment: WorkflowEnvironment) -> None:
    """Promise 3: it is escalated at half and at four fifths of the clock, and ends thirty days after it."""
    async with working(Hands(environment, ["A4"])) as hands:
        assert await ended(await started(hands, "unanswered"), "unanswered") == CaseResult(
            status="completed", action="CT"
        )
    assert hands.seen("open_task", "close_task", "conclude") == [
        ("open_task", "clinician"),
        ("open_task", "lead_clinician"),
        ("open_task", "medical_director"),
        ("close_task", ""),
        ("conclude", "CT"),
    ]
    wanted = [timedelta(), CLOCK * 0.5, CLOCK * 0.8, CLOCK + timedelta(days=30)]
    found = [call.after for call in hands.calls if call.name in ("open_task", "close_task")]
    assert all(abs(after - moment) < 5 * MINUTE for after, moment in zip(found, wanted, strict=True)), found


async def test_a_further_message_decides_again(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A4", "A1"])) as hands:
        handle = await started(hands, "message")
        await until(lambda: hands.task != "")
        await told(handle, 3)
        assert await ended(handle, "message") == CaseResult(status="completed", action="A1")
    assert hands.seen() == [("decide", "A4"), ("open_task", "clinician"), ("close_task", ""), ("decide", "A1")]
    assert [call.command for call in hands.calls if call.name == "decide"] == ["0.decide.1", "0.decide.2"]


async def test_a_clinical_message_that_changes_nothing_leaves_the_task_open(environment: WorkflowEnvironment) -> None:
    """More of them than a step may be visited: a feed of results must not end a case."""
    async with working(Hands(environment, ["A4"], endpoints=(ENDPOINT,), looks=["same"])) as hands:
        handle = await started(hands, "clinical")
        await until(lambda: hands.task != "")
        for version in range(3, MAX_VISITS + 13):
            hands.joined.add(version)
            await told(handle, version, "clinical.observation")
        await until(lambda: len(hands.seen("look")) > 0)
        await reviewed(handle, hands, "A1")
        assert await ended(handle, "clinical") == CaseResult(status="completed", action="A1")
    assert hands.seen("decide") == [("decide", "A4")]
    assert len(hands.seen("open_task")) == 1
    assert len(hands.seen("deliver")) == 2


async def test_a_clinical_message_that_changes_the_decision_is_decided(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A4", "A1"], looks=["same", "message"])) as hands:
        handle = await started(hands, "clinical-decided")
        await until(lambda: hands.task != "")
        await told(handle, 3, "clinical.observation")
        await until(lambda: len(hands.seen("look")) == 1)
        await told(handle, 4, "clinical.document")
        assert (await ended(handle, "clinical_decided")).action == "A1"
    assert hands.seen("look", "decide", "close_task") == [
        ("decide", "A4"), ("look", "same"), ("look", "message"), ("close_task", ""), ("decide", "A1")
    ]  # fmt: skip


async def test_an_answer_is_not_sent_again_for_a_clinical_message_during_its_delivery(
    environment: WorkflowEnvironment,
) -> None:
    hands = Hands(environment, ["A1"], endpoints=(ENDPOINT,), deliveries=["unavailable"], looks=["same"])
    async with working(hands):
        handle = await started(hands, "clinical-late")
        await until(lambda: ("deliver", "unavailable") in hands.seen())
        await told(handle, 3, "clinical.observation")
        hands.deliveries = ["delivered"]
        assert await ended(handle) == CaseResult(status="completed", action="A1")
    assert len(hands.seen("decide")) == 1
    assert hands.seen("deliver").count(("deliver", "delivered")) == 1


async def test_nor_for_one_whose_signal_is_still_on_the_way(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A1"], endpoints=(ENDPOINT,), joined={3}, looks=["same"])) as hands:
        assert (await ended(await started(hands, "clinical-on-the-way"))).action == "A1"
    assert hands.seen("decide", "look") == [("decide", "A1"), ("look", "same")]
    assert len(hands.seen("close_case")) == 2
    assert len(hands.seen("deliver")) == 1


async def test_a_repeated_signal_counts_once(environment: WorkflowEnvironment) -> None:
    """The starter signals again when it crashed before its commit; also long after the first was taken up."""
    async with working(Hands(environment, ["A4"])) as hands:
        handle = await started(hands, "repeated")
        await until(lambda: hands.task != "")
        first, hands.task = hands.task, ""
        for _ in range(3):
            await told(handle, 3)
        await until(lambda: hands.task not in ("", first))
        for _ in range(3):
            await told(handle, 3)
        await reviewed(handle, hands, "A1")
        assert (await ended(handle, "repeated")).action == "A1"
    assert hands.seen("decide") == [("decide", "A4")] * 2
    assert len(hands.seen("open_task")) == 2


async def test_a_message_during_the_last_delivery_is_decided_too(environment: WorkflowEnvironment) -> None:
    hands = Hands(environment, ["A1", "A3"], endpoints=(ENDPOINT,), deliveries=["unavailable"])
    async with working(hands):
        handle = await started(hands, "late")
        await until(lambda: ("deliver", "unavailable") in hands.seen())
        await told(handle, 3)
        hands.deliveries = ["delivered"]
        assert await ended(handle, "late") == CaseResult(status="completed", action="A3")
    assert hands.seen("decide") == [("decide", "A1"), ("decide", "A3")]
    assert len(hands.seen("close_case")) == 1


async def test_a_message_whose_signal_is_still_on_the_way_keeps_the_case_open(
    environment: WorkflowEnvironment,
) -> None:
    """It joined after the last look at the signals and before the case was closed: it is decided, not forgotten."""
    hands = Hands(environment, ["A1", "A3"], endpoints=(ENDPOINT,), joined={3})
    async with working(hands):
        handle = await started(hands, "on-the-way")
        await until(lambda: ("close_case", "completed") in hands.seen())
        hands.joined.clear()  # as when the next decision has a later version than the message
        assert await ended(handle) == CaseResult(status="completed", action="A3")
    assert hands.seen("decide") == [("decide", "A1"), ("decide", "A3")]
    assert [call.command for call in hands.calls if call.name == "close_case"] == ["0.close.1", "0.close.2"]


async def test_who_reviewed_without_a_message_that_joined_meanwhile_is_asked_again(
    environment: WorkflowEnvironment,
) -> None:
    async with working(Hands(environment, ["A4"])) as hands:
        handle = await started(hands, "stale")
        await until(lambda: hands.task != "")
        first = hands.task
        hands.joined.add(9)
        review = Review(task_id=first, reviewer="r1", action="A3")
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    assert not await handle.execute_update("review", review, result_type=bool)
                except WorkflowUpdateFailedError:  # the task is opened a moment before the workflow knows
                    await asyncio.sleep(0.05)
                else:
                    break
        hands.joined.clear()
        await until(lambda: hands.task != first)
        await reviewed(handle, hands, "A1")
        assert (await ended(handle)).action == "A1"
    assert hands.seen("decide", "close_task") == [
        ("decide", "A4"), ("close_task", "A3"), ("decide", "A4"), ("close_task", "A1")
    ]  # fmt: skip


async def test_nothing_is_concluded_while_a_message_is_on_the_way(environment: WorkflowEnvironment) -> None:
    hands = Hands(environment, ["A4", "A1"])
    async with working(hands):
        handle = await started(hands, "late-message")
        await until(lambda: hands.task != "")
        hands.joined.add(9)
        await told(handle, 2)  # of before the decision: no reason to wait longer
        await environment.sleep(CLOCK + timedelta(days=31))
        await until(lambda: ("conclude", "CT") in hands.seen())
        hands.joined.clear()
        assert await ended(handle) == CaseResult(status="completed", action="A1")
    assert hands.seen("decide", "conclude") == [("decide", "A4"), ("conclude", "CT"), ("decide", "A1")]


SIDE_BY_SIDE = """
- id: both
  type: parallel
  branches:
    - [{id: nurse, type: task, executor: {role: nurse}, timeout: P2D}]
    - [{id: doctor, type: task, executor: {role: doctor}, timeout: P3D}]
"""


async def test_tasks_side_by_side_are_kept_apart(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A4"])) as hands:
        handle = await started(hands, "side-by-side", definition(SIDE_BY_SIDE))
        await until(lambda: len(hands.seen("open_task")) == 2)
        nurse, doctor = (f"{hands.case_id}:0:{step}:1" for step in ("nurse", "doctor"))
        hands.task = nurse
        await reviewed(handle, hands, "A4")
        assert hands.seen("close_task") == [("close_task", "A4")]
        again = Review(task_id=nurse, reviewer="r2", action="A1")
        with pytest.raises(WorkflowUpdateFailedError):
            await asyncio.wait_for(handle.execute_update("review", again), PATIENCE)
        hands.task = doctor
        await reviewed(handle, hands, "A3")
        assert await ended(handle) == CaseResult(status="completed", action="A3")
    assert hands.seen("close_task") == [("close_task", "A4"), ("close_task", "A3")]


WAITS_SIDE_BY_SIDE = """
- id: both
  type: parallel
  branches:
    - [{id: first, type: wait, executor: {for: [x]}, timeout: P2D}]
    - [{id: second, type: wait, executor: {for: [x]}, timeout: P3D}]
    - [{id: nurse, type: task, executor: {role: nurse}, timeout: P1D}]
"""


async def test_a_message_is_taken_by_one_of_those_that_wait(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A4"])) as hands:
        handle = await started(hands, "waits", definition(WAITS_SIDE_BY_SIDE))
        await told(handle, 2, "x")
        assert await ended(handle) == CaseResult(status="completed")
    assert hands.seen() == [("open_task", "nurse"), ("close_task", ""), ("close_case", "completed")]
    assert hands.calls[-1].after >= timedelta(days=3)


async def test_a_loop_ends_as_failed(environment: WorkflowEnvironment) -> None:
    loop = definition("[{id: again, type: decision, executor: {ruleset: x}, next: {'*': again}}]")
    async with working(Hands(environment, ["A1"])) as hands:
        assert (await ended(await started(hands, "loop", loop))).status == "failed"
    assert hands.seen("close_case") == [("close_case", "failed")]
    assert len(hands.seen("decide")) == MAX_VISITS


TOUR = """
- {id: never, type: decision, executor: {ruleset: x}, conditions: ['case.priority is "expedited"']}
- id: both
  type: parallel
  branches:
    - [{id: letter, type: wait, executor: {for: [attachment.document]}, timeout: P2D}]
    - [{id: rest, type: wait, executor: {for: [nothing]}, timeout: PT1H}]
- {id: decide, type: decision, executor: {ruleset: x}, conditions: ['step.outcome is "done"'], next: {A1: tell}}
- {id: skipped, type: decision, executor: {ruleset: x}}
- {id: tell, type: integration, executor: {deliver: reply}, next: {refused: confirm, '*': end}}
- {id: confirm, type: wait, executor: {for: [x]}, timeout: PT1H, next: {timeout: end}}
"""


async def test_every_kind_of_step(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A1"], endpoints=(ENDPOINT,), deliveries=["refused"])) as hands:
        handle = await started(hands, "tour", definition(TOUR))
        await told(handle, 2, "clinical.adt")
        await told(handle, 3, "attachment.document")
        assert await ended(handle, "tour") == CaseResult(status="completed", action="A1")
    assert hands.seen() == [("decide", "A1"), ("deliver", "refused"), ("close_case", "completed")]
    assert hands.calls[0].after >= timedelta(hours=1)


NEVER = """
- {id: decide, type: decision, executor: {ruleset: x}}
- {id: tell, type: integration, executor: {deliver: reply}, retry: {initial: PT6H, maximum: PT12H, until: P2D},
   next: {refused: end}}
"""


async def test_a_delivery_that_never_succeeds_ends(environment: WorkflowEnvironment) -> None:
    async with working(Hands(environment, ["A1"], endpoints=(ENDPOINT,), deliveries=["unavailable"])) as hands:
        assert (await ended(await started(hands, "never", definition(NEVER)), "never")).status == "completed"
    assert 3 <= len(hands.seen("deliver")) <= 8
    assert hands.calls[-1].name == "close_case"
    assert hands.calls[-1].after <= timedelta(days=2) + MINUTE


@pytest.mark.parametrize(
    ("answers", "status", "tries"), [(["unavailable", "delivered"], "active", 2), (["unavailable"], "error", 4)]
)
async def test_handshake(environment: WorkflowEnvironment, answers: list[str], status: str, tries: int) -> None:
    async with working(Hands(environment, [""], deliveries=answers)) as hands:
        handle = await environment.client.start_workflow(
            "Handshake",
            {"tenant": "acme", "subscription": "s1"},
            id=f"handshake:{status}",
            task_queue=temporal.CASE_QUEUE,
            result_type=str,
        )
        assert await ended(handle, f"handshake_{status}") == status
    assert len(hands.seen("deliver")) == tries
    assert hands.seen("mark") == [("mark", status)]


async def test_heartbeats_go_on_each_period_until_the_subscription_ends(environment: WorkflowEnvironment) -> None:
    """The first delivery is the handshake; a beat that nobody takes is left out, and the next one comes."""
    answers = ["delivered", "sent", *["unavailable"] * 4, "sent", "ended"]
    given = {"tenant": "acme", "subscription": "s2", "version": 3, "heartbeat": 600}
    async with working(Hands(environment, [""], deliveries=list(answers))) as hands:
        hands.start = await environment.get_current_time()
        handle = await environment.client.start_workflow(
            "Handshake", given, id="handshake:beats", task_queue=temporal.CASE_QUEUE, result_type=str
        )
        assert await ended(handle) == "ended"
    beats = [call for call in hands.calls if call.command == "beat@3"]
    assert [call.detail for call in beats] == answers[1:]
    assert timedelta(minutes=40) <= beats[-1].after <= timedelta(minutes=43)


async def test_no_heartbeat_is_sent_that_nobody_asked_for(environment: WorkflowEnvironment) -> None:
    given = {"tenant": "acme", "subscription": "s3", "version": 1, "heartbeat": 0}
    async with working(Hands(environment, [""], deliveries=["delivered"])) as hands:
        handle = await environment.client.start_workflow(
            "Handshake", given, id="handshake:quiet", task_queue=temporal.CASE_QUEUE, result_type=str
        )
        assert await ended(handle) == "active"
    assert len(hands.seen("deliver")) == 1
