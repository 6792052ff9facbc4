"""A decision → RPA or RRI, built on the request it answers.

    RPA^I08   MSH MSA [ERR] RF1 [AUT] {PRD} PID [{IN1 …}] {DG1} {PR1 [AUT]} [NTE]
    RRI^I12   MSH MSA [ERR] RF1 [AUT] {PRD} PID {DG1} {PR1 [AUT]} [NTE]

MSA-1 = AA says only that the request was processed; the decision is RF1-1: A accepted, R rejected, P pending. An
accepted request has the authorization after RF1 and under each procedure; a rejected one says 0 authorized (AUT-9)
under each; a pending one has no AUT. Business rejections (AAA) give MSA-1 = AE with ERR and only what names the
request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from adapters.hl7.wire import Message, Segment, Value, Verbatim, compose, parse, replace, segment, timestamp, write
from adapters.hl7.wire.acknowledgement import CONDITIONS
from gateway.core.errors import Unmappable
from gateway.core.ports import Decision, ItemDecision

ANSWERS = {"RQA": ("RPA", "RPA_I08"), "REF": ("RRI", "RRI_I12")}
"""Request → message code and structure of its answer."""
STATUS = {"A1": "A", "A2": "A", "A6": "A", "NA": "A", "C": "A", "A3": "R", "A4": "P", "CT": "P"}
"""X12 element 306 → table 0283. A cancellation carried out is an accepted request to cancel."""
STATUS_TEXT = {"A": "Accepted", "R": "Rejected", "P": "Pending"}
_ECHOED = {"RPA": ("IN1", "IN2", "IN3", "DG1", "PR1"), "RRI": ("DG1", "PR1")}
_REJECTED = {"75": "204", "72": "101", "15": "101", "33": "101", "42": "207", "T4": "101"}
"""X12 reject reason (901) → table 0357; what is not listed is 207."""


def render_answer(
    decision: Decision, request: bytes, *, control_id: str, at: datetime, charset: str | None = None
) -> bytes:
    """The answer to a request (RQA or REF, its bytes as received), as bytes for the wire.

    `control_id` becomes MSH-10, `at` (aware) MSH-7. Raises Unmappable when the bytes are no request we answer.
    """
    message = parse(request, charset=charset)
    kind, structure = _answer_to(message)
    if decision.errors:
        return write(compose(_refusal(message, decision.errors, kind, structure, control_id, at)))
    status = STATUS.get(decision.action, "P")
    segments = [_header(message, kind, structure, control_id, at), _msa(message, "AA")]
    segments += [_referral(part, status) for part in message.all("RF1")[:1]]
    first = message.first("PR1")
    if status == "A" and decision.action not in {"C", "NA"} and decision.authorization_number:
        segments.append(_authorization(message, decision, _item(decision, 1), status, message.first("AUT"), first))
    segments += [*message.all("PRD"), *message.all("PID")[:1]]
    segments += _details(message, decision, status, kind)
    segments += _notes(decision, message)
    return write(compose(segments))


def error_answer(request: Message, errors: Iterable[Mapping[str, str]], *, control_id: str, at: datetime) -> bytes:
    """RPA or RRI that refuses a request: MSA-1 = AE, one ERR for each error."""
    kind, structure = _answer_to(request)
    return write(compose(_refusal(request, errors, kind, structure, control_id, at)))


def _answer_to(message: Message) -> tuple[str, str]:
    found = ANSWERS.get(message.code)
    if found is None:
        raise Unmappable("only RQA and REF are answered with a decision", location="MSH-9")
    return found


def _header(message: Message, kind: str, structure: str, control_id: str, at: datetime) -> Segment:
    header = message.header
    fields: dict[int, Value] = {
        3: Verbatim(header.raw(5)),
        4: Verbatim(header.raw(6)),
        5: Verbatim(header.raw(3)),
        6: Verbatim(header.raw(4)),
        7: timestamp(at),
        9: (kind, message.trigger, structure),
        10: control_id,
        11: Verbatim(header.raw(11)) or "P",
        12: Verbatim(header.raw(12)) or "2.5.1",
        15: Verbatim(header.raw(15)),
        16: Verbatim(header.raw(16)),
        18: Verbatim(header.raw(18)),
    }
    return segment("MSH", fields, syntax=header.syntax)


def _msa(message: Message, code: str) -> Segment:
    return segment("MSA", {1: code, 2: Verbatim(message.header.raw(10))}, syntax=message.syntax)


def _referral(part: Segment, status: str) -> Segment:
    return replace(part, {1: (status, STATUS_TEXT[status], "HL70283")})


def _item(decision: Decision, sequence: int) -> ItemDecision | None:
    return next((item for item in decision.items if item.sequence == sequence), None)


def _day(text: str) -> str:
    return text.replace("-", "")[:8]


def _authorization(
    message: Message,
    decision: Decision,
    item: ItemDecision | None,
    status: str,
    asked: Segment | None,
    procedure: Segment | None,
) -> Segment:
    """AUT: what was asked (plan, payer, period, AUT-8) and what is granted (AUT-6, AUT-9, AUT-10)."""
    requested = (asked.get(8) if asked else "") or "1"
    granted = str((item.changes.get("quantity") if item else None) or requested) if status == "A" else "0"
    number = (item.authorization_number if item else "") or decision.authorization_number
    fields: dict[int, Value] = {}
    if asked is not None:
        fields |= {place: Verbatim(asked.raw(place)) for place in (1, 2, 3, 4, 5)}
    else:
        insurance = message.first("IN1")
        if insurance is not None:
            fields |= {1: Verbatim(insurance.raw(2)), 2: (insurance.get(3), insurance.get(4)), 3: insurance.get(4)}
        day = procedure.get(5)[:8] if procedure is not None else ""
        fields |= {4: day, 5: day}
    if status == "A" and decision.valid_from:
        fields[4] = _day(decision.valid_from)
    if status == "A" and decision.valid_to:
        fields[5] = _day(decision.valid_to)
    if status == "A" and number:
        fields[6] = (number, message.header.get(5))
    fields |= {8: requested, 9: granted, 10: decision.decided_at.strftime("%Y%m%d")}
    return segment("AUT", fields, syntax=message.syntax)


def _details(message: Message, decision: Decision, status: str, kind: str) -> list[Segment]:
    """Insurance, diagnoses and procedures of the request, each procedure with its authorization."""
    result: list[Segment] = []
    procedures = 0
    segments = message.segments
    for index, part in enumerate(segments):
        if part.name not in _ECHOED[kind]:
            continue
        result.append(part)
        if part.name != "PR1":
            continue
        procedures += 1
        asked = next((one for one in segments[index + 1 : index + 2] if one.name == "AUT"), message.first("AUT"))
        item = _item(decision, procedures)
        own = STATUS.get(item.action, status) if item else status
        if own != "P" and status != "P" and decision.action not in {"C", "NA"}:
            result.append(_authorization(message, decision, item, own, asked, part))
    return result


def _notes(decision: Decision, message: Message) -> list[Segment]:
    """The reasons in words, and what is missing."""
    texts = [item.note for item in decision.items if item.note]
    texts += [wanted["question"] for wanted in decision.requested_information if wanted.get("question")]
    unique = dict.fromkeys(texts)
    return [segment("NTE", {1: str(number), 3: text}, syntax=message.syntax) for number, text in enumerate(unique, 1)]


def _refusal(
    message: Message, errors: Iterable[Mapping[str, str]], kind: str, structure: str, control_id: str, at: datetime
) -> list[Segment]:
    segments = [_header(message, kind, structure, control_id, at), _msa(message, "AE")]
    for error in errors:
        code = str(error.get("code", ""))
        condition = code if code in CONDITIONS else _REJECTED.get(code, "207")
        fields: dict[int, Value] = {
            2: _location(str(error.get("location", ""))),
            3: (condition, CONDITIONS[condition], "HL70357"),
            4: "E",
            7: str(error.get("text", "")) or None,
        }
        segments.append(segment("ERR", fields, syntax=message.syntax))
    for provider in message.all("PRD")[:1]:
        name: Any = (provider.get(2), provider.get(2, 2))
        segments.append(segment("PRD", {1: Verbatim(provider.raw(1)), 2: name}, syntax=message.syntax))
    return [*segments, *message.all("PID")[:1], *message.all("PR1")]


def _location(text: str) -> Value:
    """`IN1-36` or `IN1^1^36` → ERL."""
    name, _, rest = text.replace("^", "-").partition("-")
    numbers = [part for part in rest.split("-") if part.isdigit()]
    if not name:
        return None
    if len(numbers) == 1:
        numbers.insert(0, "1")
    return (name, *numbers)
