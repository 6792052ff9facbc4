"""Which documents are forwarded: once the payer has the request, once each, and again when a person says so."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.stages.forward import bringing, done, pending, refused, taken
from tests.gateway.stages.test_ask import Event, stream

Place = tuple[int, int]


def asked(*later: Event) -> list[Event]:
    return [*stream("request", "asked"), *later]


def told(version: int, kind: str = "response") -> Event:
    return Event(version, "MessageReceived", {"type": f"authorization.{kind}", "ask": 2})


def forwarded(version: int, *places: Place, kind: str = "DocumentsForwarded", **more: Any) -> Event:
    return Event(version, kind, {"documents": [list(place) for place in places], **more})


NOTE = Event(3, "PayerTookNote", {"ask": 2})
PENDED = Event(4, "DecisionMade", {"final": False, "errors": []}, {"message": 3})
DECIDED = Event(4, "DecisionMade", {"final": True, "errors": []}, {"message": 3})


@pytest.mark.parametrize(
    ("events", "version"),
    [
        (stream("request"), 0),
        (asked(), 0),
        (asked(NOTE), 2),
        (asked(told(3)), 0),  # unread: it may say what is wanted
        (asked(told(3), PENDED), 2),
        (asked(told(3), DECIDED), 0),
        (asked(told(3), PENDED, Event(5, "MessageReceived", {"type": "authorization.update"})), 0),
        (asked(told(3, "rejected"), Event(4, "PayerAnswered", {"outcome": "refused", "message": 3})), 0),
        (asked(told(3), Event(4, "PayerAnswered", {"outcome": "again", "message": 3})), 0),
        (asked(NOTE, Event(4, "PayerInquired", {"ask": 2})), 2),
    ],
)
def test_documents_wait_until_the_payer_has_the_request(events: list[Event], version: int) -> None:
    assert taken(events) == version


def test_each_is_forwarded_once_and_again_only_what_was_refused_before() -> None:
    events = asked(NOTE, Event(4, "MessageReceived", {"type": "authorization.attachment"}))
    assert (pending(events), [one.version for one in bringing(events)]) == (True, [4])
    events.append(forwarded(5, (4, 0), (4, 1)))
    assert done(events) == {(4, 0), (4, 1)}
    events.append(forwarded(6, (4, 0), (4, 1), kind="DocumentsRefused", forward=5))
    assert (refused(events), done(events)) == ({(4, 0), (4, 1)}, {(4, 0), (4, 1)})
    assert done(events, again=7) == set()
    events.append(forwarded(8, (4, 0)))
    assert (refused(events), done(events, again=7)) == ({(4, 1)}, {(4, 0)})
    events.append(forwarded(9, (4, 0), kind="DocumentsRefused", forward=8))
    assert done(events, again=7) == {(4, 0)}  # refused once more: a person has to say so once more


def test_what_was_left_of_a_message_is_looked_at_again_with_the_next_answer() -> None:
    """The payer asked for one of two documents, and asks for the other later."""
    brought = Event(4, "MessageReceived", {"type": "authorization.attachment"})
    events = asked(NOTE, brought, forwarded(5, (4, 0)), told(6))
    assert (pending(events), done(events)) == (True, {(4, 0)})
    assert not pending(asked(NOTE))


def test_a_refusal_that_was_about_documents_is_read_and_leaves_the_request_as_it_is() -> None:
    events = asked(NOTE, told(4, "rejected"))
    assert taken(events) == 0
    events.append(forwarded(5, (3, 0), kind="DocumentsRefused", forward=1, message=4))
    assert taken(events) == 2
