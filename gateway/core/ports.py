"""The ports: what the stages and edges need from the world. Fakes of all of them ship in gateway/testing.py.

An edge never sees Kafka, PostgreSQL or Temporal; it sees `Accept` (durable or an error), `Decide` (the fast lane)
and what its protocol's ledger needs. A codec and a renderer are pure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from gateway.core.envelope import Envelope, Intake, Raw, Reception
from gateway.core.errors import GatewayError, Issue
from gateway.core.record import record

Clock = Callable[[], datetime]
"""Now, UTC."""


@record(kw_only=True)
class Reading:
    """What a codec made of received bytes: business messages to accept, and how to answer once that is settled.

    `answer(None)` is the positive (or mixed) acknowledgement, to be sent only after every intake is durable.
    `answer(error)` is the negative answer for a failure of ours or theirs; None where the protocol is silent.
    `refused` tells that nothing may be published (the answer is negative whatever happens).
    """

    intakes: Sequence[Intake] = ()
    answer: Callable[[GatewayError | None], bytes | None]
    refused: bool = False
    issues: Sequence[Issue] = ()


class Codec(Protocol):
    """One format, bytes in: wire + mapping. Pure. Never raises on bad input: it answers."""

    def read(self, raw: Raw, reception: Reception) -> Reading:
        """Parse, validate and map one message or file."""
        ...


@record(kw_only=True)
class Accepted:
    """The receipt of a durable produce."""

    envelope: Envelope
    topic: str
    partition: int
    offset: int


class Accept(Protocol):
    """Stage one: returns only after the record is in Kafka with acks=all (promise 1). Raises Unavailable otherwise."""

    def __call__(self, intake: Intake, reception: Reception) -> Awaitable[Accepted]:
        """Publish one business message."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemDecision:
    """The outcome for one requested item. Codes: X12 element 306 (A1 A2 A3 A4 A6 C CT NA)."""

    sequence: int
    action: str
    reasons: Sequence[str] = ()
    """Health care service review decision reason codes (X12 external list 886)."""
    note: str = ""
    """Plain-language reason, shown to the provider."""
    authorization_number: str = ""
    changes: dict[str, Any] = field(default_factory=dict)
    """For A2/A6: what is authorized instead (`quantity`, `unit`, `code`, `servicedPeriod`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The decision on one case: the content every rail renders (promise 2: exactly one content per decision)."""

    case_id: str
    version: int
    """Version of the case's event stream this decision stands at; grows with each new decision."""
    decided_at: datetime
    action: str
    """Roll-up of the items (X12 element 306)."""
    items: Sequence[ItemDecision] = ()
    authorization_number: str = ""
    administrative_reference: str = ""
    valid_from: str = ""
    valid_to: str = ""
    """ISO dates: the authorization's first and last day."""
    requested_information: Sequence[dict[str, str]] = ()
    """What is missing: `{fact, question, loinc}`."""
    errors: Sequence[dict[str, str]] = ()
    """Business rejections (AAA): `{code (901), followUp (889), location, path}`."""
    human_reviewed: bool = False
    reviewer: dict[str, str] = field(default_factory=dict)
    """`{npi, specialty}` where a clinician decided."""
    record: dict[str, Any] = field(default_factory=dict)
    """The DecisionRecord: release hash, as-of, facts hash, matched rules, unknown leaves, combining path."""


class Decide(Protocol):
    """The fast lane (D6): update-with-start after accept; None when no decision came within `timeout` seconds."""

    def __call__(self, envelope: Envelope, *, timeout: float) -> Awaitable[Decision | None]:
        """Ask the case for its decision now."""
        ...


class BlobStore(Protocol):
    """Claim-checked payloads."""

    def put(self, tenant: str, data: bytes) -> Awaitable[str]:
        """Store and return a URI; the same bytes give the same URI."""
        ...

    def get(self, tenant: str, uri: str) -> Awaitable[bytes]:
        """Fetch."""
        ...


class Cipher(Protocol):
    """Envelope encryption of what is at rest (D13). The identity cipher is the default of the demo profile."""

    def encrypt(self, tenant: str, plain: bytes) -> bytes:
        """Encrypt for a tenant; the key id travels in the result."""
        ...

    def decrypt(self, tenant: str, sealed: bytes) -> bytes:
        """Inverse of `encrypt`, whatever key was current then."""
        ...


class Publisher(Protocol):
    """One acknowledged produce: acks=all, idempotent."""

    def publish(self, topic: str, *, key: str, headers: dict[str, str], value: bytes) -> Awaitable[tuple[int, int]]:
        """Return (partition, offset) once durable. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """A rendered message on its way out: stored before it is sent, the same bytes on every resend (D10)."""

    endpoint: str
    data: bytes
    media_type: str
    idempotency_key: str
    attributes: dict[str, str] = field(default_factory=dict)
    """What the transport needs: a file name, a SOAP action, a URL path, HTTP headers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the other side said."""

    accepted: bool
    reference: str = ""
    data: bytes = b""


class Sender(Protocol):
    """One attempt to hand bytes to an endpoint. No retry, no rate limit, no batching here (D10).

    Raises EndpointUnavailable (try again) or EndpointRefused (do not).
    """

    def send(self, outbound: Outbound) -> Awaitable[Receipt]:
        """Send once."""
        ...
