"""What the stages ask of the world, in memory: publisher, blobs, cases, starter, intents."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gateway.core.envelope import Envelope, Intake, Raw, Reception
from gateway.core.errors import GatewayError, Unavailable
from gateway.core.ports import Outbound, Receipt
from gateway.stages.start import CaseStart, Definition, Opened, Opening, StartStage
from workflows import definitions

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
MARKER = "PLANTED-7731"
"""Stands for what identifies a person; it must never be seen outside a body."""


def intake(kind: str = "authorization.request", size: int = 10, **given: Any) -> Intake:
    values: dict[str, Any] = {
        "type": kind,
        "format": "x12",
        "natural_key": ("ISA06", MARKER, "000000001"),
        "case_key": ("member", MARKER),
        "ordering_key": ("patient", MARKER),
        "raw": Raw.of(b"x" * size, "application/edi-x12"),
        "facts": {"coverage.memberId": MARKER, "request.priority": "U"},
        "reply": {"rail": "x12-278"},
    }
    return Intake(**values | given)


def reception(**given: Any) -> Reception:
    return Reception(**{"tenant": "acme", "source": "sftp/clearinghouse-a", "received_at": NOW} | given)


def envelope(kind: str = "authorization.request", **given: Any) -> Envelope:
    values: dict[str, Any] = {
        "id": "01890000-0000-7000-8000-000000000001",
        "type": kind,
        "source": "sftp/clearinghouse-a",
        "tenant": "acme",
        "time": NOW,
        "subject": "5ubject",
        "key": "k3y",
        "dedupe_key": "d3dupe",
        "format": "x12",
        "body_sha256": "ab" * 32,
        "correlation_id": "01890000-0000-7000-8000-000000000001",
        "facts": {},
        "resource": None,
        "ledger": {},
        "raw": Raw.of(b"raw", "text/plain"),
        "reply": {},
    }
    return Envelope(**values | given)


@dataclass
class MemoryPublisher:
    """Keeps records; `failure` makes it a lost broker."""

    records: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    failure: GatewayError | None = None

    async def publish(self, topic: str, *, key: str, headers: dict[str, str], value: bytes) -> tuple[int, int]:
        if self.failure is not None:
            raise self.failure
        self.records.append((topic, key, headers, value))
        return 3, len(self.records)


@dataclass
class MemoryBlobs:
    """Content-addressed, per tenant."""

    kept: dict[tuple[str, str], bytes] = field(default_factory=dict)
    failure: GatewayError | None = None

    async def put(self, tenant: str, data: bytes) -> str:
        if self.failure is not None:
            raise self.failure
        uri = f"blob:{hashlib.sha256(data).hexdigest()}"
        self.kept[tenant, uri] = data
        return uri

    async def get(self, tenant: str, uri: str) -> bytes:
        if (tenant, uri) not in self.kept:
            raise Unavailable
        return self.kept[tenant, uri]


@dataclass
class ScriptedCases:
    """The store's answer to an opening, as the test wants it."""

    opened: Opened
    asked: list[Opening] = field(default_factory=list)
    failure: GatewayError | None = None

    async def open(self, opening: Opening) -> Opened:
        if self.failure is not None:
            raise self.failure
        self.asked.append(opening)
        return self.opened


@dataclass
class RecordingStarter:
    """What was started and who was told."""

    started: list[CaseStart] = field(default_factory=list)
    notified: list[tuple[Opened, str]] = field(default_factory=list)
    failure: GatewayError | None = None

    async def start(self, case: CaseStart) -> None:
        if self.failure is not None:
            raise self.failure
        self.started.append(case)

    async def notify(self, opened: Opened, kind: str) -> None:
        self.notified.append((opened, kind))


def definition(name: str = "prior_authorization") -> Definition:
    content = definitions.load()[name]
    return Definition(
        id="00000000-0000-4000-8000-000000000001",
        name=name,
        type=content["type"],
        content=content,
        hash=definitions.content_hash(content),
    )


def start_stage(cases: ScriptedCases, starter: RecordingStarter, parked: list[tuple[Envelope, str]]) -> StartStage:
    async def park(message: Envelope, reason: str) -> None:
        parked.append((message, reason))

    return StartStage(
        cases=cases,
        starter=starter,
        definitions={"authorization": definition()},
        opening_types=frozenset({"authorization.request"}),
        park=park,
    )


@dataclass
class Stored:
    """A stored intent."""

    outbound: Outbound
    delivered: bool = False


@dataclass
class MemoryIntents:
    """Intents and what became of them."""

    rows: dict[str, Stored] = field(default_factory=dict)
    attempts: list[str] = field(default_factory=list)
    settled: list[tuple[str, Receipt]] = field(default_factory=list)

    async def find(self, tenant: str, key: str) -> Stored | None:
        return self.rows.get(key)

    async def intend(self, tenant: str, case_id: str, outbound: Outbound) -> Stored:
        return self.rows.setdefault(outbound.idempotency_key, Stored(outbound))

    async def attempt(self, tenant: str, key: str, endpoint: str, pause: float) -> float:
        self.attempts.append(key)
        return pause

    async def settle(self, tenant: str, key: str, receipt: Receipt) -> None:
        self.rows[key].delivered = receipt.accepted
        self.settled.append((key, receipt))
