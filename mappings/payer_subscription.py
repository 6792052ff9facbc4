"""Our Subscription at a payer (PAS 2.2.1 spec-54 to spec-62; 2.0.1): one topic, our sending system, rest-hook."""

from __future__ import annotations

from typing import Any

from adapters.fhir.wire import terms

Element = dict[str, Any]
FILTERS = {"2.2.1": "org-identifier", "2.0.1": "identifier"}
"""Name of the filter: the sending system (ISA06) in 2.2.1, the requesting organization in 2.0.1."""
CONTENTS = {"2.2.1": "full-resource", "2.0.1": "id-only"}
"""2.2.1 knows whole resources only (spec-61); 2.0.1 servers must do id-only, and may do more."""


def subscription(*, version: str, organization: str, endpoint: str, authorization: str, heartbeat: int = 0) -> Element:
    """The resource to post. `authorization`: what the payer shows us with each notification."""
    channel: Element = {
        "type": "rest-hook",
        "endpoint": endpoint,
        "payload": "application/fhir+json",
        "_payload": {"extension": [{"url": terms.PAYLOAD_CONTENT, "valueCode": CONTENTS[version]}]},
        "header": [f"Authorization: {authorization}"],
    }
    if heartbeat:
        channel = {"extension": [{"url": terms.HEARTBEAT_PERIOD, "valueUnsignedInt": heartbeat}]} | channel
    criterion = {"url": terms.FILTER_CRITERIA, "valueString": f"{FILTERS[version]}={organization}"}
    return {
        "resourceType": "Subscription",
        "meta": {"profile": [terms.BACKPORT + "backport-subscription"]},
        "status": "requested",
        "reason": "decisions on prior authorizations that were pended",
        "criteria": terms.SUBSCRIPTION_TOPIC,
        "_criteria": {"extension": [criterion]},
        "channel": channel,
    }
