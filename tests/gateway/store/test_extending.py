"""Extending a clock: recorded once, within the law, and told again without deciding anything."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway.core.ports import Decision, ItemDecision
from gateway.infra.postgres import SYSTEM, Connection, Database
from gateway.security.tokens import Tokens
from gateway.stages.clock import Line
from gateway.stages.decide import Verdict
from gateway.stages.start import Definition
from gateway.store import events
from gateway.store.cases import Case, CaseStore
from gateway.store.metrics import public_metrics
from gateway.store.relay import VIEW, LogReader, case_view
from gateway.testing import FixedClock
from tests.gateway.stages.fakes import NOW
from tests.gateway.store.test_cases import CIPHER, CONTENT, close, message, opening, types
from workflows import definitions
from workflows.activities import CaseActivities
from workflows.extending import ClockActivities
from workflows.inputs import DeliveryInput, Extension, ExtensionInput, StepInput

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]

HOOK = "fhir-notify.s1"
WEEK = timedelta(days=7)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def store(database: Database, clock: FixedClock) -> CaseStore:
    return CaseStore(database, CIPHER, Tokens(b"t" * 32), clock)


@pytest.fixture
async def definition(store: CaseStore, tenant: str) -> Definition:
    return await store.register(tenant, CONTENT, definitions.content_hash(CONTENT))


async def ways_back(_connection: Connection, _case: Case, _lane: str) -> tuple[str, ...]:
    return (HOOK,)


def clocks(store: CaseStore) -> ClockActivities:
    return ClockActivities(cases=store, ways_back=ways_back, clock=store.clock)


def deciding(store: CaseStore, action: str) -> CaseActivities:
    def policy(*_: Any, **__: Any) -> Verdict:
        asked = [{"question": "?"}] if action == "A4" else []
        item = ItemDecision(sequence=1, action=action, note="As the rules say.")
        return Verdict(items=[item], requested_information=asked, record={"release": "r"})

    def lookup_keys(_decision: Decision) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return ()

    return CaseActivities(
        cases=store,
        policy=policy,
        deliver_stage=None,  # type: ignore[arg-type]  # never called
        ways_back=ways_back,
        lookup_keys=lookup_keys,
        clock=store.clock,
    )


async def decided(store: CaseStore, tenant: str, case_id: str, action: str, number: int = 1) -> None:
    step = StepInput(
        case_id=case_id, tenant=tenant, step_id="decide", command_id=f"0.decide.{number}", executor={"ruleset": "r"}
    )
    await deciding(store, action).decide(step)


def wish(tenant: str, case_id: str, days: int = 14, command: str = "0.extend.u1") -> ExtensionInput:
    wanted = Extension(days=days, reason="The study is outstanding.", requested_by="plan", user="dr-7")
    return ExtensionInput(case_id=case_id, tenant=tenant, command_id=command, extension=wanted)


async def stream(store: CaseStore, tenant: str, case_id: str) -> list[events.StoredEvent]:
    async with store.database.transaction(tenant) as connection:
        return await events.stream(connection, CIPHER, case_id)


async def test_a_pended_case_is_due_later_and_told_so_once(
    store: CaseStore, tenant: str, definition: Definition
) -> None:
    opened = await store.open(opening(message(tenant), definition))
    await decided(store, tenant, opened.case_id, "A4")
    outcome = await clocks(store).extend_clock(wish(tenant, opened.case_id))
    due = NOW + 3 * WEEK
    assert (outcome.refused, outcome.due_at, outcome.endpoints) == ("", due, (HOOK,))
    assert await clocks(store).extend_clock(wish(tenant, opened.case_id)) == outcome
    assert (await store.load(tenant, opened.case_id)).due_at == due
    found = await stream(store, tenant, opened.case_id)
    assert [event.type for event in found] == ["CaseOpened", "DecisionMade", "ClockExtended", "DecisionMade"]
    extended, told = found[2:]
    assert extended.data == {
        "days": 14, "requestedBy": "plan", "from": (NOW + WEEK).isoformat(), "dueAt": due.isoformat(),
    }  # fmt: skip
    assert extended.user_id == "dr-7"
    assert told.version == outcome.version
    assert told.sealed is not None
    decision = told.sealed["decision"]
    assert decision["items"][0]["note"].endswith("extended to 2026-02-05. The study is outstanding.")
    assert decision["requested_information"][0]["due"] == "2026-02-05"
    assert decision["record"] == {}, "rules decided once, not twice"
    assert (told.data["notice"], told.data["final"]) == (True, False)


async def test_fourteen_days_in_all_and_never_twice_the_words(
    store: CaseStore, tenant: str, definition: Definition
) -> None:
    opened = await store.open(opening(message(tenant), definition))
    await decided(store, tenant, opened.case_id, "A4")
    hands = clocks(store)
    assert (await hands.extend_clock(wish(tenant, opened.case_id, 10, "0.extend.a"))).refused == ""
    assert "at most 4" in (await hands.extend_clock(wish(tenant, opened.case_id, 5, "0.extend.b"))).refused
    assert (await hands.extend_clock(wish(tenant, opened.case_id, 4, "0.extend.c"))).due_at == NOW + 3 * WEEK
    told = (await stream(store, tenant, opened.case_id))[-1]
    assert told.sealed is not None
    assert told.sealed["decision"]["items"][0]["note"].count("extended to") == 1


async def test_what_is_decided_late_or_without_a_legal_clock_is_not_extended(
    store: CaseStore, clock: FixedClock, tenant: str, definition: Definition
) -> None:
    hands = clocks(store)
    final = await store.open(opening(message(tenant, "s1", 1), definition))
    await decided(store, tenant, final.case_id, "A1")
    assert "decided" in (await hands.extend_clock(wish(tenant, final.case_id))).refused
    exempt = Line(name="qhp-ffe", legal_clock=False)
    free = await store.open(opening(message(tenant, "s2", 2), definition, line=exempt))
    assert "no legal clock" in (await hands.extend_clock(wish(tenant, free.case_id))).refused
    short = Line(name="state-x", extension_days=3)
    held = await store.open(opening(message(tenant, "s3", 3), definition, line=short))
    assert "at most 3" in (await hands.extend_clock(wish(tenant, held.case_id))).refused
    late = await store.open(opening(message(tenant, "s4", 4), definition))
    clock.now = NOW + WEEK
    assert "run out" in (await hands.extend_clock(wish(tenant, late.case_id))).refused
    assert await types(store, tenant, late.case_id) == ["CaseOpened"]


async def test_a_case_nobody_has_looked_at_is_extended_in_silence(
    store: CaseStore, tenant: str, definition: Definition
) -> None:
    opened = await store.open(opening(message(tenant), definition))
    outcome = await clocks(store).extend_clock(wish(tenant, opened.case_id))
    assert (outcome.refused, outcome.version, outcome.endpoints) == ("", 0, ())
    assert await types(store, tenant, opened.case_id) == ["CaseOpened", "ClockExtended"]


async def test_word_of_an_extension_is_not_sent_after_the_decision(
    store: CaseStore, tenant: str, definition: Definition
) -> None:
    opened = await store.open(opening(message(tenant), definition))
    await decided(store, tenant, opened.case_id, "A4")
    outcome = await clocks(store).extend_clock(wish(tenant, opened.case_id))
    await decided(store, tenant, opened.case_id, "A1", 2)
    given = DeliveryInput(case_id=opened.case_id, tenant=tenant, endpoint=HOOK, version=outcome.version, notice=True)
    assert await deciding(store, "A1").deliver(given) == "superseded"


async def test_the_metrics_and_the_read_model_follow(store: CaseStore, tenant: str, definition: Definition) -> None:
    opened = await store.open(opening(message(tenant), definition))
    await decided(store, tenant, opened.case_id, "A4")
    await clocks(store).extend_clock(wish(tenant, opened.case_id))
    await decided(store, tenant, opened.case_id, "A1", 2)
    (metrics,) = await public_metrics(store.database, NOW.year, tenant)
    assert (metrics.counts["extended_approved"], metrics.counts["determined"]) == (1, 1)
    reader = LogReader(database=store.database, cipher=CIPHER, name=f"view-{tenant}", apply=case_view)
    await reader.create()
    while await reader.step():
        pass
    async with store.database.transaction(SYSTEM) as connection:
        rows = {str(row["case_id"]): row for row in await connection.fetch(VIEW.everything)}
    assert rows[opened.case_id]["due_at"] == NOW + 3 * WEEK
    assert rows[opened.case_id]["status"] == "decided"


async def test_a_case_taken_up_again_has_a_clock_of_its_own(
    store: CaseStore, tenant: str, definition: Definition
) -> None:
    opened = await store.open(opening(message(tenant), definition))
    await decided(store, tenant, opened.case_id, "A4")
    await clocks(store).extend_clock(wish(tenant, opened.case_id))
    await close(store, tenant, opened.case_id)
    appeal = replace(message(tenant, number=2, kind="authorization.update"), time=NOW + 8 * WEEK)
    again = await store.open(opening(appeal, definition, opens=False, due_at=NOW + 9 * WEEK))
    assert again.outcome == "reopened"
    assert (await store.load(tenant, opened.case_id)).due_at == NOW + 9 * WEEK
    await decided(store, tenant, opened.case_id, "A4", 2)
    outcome = await clocks(store).extend_clock(wish(tenant, opened.case_id, 14, "3.extend.u1"))
    assert outcome.due_at == NOW + 11 * WEEK
