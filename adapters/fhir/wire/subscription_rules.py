"""The PAS Subscription profile (spec-55 to spec-62): one topic, one filter, rest-hook, whole resources.

Contradictions decided: `org-identifier` is the filter's name; `orgIdentifier`, which the published topic and example
use, is read as the same. PAS 2.0.1 takes id-only notifications and the filter name `identifier` as well.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from adapters.fhir.wire.structure import structure_issues
from adapters.fhir.wire.terms import FILTER_CRITERIA, HEARTBEAT_PERIOD, PAYLOAD_CONTENT, SUBSCRIPTION_TOPIC
from gateway.core.errors import Issue

FILTER_NAMES = {
    "2.2.1": frozenset({"org-identifier", "orgIdentifier"}),
    "2.0.1": frozenset({"org-identifier", "orgIdentifier", "identifier"}),
}
CONTENTS = {"2.2.1": frozenset({"full-resource"}), "2.0.1": frozenset({"id-only", "full-resource"})}
PAYLOADS = ("application/fhir+json", "application/json")
"""The second is what the published test kit's sound Subscription asks for; notifications then carry that type."""
LEAST_HEARTBEAT = 5
"""Seconds: all subscriptions share one rate of notifications, so none may ask for a beat more often."""
HEADER_FORBIDDEN = ("\r", "\n", "\x00")


def filters(subscription: dict[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    """The filter criteria as (name, values); values are split at commas and stripped of a `system|` prefix."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for extension in (subscription.get("_criteria") or {}).get("extension", []):
        if extension.get("url") == FILTER_CRITERIA:
            text = str(extension.get("valueString", ""))
            name, _, values = text.rpartition("?")[2].partition("=")
            listed = tuple(value.strip().rpartition("|")[2] for value in values.split(",") if value.strip())
            found.append((name.strip(), listed))
    return found


def payload_content(subscription: dict[str, Any]) -> str:
    """The wanted content of notifications: `full-resource`, `id-only`, `empty`; "" when not said."""
    extensions = ((subscription.get("channel") or {}).get("_payload") or {}).get("extension", [])
    return next((str(e.get("valueCode", "")) for e in extensions if e.get("url") == PAYLOAD_CONTENT), "")


def heartbeat_period(subscription: dict[str, Any]) -> int:
    """Seconds between heartbeats; 0 when none are wanted."""
    extensions = (subscription.get("channel") or {}).get("extension", [])
    return next((int(e.get("valueUnsignedInt", 0)) for e in extensions if e.get("url") == HEARTBEAT_PERIOD), 0)


def ended(subscription: dict[str, Any], since: datetime, now: datetime) -> bool:
    """Whether the time has come at which the client wants it turned off (R4 Subscription.end).

    An `end` that had passed when the Subscription was sent (`since`) means nothing: the published test kit sends one.
    """
    try:
        end = datetime.fromisoformat(str(subscription.get("end", "")))
    except ValueError:
        return False
    return end.tzinfo is not None and since < end <= now


def validate_subscription(
    subscription: dict[str, Any],
    owned: Collection[str] | None = None,
    *,
    version: str = "2.2.1",
    allow_http: bool = False,
) -> list[Issue]:
    """Check a Subscription; `owned` = the sending system identifiers its client may watch (None: not bound).

    An issue with code `forbidden` means the client asked for another system's answers (spec-59: HTTP 403); all
    others are the sender's to mend (4xx). `allow_http` is for the demo profile only.
    """
    if subscription.get("resourceType") != "Subscription":
        return [Issue("structure", "Subscription", "a Subscription resource expected")]
    issues = structure_issues(subscription)
    if issues:
        return issues
    if subscription.get("criteria") != SUBSCRIPTION_TOPIC:
        issues.append(Issue("value", "Subscription.criteria", "only the PAS subscription topic is served"))
    if subscription.get("status") not in ("requested", "active"):
        issues.append(Issue("value", "Subscription.status", "requested expected"))
    return issues + _channel_issues(subscription, version, allow_http) + _filter_issues(subscription, owned, version)


def _channel_issues(subscription: dict[str, Any], version: str, allow_http: bool) -> list[Issue]:
    channel: dict[str, Any] = subscription.get("channel") or {}
    issues = []
    if channel.get("type") != "rest-hook":
        issues.append(Issue("unsupported", "Subscription.channel.type", "only rest-hook is served"))
    endpoint = str(channel.get("endpoint", ""))
    try:
        address = urlsplit(endpoint)
        host, port_sound = address.hostname, address.port is None or address.port > 0
    except ValueError:
        address, host, port_sound = urlsplit(""), None, False
    if not host or not port_sound or address.username or address.scheme not in ("https", "http"):
        issues.append(Issue("value", "Subscription.channel.endpoint", "an https address expected"))
    elif address.scheme == "http" and not allow_http:
        issues.append(Issue("value", "Subscription.channel.endpoint", "https only"))
    if channel.get("payload") not in PAYLOADS:
        issues.append(Issue("unsupported", "Subscription.channel.payload", "application/fhir+json expected"))
    if payload_content(subscription) not in CONTENTS[version]:
        wanted = " or ".join(sorted(CONTENTS[version]))
        issues.append(Issue("unsupported", "Subscription.channel.payload.extension", f"{wanted} content expected"))
    if 0 < heartbeat_period(subscription) < LEAST_HEARTBEAT:
        where = "Subscription.channel.extension"
        issues.append(Issue("value", where, f"a heartbeat every {LEAST_HEARTBEAT} seconds at most"))
    for number, header in enumerate(channel.get("header", [])):
        name, colon, _ = str(header).partition(":")
        if not colon or not name.strip() or any(mark in header for mark in HEADER_FORBIDDEN):
            issues.append(
                Issue("value", f"Subscription.channel.header[{number}]", "a header line `Name: value` expected")
            )
    return issues


def _filter_issues(subscription: dict[str, Any], owned: Collection[str] | None, version: str) -> list[Issue]:
    where = "Subscription.criteria.extension"
    found = filters(subscription)
    if len(found) != 1:
        return [Issue("required", where, "exactly one filter, org-identifier=<sending system>")]
    name, values = found[0]
    if name not in FILTER_NAMES[version]:
        return [Issue("unsupported", where, "the only filter served is org-identifier")]
    if not values:
        return [Issue("value", where, "the filter names no sending system")]
    if owned is not None and not set(values) <= set(owned):
        return [Issue("forbidden", where, "a client may watch its own sending system only")]
    return []
