"""Stage four: deliver a decision once (D10).

Render once, store the bytes with the intent, send, store the receipt. Whatever happens in between, a repetition sends
the same bytes under the same idempotency key. Within one attempt tenacity tries for seconds; Temporal repeats attempts
for days and keeps the endpoint's rate; the breaker keeps an endpoint that is down from being hammered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from gateway.core.errors import ConfigurationError, EndpointRefused, EndpointUnavailable
from gateway.core.limits import Breaker
from gateway.core.ports import Decision, Outbound, Receipt, Sender

QUICK_TRIES = 3
"""Tries within one attempt: enough for a dropped connection; an outage is Temporal's to wait for."""

REASON = 500
"""Longest reason of a refusal that is kept, in characters."""

PACED_UP_TO = 100.0
"""Messages per second up to which single turns are kept; above, Temporal's rate of the queue is all there is: one row
per endpoint would be what limits."""


class Intent(Protocol):
    """A stored delivery."""

    @property
    def outbound(self) -> Outbound:
        """The bytes and where they go."""
        ...

    @property
    def delivered(self) -> bool:
        """Whether the receipt is stored."""
        ...


class Intents(Protocol):
    """The store of intents and receipts."""

    def find(self, tenant: str, key: str) -> Awaitable[Intent | None]:
        """A stored intent."""
        ...

    def intend(self, tenant: str, case_id: str, outbound: Outbound) -> Awaitable[Intent]:
        """Store the bytes; the first rendering wins and is returned."""
        ...

    def attempt(self, tenant: str, key: str, endpoint: str, pause: float) -> Awaitable[float]:
        """Count an attempt and take its turn: turns of an endpoint are `pause` seconds apart. Seconds until then."""
        ...

    def settle(self, tenant: str, key: str, receipt: Receipt) -> Awaitable[None]:
        """Store the receipt."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What a renderer gets: the request as received, its way back, and the decision."""

    case_id: str
    tenant: str
    endpoint: str
    context: Mapping[str, Any]
    decision: Decision


Render = Callable[[Letter], Awaitable[Outbound]]
"""Make the outbound message. Asynchronous, because X12 needs control numbers from the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverStage:
    """The deliver stage, built once by app.py."""

    intents: Intents
    senders: Mapping[str, Sender]
    """Sender by endpoint id; `fhir-notify` covers `fhir-notify.<anything>`."""
    renderers: Mapping[str, Render]
    """Renderer by the rail the request came on (`context.reply.rail`)."""
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    rates: Mapping[str, float] = field(default_factory=dict)
    """Messages per second by endpoint; one that is not named has no limit."""
    breakers: dict[str, Breaker] = field(default_factory=dict)
    count: Callable[[str, str], None] = field(default=lambda _endpoint, _outcome: None)

    async def __call__(self, letter: Letter) -> Receipt:
        """Deliver one decision to one endpoint.

        Raises EndpointUnavailable (repeat later; `retry_after` seconds when known), EndpointRefused (settled).
        """
        key = f"{letter.case_id}:{letter.decision.version}:{letter.endpoint}"
        intent = await self.intents.find(letter.tenant, key)
        if intent is None:
            intent = await self.intents.intend(letter.tenant, letter.case_id, await self._render(letter, key))
        if intent.delivered:
            return Receipt(accepted=True)
        try:
            receipt = await self.send(letter.tenant, letter.endpoint, intent.outbound)
        except EndpointRefused as error:
            await self.intents.settle(letter.tenant, key, Receipt(accepted=False, reference=reason(error)))
            self.count(letter.endpoint, "refused")
            raise
        await self.intents.settle(letter.tenant, key, receipt)
        self.count(letter.endpoint, "delivered")
        return receipt

    async def _render(self, letter: Letter, key: str) -> Outbound:
        kind = str(letter.context["reply"].get("rail", ""))
        render = self.renderers.get(kind)
        if render is None:
            raise ConfigurationError(f"nothing renders decisions for rail {kind!r}")
        outbound = await render(letter)
        return Outbound(
            endpoint=letter.endpoint,
            data=outbound.data,
            media_type=outbound.media_type,
            idempotency_key=key,
            attributes=outbound.attributes,
        )

    async def ask(self, tenant: str, key: str) -> Receipt | None:
        """Send a stored request once; its receipt holds the answer. None where it is settled already.

        Whoever records the answer settles the intent in the same transaction. Raises EndpointUnavailable,
        EndpointRefused.
        """
        intent = await self.intents.find(tenant, key)
        if intent is None:
            raise ConfigurationError("there is no such request: it was not stored before it was to be sent")
        if intent.delivered:
            return None
        # A repetition within the second would be a second submission where the first one only took long.
        receipt = await self.send(tenant, intent.outbound.endpoint, intent.outbound, tries=1)
        self.count(intent.outbound.endpoint, "asked")
        return receipt

    async def send(self, tenant: str, endpoint: str, outbound: Outbound, tries: int | None = None) -> Receipt:
        """One attempt through the endpoint's breaker. Raises EndpointUnavailable, EndpointRefused."""
        sender = self.senders.get(endpoint) or self.senders.get(endpoint.split(".", 1)[0])
        if sender is None:
            raise ConfigurationError(f"no endpoint {endpoint} is configured")
        breaker = self.breakers.setdefault(endpoint, Breaker())
        wait = breaker.wait(self.monotonic())
        if wait > 0:
            self.count(endpoint, "held")
            raise EndpointUnavailable("the circuit is open", location=endpoint, retry_after=wait)
        quick = AsyncRetrying(
            stop=stop_after_attempt((tries or QUICK_TRIES) if breaker.opened_at is None else 1),
            wait=wait_random_exponential(multiplier=0.2, max=2.0),
            retry=retry_if_exception(_soon),
            reraise=True,
        )
        try:
            async for attempt in quick:
                with attempt:
                    await self._turn(tenant, endpoint, outbound.idempotency_key)
                    receipt = await sender.send(outbound)
        except EndpointUnavailable:
            breaker.failed_at(self.monotonic())
            self.count(endpoint, "unavailable")
            raise
        except EndpointRefused:
            breaker.succeeded()
            raise
        breaker.succeeded()
        return receipt

    async def _turn(self, tenant: str, endpoint: str, key: str) -> None:
        """Count the try and wait for its turn: quick tries and bursts stay within the endpoint's rate, too."""
        queue = endpoint.split(".", 1)[0]
        rate = self.rates.get(queue, 0.0)
        pause = 1 / rate if 0 < rate <= PACED_UP_TO else 0.0
        wait = await self.intents.attempt(tenant, key, queue, pause)
        if wait > 0:
            await self.sleep(wait)


def _soon(error: BaseException) -> bool:
    """Whether to try again at once: not where the endpoint has said when (Retry-After, RFC 9110 §10.2.3)."""
    return isinstance(error, EndpointUnavailable) and not error.retry_after


def reason(error: EndpointRefused) -> str:
    """Why a message was refused, for operators: our words, the endpoint's codes and positions, never its text."""
    found = [f"{issue.code} at {issue.location}" if issue.location else issue.code for issue in error.issues]
    return "; ".join([error.message, *found])[:REASON]
