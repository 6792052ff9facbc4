"""Subscription notifications (Subscriptions R5 Backport 1.1.0 on R4; PAS spec-60 to spec-62) and `$status`.

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
Kind = Literal["handshake", "heartbeat", "event-notification", "query-status"]


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
    identity = derived_uuid(*seed, "status")
    first = {
        "fullUrl": f"urn:uuid:{identity}",
        "resource": {"id": identity} | parameters,
        "request": {"method": "GET", "url": f"{base}/Subscription/{subscription['id']}/$status"},
        "response": {"status": "200"},
    }
    return {
        "resourceType": "Bundle",
        "id": derived_uuid(*seed, "bundle"),
        "meta": {"profile": [NOTIFICATION_PROFILE]},
        "type": "history",
        "timestamp": _instant(now),
        "entry": [first, *(_event_entry(event, base, only_ids) for event in events)],
    }


def status_bundle(subscription: Element, *, now: datetime, base_url: str, events_since_start: int) -> Element:
    """The answer of `Subscription/{id}/$status`: a searchset with one status, so that clients see gaps."""
    base = base_url.rstrip("/")
    identity = derived_uuid(str(subscription["id"]), "query-status", str(events_since_start))
    state = str(subscription.get("status", "requested"))
    parameters = status_parameters("query-status", subscription, state, events_since_start, base, (), False)
    entry = {
        "fullUrl": f"urn:uuid:{identity}",
        "resource": {"id": identity} | parameters,
        "search": {"mode": "match"},
    }
    link = {"relation": "self", "url": f"{base}/Subscription/{subscription['id']}/$status"}
    return {
        "resourceType": "Bundle",
        "id": derived_uuid(identity, now.isoformat()),
        "type": "searchset",
        "timestamp": _instant(now),
        "total": 1,
        "link": [link],
        "entry": [entry],
    }


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
