"""Facts (mappings/facts.yaml) of a converted message: read off the Bundle; off RF1, AUT, PRD where only they know.

A fact that is not there is left out, so that rules see it as unknown. Numbers are int where whole, else Decimal;
days are ISO dates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from .convert import Conversion
from .cursor import Cursor
from .datatypes import NPI
from .environment import part
from .graph import Graph, Resource
from .job import Job
from .provider_facts import provider_facts

Facts = dict[str, Any]


def _filled(record: Facts) -> Facts:
    return {name: value for name, value in record.items() if value or value not in ("", None, [])}


def _coding(concept: Mapping[str, Any] | None) -> dict[str, Any]:
    """The coding rules ask for: one of a named system before local ones."""
    codings: list[dict[str, Any]] = (concept or {}).get("coding") or [{}]
    for one in codings:
        if str(one.get("system", "")).startswith("http"):
            return one
    return codings[0]


def facts_of(conversion: Conversion, received_at: datetime, routing: Mapping[str, Any]) -> Facts:
    """All facts of one message."""
    job, header = conversion.job, conversion.cursors[0]
    graph = job.env.graph
    at = received_at.astimezone(UTC)
    facts: Facts = {"request.receivedAt": at.isoformat()}
    facts |= _patient(job.patient or {}, at.date())
    facts |= _coverage(graph)
    facts |= _encounter(_first(graph, "Encounter"))
    facts["observations"] = [_observation(row) for row in graph.of_kind("Observation")]
    facts["documents"] = [_document(row) for row in graph.of_kind("DocumentReference")]
    facts["diagnoses"] = [_diagnosis(row) for row in graph.of_kind("Condition")]
    facts["request.submitter"] = header.get(4) or header.get(3)
    if job.code in {"RQA", "REF", "RPA", "RRI"}:
        facts |= _request(job, routing)
    elif job.code == "MFN":
        facts |= provider_facts(conversion.cursors, _first(graph, "Practitioner"), at.date())
    return _filled(facts)


def _first(graph: Graph, kind: str) -> Resource:
    return next(iter(graph.of_kind(kind)), {})


def _number_of(rows: Iterable[Mapping[str, Any]], kind: str) -> str:
    for row in rows:
        for coding in row.get("type", {}).get("coding", ()):
            if coding.get("code") == kind:
                return str(row.get("value", ""))
    return ""


def _patient(patient: Resource, today: date) -> Facts:
    rows = patient.get("identifier", [])
    number = _number_of(rows, "MB") or _number_of(rows, "MR") or (str(rows[0].get("value", "")) if rows else "")
    facts: Facts = {"patient.id": number, "patient.sex": patient.get("gender", "")}
    born_text = str(patient.get("birthDate", ""))
    facts["patient.birthDate"] = born_text
    try:
        born = date.fromisoformat(born_text)
    except ValueError:
        return facts
    return facts | {"patient.age": today.year - born.year - ((today.month, today.day) < (born.month, born.day))}


def _coverage(graph: Graph) -> Facts:
    coverage = _first(graph, "Coverage")
    if not coverage:
        return {}
    payer = graph.find((coverage.get("payor") or [{}])[0]) or {}
    numbers = payer.get("identifier", [])
    period = coverage.get("period", {})
    return {
        "coverage.memberId": coverage.get("subscriberId", ""),
        "coverage.payer": str(numbers[0]["value"]) if numbers else payer.get("name", ""),
        "coverage.start": period.get("start", "")[:10],
        "coverage.end": period.get("end", "")[:10],
        "coverage.plan": _class(coverage, "plan"),
        "coverage.group": _class(coverage, "group"),
    }


def _class(coverage: Resource, kind: str) -> str:
    rows = coverage.get("class", ())
    return next((str(row.get("value", "")) for row in rows if _coding(row["type"]).get("code") == kind), "")


def _encounter(encounter: Resource) -> Facts:
    period = encounter.get("period", {})
    return {
        "encounter.class": encounter.get("class", {}).get("code", ""),
        "encounter.admitDate": period.get("start", "")[:10],
        "encounter.dischargeDate": period.get("end", "")[:10],
    }


def _observation(row: Resource) -> Facts:
    found = _coding(row.get("code"))
    quantity = row.get("valueQuantity", {})
    coded = row.get("valueCodeableConcept", {})
    return _filled(
        {
            "code": found.get("code", ""),
            "name": found.get("display") or row.get("code", {}).get("text", ""),
            "value": quantity.get("value"),
            "text": row.get("valueString")
            or coded.get("text")
            or _coding(coded).get("display")
            or _coding(coded).get("code"),
            "unit": quantity.get("code") or quantity.get("unit"),
            "date": str(row.get("effectiveDateTime", ""))[:10],
        }
    )


def _document(row: Resource) -> Facts:
    number = row.get("masterIdentifier", {}).get("value", "")
    return _filled(
        {
            "type": _coding(row.get("type")).get("code", ""),
            "date": str(row.get("date", ""))[:10],
            "controlNumber": number,
        }
    )


def _diagnosis(row: Resource) -> Facts:
    found = _coding(row.get("code"))
    onset = str(row.get("onsetDateTime", ""))[:10]
    return _filled({"code": found.get("code", ""), "system": found.get("system", ""), "date": onset})


def _request(job: Job, routing: Mapping[str, Any]) -> Facts:
    """What only requests for authorization say."""
    claim = _first(job.env.graph, "Claim")
    referral = next((cursor for cursor, _ in job.made.get("RF1", ())), None)
    authorizations = [cursor for cursor, _ in job.made.get("AUT", ())]
    services = [_service(item) for item in claim.get("item", ())]
    starts = sorted(service["start"] for service in services if service.get("start"))
    ends = sorted(service["end"] for service in services if service.get("end"))
    facts: Facts = {
        "request.certificationType": routing["certification"].get(job.trigger, ""),
        "request.authorizationNumber": next((cursor.get(6) for cursor in authorizations if cursor.get(6)), ""),
        "request.serviceStart": starts[0] if starts else "",
        "request.serviceEnd": ends[-1] if ends else "",
        "services": services,
    }
    if referral is not None:
        facts["request.type"] = referral.get(10)
        facts["request.priority"] = routing["priority"].get(referral.get(2), "")
        facts["request.traceNumber"] = referral.get(6)
    kinds = [_coding(kind).get("code", "") for entry in claim.get("diagnosis", ()) for kind in entry.get("type", ())]
    for record, kind in zip(facts.get("diagnoses", ()), kinds, strict=False):
        record["type"] = kind
    facts |= _providers([cursor for cursor, _ in job.made.get("PRD", ())])
    return facts


def _providers(cursors: list[Cursor]) -> Facts:
    """PRD-7 by role: RP asks, RT performs."""
    facts: Facts = {}
    for role, name in (("RP", "provider.npi"), ("RT", "performer.npi")):
        for cursor in cursors:
            if cursor.get(1) == role and (number := _npi(cursor)):
                facts.setdefault(name, number)
    return facts


def _npi(cursor: Cursor) -> str:
    for parts in cursor.repetitions(7):
        kind, value = part(parts, 2), parts[1]
        if kind in {"NPI", NPI} or (not kind and len(value) == 10 and value.isdigit()):
            return value
    return ""


def _service(item: Mapping[str, Any]) -> Facts:
    found = _coding(item.get("productOrService"))
    period = item.get("servicedPeriod", {})
    start = str(item.get("servicedDate") or period.get("start", ""))[:10]
    return _filled(
        {
            "sequence": item["sequence"],
            "code": found.get("code", ""),
            "system": found.get("system", ""),
            "quantity": item.get("quantity", {}).get("value"),
            "start": start,
            "end": str(period.get("end", "") or start)[:10],
        }
    )
