"""Start: each answer of the store leads to exactly one effect, and a repetition to none."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway.core.envelope import Envelope
from gateway.core.errors import ConfigurationError, MessageConflict, Unavailable
from gateway.core.ports import Decision, ItemDecision
from gateway.stages.decide import as_json
from gateway.stages.fast_lane import FastLane
from gateway.stages.start import Opened, StartStage, keys_of, priority_of
from tests.gateway.stages.fakes import NOW, RecordingStarter, ScriptedCases, definition, envelope, start_stage

DECIDED = Decision(case_id="c", version=2, decided_at=NOW, action="A1", items=[ItemDecision(sequence=1, action="A1")])


def opened(outcome: Any, run: int = 0) -> Opened:
    return Opened(outcome=outcome, case_id="c", version=5, subject="5ubject", run=run)


@pytest.mark.parametrize(
    ("outcome", "lane", "effects"),
    [
        ("opened", "batch", (1, 0, [])),
        ("opened", "fast", (0, 0, [])),
        ("reopened", "batch", (1, 0, [])),
        ("reopened", "fast", (0, 0, [])),
        ("joined", "batch", (0, 1, [])),
        ("joined", "fast", (0, 1, [])),
        ("known", "batch", (0, 0, [])),
        ("conflict", "batch", (0, 0, ["conflict"])),
        ("orphan", "batch", (0, 0, ["orphan"])),
    ],
)
async def test_effects(outcome: str, lane: str, effects: tuple[int, int, list[str]]) -> None:
    starter, parked = RecordingStarter(), list[tuple[Envelope, str]]()
    cases = ScriptedCases(opened(outcome, run=5 if outcome == "reopened" else 0))
    reply = {"lane": "fast"} if lane == "fast" else {}
    await start_stage(cases, starter, parked)(envelope(reply=reply))
    assert (len(starter.started), len(starter.notified), [reason for _, reason in parked]) == effects
    assert cases.asked[0].lane == lane
    for case in starter.started:
        assert (case.case_id, case.run) == ("c", cases.opened.run)


async def test_an_outage_passes_and_is_not_swallowed() -> None:
    cases = ScriptedCases(opened("opened"))
    with pytest.raises(Unavailable):
        await start_stage(cases, RecordingStarter(failure=Unavailable()), [])(envelope())
    cases.failure = Unavailable()
    with pytest.raises(Unavailable):
        await start_stage(cases, RecordingStarter(), [])(envelope())


@pytest.mark.parametrize(("kind", "opens"), [("authorization.request", True), ("authorization.update", False)])
def test_only_opening_types_open(kind: str, opens: bool) -> None:
    assert start_stage(ScriptedCases(opened("known")), RecordingStarter(), []).opening(envelope(kind)).opens is opens


def asking_stage(starter: RecordingStarter, outcome: str, run: int = 0, name: str = "") -> StartStage:
    """A stage that has the payer of every message asked which says so."""
    cases = ScriptedCases(replace(opened(outcome, run=run), definition=name))
    return replace(
        start_stage(cases, starter, []),
        asking={"authorization": definition("payer_authorization")},
        is_asked=lambda message: message.facts.get("coverage.payer") == "PLAN",
    )


@pytest.mark.parametrize(
    ("payer", "name"), [("PLAN", "payer_authorization"), ("OWN", "prior_authorization"), (None, "prior_authorization")]
)
async def test_a_payer_that_decides_has_a_definition_of_its_own(payer: str | None, name: str) -> None:
    starter = RecordingStarter()
    await asking_stage(starter, "opened")(envelope(facts={"coverage.payer": payer}))
    assert [case.definition.name for case in starter.started] == [name]


async def test_a_case_keeps_its_definition_whatever_joins_it() -> None:
    """An attachment and a payer's answer name no payer: the case would be decided by our own rules."""
    starter = RecordingStarter()
    stage = asking_stage(starter, "reopened", run=5, name="payer_authorization")
    await stage(envelope("authorization.response"))
    assert [(case.definition.name, case.run) for case in starter.started] == [("payer_authorization", 5)]


def test_a_type_without_a_definition_is_our_fault() -> None:
    with pytest.raises(ConfigurationError):
        start_stage(ScriptedCases(opened("known")), RecordingStarter(), []).opening(envelope("claim.submission"))


@pytest.mark.parametrize(
    ("priority", "hours"), [("U", 72), ("03", 72), ("stat", 72), ("expedited", 72), ("E", 168), ("", 168), (None, 168)]
)
def test_the_legal_clock_starts_at_our_receipt(priority: str | None, hours: int) -> None:
    stage = start_stage(ScriptedCases(opened("known")), RecordingStarter(), [])
    opening = stage.opening(envelope(facts={"request.priority": priority}))
    assert opening.due_at - NOW == timedelta(hours=hours)
    assert opening.priority == priority_of({"request.priority": priority})


def test_keys_are_found_once_each_and_aliases_join_them() -> None:
    facts = {"coverage.memberId": "M1", "provider.npi": 1234567893, "patient.id": ""}
    keys = keys_of(facts, [["trace", "T1", "SENDER"], ["member", "M1"]])
    assert keys == (("member", ("M1",)), ("provider", ("1234567893",)), ("trace", ("T1", "SENDER")))


class Known:
    """The decisions a store knows of, by the version they came at."""

    def __init__(self, *versions: int) -> None:
        self.versions, self.asked = list(versions), list[int]()

    async def newest_decision(self, tenant: str, case_id: str, after: int) -> dict[str, Any] | None:
        self.asked.append(after)
        return as_json(DECIDED) if any(version > after for version in self.versions) else None


class Temporal:
    """Update-with-start that has a decision, has none in time, or is away."""

    def __init__(self, answer: dict[str, Any] | Exception | None) -> None:
        self.answer, self.waits = answer, list[float]()

    async def decide(self, case: Any, timeout: float) -> dict[str, Any] | None:
        self.waits.append(timeout)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Time:
    """Moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def lane(
    outcome: str,
    known: Known,
    temporal: Temporal,
    failure: Unavailable | None = None,
    *,
    version: int = 5,
    run: int = 0,
) -> tuple[FastLane, RecordingStarter, list[str]]:
    cases, starter, seen, time = (
        ScriptedCases(replace(opened(outcome, run), version=version), failure=failure),
        RecordingStarter(),
        list[str](),
        Time(),
    )
    made = FastLane(
        start=start_stage(cases, starter, []),
        cases=cases,
        known=known,
        temporal=temporal,
        monotonic=time,
        sleep=time.sleep,
        observe=lambda result, _seconds: seen.append(result),
    )
    return made, starter, seen


async def test_a_new_case_is_decided_while_the_caller_waits() -> None:
    temporal = Temporal(as_json(DECIDED))
    decide, starter, seen = lane("opened", Known(), temporal)
    assert await decide(envelope(), timeout=12) == DECIDED
    assert (temporal.waits, starter.started, seen) == ([12.0], [], ["decided"])


@pytest.mark.parametrize("answer", [None, Unavailable()])
async def test_no_decision_in_time_or_a_server_away_is_pended(answer: Unavailable | None) -> None:
    decide, _, seen = lane("opened", Known(), Temporal(answer))
    assert await decide(envelope(), timeout=12) is None
    assert seen == ["pended"]


async def test_a_store_away_is_pended_too() -> None:
    decide, _, seen = lane("opened", Known(), Temporal(None), failure=Unavailable())
    assert await decide(envelope(), timeout=12) is None
    assert seen == ["pended"]


async def test_a_resend_of_a_decided_case_gets_the_stored_decision() -> None:
    temporal = Temporal(None)
    decide, _, _ = lane("known", Known(2), temporal, version=1)
    assert await decide(envelope(), timeout=12) == DECIDED
    assert temporal.waits == []


async def test_a_resend_of_an_open_case_waits_like_the_first() -> None:
    decide, _, _ = lane("known", Known(), Temporal(as_json(DECIDED)), version=1)
    assert await decide(envelope(), timeout=12) == DECIDED


async def test_a_resent_update_is_not_answered_with_what_was_decided_before_it() -> None:
    known, temporal = Known(2), Temporal(as_json(DECIDED))
    decide, starter, _ = lane("known", known, temporal)
    assert await decide(envelope("authorization.update"), timeout=1) is None
    known.versions.append(6)
    assert await decide(envelope("authorization.update"), timeout=1) == DECIDED
    assert (temporal.waits, starter.notified) == ([], [])


async def test_an_update_the_starter_saw_first_is_not_answered_with_the_decision_before_it() -> None:
    temporal = Temporal(as_json(DECIDED))
    known = Known(2)
    decide, _, _ = lane("known", known, temporal, run=5)
    assert await decide(envelope("authorization.update"), timeout=12) == DECIDED
    assert (known.asked, len(temporal.waits)) == ([5], 1)


async def test_a_conflict_is_told_to_the_caller() -> None:
    decide, _, _ = lane("conflict", Known(2), Temporal(None))
    with pytest.raises(MessageConflict):
        await decide(envelope(), timeout=12)


async def test_an_orphan_is_left_to_the_starter() -> None:
    decide, starter, _ = lane("orphan", Known(2), Temporal(as_json(DECIDED)))
    assert await decide(envelope(), timeout=12) is None
    assert starter.started == starter.notified == []


async def test_an_update_waits_for_a_decision_newer_than_itself() -> None:
    known, temporal = Known(6), Temporal(None)
    decide, starter, _ = lane("joined", known, temporal)
    assert await decide(envelope("authorization.update"), timeout=12) == DECIDED
    assert (known.asked, temporal.waits, len(starter.notified)) == ([5], [], 1)


async def test_an_update_is_pended_when_only_older_decisions_come() -> None:
    known = Known(2, 5)
    decide, _, seen = lane("joined", known, Temporal(None))
    assert await decide(envelope("authorization.update"), timeout=1) is None
    assert seen == ["pended"]
    assert 2 <= len(known.asked) <= 12
