"""What HL7 v2 asks of an authorization there is, and the RPA or RRI that tells its state. Pure.

REF^I15 (request patient referral status, chapter 11) is always a question. RQA^I08 asks for authorization
*information*: where it names an authorization (AUT-6) and no service (no PR1, no OBR), nothing new is asked for. Both
are answered from the case there is, whatever rail it came by (decision 0072): found by authorization number or
administrative reference (AUT-6), else by the referral's number (RF1-6), and told only where patient and provider are
the case's own. The answer has the question's people and numbers, and the case's services with its decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from adapters.hl7.wire import Message, Segment, Value, compose, parse, segment, write
from adapters.hl7.wire.acknowledgement import plan, wanted
from mappings.fhir_to_hl7 import error_answer, render_answer
from mappings.hl7_to_fhir.vocabulary import TABLES, load_yaml
from mappings.inquire import FoundCase, InquiryQuery

INQUIRY = "authorization.inquiry"
KINDS = ("authorization", "administrative-reference")
"""Lookup keys of what AUT-6 may hold."""
Place = Literal["never", "instead", "after", "later"]


def is_inquiry(message: Message) -> bool:
    """Whether a request asks for the state of an authorization only."""
    if message.code == "REF":
        return message.trigger == "I15"
    if (message.code, message.trigger) != ("RQA", "I08") or message.all("PR1") or message.all("OBR"):
        return False
    return any(part.get(6) for part in message.all("AUT"))


def answer_place(header: Segment, *, own_connection: bool) -> Place:
    """Where the answer goes: instead of an acknowledgement, after it, later on our own connection, or nowhere."""
    asked = plan(header)
    if not wanted(asked.application, good=True):
        return "never"
    if asked.accept == "NE":
        return "instead"
    return "later" if own_connection else "after"


def query_of(facts: Mapping[str, Any]) -> InquiryQuery:
    """What is asked for."""
    number = str(facts.get("request.authorizationNumber", ""))
    npis = (str(facts.get(name, "")) for name in ("provider.npi", "performer.npi"))
    return InquiryQuery(
        member_id=str(facts.get("coverage.memberId", "")),
        npis=tuple(npi for npi in npis if npi),
        payers=(),
        numbers=tuple((kind, number) for kind in KINDS) if number else (),
    )


def lookup(facts: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Keys of the cases that may be meant: of the authorization, else of the referral."""
    trace = str(facts.get("request.traceNumber", ""))
    return query_of(facts).numbers or ((("trace", trace),) if trace else ())


def means(facts: Mapping[str, Any], case: FoundCase) -> bool:
    """Whether a case is the one asked for: its number, its patient and one of its providers."""
    query = query_of(facts)
    known = {*case.npis, case.facts.get("provider.npi"), case.facts.get("performer.npi")}
    if not known & set(query.npis) or not _same_person(facts, case.facts):
        return False
    if query.numbers:
        return bool({key[-1] for key in query.numbers} & set(case.numbers))
    return bool(case.facts.get("request.traceNumber") == facts.get("request.traceNumber"))


def _same_person(asked: Mapping[str, Any], held: Mapping[str, Any]) -> bool:
    """By member number; where the question has none, by number and birth date, as a message of the same patient."""
    if member := asked.get("coverage.memberId"):
        return bool(member == held.get("coverage.memberId"))
    names = ("patient.id", "patient.birthDate")
    return all(asked.get(name) and asked[name] == held.get(name) for name in names)


def answer(
    request: bytes, found: FoundCase | None, *, control_id: str, at: datetime, charset: str | None = None
) -> bytes:
    """RPA or RRI with the case found; AE with 204 (unknown key) where there is none."""
    message = parse(request, charset=charset)
    if found is None:
        named = any(part.get(6) for part in message.all("AUT"))
        unknown = {"code": "204", "location": "AUT-6" if named else "RF1-6"}
        return error_answer(message, [unknown], control_id=control_id, at=at)
    asked = write(compose(_as_request(message, found)))
    return render_answer(_by_position(found), asked, control_id=control_id, at=at, charset=message.syntax.encoding)


def _by_position(found: FoundCase) -> Any:
    """The decision with its items numbered as their services stand in the answer."""
    at = {row.get("sequence", 1): number for number, row in enumerate(_services(found), 1)}
    items = [replace(item, sequence=at.get(item.sequence, item.sequence)) for item in found.decision.items]
    return replace(found.decision, items=items)


def _services(found: FoundCase) -> list[Mapping[str, Any]]:
    return list(found.facts.get("services", ()))


def _as_request(message: Message, found: FoundCase) -> list[Segment]:
    """The question with the case's services in the place of those it named, if any."""
    kept = [part for part in message.segments if part.name not in ("AUT", "PR1", "OBR", "OBX", "RF1")]
    referral = message.first("RF1")
    if referral is None:
        number: Value = str(found.facts.get("request.traceNumber", ""))
        referral = segment("RF1", {6: number}, syntax=message.syntax)
    result = [kept[0], referral, *kept[1:]]
    for place, service in enumerate(_services(found), 1):
        result += _procedure(place, service, message)
    return result


def _procedure(place: int, service: Mapping[str, Any], message: Message) -> list[Segment]:
    start, end = (_day(service.get(name)) for name in ("start", "end"))
    coded: Value = (str(service.get("code", "")), "", coding_name(str(service.get("system", ""))))
    quantity = service.get("quantity")
    asked: dict[int, Value] = {4: start, 5: end or start, 8: "" if quantity is None else str(quantity)}
    return [
        segment("PR1", {1: str(place), 3: coded, 5: start}, syntax=message.syntax),
        segment("AUT", asked, syntax=message.syntax),
    ]


def coding_name(system: str) -> str:
    """A FHIR code system as HL7 v2 names it (table 0396); what has no name there is local."""
    names: dict[str, str] = load_yaml(TABLES / "own" / "code_systems.yaml")
    return next((name for name, uri in names.items() if uri == system), "L")


def _day(value: Any) -> str:
    return str(value or "").replace("-", "")[:8]
