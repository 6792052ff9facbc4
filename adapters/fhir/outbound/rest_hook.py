"""Rest-hook notifications (Subscriptions R5 Backport 1.1.0): the Sender port for a Subscription's channel.

Where to send and with which headers is looked up at each attempt, so that a changed endpoint or token counts at once
and the receiver's token is stored in one place only. The payload's type is what the channel asked for, always said.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from adapters.fhir.outbound.attempt import attempt
from gateway.core.errors import EndpointRefused
from gateway.core.ports import Outbound, Receipt

MAX_ANSWER = 64 * 1024
"""Longest answer read, in bytes; a receiver has nothing to say but its status."""
OURS = frozenset({"content-type", "content-length", "transfer-encoding", "host", "connection"})
"""Headers a channel cannot set: they frame the message."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a notification goes."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


Lookup = Callable[[Outbound], Awaitable[Target | None]]
"""The target of a notification now; None where its subscription ended."""


@dataclass(frozen=True, slots=True)
class RestHookSender:
    """One attempt to notify. The client carries the egress guard; it resolves and checks the address."""

    http: httpx.AsyncClient
    lookup: Lookup
    seconds: float = 15.0

    async def send(self, outbound: Outbound) -> Receipt:
        """Send once. Raises EndpointUnavailable, EndpointRefused."""
        target = await self.lookup(outbound)
        if target is None:
            raise EndpointRefused("the subscription has ended")
        headers = {
            **target.headers,
            "content-type": outbound.media_type,
            # A receiver that saw this key has this notification: redelivery is the same bytes under the same key.
            "x-idempotency-key": outbound.idempotency_key,
        }
        answered = await attempt(
            self.http,
            "POST",
            target.url,
            data=outbound.data,
            headers=headers,
            seconds=self.seconds,
            max_answer=MAX_ANSWER,
        )
        return Receipt(accepted=True, reference=f"HTTP {answered.status}")


def channel_target(subscription: Mapping[str, Any]) -> Target:
    """Endpoint and header lines of a Subscription's channel. Raises EndpointRefused for a line that is no header."""
    channel = subscription["channel"]
    headers: dict[str, str] = {}
    for line in channel.get("header", ()):
        name, colon, value = str(line).partition(":")
        name, value = name.strip().lower(), value.strip()
        if not colon or not name or not (name + value).isascii() or not (name + value).isprintable():
            raise EndpointRefused(
                "a header line of the channel is not a header", location="Subscription.channel.header"
            )
        if name not in OURS:
            headers[name] = value
    return Target(str(channel["endpoint"]), headers)
