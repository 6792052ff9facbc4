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
from workflows.inputs import StepInput

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
        executor={"status": "completed", "decided": 1, "heard": []},
    )
    assert (await hands.close_case(given)).outcome == "open"
    assert await types(store, tenant, opened.case_id) == ["CaseOpened", "MessageReceived"]
    told = {"status": "completed", "decided": 1, "heard": [2]}
    assert (await hands.close_case(replace(given, command_id="0.close.2", executor=told))).closed
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
