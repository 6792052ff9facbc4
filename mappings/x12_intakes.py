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
from mappings.x12_275_to_fhir import attachment_bundle
from mappings.x12_276_to_fhir import status_bundle
from mappings.x12_278_to_fhir import request_bundle
from mappings.x12_835_to_fhir import payment_bundle
from mappings.x12_837_to_fhir import claim_bundle
from mappings.x12_bundle import Transmission
from mappings.x12_trace import Tracer, freeze

MEDIA_TYPE = "application/edi-x12"
INQUIRY = "authorization.inquiry"
"""Answered where it comes in, from the cases there are: it opens and joins none."""
CANCEL, UPDATES = "3", ("S", "4", "R")
"""UM02: cancel; revision, extension, renewal of what is already authorized."""


@dataclass(frozen=True, slots=True)
class Message:
    """One unit below its parents."""

    guide: str
    """Identifier of its guide, e.g. 005010X222A1."""
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
    previous = event.segment("REF", "BB")
    number = previous.get(2) if previous else ""
    # A renewal that names no authorization has no case to join: it opens one.
    kind = "cancel" if certification == CANCEL else "update" if certification in UPDATES and number else "request"
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


def authorization_inquiry(message: Message) -> Intake:
    """A 278 inquiry. An edge that does not answer inquiries parks it."""
    received = message.reception.received_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    bundle, ledger = request_bundle(message.unit, message.transmission, received)
    return Intake(
        type=INQUIRY,
        format="x12",
        natural_key=message.natural_key,
        case_key=(),
        ordering_key=("x12", message.transmission.sender, message.transmission.receiver),
        raw=message.raw,
        resource=bundle,
        ledger=ledger,
        reply=message.reply("278"),
        parked="inquiry",
    )


def authorization_response(message: Message) -> Intake:
    """A 278 response of a payer we asked: joins the case of the trace it echoes, else that of its BHT03."""
    trace = message.unit.segment("TRN", "2") or message.unit.segment("TRN")
    reference = message.tree.get("BHT", 3)
    number, assigner = (trace.get(2), trace.get(3)) if trace else (reference, "")
    echoed = dict.fromkeys(((assigner, number), ("", reference)))
    return Intake(
        type="authorization.response",
        format="x12",
        natural_key=message.natural_key,
        case_key=("trace", assigner, number),
        ordering_key=("trace", assigner, number),
        raw=message.raw,
        facts={"request.traceNumber": number, "request.receivedAt": message.reception.received_at.isoformat()},
        ledger=_all_carried(message, "x12_278_to_decision@1"),
        reply=message.reply("", parents=[asked_key(message.transmission.sender, *one) for one in echoed if one[1]]),
    )


def asked_key(payer: str, assigner: str, number: str) -> list[str]:
    """What finds the case we asked an interchange partner about: TRN03 and TRN02, or "" and BHT03. Nobody else's."""
    return ["asked", payer, assigner, number]


def sent_key(payer: str, kind: str, number: str) -> list[str]:
    """What finds the case whose request went out in this interchange (`ISA13`) or group (`GS06`)."""
    return ["asked-in", payer, kind, str(int(number)) if number.isdecimal() else number]


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
    """A 999 or 277CA on something we sent: journaled; a 999 that refuses 278s or 275s of ours tells their case."""
    first = message.tree.segment("AK1")
    if first is not None and first.get(1) in TELLING and _refuses(message):
        return _rejection(
            message.transmission,
            message.reception,
            ("GS06", first.get(2)),
            codes=tuple(code for code in (message.unit.get("IK5", 2), message.tree.get("AK9", 5)) if code),
            raw=message.raw,
            natural_key=message.natural_key,
        )
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


TELLING = frozenset({"HI", "PI"})
"""AK101: groups of 278s and 275s."""
NOT_ACCEPTED = frozenset({"M", "P", "R", "W", "X"})
"""IK501 and AK901: refused, for any reason; P refuses a part, and a request of ours is alone in its group."""


def _refuses(message: Message) -> bool:
    own = message.unit.get("IK5", 1) if message.unit.id == "2000" else ""
    return (own or message.tree.get("AK9", 1)) in NOT_ACCEPTED


def refused_interchange(
    transmission: Transmission, reception: Reception, number: str, code: str, data: bytes
) -> Intake:
    """A TA1 that refuses an interchange of ours; `transmission` is of the one it came in."""
    return _rejection(
        transmission,
        reception,
        ("ISA13", number),
        codes=(code,) if code.isdecimal() and len(code) == 3 else (),
        raw=Raw.of(data, MEDIA_TYPE),
        natural_key=("x12", *transmission.natural_key, "TA1", number),
    )


def _rejection(
    transmission: Transmission,
    reception: Reception,
    what: tuple[str, str],
    *,
    codes: tuple[str, ...],
    raw: Raw,
    natural_key: tuple[str, ...],
) -> Intake:
    """Our request could not be read by the payer: joins the case it was about."""
    key = sent_key(transmission.sender, *what)
    return Intake(
        type="authorization.rejected",
        format="x12",
        natural_key=natural_key,
        case_key=tuple(key),
        ordering_key=tuple(key),
        raw=raw,
        facts={"request.receivedAt": reception.received_at.isoformat()},
        reply={
            "rail": "x12",
            "client": reception.client,
            "transmission": transmission.as_json(),
            "refuses": dict([what]),
            "codes": list(codes),
            "parents": [key],
        },
    )


def _all_carried(message: Message, mapping: str) -> Ledger:
    ledger = Ledger(mapping)
    Tracer(message.tree, ledger).finish()
    return ledger


def _name_key(holder: Loop | None, name: str) -> tuple[str, str]:
    """(NM108, NM109) of a party."""
    loop = holder.loop(name) if holder else None
    return (loop.get("NM1", 8), loop.get("NM1", 9)) if loop else ("", "")


def claim(message: Message) -> Intake:
    """One claim of an 837."""
    received = message.reception.received_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    bundle, ledger = claim_bundle(message.unit, CLAIM_KINDS[message.guide], message.transmission, received)
    facts = facts_of(bundle, view_claim(bundle), message.reception)
    facts["request.submitter"] = message.transmission.sender
    control = message.unit.get("CLM", 1)
    facts["request.traceNumber"] = control
    for service, item in zip(facts["services"], bundle["entry"][0]["resource"]["item"], strict=True):
        if "net" in item:
            service["amount"] = item["net"]["value"]
    provider = _name_key(message.unit.up("2000A"), "2010AA")
    return Intake(
        type="claim.submission",
        format="x12",
        natural_key=message.natural_key,
        case_key=("x12-837", *provider, control, message.unit.get("CLM", 2)),
        ordering_key=("x12-837", *provider, control),
        raw=message.raw,
        resource=bundle,
        facts=facts,
        ledger=ledger,
        reply=message.reply("277CA"),
    )


def payment(message: Message) -> Intake:
    """One claim payment of an 835."""
    bundle, facts, ledger = payment_bundle(message.unit, message.transmission, message.reception.received_at)
    return Intake(
        type="claim.payment",
        format="x12",
        natural_key=message.natural_key,
        case_key=("x12-835", message.transmission.sender, message.unit.get("CLP", 7) or message.unit.get("CLP", 1)),
        ordering_key=("x12-835", message.transmission.sender, message.unit.get("CLP", 1)),
        raw=message.raw,
        resource=bundle,
        facts=facts,
        ledger=ledger,
        reply=message.reply(""),
    )


def status(message: Message) -> Intake:
    """A 276 asks for, a 277 tells, the status of claims."""
    is_answer = message.tree.id == "277"
    bundle, facts, ledger = status_bundle(message.unit, message.transmission, message.reception.received_at)
    return Intake(
        type="claimstatus.response" if is_answer else "claimstatus.request",
        format="x12",
        natural_key=message.natural_key,
        case_key=("x12-276", *message.transmission.natural_key),
        ordering_key=("x12-276", message.transmission.sender, str(facts.get("coverage.memberId", ""))),
        raw=message.raw,
        resource=bundle,
        facts=facts,
        ledger=ledger,
        reply=message.reply("" if is_answer else "277"),
    )


def attachment(message: Message) -> Intake:
    """A 275: documents for an authorization or a claim, found by its control number."""
    bundle, facts, ledger = attachment_bundle(message.unit, message.transmission, message.reception.received_at)
    number = next((row.get("controlNumber", "") for row in facts["documents"]), "")
    return Intake(
        type="attachment.received",
        format="x12",
        natural_key=message.natural_key,
        case_key=("attachment", number or message.transmission.transaction),
        ordering_key=("attachment", number or message.transmission.transaction),
        raw=message.raw,
        resource=bundle,
        facts=facts,
        ledger=ledger,
        reply=message.reply(
            "",
            aliases=[["attachment", number]] if number else [],
            # Our own attachment control number, where we asked for it: the open case that did hears of it.
            parents=[["attachment-control", number]] if number else [],
        ),
    )


CLAIM_KINDS = {"005010X222A1": "professional", "005010X223A2": "institutional", "005010X224A2": "oral"}

READERS: dict[tuple[str, str], Callable[[Message], Intake]] = {
    ("005010X217", "13"): authorization_request,
    ("005010X217", "11"): authorization_response,
    ("005010X215", "28"): authorization_inquiry,
    ("005010X279A1", "270"): eligibility_request,
    ("005010X279A1", "271"): eligibility_response,
    ("005010X222A1", "837"): claim,
    ("005010X223A2", "837"): claim,
    ("005010X224A2", "837"): claim,
    ("005010X221A1", "835"): payment,
    ("005010X212", "276"): status,
    ("005010X212", "277"): status,
    ("005010X210", "275"): attachment,
    ("005010X214", "277"): acknowledgement,
    ("005010X231A1", "999"): acknowledgement,
}
"""Reader by guide and the transaction set, or the value of BHT02 where it tells two guides apart."""
