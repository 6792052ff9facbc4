"""Subscription notifications (Subscriptions R5 Backport 1.1.0 on R4; PAS spec-60 to spec-62), `$status`, `$events`.

A notification is a history Bundle: first the status as Parameters, then per event the whole PAS Response Bundle
(2.2.1), or only its address (2.0.1, id-only). Every entry has request and response; `status` and
`events-since-subscription-start` are always sent, though the guide's example leaves them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from adapters.fhir.wire.subscription_rules import payload_content
from adapters.fhir.wire.terms import NOTIFICATION_PROFILE, STATUS_PROFILE, SUBSCRIPTION_TOPIC
from mappings.bundle_echo import derived_uuid

Element = dict[str, Any]
Kind = Literal["handshake", "heartbeat", "event-notification", "query-status", "query-event"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of a subscription: its number (monotonic, from 1), its time and the answer it tells of."""

    number: int
    at: datetime
    response: Element
    """The PAS Response Bundle."""


def render(
    kind: Kind,
    subscription: Element,
    *,
    now: datetime,
    base_url: str,
    events: Sequence[Event] = (),
    events_since_start: int | None = None,
    status: str = "",
) -> Element:
    """A notification Bundle; ids derive from the subscription, kind and event numbers, so a resend is byte-equal.

    `subscription` as stored, with `id`; `events_since_start` defaults to the last event's number; `status` to
    `requested` for a handshake, else `active`. `base_url` = our endpoint, e.g. https://host/fhir/pas/2.2.1.
    """
    base = base_url.rstrip("/")
    numbers = [str(event.number) for event in events]
    seed = (str(subscription["id"]), kind, *(numbers or [now.isoformat()]))
    state = status or ("requested" if kind == "handshake" else "active")
    since = events_since_start if events_since_start is not None else max((event.number for event in events), default=0)
    only_ids = payload_content(subscription) == "id-only"
    parameters = status_parameters(kind, subscription, state, since, base, events, only_ids)
    entries = [_event_entry(event, base, only_ids) for event in events]
    return _notification(subscription, parameters, entries, seed, base, now)


def _notification(
    subscription: Element, status: Element, entries: Sequence[Element], seed: Sequence[str], base: str, now: datetime
) -> Element:
    """A history Bundle whose first entry is the status (backport-subscription-notification-r4)."""
    identity = derived_uuid(*seed, "status")
    first = {
        "fullUrl": f"urn:uuid:{identity}",
        "resource": {"id": identity} | status,
        "request": {"method": "GET", "url": f"{base}/Subscription/{subscription['id']}/$status"},
        "response": {"status": "200"},
    }
    return {
        "resourceType": "Bundle",
        "id": derived_uuid(*seed, "bundle"),
        "meta": {"profile": [NOTIFICATION_PROFILE]},
        "type": "history",
        "timestamp": _instant(now),
        "entry": [first, *entries],
    }


def status_bundle(
    subscriptions: Sequence[tuple[Element, int]], *, now: datetime, base_url: str, address: str
) -> Element:
    """The answer of `$status`: a searchset with one status each, so that clients see gaps.

    `subscriptions` = (Subscription, events since its start); `address` = what was asked, below `base_url`.
    """
    base = base_url.rstrip("/")
    entries = [_status_entry(subscription, events, base) for subscription, events in subscriptions]
    identities = [str(entry["resource"]["id"]) for entry in entries]
    return {
        "resourceType": "Bundle",
        "id": derived_uuid("query-status", address, *identities, now.isoformat()),
        "type": "searchset",
        "timestamp": _instant(now),
        "total": len(entries),
        "link": [{"relation": "self", "url": f"{base}/{address}"}],
        **({"entry": entries} if entries else {}),
    }


def _status_entry(subscription: Element, events: int, base: str) -> Element:
    state = str(subscription.get("status", "requested"))
    identity = derived_uuid(str(subscription["id"]), "query-status", str(events))
    parameters = status_parameters("query-status", subscription, state, events, base, (), False)
    return {
        "fullUrl": f"urn:uuid:{identity}",
        "resource": {"id": identity} | parameters,
        "search": {"mode": "match"},
    }


def events_bundle(
    subscription: Element,
    told: Sequence[Element],
    *,
    content: str,
    now: datetime,
    base_url: str,
    events_since_start: int,
) -> Element:
    """The answer of `$events` (type query-event): what earlier notifications told, oldest first.

    `told` = the event notifications as they were sent, so that nobody reads two answers to one event; `content` leaves
    out of them what is not wanted ("": nothing), and never adds what an id-only notification did not carry.
    """
    base = base_url.rstrip("/")
    rows = [row for bundle in told for row in bundle["entry"][0]["resource"]["parameter"]]
    events = [row for row in rows if row["name"] == "notification-event"]
    numbers = [str(part["valueString"]) for row in events for part in row["part"] if part["name"] == "event-number"]
    seed = (str(subscription["id"]), "query-event", content, now.isoformat(), *numbers)
    state = str(subscription.get("status", "requested"))
    status = status_parameters("query-event", subscription, state, events_since_start, base, (), False)
    if content == "empty":
        events = [{**row, "part": [part for part in row["part"] if part["name"] != "focus"]} for row in events]
    status["parameter"] += events
    entries = [] if content == "empty" else [entry for bundle in told for entry in bundle["entry"][1:]]
    if content == "id-only":
        entries = [{name: value for name, value in entry.items() if name != "resource"} for entry in entries]
    return _notification(subscription, status, entries, seed, base, now)


def status_parameters(
    kind: Kind,
    subscription: Element,
    status: str,
    since: int,
    base: str,
    events: Sequence[Event],
    only_ids: bool,
) -> Element:
    """The SubscriptionStatus of R4: Parameters in the order the backport's profile lists them."""
    parameters: list[Element] = [
        {"name": "subscription", "valueReference": {"reference": f"{base}/Subscription/{subscription['id']}"}},
        {"name": "topic", "valueCanonical": str(subscription.get("criteria") or SUBSCRIPTION_TOPIC)},
        {"name": "status", "valueCode": status},
        {"name": "type", "valueCode": kind},
        {"name": "events-since-subscription-start", "valueString": str(since)},
    ]
    for event in events:
        parts = [
            {"name": "event-number", "valueString": str(event.number)},
            {"name": "timestamp", "valueInstant": _instant(event.at)},
            {"name": "focus", "valueReference": {"reference": focus_url(event, base, only_ids)}},
        ]
        parameters.append({"name": "notification-event", "part": parts})
    return {"resourceType": "Parameters", "meta": {"profile": [STATUS_PROFILE]}, "parameter": parameters}


def focus_url(event: Event, base: str, only_ids: bool) -> str:
    """The address of what changed: the response Bundle, or (id-only) its ClaimResponse, both readable at `base`."""
    if only_ids:
        return f"{base}/ClaimResponse/{event.response['entry'][0]['resource']['id']}"
    return f"{base}/Bundle/{event.response['id']}"


def _event_entry(event: Event, base: str, only_ids: bool) -> Element:
    url = focus_url(event, base, only_ids)
    entry: Element = {"fullUrl": url}
    if not only_ids:
        entry["resource"] = event.response
    return entry | {"request": {"method": "GET", "url": url}, "response": {"status": "200"}}


def _instant(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
