"""The legal clock: hours by line of business, exact over leap days and summer time, and what may extend it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.core.errors import ConfigurationError
from gateway.core.ports import Decision, ItemDecision
from gateway.stages.clock import Clock, Lines, extended, notice, refusal
from gateway.stages.start import Opened
from mappings.facts import catalogue
from tests.gateway.stages.fakes import NOW, RecordingStarter, ScriptedCases, envelope, start_stage

QHP = {
    "name": "qhp-ffe",
    "when": ['plan is in ("SILVER-1", "GOLD-1")'],
    "legal_clock": False,
    "hours": {"standard": 360},
}
STATE = {"name": "state-x", "tenant": "acme", "sources": ["sftp/clearinghouse-a"], "hours": {"expedited": 24}}
RUNNING = Clock(due_at=NOW + timedelta(days=7))


def lines(*rows: dict[str, Any]) -> Lines:
    return Lines.load({"lines": list(rows)}, catalogue())


def opening(found: Lines, facts: dict[str, Any], **given: Any) -> Any:
    stage = replace(start_stage(ScriptedCases(Opened(outcome="opened")), RecordingStarter(), []), lines=found)
    return stage.opening(envelope(facts=facts, **given))


def test_the_first_line_that_fits_takes_a_message() -> None:
    found = lines(QHP, STATE)
    assert found.of(envelope(facts={"coverage.plan": "GOLD-1"})).name == "qhp-ffe"
    assert found.of(envelope(facts={"coverage.plan": "BRONZE"})).name == "state-x"
    assert found.of(envelope(facts={})).name == "state-x", "an unknown condition does not hold"
    assert found.of(envelope(facts={}, tenant="other")).name == "all"
    assert found.of(envelope(facts={}, source="sftp/clearinghouse-ab")).name == "all"
    assert found.of(envelope(facts={}, source="sftp/clearinghouse-a/x")).name == "state-x"


@pytest.mark.parametrize(
    "rows",
    [
        [{"name": "all"}],
        [{"name": "a"}, {"name": "a"}],
        [{"name": "a", "hours": {"urgent": 1}}],
        [{"name": "a", "hours": {"standard": 0}}],
        [{"name": "a", "extension_days": 15}],
        [{"name": "a", "misspelt": 1}],
        [{"name": "a", "when": ["no such fact is 1"]}],
        ["a"],
    ],
)
def test_a_faulty_line_is_refused(rows: list[Any]) -> None:
    with pytest.raises(ConfigurationError):
        lines(*rows)
    with pytest.raises(ConfigurationError):
        Lines.load({}, catalogue())


def test_a_line_sets_the_hours_and_says_so_in_the_first_event() -> None:
    found = lines(QHP, STATE)
    exempt = opening(found, {"coverage.plan": "SILVER-1"})
    assert exempt.due_at == NOW + timedelta(hours=360)
    assert exempt.told["line"] == "qhp-ffe"
    assert exempt.told["legalClock"] is False
    urgent = opening(found, {"request.priority": "U"})
    assert urgent.due_at == NOW + timedelta(hours=24)
    plain = opening(lines(), {"request.priority": "U"})
    assert plain.due_at == NOW + timedelta(hours=72)
    assert "line" not in plain.told


@pytest.mark.parametrize(
    "received",
    [
        datetime(2028, 2, 28, 12, tzinfo=UTC),  # a leap day follows
        datetime(2026, 3, 8, 1, 30, tzinfo=ZoneInfo("America/New_York")),  # summer time begins
        datetime(2026, 10, 31, 23, tzinfo=ZoneInfo("America/New_York")),  # and ends
    ],
)
def test_hours_are_hours(received: datetime) -> None:
    for facts, hours in (({"request.priority": "U"}, 72), ({}, 168)):
        due = opening(lines(), facts, time=received.astimezone(UTC)).due_at
        assert (due - received.astimezone(UTC)).total_seconds() == hours * 3600


@pytest.mark.parametrize(
    ("clock", "days", "given", "why"),
    [
        (RUNNING, 14, {}, ""),
        (RUNNING, 1, {"action": "A4"}, ""),
        (RUNNING, 15, {}, "at most 14"),
        (RUNNING, 0, {}, "at most 14"),
        (replace(RUNNING, extended_days=10), 4, {}, ""),
        (replace(RUNNING, extended_days=10), 5, {}, "at most 4"),
        (replace(RUNNING, allowed_days=7), 8, {}, "at most 7"),
        (replace(RUNNING, legal=False), 1, {}, "no legal clock"),
        (RUNNING, 1, {"action": "A1"}, "decided"),
        (RUNNING, 1, {"ended": True}, "decided"),
        (replace(RUNNING, due_at=NOW), 1, {}, "run out"),
    ],
)
def test_what_may_extend_a_clock(clock: Clock, days: int, given: dict[str, Any], why: str) -> None:
    found = refusal(clock, days=days, **{"action": "", "ended": False, "now": NOW} | given)
    assert found.startswith(why) if not why else why in found
    assert bool(found) == bool(why)


def test_a_notice_says_until_when_and_why_and_changes_nothing_else() -> None:
    items = [ItemDecision(sequence=1, action="A4", note="Pended."), ItemDecision(sequence=2, action="A1", note="Fine.")]
    decision = Decision(
        case_id="c", version=2, decided_at=NOW, action="A4", items=items, administrative_reference="AR1",
        requested_information=[{"question": "?", "due": "2026-01-22"}],
    )  # fmt: skip
    due = extended(RUNNING, 14)
    told = notice(decision, version=7, now=NOW, due_at=due, reason="The study is outstanding.")
    assert due == RUNNING.due_at + timedelta(days=14)
    assert told.items[0].note == (
        "Pended. The time for this decision was extended to 2026-02-05. The study is outstanding."
    )
    assert told.items[1] == items[1]
    assert told.requested_information == [{"question": "?", "due": "2026-02-05"}]
    assert (told.version, told.action, told.administrative_reference) == (7, "A4", "AR1")
