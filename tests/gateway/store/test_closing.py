"""Closing a case: whoever joins it is either seen by the closing or starts another run; nobody falls between."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.ports import Decision
from gateway.infra.postgres import Connection, Database
from gateway.security.tokens import Tokens
from gateway.stages.decide import Verdict
from gateway.stages.start import Definition
from gateway.store.cases import Case, CaseStore
from gateway.testing import FixedClock
from tests.gateway.stages.fakes import NOW
from tests.gateway.store.test_cases import CIPHER, CONTENT, message, opening, types
from workflows import definitions
from workflows.activities import CaseActivities
from workflows.inputs import Heard, Review, StepInput, TaskInput

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]


@pytest.fixture
def store(database: Database) -> CaseStore:
    return CaseStore(database, CIPHER, Tokens(b"t" * 32), FixedClock(NOW))


@pytest.fixture
async def definition(store: CaseStore, tenant: str) -> Definition:
    return await store.register(tenant, CONTENT, definitions.content_hash(CONTENT))


def activities(store: CaseStore) -> CaseActivities:
    def policy(*_: Any, **__: Any) -> Verdict:
        raise AssertionError("closing decides nothing")

    async def deliver_stage(*_: Any) -> None:
        raise AssertionError("closing delivers nothing")

    async def ways_back(_connection: Connection, _case: Case, _lane: str) -> tuple[str, ...]:
        return ()

    def lookup_keys(_decision: Decision) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return ()

    return CaseActivities(
        cases=store,
        policy=policy,
        deliver_stage=deliver_stage,  # type: ignore[arg-type]  # never called
        ways_back=ways_back,
        lookup_keys=lookup_keys,
        clock=FixedClock(NOW),
    )


async def test_a_message_the_workflow_has_not_heard_of_keeps_the_case_open(
    store: CaseStore, tenant: str, definition: Definition
) -> None:
    opened = await store.open(opening(message(tenant), definition))
    update = message(tenant, number=2, kind="authorization.update")
    assert (await store.open(opening(update, definition, opens=False))).version == 2
    hands = activities(store)
    given = StepInput(
        case_id=opened.case_id,
        tenant=tenant,
        step_id="close",
        command_id="0.close.1",
        executor={"status": "completed"},
        heard=Heard(decided=1, versions=()),
    )
    assert (await hands.close_case(given)).outcome == "message"
    assert await types(store, tenant, opened.case_id) == ["CaseOpened", "MessageReceived"]
    told = replace(given, command_id="0.close.2", heard=Heard(decided=1, versions=(2,)))
    assert (await hands.close_case(told)).closed
    assert await types(store, tenant, opened.case_id) == ["CaseOpened", "MessageReceived", "CaseClosed"]
    after = message(tenant, number=3, kind="authorization.update")
    assert (await store.open(opening(after, definition, opens=False))).outcome == "reopened"


async def test_a_case_that_failed_is_closed_in_any_case(store: CaseStore, tenant: str, definition: Definition) -> None:
    """Its definition runs in circles: another look at the message would not end."""
    opened = await store.open(opening(message(tenant), definition))
    await store.open(opening(message(tenant, number=2, kind="authorization.update"), definition, opens=False))
    given = StepInput(
        case_id=opened.case_id,
        tenant=tenant,
        step_id="close",
        command_id="0.close.1",
        executor={"status": "failed"},
    )
    assert (await activities(store).close_case(given)).closed
    assert (await store.load(tenant, opened.case_id)).status == "failed"


async def test_a_review_of_who_has_not_seen_a_message_is_not_recorded(
    store: CaseStore, tenant: str, definition: Definition
) -> None:
    opened = await store.open(opening(message(tenant), definition))
    hands = activities(store)
    given = TaskInput(
        case_id=opened.case_id, tenant=tenant, step_id="review", task_id="t1", role="clinician", command_id="0.review.1"
    )
    version = (await hands.open_task(given)).version
    await store.open(opening(message(tenant, number=2, kind="authorization.update"), definition, opens=False))
    review = Review(task_id="t1", reviewer="r1", action="A3", reasons=("0V",), note="criteria not met")
    closing = replace(given, command_id="0.review.1.close", review=review, opened=version)
    assert (await hands.close_task(closing)).outcome == "message"
    assert (await hands.close_task(closing)).outcome == "message"
    assert await types(store, tenant, opened.case_id) == ["CaseOpened", "TaskOpened", "MessageReceived", "TaskClosed"]
    assert (await store.load(tenant, opened.case_id)).action == ""


async def test_nothing_is_concluded_over_a_message(store: CaseStore, tenant: str, definition: Definition) -> None:
    opened = await store.open(opening(message(tenant), definition))
    await store.open(opening(message(tenant, number=2, kind="authorization.update"), definition, opens=False))
    given = StepInput(
        case_id=opened.case_id,
        tenant=tenant,
        step_id="close_unanswered",
        command_id="0.close_unanswered.1",
        executor={"action": "CT"},
        heard=Heard(decided=1, versions=()),
    )
    assert (await activities(store).conclude(given)).outcome == "message"
    assert await types(store, tenant, opened.case_id) == ["CaseOpened", "MessageReceived"]
    heard = await activities(store).conclude(replace(given, heard=Heard(decided=1, versions=(2,))))
    assert (heard.outcome, heard.closed) == ("CT", False)
