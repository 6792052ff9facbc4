"""HL7 v2 bytes → business messages (gateway.core.ports.Codec): parse, map to FHIR, route by table, answer.

Never raises on bad input: the answer is an acknowledgement. Which type a message has, and what orders it, is
tables/hl7/routing.yaml. A request for authorization (RQA, REF) is answered by RPA or RRI, not by a plain ACK: where an
accept acknowledgement is asked, that is all this connection gets and the decision follows by delivery; where it is
not, the answer here is the pended RPA or RRI, and the edge gives the decision instead when one came in time
(`rendered`). Where a partner wants its application acknowledgements on our own connection, `reply.application` holds
the one to deliver once the message has been processed.

A message without a mapping is parked: accepted, its bytes kept, replayable. Acknowledgements are journaled, never
answered. A continued message (DSC) is refused: its parts cannot be told apart from a message that lost its end.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Any

from adapters.hl7.wire import Message, Segment, compose, parse, read_header, write
from adapters.hl7.wire.acknowledgement import Answers, acknowledge, is_answer, plan, refuse, wanted
from adapters.hl7.wire.batch import reply_batch, split
from adapters.hl7.wire.check import check
from gateway.core.envelope import Intake, Raw, Reception
from gateway.core.errors import GatewayError, Issue, Unmappable, UnsupportedMessage
from gateway.core.ports import Decision, Reading
from mappings.fhir_to_hl7 import render_answer
from mappings.hl7_inquiry import INQUIRY, answer_place, is_inquiry
from mappings.hl7_to_fhir import Conversion, Program, convert, default_program
from mappings.hl7_to_fhir.facts import facts_of
from mappings.hl7_to_fhir.vocabulary import TABLES, load_yaml
from mappings.patients import patient_keys

FORMAT = "hl7v2"
LEAVING = timedelta(seconds=2)
"""Before a line is given up: a decision recorded that late is delivered, too, in case nobody hears it any more."""
REQUESTS = frozenset({"RQA", "REF"})
Answer = Callable[[GatewayError | None], bytes | None]


@lru_cache(maxsize=1)
def routing() -> Mapping[str, Any]:
    """The routing table."""
    table: dict[str, Any] = load_yaml(TABLES / "routing.yaml")
    return table


@dataclass(frozen=True, slots=True)
class Hl7Codec:
    """One listener's codec."""

    partners: Mapping[str, Program] = field(default_factory=dict)
    """Programs by partner id (`Reception.client`, or the part of `Reception.source` after the slash)."""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Partner id → endpoint that answers are delivered to; default: `mllp/<partner>`."""
    waits: float = 0
    """Seconds the edge holds a request's line for its decision (design D6); 0: it answers "pended" at once."""

    def read(self, raw: Raw, reception: Reception) -> Reading:
        """Read one frame: a message or a batch of them."""
        data = raw.data or b""
        program = self._program(reception)
        try:
            stream = split(data, charset=_charset(program, reception))
        except GatewayError as error:
            return _refused(data, error, reception, raw)
        if not stream.batched and len(stream.messages) == 1:
            return self._message(stream.messages[0], raw, program, reception, self.waits)
        readings = [self._message(one, Raw.of(one, raw.media_type), program, reception, 0) for one in stream.messages]

        def answer(error: GatewayError | None) -> bytes | None:
            parts = [part for reading in readings if (part := reading.answer(error))]
            return (
                reply_batch(stream, parts, control_id=control_id(raw, 0), at=reception.received_at) if parts else None
            )

        intakes = [intake for reading in readings for intake in reading.intakes]
        issues = [*stream.issues, *(issue for reading in readings for issue in reading.issues)]
        return Reading(intakes=intakes, answer=answer, refused=not intakes, issues=issues)

    def _program(self, reception: Reception) -> Program:
        partner = reception.source.partition("/")[2]
        return self.partners.get(reception.client) or self.partners.get(partner) or default_program()

    def _message(self, data: bytes, raw: Raw, program: Program, reception: Reception, waits: float) -> Reading:
        try:
            message = parse(data, charset=_charset(program, reception))
            if (refusal := check(message)) is not None:
                raise refusal
            if message.code in routing()["unanswered"]:
                raise UnsupportedMessage(location="MSH-9")
        except GatewayError as error:
            return _refused(data, error, reception, raw)
        kind = INQUIRY if is_inquiry(message) else _type_of(message)
        if kind == "acknowledgement.hl7":
            answer = _silent if not plan(message.header).enhanced else _acknowledging(message, raw, reception, ())
            return Reading(intakes=(self._bare(message, raw, reception, kind, ""),), answer=answer)
        try:
            if not kind:
                raise Unmappable("no route for this message type", location="MSH-9")
            parts = master_file_entries(message) if kind.startswith("provider.") else [message]
            conversions = [convert(part, program, source=reception.source) for part in parts]
        except Unmappable:
            intake = self._bare(message, raw, reception, kind or "clinical.unknown", "unmappable")
            return Reading(intakes=(intake,), answer=_acknowledging(message, raw, reception, ()))
        except GatewayError as error:
            return _refused(data, error, reception, raw)
        intakes = [
            self._intake(part, raw, reception, kind, conversion, number)
            for number, (part, conversion) in enumerate(zip(parts, conversions, strict=True))
        ]
        if waits and intakes[0].reply["immediate"] and kind != INQUIRY:
            until = reception.received_at + timedelta(seconds=waits) - LEAVING
            intakes[0].reply.update(lane="fast", waitsUntil=until.isoformat())
        issues = _issues(message, *conversions)
        return Reading(intakes=intakes, answer=_answering(message, raw, reception, program, issues), issues=issues)

    def _bare(self, message: Message, raw: Raw, reception: Reception, kind: str, parked: str) -> Intake:
        """A message that is kept without being mapped."""
        return Intake(
            type=kind,
            format=FORMAT,
            natural_key=_natural_key(message),
            case_key=(),
            ordering_key=("hl7", *_natural_key(message)[:2]),
            raw=raw,
            reply=self._reply(message, raw, reception),
            parked=parked,
        )

    def _intake(
        self, message: Message, raw: Raw, reception: Reception, kind: str, conversion: Conversion, number: int
    ) -> Intake:
        facts = facts_of(conversion, reception.received_at, routing())
        case: tuple[str, ...] = ()
        if kind.startswith("authorization."):
            case = _case_key(message)
        elif kind.startswith("provider."):
            case = _provider_key(message, facts)
        ordering_key, lane = (case, ()) if case else _order(message, conversion)
        reply = self._reply(message, raw, reception)
        if kind.startswith("authorization.") and kind != "authorization.request":
            names = (("authorization", "request.authorizationNumber"), ("trace", "request.traceNumber"))
            reply["parents"] = [[name, str(facts[fact])] for name, fact in names if facts.get(fact)]
        elif kind.startswith("clinical.") and _tells(message):
            first, *others = _patients(conversion)
            reply["parents"] = first
            if others:
                reply["others"] = others
            if "replaces" in _links(conversion):
                reply["merged"] = True
        if kind == INQUIRY:
            reply["answer"] = answer_place(message.header, own_connection=_own_connection(reception))
        if kind == "authorization.request":
            reply["aliases"] = _patients(conversion)[0]
        return Intake(
            type=kind,
            format=FORMAT,
            natural_key=(*_natural_key(message), str(number)) if number else _natural_key(message),
            case_key=case,
            ordering_key=ordering_key,
            lane=lane,
            raw=raw,
            resource=conversion.bundle,
            facts=facts,
            ledger=conversion.ledger,
            reply=reply,
            parked="inquiry" if kind == INQUIRY else "",
        )

    def _reply(self, message: Message, raw: Raw, reception: Reception) -> dict[str, Any]:
        """What the way back needs besides the request's bytes."""
        partner = reception.source.partition("/")[2]
        said = message.identity
        reply: dict[str, Any] = {
            "rail": FORMAT,
            "endpoint": self.endpoints.get(partner, f"mllp/{partner}"),
            "format": FORMAT,
            "client": reception.client,
            "message": f"{said.code}^{said.trigger}",
            "controlId": said.control_id,
            "sender": [said.sending_application, said.sending_facility],
            "receiver": [said.receiving_application, said.receiving_facility],
            "charset": message.syntax.encoding,
            "immediate": said.code in REQUESTS and _answers_here(message.header),
        }
        if _own_connection(reception) and (later := _acknowledged(message, None, raw, reception, ()).application):
            reply["application"] = base64.b64encode(later).decode("ascii")
        return reply


def _charset(program: Program, reception: Reception) -> str | None:
    return program.charset or reception.attributes.get("charset")


def _type_of(message: Message) -> str:
    family = routing()["types"].get(message.code)
    return str(family.get(message.trigger) or family["*"]) if family else ""


def _natural_key(message: Message) -> tuple[str, ...]:
    said = message.identity
    return (said.sending_application, said.sending_facility, said.control_id)


def _case_key(message: Message) -> tuple[str, ...]:
    """The referral's own number (RF1-6), else the authorization's (AUT-6), else this message."""
    facility = message.header.get(4) or message.header.get(3)
    answered = message.code not in REQUESTS
    if answered:
        facility = message.header.get(6) or message.header.get(5)
    for name, number in (("RF1", 6), ("AUT", 6)):
        for part in message.all(name):
            if value := part.get(number):
                return ("hl7", facility, name, part.get(number, 2), value)
    return ("hl7", facility, "message", message.control_id)


def master_file_entries(message: Message) -> list[Message]:
    """A message for each entry of a master file: each is about another provider."""
    starts = [place for place, part in enumerate(message.segments) if part.name == "MFE"]
    if len(starts) < 2:
        return [message]
    head, ends = message.segments[: starts[0]], [*starts[1:], len(message.segments)]
    groups = (message.segments[start:end] for start, end in zip(starts, ends, strict=True))
    return [parse(write(compose([*head, *group])), charset=message.syntax.encoding) for group in groups]


def _provider_key(message: Message, facts: Mapping[str, Any]) -> tuple[str, ...]:
    """The provider of a master file entry: by NPI whoever reports it, else by its key (MFE-4) within the facility."""
    facility = message.header.get(4) or message.header.get(3)
    if number := facts.get("provider.npi"):
        return ("provider", "npi", number)
    entry = message.first("MFE")
    key = entry.get(4) if entry is not None else ""
    return ("provider", facility, key) if key else ("hl7", facility, "message", message.control_id)


def _order(message: Message, conversion: Conversion) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The facility, and the patient within it. An event on several patients has none: it stands between all of them."""
    facility = ("facility", message.identity.sending_facility or message.identity.sending_application)
    if message.trigger in routing()["coarse"]:
        return facility, ()
    patient = conversion.job.patient
    return facility, ("patient", patient["id"] if patient else "")


def _tells(message: Message) -> bool:
    """Whether the open cases of the patient hear of this message."""
    events = routing()["tells"].get(message.code, ())
    return message.trigger in events or "*" in events


def _patients(conversion: Conversion) -> list[list[list[str]]]:
    """The lookup keys of the message's patient, and those of every further one into whom another was merged."""
    job = conversion.job
    if job.patient is None:
        return [[]]
    known = {entry["fullUrl"]: entry["resource"] for entry in conversion.bundle["entry"]}
    found = []
    for patient in known.values():
        links = patient.get("link", ()) if patient["resourceType"] == "Patient" else ()
        merged = [known[link["other"]["reference"]] for link in links if link["type"] == "replaces"]
        if patient is job.patient or merged:
            found.append([list(key) for key in patient_keys(patient, merged)])
    return found or [[]]


def _links(conversion: Conversion) -> set[str]:
    """How the message's patients are linked (Patient.link.type)."""
    patients = conversion.job.env.graph.of_kind("Patient")
    return {link["type"] for patient in patients for link in patient.get("link", ())}


def control_id(raw: Raw, number: int) -> str:
    """Our MSH-10 for an answer: the same bytes are answered with the same id."""
    return f"G{raw.sha256[:17]}{number}"


def _identifier(raw: Raw) -> Callable[[], str]:
    count = iter(range(1, 100))
    return lambda: control_id(raw, next(count))


def _silent(_error: GatewayError | None) -> bytes | None:
    return None


def _acknowledging(message: Message, raw: Raw, reception: Reception, warnings: Sequence[Issue]) -> Answer:
    """Plain acknowledgements; the second phase stays away where the partner wants it on our own connection."""

    def answer(error: GatewayError | None) -> bytes | None:
        answers = _acknowledged(message, error, raw, reception, warnings)
        return answers.immediate if _own_connection(reception) else answers.together()

    return answer


def _own_connection(reception: Reception) -> bool:
    """Whether the partner wants the second phase on a connection that we open."""
    return reception.attributes.get("application-answer") == "own-connection"


def _acknowledged(
    message: Message, error: GatewayError | None, raw: Raw, reception: Reception, warnings: Sequence[Issue]
) -> Answers:
    return acknowledge(
        message.header,
        error,
        identify=_identifier(raw),
        at=reception.received_at,
        answered=message.first("MSA"),
        warnings=warnings,
    )


def _answers_here(header: Segment) -> bool:
    """Whether the decision (or its pended form) is due here: no accept acknowledgement was asked."""
    asked = plan(header)
    return asked.accept == "NE" and wanted(asked.application, good=True)


def _answering(message: Message, raw: Raw, reception: Reception, program: Program, issues: Sequence[Issue]) -> Answer:
    """The answer to a mapped message."""
    if message.code not in REQUESTS or is_answer(message.header):
        return _acknowledging(message, raw, reception, [issue for issue in issues if issue.severity == "warning"])

    def answer(error: GatewayError | None) -> bytes | None:
        answers = acknowledge(message.header, error, identify=_identifier(raw), at=reception.received_at)
        if error is not None or not _answers_here(message.header):
            return answers.immediate
        waiting = Decision(case_id="", version=0, decided_at=reception.received_at, action="A4")
        return rendered(waiting, raw, charset=_charset(program, reception))

    return answer


def rendered(decision: Decision, raw: Raw, *, charset: str | None) -> bytes:
    """The business answer (RPA, RRI) to a request on its own connection: the same decision gives the same bytes."""
    return render_answer(
        decision, raw.data or b"", control_id=control_id(raw, 1), at=decision.decided_at, charset=charset
    )


def _refused(data: bytes, error: GatewayError, reception: Reception, raw: Raw) -> Reading:
    """A negative answer whatever comes; by name where the header can be read."""
    at, identify = reception.received_at, _identifier(raw)
    try:
        header = read_header(data)
    except GatewayError:
        header = None
    if header is None or header.name != "MSH":
        content: bytes | None = refuse(error, identify=identify, at=at)
    else:
        content = acknowledge(header, error, identify=identify, at=at).together()
    issues = error.issues or (Issue(error.code, error.location, error.message),)
    return Reading(answer=lambda _late: content, refused=True, issues=issues)


def _issues(message: Message, *conversions: Conversion) -> tuple[Issue, ...]:
    """What was tolerated, and codes no vocabulary knew: by table, never by value."""
    notes = [Issue(note, "MSH", note.replace("-", " "), "information") for note in message.notes]
    tables = sorted({name for conversion in conversions for name, _ in conversion.unmapped})
    return (*notes, *(Issue("code-unknown", name, "code kept as sent", "information") for name in tables))


__all__ = ["Hl7Codec", "rendered", "routing"]
