"""One subscriber of a 270 (005010X279A1) → CoverageEligibilityRequest Bundle, facts; and the 271 that answers it.

A dependent (2000D) is the patient where there is one. The 271 echoes the inquiry's hierarchy kept in `reply.event`,
turns its traces to TRN*2 and says per service type asked for (EQ01) whether the coverage is active (EB), or AAA.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from adapters.fhir.wire.elements import identifier
from adapters.fhir.wire.terms import IDENTIFIER_TYPE
from adapters.x12.wire.tree import Loop
from gateway.core.ledger import Ledger
from mappings.bundle_echo import derived_uuid
from mappings.x12_278_terms import RELATIONSHIP
from mappings.x12_bundle import Transmission
from mappings.x12_dates import iso_day, iso_moment, timed, x12_day, x12_moment
from mappings.x12_parties import read_organization, read_patient, read_practitioner
from mappings.x12_tables import X12, concept, procedure_system, table
from mappings.x12_trace import Tracer, thaw

MAPPING = "x12_270_to_fhir@1"
Element = dict[str, Any]
PLAIN_BENEFITS = "30"
"""EQ01 of a general inquiry: health benefit plan coverage."""


def inquiry_bundle(member: Loop, transmission: Transmission, received_at: datetime) -> tuple[Element, Element, Ledger]:
    """One 2000C with its ancestors → (Bundle, facts, ledger)."""
    ledger = Ledger(MAPPING)
    root = member
    while root.parent is not None:
        root = root.parent
    tracer = Tracer(root, ledger)
    beginning = root.segment("BHT")
    for at in (1, 2, 6):
        tracer.take(beginning, at, "Bundle")
    number = tracer.take(beginning, 3, "Bundle.identifier")
    day, clock = (tracer.take(beginning, at, "CoverageEligibilityRequest.created") for at in (4, 5))
    created = iso_moment(day, clock) or received_at.isoformat()
    resources = _resources(member, tracer)
    urls = {name: f"urn:uuid:{derived_uuid(*transmission.natural_key, name)}" for name in ("request", *resources)}
    request = _request(member, tracer, created, urls)
    resources["coverage"] |= {
        "subscriber": {"reference": urls["subscriber"]},
        "beneficiary": {"reference": urls.get("dependent", urls["subscriber"])},
        "payor": [{"reference": urls["insurer"]}],
    }
    tracer.finish()
    entries = [_entry(urls["request"], request), *(_entry(urls[name], found) for name, found in resources.items())]
    bundle: Element = {
        "resourceType": "Bundle",
        "id": derived_uuid(*transmission.natural_key, "Bundle"),
        "identifier": {"system": "urn:x12:005010:BHT03", "value": number or transmission.transaction},
        "type": "collection",
        "timestamp": created,
        "entry": entries,
    }
    return bundle, _facts(request, resources, received_at), ledger


def _entry(url: str, resource: Element) -> Element:
    identified = {"resourceType": resource["resourceType"], "id": url.removeprefix("urn:uuid:")}
    return {"fullUrl": url, "resource": identified | resource}


def _resources(member: Loop, tracer: Tracer) -> dict[str, Element]:
    source, receiver = member.up("2000A"), member.up("2000B")
    payer, asker = source.loop("2100A") if source else None, receiver.loop("2100B") if receiver else None
    unnamed: Element = {"resourceType": "Organization", "active": True, "name": "unnamed"}
    found: dict[str, Element] = {
        "insurer": read_organization(payer, tracer, "Organization(insurer)") if payer else dict(unnamed),
        "provider": dict(unnamed),
    }
    if asker is not None:
        read = read_practitioner if asker.get("NM1", 2) == "1" else read_organization
        tracer.take(asker.segment("NM1"), 1, "CoverageEligibilityRequest.provider")
        found["provider"] = read(asker, tracer, "CoverageEligibilityRequest.provider")
    name = member.loop("2100C")
    subscriber = read_patient(name, tracer) if name else {"resourceType": "Patient"}
    found["subscriber"] = subscriber
    relation = "18"
    dependent = member.loop("2000D")
    own = dependent.loop("2100D") if dependent else None
    if own is not None:
        found["dependent"] = read_patient(own, tracer)
        relation = tracer.take(own.segment("INS"), 2, "Coverage.relationship") or "G8"
    number = identifier(subscriber, kind="MB")
    codings = [{"system": X12 + "1069", "code": relation}]
    plain = table("codes")["relationships"].get(relation)
    codings = [{"system": RELATIONSHIP, "code": plain}, *codings] if plain else codings
    coverage: Element = {"resourceType": "Coverage", "status": "active", "relationship": {"coding": codings}}
    if number:
        kind = {"coding": [{"system": IDENTIFIER_TYPE, "code": "MB"}]}
        coverage |= {"identifier": [{"type": kind, "value": number}], "subscriberId": number}
    found["coverage"] = coverage
    return found


def _request(member: Loop, tracer: Tracer, created: str, urls: dict[str, str]) -> Element:
    holder = member.loop("2000D") or member
    name = holder.loop("2100D") or holder.loop("2100C")
    target = "CoverageEligibilityRequest"
    traces = []
    for trace in holder.segments("TRN"):
        tracer.take(trace, 1, f"{target}.identifier")
        value, assigner = tracer.take(trace, 2, f"{target}.identifier"), tracer.take(trace, 3, f"{target}.identifier")
        traces.append({"system": f"urn:trnorg:{assigner}", "value": value})
    request: Element = {"resourceType": "CoverageEligibilityRequest"}
    if traces:
        request["identifier"] = traces
    request |= {"status": "active", "purpose": ["benefits", "validation"]}
    request["patient"] = {"reference": urls.get("dependent", urls["subscriber"])}
    for segment in name.segments("DTP", "291") if name else ():
        for at in (1, 2):
            tracer.take(segment, at, f"{target}.serviced")
        request |= timed(segment.get(2), tracer.take(segment, 3, f"{target}.serviced"), "serviced")
    request |= {
        "created": created,
        "provider": {"reference": urls["provider"]},
        "insurer": {"reference": urls["insurer"]},
        "insurance": [{"focal": True, "coverage": {"reference": urls["coverage"]}}],
    }
    items: list[Element] = []
    for asked in _asked(name):
        for at, _ in enumerate(asked.values(1), 1):
            code = tracer.take(asked, 1, f"{target}.item.category", repetition=at)
            items.append({"category": concept("1365", code)})
        procedure = tracer.take(asked, 2, f"{target}.item.productOrService", 2)
        if procedure:
            system = procedure_system(tracer.take(asked, 2, f"{target}.item.productOrService", 1))
            items.append({"productOrService": {"coding": [{"system": system, "code": procedure}]}})
    if items:
        request["item"] = items
    return request


def _asked(name: Loop | None) -> list[Any]:
    return [loop.segment("EQ") for loop in (name.loops() if name else ()) if loop.segment("EQ") is not None]


def _facts(request: Element, resources: dict[str, Element], received_at: datetime) -> Element:
    patient = resources.get("dependent", resources["subscriber"])
    insurer, provider = resources["insurer"], resources["provider"]
    served = request.get("servicedPeriod") or {}
    day = request.get("servicedDate", "")
    facts: Element = {
        "request.type": "eligibility",
        "request.priority": "standard",
        "request.receivedAt": received_at.isoformat(),
        "request.traceNumber": next((row["value"] for row in request.get("identifier", [])), ""),
        "request.serviceStart": served.get("start") or day,
        "request.serviceEnd": served.get("end") or day,
        "patient.birthDate": patient.get("birthDate", ""),
        "patient.sex": patient.get("gender", ""),
        "patient.id": next((row["value"] for row in patient.get("identifier", [])), ""),
        "coverage.memberId": resources["coverage"].get("subscriberId", ""),
        "coverage.payer": next((row["value"] for row in insurer.get("identifier", [])), insurer.get("name", "")),
        "provider.npi": next(
            (row["value"] for row in provider.get("identifier", []) if row["system"].endswith("us-npi")), ""
        ),
    }
    born = patient.get("birthDate")
    if born:
        start, today = date.fromisoformat(born), received_at.date()
        facts["patient.age"] = today.year - start.year - ((today.month, today.day) < (start.month, start.day))
    facts["services"] = [
        {"sequence": number, "category": row.get("category", {}).get("coding", [{}])[0].get("code", "")}
        for number, row in enumerate(request.get("item", []), 1)
    ]
    return {name: value for name, value in facts.items() if value not in ("", None)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Eligibility:
    """The answer to an inquiry."""

    active: bool = False
    plan: str = ""
    start: str = ""
    end: str = ""
    """First and last day of the coverage, ISO."""
    services: tuple[str, ...] = ()
    """Service types covered; empty: those asked for."""
    rejections: tuple[dict[str, str], ...] = ()
    """AAA: `{code, followUp, location}`."""


ECHO = {
    "2100A": ("NM1",),
    "2100B": ("NM1", "REF", "PRV"),
    "2100C": ("NM1", "REF", "N3", "N4", "DMG", "INS", "HI"),
    "2100D": ("NM1", "REF", "N3", "N4", "DMG", "INS", "HI"),
}


def eligibility_response(frozen_event: list[Any], found: Eligibility, decided_at: datetime) -> Loop:
    """The 271 for one inquiry, as a tree for the writer."""
    request = thaw(frozen_event)
    root = Loop("271")
    day, clock = x12_moment(decided_at)
    root.add("BHT", "0022", "11", request.get("BHT", 3), day, clock)
    _repeat(request, root, found)
    return root


def _repeat(source: Loop, target: Loop, found: Eligibility) -> None:
    for loop in source.loops():
        if loop.id in ECHO:
            copy = target.add_loop(loop.id)
            copy.items += [item for item in loop.segments() if item.id in ECHO[loop.id]]
            _reject(copy, found.rejections)
            if loop.id in ("2100C", "2100D") and not found.rejections:
                _benefits(loop, copy, found)
        elif loop.id in ("2000A", "2000B", "2000C", "2000D"):
            copy = target.add_loop(loop.id)
            copy.add("HL", loop.get("HL", 3))
            for trace in loop.segments("TRN"):
                copy.add("TRN", "2", trace.get(2), trace.get(3), trace.get(4))
            _reject(copy, found.rejections)
            _repeat(loop, copy, found)


def _reject(loop: Loop, rejections: Iterable[dict[str, str]]) -> None:
    for row in rejections:
        if row.get("location", "").split("-")[0] == loop.id:
            loop.add("AAA", "N", "", row["code"], row.get("followUp", "") or "C")


def _benefits(source: Loop, target: Loop, found: Eligibility) -> None:
    """EB for the coverage, of every service type asked for; only for the one the inquiry is about."""
    asked = [code for segment in _asked(source) for code in segment.values(1) if code]
    if not _asked(source):
        return
    for number, day in (("346", found.start), ("347", found.end)):
        if day:
            target.add("DTP", number, "D8", x12_day(day))
    services = list(found.services) or list(dict.fromkeys(asked)) or [PLAIN_BENEFITS]
    benefit = target.add_loop("2110" + source.id[-1])
    benefit.add("EB", "1" if found.active else "6", "", services, "", found.plan)


def eligibility_of(member: Loop) -> Eligibility:
    """A 271 member → `Eligibility`: the inverse, for payers we ask."""
    holder = member.loop("2000D") or member
    name = holder.loop("2100D") or holder.loop("2100C")
    root = member
    while root.parent is not None:
        root = root.parent
    rejections = tuple(
        {"code": segment.get(3), "followUp": segment.get(4), "location": loop.id}
        for loop, segment in root.walk()
        if segment.id == "AAA" and segment.get(3)
    )
    benefits = [loop.segment("EB") for loop in (name.loops() if name else ())]
    shown = [segment for segment in benefits if segment is not None]
    active = any(segment.get(1) in ("1", "2", "3", "4", "5") for segment in shown)
    services = tuple(code for segment in shown for code in segment.values(3) if code)
    plan = next((segment.get(5) for segment in shown if segment.get(5)), "")
    days = {number: _day(name, number) for number in ("346", "347")}
    return Eligibility(
        active=active and not rejections, plan=plan, start=days["346"], end=days["347"], services=services,
        rejections=rejections,
    )  # fmt: skip


def _day(name: Loop | None, qualifier: str) -> str:
    segment = name.segment("DTP", qualifier) if name else None
    return iso_day(segment.get(3)) if segment else ""
