"""Stage two: an envelope from Kafka opens a case, or joins one, exactly once; then its workflow starts or is signalled.

The inbox row, the case and its first event are one transaction (D5), so a redelivery finds all of it or nothing. The
workflow starts after that commit; a case whose starter died in between is found by the sweeper (`stranded`).
A fast-lane message is opened here but started by the edge that waits for the answer (D6); if that edge died, the
sweeper starts it. A known key with another body is a conflict: parked, never processed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from gateway.core.envelope import Envelope
from gateway.core.errors import ConfigurationError
from gateway.core.ids import person_keys
from gateway.stages.clock import NO_LINES, REST, Line, Lines

FAST_LANE_SECONDS = 15.0
"""How long an opened fast-lane case is left to its edge before the sweeper starts it: the edge waits 12 s (D6)."""

EXPEDITED = frozenset({"U", "03", "stat", "urgent", "asap", "expedited", "emergency"})
"""Priority values that start the 72-hour clock: UM06 U and 03, FHIR process priority stat, our own word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A workflow definition as registered: its id in the store, its content and its hash."""

    id: str
    name: str
    type: str
    content: dict[str, Any]
    hash: str

    def clock(self, priority: str, line: Line = REST) -> timedelta:
        """The time allowed for a decision: the line of business's hours, else those of the definition's `sla`."""
        hours = line.hours.get(priority) or self.content["sla"].get(priority, self.content["sla"]["standard"])
        return timedelta(hours=float(hours))


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What the store needs to open a case or to add a message to it."""

    envelope: Envelope
    definition: Definition
    priority: Literal["standard", "expedited"]
    due_at: datetime
    lane: Literal["fast", "batch"]
    keys: tuple[tuple[str, tuple[str, ...]], ...]
    """(kind, parts) under which the case can be found."""
    parents: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(kind, parts) of the case this message continues, strongest first; without one, its own business key."""
    opens: bool
    """False for a message that may only join an existing case (update, cancel, attachment, clinical)."""
    line: Line = REST
    """The line of business it belongs to."""

    @property
    def told(self) -> dict[str, Any]:
        """What the case's first event says openly: codes, names of ours, and times."""
        clock = {"line": self.line.name, "legalClock": self.line.legal_clock, "extensionDays": self.line.extension_days}
        return {
            "type": self.envelope.type,
            "source": self.envelope.source,
            "definition": self.definition.name,
            "definitionHash": self.definition.hash,
            "priority": self.priority,
            "receivedAt": self.envelope.time.isoformat(),
            "dueAt": self.due_at.isoformat(),
            **(clock if self.line is not REST else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What the store did with an opening."""

    outcome: Literal["opened", "joined", "reopened", "known", "conflict", "orphan"]
    """opened: a new case; joined: a further message of an open case; reopened: of a case whose workflow has ended;
    known: seen before, nothing done; conflict: the key was used with another body; orphan: no case to join."""
    case_id: str = ""
    version: int = 0
    subject: str = ""
    """The business token of the case it belongs to."""
    run: int = 0
    """Which run of the case's workflow: 0, or the version it was reopened at."""
    definition: str = ""
    """Name of the definition the case was opened with; it keeps it in later runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseStart:
    """What starts a workflow; ids and the pinned definition only, no PHI."""

    case_id: str
    tenant: str
    subject: str
    definition: Definition
    due_at: datetime
    received_at: datetime
    priority: str
    run: int = 0


class Cases(Protocol):
    """The store's side of opening."""

    def open(self, opening: Opening) -> Awaitable[Opened]:
        """Inbox row, case and first event in one transaction. Raises Unavailable."""
        ...


class Starter(Protocol):
    """Temporal's side of starting."""

    def start(self, case: CaseStart) -> Awaitable[None]:
        """Start the case's workflow; a no-op when it runs or has run. Raises Unavailable."""
        ...

    def notify(self, opened: Opened, kind: str) -> Awaitable[None]:
        """Tell a running workflow of a new event; the event is read from the store. Raises Unavailable."""
        ...


def priority_of(facts: Mapping[str, Any]) -> Literal["standard", "expedited"]:
    """Which legal clock applies (42 CFR 431.80, 438.210): expedited on request, else standard."""
    return "expedited" if str(facts.get("request.priority", "")) in EXPEDITED else "standard"


Keys = tuple[tuple[str, tuple[str, ...]], ...]


def keys_of(facts: Mapping[str, Any], aliases: Sequence[Sequence[str]] = ()) -> Keys:
    """The identifiers under which a case can be found from any rail; they become tokens before they are stored."""
    kinds = {
        "trace": "request.traceNumber",
        "member": "coverage.memberId",
        "patient": "patient.id",
        "provider": "provider.npi",
        "authorization": "request.authorizationNumber",
    }
    found = [(kind, (str(facts[name]),)) for kind, name in kinds.items() if facts.get(name)]
    numbers = [str(facts.get(name) or "") for name in ("coverage.memberId", "patient.id")]
    persons = person_keys(numbers, str(facts.get("patient.birthDate") or ""))
    return tuple(dict.fromkeys([*found, *((kind, tuple(parts)) for kind, *parts in (*persons, *aliases))]))


@dataclass(frozen=True, slots=True, kw_only=True)
class StartStage:
    """The start stage, built once by app.py."""

    cases: Cases
    starter: Starter
    definitions: Mapping[str, Definition]
    """Definition by message type (`authorization.request`)."""
    asking: Mapping[str, Definition] = field(default_factory=dict)
    """The same, for cases that another payer decides."""
    is_asked: Callable[[Envelope], bool] = field(default=lambda _envelope: False)
    """Whether another payer decides what this message asks for."""
    opening_types: frozenset[str]
    park: Callable[[Envelope, str], Awaitable[None]]
    """Publish to the parked topic with a reason; durable when it returns."""
    lines: Lines = NO_LINES
    """Lines of business, whose clocks may differ from the definitions'."""

    def opening(self, envelope: Envelope) -> Opening:
        """What to ask of the store for this envelope. Raises ConfigurationError for a type without a definition."""
        kind = envelope.type.split(".", 1)[0]
        definition = self.definitions.get(envelope.type) or self.definitions.get(kind)
        if kind in self.asking and self.is_asked(envelope):
            definition = self.asking[kind]
        if definition is None:
            raise ConfigurationError(f"no workflow definition is configured for {envelope.type}")
        priority = priority_of(envelope.facts)
        line = self.lines.of(envelope)
        return Opening(
            envelope=envelope,
            definition=definition,
            priority=priority,
            due_at=envelope.time + definition.clock(priority, line),
            lane="fast" if envelope.reply.get("lane") == "fast" else "batch",
            keys=keys_of(envelope.facts, envelope.reply.get("aliases", ())),
            parents=keys_of({}, envelope.reply.get("parents", ())),
            opens=envelope.type in self.opening_types,
            line=line,
        )

    async def __call__(self, envelope: Envelope) -> Opened:
        """Open or join, then start or notify. Safe to repeat at any point."""
        opening = self.opening(envelope)
        opened = await self.cases.open(opening)
        if opened.outcome in ("conflict", "orphan"):
            await self.park(envelope, opened.outcome)
        elif opened.outcome in ("opened", "reopened") and opening.lane == "batch":
            await self.starter.start(self.case_start(opening, opened))
        elif opened.outcome == "joined":
            await self.starter.notify(opened, envelope.type)
        return opened

    def case_start(self, opening: Opening, opened: Opened) -> CaseStart:
        """What starts the workflow of an opened case; edge and starter compute the same."""
        known = {one.name: one for one in (*self.definitions.values(), *self.asking.values())}
        return CaseStart(
            case_id=opened.case_id,
            tenant=opening.envelope.tenant,
            subject=opened.subject,
            definition=known.get(opened.definition, opening.definition),
            due_at=opening.due_at,
            received_at=opening.envelope.time,
            priority=opening.priority,
            run=opened.run,
        )
