"""One dataclass in, one out, for the workflow, its activities and signals: fields can be added later without a break.

Ids, codes, times and the pinned definition; what may be more (a decision's note) is sealed by the payload codec.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

CLINICAL = "clinical."
"""Kinds of messages that every open case of their patient is told: most of them change nothing for a given case."""
MESSAGE = "message"
"""Outcome of a step that was to end something while a message joined that nobody has looked at."""


@dataclass(frozen=True, kw_only=True)
class CaseInput:
    """What starts a case."""

    case_id: str
    tenant: str
    subject: str
    definition: dict[str, Any]
    """The definition by value: it cannot change for the life of the case (D7)."""
    definition_hash: str
    received_at: datetime
    due_at: datetime
    priority: str = "standard"
    lane: str = "batch"
    run: int = 0
    """0, or the stream version at which an ended case was taken up again."""


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """How a case ended."""

    status: str
    action: str = ""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """The messages of a case that its workflow knows of."""

    decided: int
    """Version of the newest decision: it took every earlier message into account."""
    versions: tuple[int, ...]
    """Versions of all messages whose signals came."""


@dataclass(frozen=True, kw_only=True)
class StepInput:
    """One execution of one step. `command_id` makes a repetition return what the first one did."""

    case_id: str
    tenant: str
    step_id: str
    command_id: str
    lane: str = "batch"
    executor: dict[str, Any] = field(default_factory=dict)
    closing: dict[str, bool] = field(default_factory=dict)
    """By outcome (`*` for any other): nothing but a delivery follows; without one the step closes the case itself."""
    heard: Heard | None = None
    """A case with other messages is not ended: the step's outcome is then `message`, and nothing is recorded."""


@dataclass(frozen=True, kw_only=True)
class StepOutcome:
    """What a step led to."""

    outcome: str
    version: int = 0
    decision: dict[str, Any] | None = None
    """gateway.core.ports.Decision as JSON, for the caller that waits."""
    endpoints: tuple[str, ...] = ()
    """Where the decision has to go, by the way back of the request."""
    closed: bool = False
    pause: float = 0.0
    """Seconds before the step may go on, where somebody asked for them."""
    more: bool = False
    """There is another one of the same kind to look at."""
    inquire_after: float = 0.0
    """Seconds after which a payer that was asked may be inquired about a pended request; 0: it cannot be."""
    inquire_longest: float = 0.0
    """Longest pause between inquiries, doubled from the first."""
    documents: bool = False
    """There may be documents to forward to the payer, or some that it refused."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """A further message of the case; its content is in the case's stream at `version`."""

    case_id: str
    version: int
    kind: str


@dataclass(frozen=True, kw_only=True)
class Review:
    """A person's answer to an open task."""

    task_id: str
    reviewer: str
    action: str
    """X12 element 306: A1, A2, A3, A4 …"""
    reasons: tuple[str, ...] = ()
    note: str = ""
    npi: str = ""
    specialty: str = ""


@dataclass(frozen=True, kw_only=True)
class TaskInput:
    """Opening or closing a human task."""

    case_id: str
    tenant: str
    step_id: str
    task_id: str
    role: str
    command_id: str
    due_at: datetime | None = None
    review: Review | None = None
    opened: int = 0
    """Version at which the task was opened: who reviews has not seen what joined the case later."""
    closing: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DeliveryInput:
    """One delivery: the decision at `version` of a case, to one endpoint."""

    case_id: str
    tenant: str
    endpoint: str
    version: int
    notice: bool = False
    """Not a decision but word of how a pended case stands: not sent once there is a newer decision."""


@dataclass(frozen=True, kw_only=True)
class Extension:
    """A person's wish to extend the clock of a pended case."""

    days: int
    reason: str
    """Told to the requester."""
    requested_by: str
    """`member`, `provider` or `plan`."""
    user: str


@dataclass(frozen=True, kw_only=True)
class ExtensionInput:
    """One extension. `command_id` makes a repetition return what the first one did."""

    case_id: str
    tenant: str
    command_id: str
    extension: Extension
    lane: str = "batch"


@dataclass(frozen=True, kw_only=True)
class ExtensionOutcome:
    """What became of it."""

    refused: str = ""
    """Why not, in words; empty when the clock was extended."""
    due_at: datetime | None = None
    version: int = 0
    """Of the decision as it is told again; 0 when there is none yet."""
    endpoints: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AskInput:
    """Sending the request to a payer that the event at `version` of a case tells of."""

    case_id: str
    tenant: str
    endpoint: str
    version: int
    step_id: str
    command_id: str
    initial: float
    """Seconds of the first pause between attempts; it doubles each time."""
    maximum: float
    """Seconds of the longest one."""
    inquiry: bool = False
    """It asks how an earlier request stands; an answer that says nothing new changes nothing."""
    documents: bool = False
    """It carries documents for an earlier request."""


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """An application acknowledgement (HL7 enhanced mode) for our own connection."""

    tenant: str
    endpoint: str
    content: str
    """The message, base64."""
