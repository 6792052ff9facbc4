"""Subscriptions: what may be subscribed to, and the shape of every notification."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.fhir import wire
from adapters.fhir.wire import terms
from mappings.decision_to_claimresponse import render as render_decision
from mappings.subscription_notification import Event, events_bundle, render, status_bundle
from tests.mappings.fhir import samples

DATA = Path(os.environ.get("GATEWAY_OUTSIDE_DATA", "/nonexistent")) / "pas"
outside = pytest.mark.skipif(not DATA.exists(), reason="GATEWAY_OUTSIDE_DATA is not set")
Element = dict[str, Any]
BASE = "https://payer.test/fhir/pas/2.2.1"


def subscription(content: str = "full-resource", criteria: str = "org-identifier=SYS1") -> Element:
    return {
        "resourceType": "Subscription",
        "id": "s1",
        "status": "requested",
        "reason": "answers",
        "criteria": terms.SUBSCRIPTION_TOPIC,
        "_criteria": {"extension": [{"url": terms.FILTER_CRITERIA, "valueString": criteria}]},
        "channel": {
            "type": "rest-hook",
            "endpoint": "https://ehr.test/hook",
            "payload": "application/fhir+json",
            "_payload": {"extension": [{"url": terms.PAYLOAD_CONTENT, "valueCode": content}]},
            "header": ["Authorization: Bearer abc"],
        },
    }


def event(number: int = 1, action: str = "A1") -> Event:
    request = samples.request()
    return Event(
        number=number,
        at=samples.DECIDED,
        response=render_decision(request, samples.decide(action, request, version=number)),
    )


def test_a_sound_subscription_has_no_issue() -> None:
    assert wire.validate_subscription(subscription(), {"SYS1", "SYS2"}) == []
    assert wire.validate_subscription(subscription(criteria="orgIdentifier=SYS1"), {"SYS1"}) == []
    assert wire.validate_subscription(subscription(criteria="org-identifier=SYS1,SYS2"), {"SYS1", "SYS2"}) == []
    assert wire.validate_subscription(subscription("id-only"), {"SYS1"}, version="2.0.1") == []


BAD: dict[str, tuple[Callable[[Element], Any], str, str]] = {
    "topic": (lambda s: s.update(criteria="http://x.test/topic"), "value", "Subscription.criteria"),
    "websocket": (lambda s: s["channel"].update(type="websocket"), "unsupported", "Subscription.channel.type"),
    "id-only": (
        lambda s: s["channel"].update(subscription("id-only")["channel"]),
        "unsupported",
        "Subscription.channel.payload.extension",
    ),
    "empty": (
        lambda s: s["channel"].update(subscription("empty")["channel"]),
        "unsupported",
        "Subscription.channel.payload.extension",
    ),
    "http": (lambda s: s["channel"].update(endpoint="http://ehr.test"), "value", "Subscription.channel.endpoint"),
    "file": (lambda s: s["channel"].update(endpoint="file:///etc/passwd"), "value", "Subscription.channel.endpoint"),
    "password": (
        lambda s: s["channel"].update(endpoint="https://a:b@x.test"),
        "value",
        "Subscription.channel.endpoint",
    ),
    "port": (lambda s: s["channel"].update(endpoint="https://x.test:99999"), "value", "Subscription.channel.endpoint"),
    "no endpoint": (lambda s: s["channel"].pop("endpoint"), "value", "Subscription.channel.endpoint"),
    "payload": (lambda s: s["channel"].update(payload="text/plain"), "unsupported", "Subscription.channel.payload"),
    "header": (lambda s: s["channel"].update(header=["a: b\r\nc: d"]), "value", "Subscription.channel.header[0]"),
    "heartbeat": (
        lambda s: s["channel"].update(extension=[{"url": terms.HEARTBEAT_PERIOD, "valueUnsignedInt": 1}]),
        "value",
        "Subscription.channel.extension",
    ),
    "no filter": (lambda s: s.pop("_criteria"), "required", "Subscription.criteria.extension"),
    "other filter": (
        lambda s: s.update(_criteria=subscription(criteria="patient=1")["_criteria"]),
        "unsupported",
        "Subscription.criteria.extension",
    ),
    "empty filter": (
        lambda s: s.update(_criteria=subscription(criteria="org-identifier=")["_criteria"]),
        "value",
        "Subscription.criteria.extension",
    ),
    "someone else": (
        lambda s: s.update(_criteria=subscription(criteria="org-identifier=SYS1,SYS9")["_criteria"]),
        "forbidden",
        "Subscription.criteria.extension",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_each_rule_of_the_subscription_profile(name: str) -> None:
    mutate, code, where = BAD[name]
    wrong = copy.deepcopy(subscription())
    mutate(wrong)
    found = [(issue.code, issue.location) for issue in wire.validate_subscription(wrong, {"SYS1"})]
    assert (code, where) in found


@outside
def test_the_outside_example_is_accepted_where_http_is() -> None:
    body = (DATA / "ig-2.2.1/Subscription-PASSubscriptionExample.json").read_bytes()
    example = wire.parse(body, "json")
    assert wire.validate_subscription(example, {"1234567893"}, allow_http=True) == []
    assert wire.validate_subscription(example, {"other"}, allow_http=True)[0].code == "forbidden"


def values(bundle: Element) -> Element:
    return {
        row["name"]: next((v for k, v in row.items() if k.startswith("value")), row.get("part"))
        for row in bundle["entry"][0]["resource"]["parameter"]
    }


def sound(bundle: Element) -> None:
    """The rules of the backport and of the outside suite, whatever the kind."""
    assert wire.validate_resource(bundle) == []
    assert bundle["type"] == "history"
    for entry in bundle["entry"]:
        assert {"fullUrl", "request", "response"} <= set(entry)
    assert bundle["entry"][0]["resource"]["resourceType"] == "Parameters"
    assert bundle["entry"][0]["request"]["url"].endswith("Subscription/s1/$status")
    found = values(bundle)
    assert found["subscription"] == {"reference": f"{BASE}/Subscription/s1"}
    assert found["topic"] == terms.SUBSCRIPTION_TOPIC
    assert {"status", "type", "events-since-subscription-start"} <= set(found)


def test_handshake_and_heartbeat() -> None:
    for kind, status in (("handshake", "requested"), ("heartbeat", "active")):
        bundle = render(
            kind, subscription(), now=samples.DECIDED, base_url=BASE, events_since_start=4 if status == "active" else 0
        )  # type: ignore[arg-type]
        sound(bundle)
        assert (values(bundle)["type"], values(bundle)["status"]) == (kind, status)
        assert len(bundle["entry"]) == 1


def test_spec_61_an_event_carries_the_whole_answer() -> None:
    told = event(3)
    bundle = render("event-notification", subscription(), now=samples.DECIDED, base_url=BASE, events=[told])
    sound(bundle)
    parts = {p["name"]: p for p in values(bundle)["notification-event"]}
    focus = parts["focus"]["valueReference"]["reference"]
    assert parts["event-number"]["valueString"] == "3"
    assert values(bundle)["events-since-subscription-start"] == "3"
    assert values(bundle)["status"] == "active"
    assert bundle["entry"][1]["fullUrl"] == focus
    assert bundle["entry"][1]["resource"] == told.response
    assert told.response["id"]
    assert told.response["type"] == "collection"


def test_several_events_keep_their_numbers() -> None:
    bundle = render(
        "event-notification", subscription(), now=samples.DECIDED, base_url=BASE, events=[event(3), event(4, "A4")]
    )
    sound(bundle)
    assert len(bundle["entry"]) == 3
    assert values(bundle)["events-since-subscription-start"] == "4"


def test_2_0_1_events_carry_the_address_only() -> None:
    bundle = render("event-notification", subscription("id-only"), now=samples.DECIDED, base_url=BASE, events=[event()])
    sound(bundle)
    assert "resource" not in bundle["entry"][1]
    assert bundle["entry"][1]["fullUrl"].startswith(f"{BASE}/ClaimResponse/")


def test_a_resend_is_byte_equal() -> None:
    def told() -> bytes:
        return wire.serialize(
            render("event-notification", subscription(), now=samples.DECIDED, base_url=BASE, events=[event(2)])
        )

    assert told() == told()


def test_status_shows_gaps() -> None:
    active = subscription() | {"status": "active"}
    bundle = status_bundle([(active, 7)], now=samples.DECIDED, base_url=BASE, address="Subscription/s1/$status")
    assert wire.validate_resource(bundle) == []
    assert bundle["type"] == "searchset"
    assert values(bundle)["type"] == "query-status"
    assert values(bundle)["status"] == "active"
    assert values(bundle)["events-since-subscription-start"] == "7"


def test_the_status_of_none_is_a_searchset_without_entries() -> None:
    bundle = status_bundle([], now=samples.DECIDED, base_url=BASE, address="Subscription/$status?id=x")
    assert wire.validate_resource(bundle) == []
    assert (bundle["total"], "entry" in bundle) == (0, False)
    assert bundle["link"] == [{"relation": "self", "url": f"{BASE}/Subscription/$status?id=x"}]


@pytest.mark.parametrize("content", ["empty", "id-only", "full-resource"])
def test_events_are_what_was_told_as_much_of_it_as_is_wanted(content: str) -> None:
    sent = [
        render("event-notification", subscription(), now=samples.DECIDED, base_url=BASE, events=[event(number)])
        for number in (1, 2)
    ]
    before = copy.deepcopy(sent)
    active = subscription() | {"status": "active"}
    bundle = events_bundle(active, sent, content=content, now=samples.DECIDED, base_url=BASE, events_since_start=3)
    assert sent == before
    assert wire.validate_resource(bundle) == []
    assert (bundle["type"], values(bundle)["type"]) == ("history", "query-event")
    assert (values(bundle)["status"], values(bundle)["events-since-subscription-start"]) == ("active", "3")
    parameters = bundle["entry"][0]["resource"]["parameter"]
    told = [{part["name"]: part for part in row["part"]} for row in parameters if row["name"] == "notification-event"]
    assert [parts["event-number"]["valueString"] for parts in told] == ["1", "2"]
    assert all(("focus" in parts) == (content != "empty") for parts in told)
    entries = bundle["entry"][1:]
    assert len(entries) == (0 if content == "empty" else 2)
    assert all(("resource" in entry) == (content == "full-resource") for entry in entries)
    assert all(entry["request"] and entry["response"] for entry in entries)


@outside
def test_outside_notifications_have_the_same_parameters() -> None:
    for name in ("handshake_bundle_example", "heartbeat_bundle_example"):
        theirs = wire.parse((DATA / f"inferno-subscriptions/{name}.json").read_bytes(), "json")
        kind = name.split("_")[0]
        ours = render(kind, subscription(), now=samples.DECIDED, base_url=BASE)  # type: ignore[arg-type]
        names = {row["name"] for row in theirs["entry"][0]["resource"]["parameter"]} - {"error", "notification-event"}
        assert names <= set(values(ours))
