"""What is next in a case that a payer decides: read from its events alone, whatever came twice, late or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.core.ports import ItemDecision
from gateway.stages.ask import Turn, completed, continued, newest_ask, revised_since, turn, unread


@dataclass(frozen=True)
class Event:
    version: int
    type: str
    data: dict[str, Any] = field(default_factory=dict)
    sealed: dict[str, Any] | None = None


def stream(*kinds: Any) -> list[Event]:
    """Events in order: messages by kind, `asked`, ("said", outcome, message), ("made", action, message, *errors)."""
    found = []
    for version, kind in enumerate(kinds, 1):
        if kind == "asked":
            found.append(Event(version, "PayerAsked"))
        elif isinstance(kind, str):
            opens = "CaseOpened" if version == 1 else "MessageReceived"
            found.append(Event(version, opens, {"type": f"authorization.{kind}"}))
        elif kind[0] == "said":
            found.append(Event(version, "PayerAnswered", {"outcome": kind[1], "message": kind[2]}))
        else:
            action, message, *errors = kind[1:]
            data = {"final": action != "A4", "errors": errors, "action": action}
            found.append(Event(version, "DecisionMade", data, {"message": message} if message else {}))
    return found


PENDED = ("made", "A4", 0)


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        (stream("request"), "ask"),
        (stream("request", "asked"), "waiting"),
        (stream("request", "asked", PENDED), "waiting"),
        (stream("request", "asked", "response"), "answer"),
        (stream("request", "asked", "response", ("made", "A1", 3)), "settled"),
        (stream("request", "asked", "response", ("made", "A4", 3)), "waiting"),
        (stream("request", "asked", "response", ("made", "A4", 3), "response"), "answer"),
        (stream("request", "asked", "response", ("made", "A1", 3), "update"), "ask"),
        (stream("request", "asked", "response", ("made", "A1", 3), "update", "asked"), "waiting"),
        (stream("request", "asked", "update"), "ask"),
        (stream("request", "asked", "update", "response"), "answer"),
        (stream("request", "asked", "rejected"), "answer"),
        (stream("request", "asked", "rejected", ("said", "refused", 3)), "refused"),
        (stream("request", "asked", "rejected", ("said", "refused", 3), PENDED), "refused"),
        (stream("request", "asked", "rejected", ("said", "refused", 3), PENDED, "attachment"), "refused"),
        (stream("request", "asked", ("said", "refused", 0), PENDED, ("made", "A1", 0)), "settled"),
        (stream("request", "asked", "response", ("said", "again", 3)), "waiting"),
        (stream("request", "asked", "response", ("said", "noted", 3)), "waiting"),
        # what may not be revised is rejected here, and nobody is asked
        (stream("request", "asked", "response", ("made", "A3", 3), "update", ("made", "", 0, "33")), "settled"),
    ],
)
def test_the_next_thing(events: list[Event], kind: str) -> None:
    assert turn(events, sending=False, again=False).kind == kind


@pytest.mark.parametrize("outcome", ["again", "refused"])
def test_the_same_is_asked_anew_when_its_time_has_come(outcome: str) -> None:
    events = stream("request", "asked", "response", ("said", outcome, 3))
    assert turn(events, sending=False, again=True) == Turn(kind="ask")
    assert turn([*events, Event(5, "PayerAsked")], sending=False, again=True).kind == "waiting"
    assert turn(stream("request", "asked"), sending=False, again=True).kind == "waiting"


def test_what_is_on_the_line_is_not_overtaken() -> None:
    assert turn(stream("request", "asked", "update"), sending=True, again=False).kind == "waiting"


def test_answers_are_read_in_order_and_once() -> None:
    events = stream("request", "asked", "response", "response")
    assert (turn(events, sending=False, again=False).version, unread(events)) == (3, 2)
    events.append(Event(5, "DecisionMade", {"final": False, "errors": []}, {"message": 3}))
    assert (turn(events, sending=False, again=False).version, unread(events)) == (4, 1)


def test_an_answer_to_what_was_revised_since_is_known() -> None:
    events = stream("request", "asked", "update", "response", "asked")
    assert revised_since(events, 2)
    assert not revised_since(events, 5)
    assert newest_ask(events) == 5


def test_only_lines_of_the_case_stand_and_missing_ones_are_pended() -> None:
    before = [ItemDecision(sequence=1, action="A1"), ItemDecision(sequence=9, action="A1")]
    items, action = completed([ItemDecision(sequence=2, action="A3")], before, [1, 2, 3])
    assert [(item.sequence, item.action) for item in items] == [(1, "A1"), (2, "A3"), (3, "A4")]
    assert action == "A4"


def test_an_update_continues_what_its_payer_has_and_did_not_reject() -> None:
    events = stream("request", "asked", "response", ("made", "A1", 3))
    events[1] = Event(2, "PayerAsked", {"partner": "plan"})
    events[2] = Event(3, "MessageReceived", {"type": "authorization.response", "ask": 2})
    assert continued(events, "plan") == 0  # asking the same anew
    events.append(Event(5, "MessageReceived", {"type": "authorization.update"}))
    assert continued(events, "plan") == 2
    assert continued(events, "other") == 0
    events[3] = Event(4, "DecisionMade", {"final": True, "errors": ["72"], "action": ""}, {"message": 3})
    assert continued(events, "plan") == 0
    events[2] = Event(3, "PayerAnswered", {"outcome": "refused", "message": 0})
    assert continued(events, "plan") == 0
