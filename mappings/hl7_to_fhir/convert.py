"""One message → Bundle, ledger, facts."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from adapters.hl7.wire import STANDARD, Message
from gateway.core.errors import Unmappable
from gateway.core.record import record

from . import authorization, business, control, orders, people, results, visits  # noqa: F401 - register handlers
from .authorization import finish_authorization
from .cursor import Cursor
from .environment import Env
from .graph import Graph
from .job import Job, Scope, carry, join_visit, settle, walk
from .ledger import MessageLedger
from .primitives import instant, zone_of
from .program import Program, default_program
from .results import finish_documents
from .structure import group
from .visits import finish_conditions


@record
class Conversion:
    """What one message became."""

    bundle: dict[str, Any]
    """A FHIR R4 Bundle of type message, plain data; MessageHeader first."""
    ledger: MessageLedger
    """One entry for each populated leaf."""
    unmapped: tuple[tuple[str, str], ...]
    """(map, code) of codes no vocabulary knew; their original coding is kept."""
    cursors: tuple[Cursor, ...] = field(repr=False)
    job: Job = field(repr=False)


USUAL = STANDARD.encoding_characters
SEGMENTS = 10_000
"""Segments of one message that are mapped; the longest reports seen have about a thousand."""


def structure_name(program: Program, code: str, trigger: str) -> str:
    """The structure a message is read with. Raises Unmappable when there is none."""
    family = program.messages.get(code)
    if family is None:
        raise Unmappable("no mapping for this message type", location="MSH-9")
    return family.get(trigger) or family["*"]


def convert(message: Message, program: Program | None = None, *, source: str = "") -> Conversion:
    """Map one message. Pure: the same message, program and source give equal output.

    `source` scopes the ids (a tenant's endpoint); within it, sending application and facility do. Raises Unmappable
    for message types without a mapping.
    """
    program = program or default_program()
    if len(message.segments) > SEGMENTS:
        raise Unmappable(f"more than {SEGMENTS} segments", location="MSH")
    said = message.identity
    code, trigger = said.code, said.trigger
    structure = program.structures[structure_name(program, code, trigger)]
    scope_name = f"{source}|{said.sending_application}|{said.sending_facility}"
    zone = zone_of(said.time) or program.zone
    memory = program.memory if message.syntax.encoding_characters[:4] == USUAL else None
    env = Env(Graph(scope_name), f"{said.control_id}|{said.time}", zone, program.systems, memory)
    cursors = [Cursor(segment) for segment in message.segments]
    job = Job(program, env, code, trigger, sent=instant(said.time, zone) or "")
    root = group(structure, cursors)
    walk(root, Scope(job, root))
    finish_authorization(job)
    finish_conditions(job)
    finish_appointments(job)
    finish_documents(job)
    join_visit(job)
    carry(job, cursors)
    settle(job)
    timestamp = job.sent if "T" in job.sent else None
    bundle = env.graph.bundle(env.control, timestamp)
    if job.header is not None:
        focus = [entry["fullUrl"] for entry in bundle["entry"] if entry["resource"]["resourceType"] in FOCUS]
        if focus:
            job.header["focus"] = [{"reference": url} for url in focus]
    ledger = MessageLedger(cursors, program.ignored)
    return Conversion(bundle, ledger, tuple(env.unmapped), tuple(cursors), job)


FOCUS = frozenset(
    {"Claim", "ClaimResponse", "DiagnosticReport", "Appointment", "DocumentReference", "Encounter", "Patient"}
)
"""What a message is about: the header points at these."""


def finish_appointments(job: Job) -> None:
    """An Appointment needs its patient and a status of each participant."""
    for _, appointment in job.made.get("SCH", ()):
        if job.patient is not None:
            entry = {"actor": {"reference": f"urn:uuid:{job.patient['id']}", "type": "Patient"}, "status": "accepted"}
            appointment["participant"] = [entry, *appointment.get("participant", [])]
        appointment.setdefault("participant", [{"status": "needs-action", "type": [{"text": "not stated"}]}])
