"""Reading notifications: ours, those of other servers, and what only looks like one."""

from __future__ import annotations

import copy
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.fhir.wire.notification import read_notification, read_status
from adapters.fhir.wire.refusals import errors_in, outcome_issues
from gateway.core.errors import InvalidMessage
from gateway.core.exact_json import dumps
from mappings.decision_to_claimresponse import pended, render
from mappings.subscription_notification import Event, status_bundle
from mappings.subscription_notification import render as notification
from tests.mappings.fhir import samples

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
BASE = "https://payer.example/fhir/pas/2.2.1"
CASE = "00000000-0000-4000-8000-000000000001"
Element = dict[str, Any]


def stored(content: str = "full-resource") -> Element:
    extension = {
        "url": "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-payload-content",
        "valueCode": content,
    }
    return {"id": "s1", "channel": {"_payload": {"extension": [extension]}}}


def answer() -> Element:
    bundle = samples.request("urn")
    return render(bundle, pended(CASE, 3, bundle, NOW))


def notified(content: str = "full-resource", *numbers: int) -> Element:
    events = [Event(number=number, at=NOW, response=answer()) for number in numbers or (4,)]
    return notification("event-notification", stored(content), now=NOW, base_url=BASE, events=events)


def test_a_notification_with_its_answers() -> None:
    found = read_notification(notified("full-resource", 4, 5))
    assert (found.kind, found.status, found.subscription, found.since_start) == (
        "event-notification",
        "active",
        "s1",
        5,
    )
    assert [one.number for one in found.events] == [4, 5]
    assert all(one.resource is not None and one.resource["type"] == "collection" for one in found.events)


def test_one_that_only_names_them() -> None:
    (found,) = read_notification(notified("id-only")).events
    assert found.resource is None
    assert found.focus == f"{BASE}/ClaimResponse/{answer()['entry'][0]['resource']['id']}"


@pytest.mark.parametrize("kind", ["handshake", "heartbeat"])
def test_one_without_events(kind: Any) -> None:
    bundle = notification(kind, stored(), now=NOW, base_url=BASE, events_since_start=7)
    found = read_notification(bundle)
    assert (found.kind, found.since_start, found.events) == (kind, 7, ())


def test_a_claim_response_of_its_own_comes_with_what_lies_beside_it() -> None:
    bundle = notified()
    inner = bundle["entry"][1]["resource"]["entry"][0]["resource"]
    url = bundle["entry"][1]["fullUrl"]
    bundle["entry"][1] = {"fullUrl": url, "resource": inner}
    bundle["entry"].append({"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Task"}})
    (found,) = read_notification(bundle).events
    assert found.resource is not None
    assert [row["resource"]["resourceType"] for row in found.resource["entry"]] == ["ClaimResponse", "Task"]


def test_what_servers_leave_out_is_not_missed() -> None:
    bundle = notified()
    status = bundle["entry"][0]["resource"]
    status["parameter"] = [row for row in status["parameter"] if row["name"] in ("type", "notification-event")]
    status["parameter"][1]["part"] = []
    (found,) = read_notification(bundle).events
    assert (found.number, found.focus) == (0, "")
    assert found.resource is not None
    status["parameter"] = status["parameter"][:1]
    assert len(read_notification(bundle).events) == 1


@pytest.mark.parametrize(
    "bundle",
    [
        {}, {"resourceType": "Bundle"}, {"resourceType": "Bundle", "type": "collection", "entry": []},
        {"resourceType": "Bundle", "type": "history", "entry": [{"resource": {"resourceType": "Patient"}}]},
        {"resourceType": "Bundle", "type": "history", "entry": [{"resource": {"resourceType": "Parameters"}}]},
        {"resourceType": "Bundle", "type": "history", "entry": "x"},
    ],
)  # fmt: skip
def test_what_is_none_is_refused(bundle: Element) -> None:
    with pytest.raises(InvalidMessage):
        read_notification(bundle)


def test_spoiled_notifications_are_read_or_refused() -> None:
    draw = random.Random(20260302)
    for _ in range(500):
        bundle = copy.deepcopy(notified())
        spoil(bundle, draw)
        try:
            found = read_notification(bundle)
        except InvalidMessage:
            continue
        assert all(0 <= one.number <= 2**53 for one in found.events)


def spoil(value: Any, draw: random.Random) -> None:
    """One element somewhere becomes something else."""
    while isinstance(value, dict | list) and value:
        key = draw.choice(list(value) if isinstance(value, dict) else range(len(value)))
        if not isinstance(value[key], dict | list) or draw.random() < 0.2:
            value[key] = draw.choice([None, 7, -1, "x", [], {}, [[]], [None], {"a": None}, True, "9" * 30])
            return
        value = value[key]


def test_the_answer_of_status() -> None:
    told = [({"id": "s1", "status": "error"}, 3)]
    bundle = status_bundle(told, now=NOW, base_url=BASE, address="Subscription/s1/$status")
    assert read_status(bundle) == ("error", 3)
    assert read_status(bundle["entry"][0]["resource"]) == ("error", 3)
    assert read_status({"resourceType": "Bundle"}) == ("", 0)


def test_of_an_outcome_codes_and_positions_are_kept() -> None:
    rows = [
        {"severity": "error", "code": "required", "expression": ["Bundle.entry[0].resource"], "diagnostics": "DOE"},
        {"severity": "fatal", "code": "DOE", "location": ["/f:Bundle"], "details": {"text": "DOE"}},
        {"severity": "warning", "code": "value"},
        "DOE",
    ]
    found = outcome_issues(dumps({"resourceType": "OperationOutcome", "issue": rows}))
    assert [(issue.code, issue.location) for issue in found] == [
        ("required", "Bundle.entry[0].resource"),
        ("unknown", ""),
    ]
    assert "DOE" not in repr(found)
    assert outcome_issues(b"<html>DOE</html>") == outcome_issues(b"") == outcome_issues(b"[" * 999) == ()
    assert outcome_issues(b" " * (1 << 19)) == ()
    assert errors_in({"resourceType": "Patient"}) == ()
