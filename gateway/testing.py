"""Shipped fakes of the ports, for tests of edges, stages and adapters. Production never imports this module."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from gateway.core.envelope import Envelope, Intake, Reception
from gateway.core.errors import GatewayError
from gateway.core.ports import Accepted, Decision, Outbound, Receipt


@dataclass
class FixedClock:
    """A clock that stands still until moved."""

    now: datetime = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        """The time it was set to."""
        return self.now


@dataclass
class MemoryAccept:
    """An accept stage that keeps what it was given; set `failure` to make it fail like a lost broker."""

    accepted: list[tuple[Intake, Reception]] = field(default_factory=list)
    failure: GatewayError | None = None

    async def __call__(self, intake: Intake, reception: Reception) -> Accepted:
        """Keep the intake, or raise `failure`."""
        if self.failure is not None:
            raise self.failure
        self.accepted.append((intake, reception))
        number = len(self.accepted)
        envelope = Envelope(
            id=f"00000000-0000-7000-8000-{number:012d}",
            type=intake.type,
            source=reception.source,
            tenant=reception.tenant,
            time=reception.received_at,
            subject=f"case-{number}",
            key=f"key-{number}",
            dedupe_key=f"dedupe-{number}",
            format=intake.format,
            body_sha256=intake.raw.sha256,
            correlation_id=f"correlation-{number}",
            facts=intake.facts,
            resource=intake.resource,
            ledger=intake.ledger.summary() if intake.ledger else {},
            raw=intake.raw,
            reply=intake.reply,
            trace_parent=reception.trace_parent,
            parked=intake.parked,
        )
        return Accepted(envelope=envelope, topic="memory", partition=0, offset=number)


@dataclass
class MemoryDecide:
    """A fast lane that answers from a table by requested service code, or None (no decision in time)."""

    decisions: dict[str, Decision] = field(default_factory=dict)
    asked: list[Envelope] = field(default_factory=list)

    async def __call__(self, envelope: Envelope, *, timeout: float) -> Decision | None:  # noqa: ARG002 - the port names it
        """The decision for the first requested service."""
        self.asked.append(envelope)
        services = envelope.facts.get("services") or [{}]
        return self.decisions.get(str(services[0].get("code")))


@dataclass
class MemorySender:
    """An endpoint that accepts everything, or raises `failure`."""

    sent: list[Outbound] = field(default_factory=list)
    failure: GatewayError | None = None

    async def send(self, outbound: Outbound) -> Receipt:
        """Keep the message."""
        if self.failure is not None:
            raise self.failure
        self.sent.append(outbound)
        return Receipt(accepted=True, reference=str(len(self.sent)))
