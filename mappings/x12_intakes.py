"""Per transaction set: one read unit → `Intake` with its type, keys, canonical form, facts and way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from adapters.x12.wire.tree import Loop
from gateway.core.envelope import Intake, Raw, Reception
from gateway.core.ledger import Ledger
from mappings.fhir_claim import view_claim
from mappings.fhir_facts import facts_of
from mappings.x12_270_to_fhir import inquiry_bundle
from mappings.x12_278_to_fhir import Transmission, request_bundle
from mappings.x12_trace import Tracer, freeze

MEDIA_TYPE = "application/edi-x12"
CANCEL, UPDATES = "3", ("S", "4", "R")
"""UM02: cancel; revision, extension, renewal of what is already authorized."""


@dataclass(frozen=True, slots=True)
class Message:
    """One unit below its parents."""

    name: str
    tree: Loop
    """The copied path, from the transaction set down."""
    unit: Loop
    transmission: Transmission
    text: bytes
    reception: Reception

    @property
    def natural_key(self) -> tuple[str, ...]:
        """Interchange, group, transaction set and ordinal."""
        return ("x12", *self.transmission.natural_key)

    @property
    def raw(self) -> Raw:
        """The message's own segments."""
        return Raw.of(self.text, MEDIA_TYPE)

    def reply(self, transaction: str, **more: Any) -> dict[str, Any]:
        """The way back: format, transaction to answer with, envelope, and the event verbatim."""
        return {
            "format": "x12",
            "rail": "x12",
            "endpoint": self.reception.source,
            "client": self.reception.client,
            "transaction": transaction,
            "transmission": self.transmission.as_json(),
            "event": freeze(self.tree),
            **more,
        }


def parked(message: Message, transaction: str, reason: str) -> Intake:
    """A good message nobody maps yet: kept with its bytes (D2)."""
    return Intake(
        type=f"x12.{transaction}",
        format="x12",
        natural_key=message.natural_key,
        case_key=(),
        ordering_key=("x12", message.transmission.sender, message.transmission.receiver),
        raw=message.raw,
        reply=message.reply(""),
        parked=reason,
    )


def authorization_request(message: Message) -> Intake:
    """A 278 request: one patient event. Its case is the requester's trace; a revision or cancel names the number."""
    event = message.unit
    received = message.reception.received_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    bundle, ledger = request_bundle(event, message.transmission, received)
    view = view_claim(bundle)
    facts = facts_of(bundle, view, message.reception)
    facts["request.submitter"] = message.transmission.sender
    certification = event.get("UM", 2)
    kind = "cancel" if certification == CANCEL else "update" if certification in UPDATES else "request"
    previous = event.segment("REF", "BB")
    number = previous.get(2) if previous else ""
    trace = event.segment("TRN")
    requester = _name_key(event.up("2000B"), "2010B")
    identity = (trace.get(3), trace.get(2)) if trace else (message.tree.get("BHT", 3), view.member_id)
    aliases = [["trace", *view.trace]] if trace else []
    aliases += [["item-trace", *pair] for line in view.lines for pair in line.traces]
    parents = [["authorization", number]] if number and kind != "request" else []
    return Intake(
        type=f"authorization.{kind}",
        format="x12",
        natural_key=message.natural_key,
        case_key=("x12-278", *requester, *identity),
        ordering_key=("x12-278", *requester, view.member_id or identity[1]),
        raw=message.raw,
        resource=bundle,
        facts=facts,
        ledger=ledger,
        reply=message.reply("278", aliases=aliases, parents=parents, priorityRule=view.priority_rule),
    )


def authorization_response(message: Message) -> Intake:
    """A 278 response of a payer we asked: joins the case of the trace it echoes."""
    trace = message.unit.segment("TRN", "2") or message.unit.segment("TRN")
    number, assigner = (trace.get(2), trace.get(3)) if trace else (message.tree.get("BHT", 3), "")
    return Intake(
        type="authorization.response",
        format="x12",
        natural_key=message.natural_key,
        case_key=("trace", assigner, number),
        ordering_key=("trace", assigner, number),
        raw=message.raw,
        facts={"request.traceNumber": number, "request.receivedAt": message.reception.received_at.isoformat()},
        ledger=_all_carried(message, "x12_278_to_decision@1"),
        reply=message.reply("", aliases=[["trace", f"urn:trnorg:{assigner}", number]]),
    )


def eligibility_request(message: Message) -> Intake:
    """A 270: one subscriber with the dependent asked about."""
    bundle, facts, ledger = inquiry_bundle(message.unit, message.transmission, message.reception.received_at)
    facts["request.submitter"] = message.transmission.sender
    return Intake(
        type="eligibility.request",
        format="x12",
        natural_key=message.natural_key,
        case_key=("x12-270", *message.transmission.natural_key),
        ordering_key=("x12-270", message.transmission.sender, str(facts.get("coverage.memberId", ""))),
        raw=message.raw,
        resource=bundle,
        facts=facts,
        ledger=ledger,
        reply=message.reply("271"),
    )


def eligibility_response(message: Message) -> Intake:
    """A 271 of a payer we asked."""
    holder = message.unit.loop("2000D") or message.unit
    trace = holder.segment("TRN", "2") or holder.segment("TRN")
    number = trace.get(2) if trace else message.tree.get("BHT", 3)
    return Intake(
        type="eligibility.response",
        format="x12",
        natural_key=message.natural_key,
        case_key=("trace", trace.get(3) if trace else "", number),
        ordering_key=("trace", trace.get(3) if trace else "", number),
        raw=message.raw,
        facts={"request.traceNumber": number, "request.receivedAt": message.reception.received_at.isoformat()},
        ledger=_all_carried(message, "x12_271_to_eligibility@1"),
        reply=message.reply(""),
    )


def acknowledgement(message: Message) -> Intake:
    """A 999 or 277CA on something we sent: journaled, correlated by its group or claim."""
    return Intake(
        type="acknowledgement.received",
        format="x12",
        natural_key=message.natural_key,
        case_key=(),
        ordering_key=("x12", message.transmission.sender, message.transmission.receiver),
        raw=message.raw,
        facts={"request.receivedAt": message.reception.received_at.isoformat()},
        ledger=_all_carried(message, "x12_acknowledgement@1"),
        reply=message.reply(""),
    )


def _all_carried(message: Message, mapping: str) -> Ledger:
    ledger = Ledger(mapping)
    Tracer(message.tree, ledger).finish()
    return ledger


def _name_key(holder: Loop | None, name: str) -> tuple[str, str]:
    """(NM108, NM109) of a party."""
    loop = holder.loop(name) if holder else None
    return (loop.get("NM1", 8), loop.get("NM1", 9)) if loop else ("", "")


READERS: dict[tuple[str, str], Callable[[Message], Intake]] = {
    ("278", "13"): authorization_request,
    ("278", "11"): authorization_response,
    ("270", ""): eligibility_request,
    ("271", ""): eligibility_response,
    ("999", ""): acknowledgement,
}
"""Reader by transaction set and the value that tells guides with one identifier apart (BHT02)."""
