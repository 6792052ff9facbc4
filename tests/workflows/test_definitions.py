"""Definitions: those that ship load; a fault is refused by name before a case can meet it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ConfigurationError
from workflows import conditions, definitions
from workflows.definitions import content_hash, deadline, duration, parse

START = datetime(2026, 1, 15, 12, tzinfo=UTC)
DUE = START + timedelta(hours=100)
SHIPPED = sorted(path.stem for path in definitions.FOLDER.glob("*.yaml"))


def text(**changes: Any) -> str:
    """A sound definition with these changes."""
    step = {"id": "review", "type": "task", "executor": {"role": "clinician"}, "timeout": "due + P30D"}
    ending = {"id": "tell", "type": "integration", "executor": {"deliver": "reply"}}
    content = {"name": "sample", "version": "1", "type": "appeal", "steps": [step | changes.pop("step", {}), ending]}
    return yaml.safe_dump(content | changes)


def faults(content: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        parse(content, "sample.yaml")
    return f"{refused.value} " + " ".join(f"{issue.location}: {issue.text}" for issue in refused.value.issues)


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_loads_under_its_file_name(name: str) -> None:
    content = definitions.load()[name]
    assert content["name"] == name
    assert parse(yaml.safe_dump(content), name) == content
    assert all("next" in step and "conditions" in step for step in content["steps"])


def test_the_sample_is_sound() -> None:
    assert parse(text(), "sample.yaml")["steps"][0]["escalation"] == []


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (text(step={"next": {"A1": "nowhere"}}), "review: next names unknown steps: nowhere"),
        (text(step={"timeout": ""}), "review: whatever waits needs a timeout"),
        (text(step={"type": "wait", "executor": {"for": ["x"]}, "timeout": ""}), "needs a timeout"),
        (text(step={"timout": "P1D"}), "timout"),
        (text(step={"timeout": "tomorrow"}), "not a duration: tomorrow"),
        (text(step={"timeout": "P1W"}), "not a duration: P1W"),
        (text(step={"timeout": "P"}), "not a duration: P"),
        (text(step={"timeout": "PT"}), "not a duration: PT"),
        (text(step={"timeout": "P99999999999D"}), "not a duration: P99999999999D"),
        (text(step={"timeout": "P999999999D"}), "not a duration: P999999999D"),
        (text(step={"escalation": [{"at": "due 5x%", "to": "lead"}]}), "not a duration: due 5x%"),
        (text(step={"escalation": [{"at": "PT1H", "too": "lead"}]}), "too"),
        (text(step={"retry": {"until": "soon"}}), "not a duration: soon"),
        (text(step={"executor": {}}), "review: executor needs `role`"),
        (text(step={"type": "decision", "executor": {}}), "executor needs `ruleset`"),
        (text(step={"conditions": ["case.priority is of the essence"]}), "condition"),
        (text(step={"conditions": ['case.prioritty is "expedited"']}), "case.priority"),
        (text(step={"id": "Review"}), "steps.0.id"),
        (text(step={"id": "tell"}), "step ids must be unique"),
        (text(step={"type": "script"}), "steps.0.type"),
        (text(steps=[]), "steps"),
        (text(type="unknown"), "type"),
        (text(owner="me"), "owner"),
        ("steps: [", "not YAML"),
        ("- a list", "not valid"),
        ("", "not valid"),
    ],
)
def test_a_fault_is_refused_by_name(content: str, named: str) -> None:
    assert named in faults(content)


def test_ids_are_unique_in_branches_too() -> None:
    """Two steps of one id would share their command ids: one would be taken for a repetition of the other."""
    inner = [{"id": "ask", "type": "integration", "executor": {"deliver": "notify"}}]
    both = {"id": "both", "type": "parallel", "branches": [inner, inner]}
    assert "step ids must be unique" in faults(text(steps=[both]))
    same = {"id": "ask", "type": "parallel", "branches": [inner]}
    assert "step ids must be unique" in faults(text(steps=[same]))


@pytest.mark.parametrize("name", ["end", "close"])
def test_the_interpreters_own_names_are_taken(name: str) -> None:
    step = {"id": name, "type": "integration", "executor": {"deliver": "notify"}}
    assert "cannot name a step" in faults(text(steps=[step]))


def test_a_parallel_step_has_branches_and_its_faults_are_found() -> None:
    inner = {"id": "inner", "type": "wait", "executor": {"for": ["x"]}}
    assert "inner: whatever waits needs a timeout" in faults(
        text(steps=[{"id": "both", "type": "parallel", "branches": [[inner]]}])
    )


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("P1D", timedelta(days=1)),
        ("PT1H30M", timedelta(hours=1, minutes=30)),
        ("P2DT5S", timedelta(days=2, seconds=5)),
        ("PT0S", timedelta()),
    ],
)
def test_durations(written: str, wanted: timedelta) -> None:
    assert duration(written) == wanted


@given(st.text(max_size=12) | st.from_regex(r"P[0-9]{0,20}[DWMY]?T?[0-9]{0,20}[HMS]?", fullmatch=True))
def test_a_duration_is_one_or_is_refused(written: str) -> None:
    try:
        found = duration(written)
    except ValueError:
        return
    assert timedelta() <= found
    assert START + found > START - timedelta(1)


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("PT1H", START + timedelta(hours=11)),
        ("due", DUE),
        ("due 50%", START + timedelta(hours=50)),
        ("due 80%", START + timedelta(hours=80)),
        ("due 100%", DUE),
        ("due + P30D", DUE + timedelta(days=30)),
        ("due 50% + PT1H", START + timedelta(hours=51)),
    ],
)
def test_the_clock_runs_from_our_receipt_and_a_duration_from_the_step(written: str, wanted: datetime) -> None:
    began = START + timedelta(hours=10)
    assert deadline(written, began, DUE, START) == wanted


@pytest.mark.parametrize("written", ["due50%", "due 1000%", "due + 30D", "due - P1D", "due %", "", "DUE"])
def test_bad_deadlines_are_refused(written: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        deadline(written, START, DUE, START)


def test_the_hash_follows_the_content_and_not_its_order() -> None:
    content = definitions.load()["prior_authorization"]
    assert content_hash(dict(reversed(content.items()))) == content_hash(content)
    assert content_hash(content | {"version": "2"}) != content_hash(content)


@pytest.mark.parametrize(
    ("text", "state", "truth"),
    [
        ('case.priority is "expedited"', {"case.priority": "expedited"}, True),
        ('case.priority is "expedited"', {"case.priority": "standard"}, False),
        ('decision.action is in ("A1", "A2")', {"decision.action": "A2"}, True),
        ('decision.action is "A1"', {"decision.action": None}, False),
        ('decision.action is not "A1"', {"decision.action": None}, False),
    ],
)
def test_an_unknown_condition_does_not_hold(text: str, state: dict[str, Any], truth: bool) -> None:
    assert conditions.holds([text], state) is truth


def test_all_conditions_must_hold() -> None:
    state = {"case.priority": "expedited", "case.lane": "fast"}
    assert conditions.holds([], state)
    assert conditions.holds(['case.priority is "expedited"', 'case.lane is "fast"'], state)
    assert not conditions.holds(['case.priority is "expedited"', 'case.lane is "batch"'], state)
