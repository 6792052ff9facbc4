"""FHIR resources → facts (mappings/facts.yaml): the flat, typed view rules and search read.

Numbers are int where whole, else the float whose shortest form is what was sent: facts are what JSON can carry, the
same in the fast lane as from Kafka. Dates are ISO strings as sent. A fact that is not there is left out, so that
rules see it as unknown, never as false.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from adapters.fhir.wire import BundleIndex, entries
from adapters.fhir.wire.elements import cancelled, code, coding, extension, extension_value, identifier, rows, value_of
from adapters.fhir.wire.terms import AUTHORIZATION_NUMBER, DIAGNOSIS_RECORDED, DOCUMENT_INFORMATION, PAS_CODES
from gateway.core.envelope import Reception
from mappings.claim_model import ClaimView, ServiceLine
from mappings.fhir_claim import number, party

Facts = dict[str, Any]


def facts_of(bundle: dict[str, Any], view: ClaimView, reception: Reception) -> Facts:
    """The facts of a PAS request; see `clinical_facts` for what the other resources add."""
    claim: dict[str, Any] = entries(bundle)[0]["resource"]
    index = BundleIndex(bundle)
    starts = sorted(line.start for line in view.lines if line.start)
    ends = sorted(line.end for line in view.lines if line.end)
    facts: Facts = {
        "request.type": next((line.request_type for line in view.lines if line.request_type), ""),
        "request.certificationType": view.certification_type,
        "request.priority": view.priority,
        "request.priorityRule": view.priority_rule,
        "request.receivedAt": reception.received_at.astimezone(UTC).isoformat(),
        "request.submitter": reception.client,
        "request.traceNumber": view.trace[1],
        "request.authorizationNumber": _number(claim, view),
        "request.serviceStart": starts[0] if starts else "",
        "request.serviceEnd": ends[-1] if ends else "",
        "coverage.memberId": view.member_id,
        "coverage.payer": next((value for _, value in view.insurer.identifiers), view.insurer.name),
        "provider.npi": view.provider.npi,
        "performer.npi": next((npi for npi in _performers(index, claim) if npi), ""),
        "facility.placeOfService": next((line.place_of_service for line in view.lines if line.place_of_service), ""),
        "services": [_service(line) for line in view.lines],
        "diagnoses": [_diagnosis(row) for row in rows(claim, "diagnosis")],
    }
    facts |= dict(_event_dates(claim))
    facts |= patient_facts(index.resource(claim.get("patient")), reception.received_at)
    for insurance in rows(claim, "insurance")[:1]:
        facts |= coverage_facts(index.resource(insurance.get("coverage")))
    withdrawn = _withdrawn(index, claim)
    found = [entry.get("resource") or {} for entry in index.rows]
    resources = [resource for resource in found if id(resource) not in withdrawn]
    facts |= clinical_facts(resources)
    facts["documents"] = [*_attached(index, claim), *_unattached(index, claim, resources)]
    return {name: value for name, value in facts.items() if value not in ("", None)}


def patient_facts(patient: dict[str, Any] | None, received_at: datetime) -> Facts:
    """Facts of a Patient; age in whole years at the day of receipt."""
    patient = patient or {}
    facts: Facts = {"patient.id": identifier(patient, kind="MB") or identifier(patient)}
    facts |= {"patient.sex": patient.get("gender", ""), "patient.birthDate": patient.get("birthDate", "")}
    try:
        born = date.fromisoformat(str(patient.get("birthDate", "")))
    except ValueError:
        return facts
    today = received_at.astimezone(UTC).date()
    return facts | {"patient.age": today.year - born.year - ((today.month, today.day) < (born.month, born.day))}


def coverage_facts(coverage: dict[str, Any] | None) -> Facts:
    """Facts of a Coverage."""
    if not coverage:
        return {}
    period = coverage.get("period") or {}
    return {
        "coverage.active": coverage.get("status") == "active",
        "coverage.start": period.get("start", ""),
        "coverage.end": period.get("end", ""),
        "coverage.plan": _class(coverage, "plan"),
        "coverage.group": _class(coverage, "group"),
    }


def _class(coverage: dict[str, Any], kind: str) -> str:
    """The value of a Coverage's first class of this type (terminology coverage-class)."""
    return next((str(row.get("value", "")) for row in rows(coverage, "class") if code(row.get("type")) == kind), "")


def clinical_facts(resources: list[dict[str, Any]]) -> Facts:
    """Facts of the clinical resources of a Bundle: observations, therapies, encounter, conditions."""
    facts: Facts = {
        "observations": [_observation(row) for row in resources if row.get("resourceType") == "Observation"],
        "therapies": [
            _therapy(row) for row in resources if row.get("resourceType") in ("Procedure", "MedicationRequest")
        ],
    }
    encounter = next((row for row in resources if row.get("resourceType") == "Encounter"), None)
    if encounter:
        facts["encounter.class"] = (encounter.get("class") or {}).get("code", "")
    return facts


def document_fact(document: dict[str, Any]) -> Facts:
    """The fact record of one DocumentReference."""
    return filled({"type": code(document.get("type")), "date": str(document.get("date", ""))[:10]})


def _number(claim: dict[str, Any], view: ClaimView) -> str:
    said = extension_value(claim, AUTHORIZATION_NUMBER)
    return str(said or next((line.authorization_number for line in view.lines if line.authorization_number), ""))


def _performers(index: BundleIndex, claim: dict[str, Any]) -> Iterator[str]:
    for row in rows(claim, "careTeam"):
        yield party(index, row.get("provider")).npi


def _stated(claim: dict[str, Any]) -> list[dict[str, Any]]:
    """The supporting information that still counts (PAS prof-8: withdrawn entries stay, marked)."""
    return [row for row in rows(claim, "supportingInfo") if not cancelled(row)]


def _withdrawn(index: BundleIndex, claim: dict[str, Any]) -> set[int]:
    """Identities of the resources that only withdrawn supporting information names."""
    gone = [row for row in rows(claim, "supportingInfo") if cancelled(row)]
    return _named(index, gone) - _named(index, _stated(claim))


def _named(index: BundleIndex, information: list[dict[str, Any]]) -> set[int]:
    """Identities (`id()`) of the resources that rows of supportingInfo name; those of one Bundle, which is at hand."""
    return {id(index.resource(row.get("valueReference"))) for row in information if "valueReference" in row}


def _event_dates(claim: dict[str, Any]) -> Iterator[tuple[str, str]]:
    names = {"admissionDates": "encounter.admitDate", "dischargeDates": "encounter.dischargeDate"}
    for row in _stated(claim):
        name = names.get(code(row.get("category"), PAS_CODES))
        if name:
            yield name, str(row.get("timingDate") or (row.get("timingPeriod") or {}).get("start", ""))


def _service(line: ServiceLine) -> Facts:
    return filled(
        {
            "sequence": line.sequence,
            "code": line.code,
            "system": line.system,
            "modifiers": list(line.modifiers),
            "category": line.category,
            "quantity": line.quantity,
            "unit": line.unit,
            "start": line.start,
            "end": line.end,
            "placeOfService": line.place_of_service,
            "amount": line.amount,
            "certificationType": line.certification_type,
            "change": line.change,
        }
    )


def _diagnosis(row: dict[str, Any]) -> Facts:
    found = coding(row.get("diagnosisCodeableConcept"))
    return filled(
        {
            "code": found.get("code", ""),
            "system": found.get("system", ""),
            "type": next((code(kind) for kind in rows(row, "type")), ""),
            "date": extension_value(row, DIAGNOSIS_RECORDED),
        }
    )


def _observation(row: dict[str, Any]) -> Facts:
    found = coding(row.get("code"))
    quantity = row.get("valueQuantity") or {}
    text = row.get("valueString") or (row.get("valueCodeableConcept") or {}).get("text")
    return filled(
        {
            "code": found.get("code", ""),
            "name": found.get("display") or (row.get("code") or {}).get("text"),
            "value": number(quantity.get("value", row.get("valueInteger"))),
            "text": text or code(row.get("valueCodeableConcept")),
            "unit": quantity.get("code") or quantity.get("unit"),
            "date": str(row.get("effectiveDateTime") or (row.get("effectivePeriod") or {}).get("start", ""))[:10],
        }
    )


def _therapy(row: dict[str, Any]) -> Facts:
    period = row.get("performedPeriod") or {}
    start = period.get("start") or row.get("performedDateTime") or row.get("authoredOn") or ""
    kind = row.get("code") or row.get("medicationCodeableConcept")
    return filled(
        {
            "type": code(kind),
            "start": str(start)[:10],
            "end": str(period.get("end", ""))[:10],
            "outcome": code(row.get("outcome")),
        }
    )


def _attached(index: BundleIndex, claim: dict[str, Any]) -> Iterator[Facts]:
    """One record per report type (PWK01), and one per LOINC type: rules may ask for either."""
    for row in _stated(claim):
        information = extension(row, DOCUMENT_INFORMATION)
        document = index.resource(row.get("valueReference")) or {}
        if information is None and document.get("resourceType") != "DocumentReference":
            continue
        said = {
            "date": str(document.get("date", ""))[:10],
            "controlNumber": value_of(extension(information, "controlNumber")),
        }
        types = [code(value_of(extension(information, "reportTypeCode"))), code(document.get("type"))]
        for kind in dict.fromkeys(kind for kind in types if kind):
            yield filled({"type": kind} | said)


def _unattached(index: BundleIndex, claim: dict[str, Any], resources: list[dict[str, Any]]) -> Iterator[Facts]:
    attached = _named(index, _stated(claim))
    for resource in resources:
        if resource.get("resourceType") == "DocumentReference" and id(resource) not in attached:
            yield document_fact(resource)


def filled(record: Facts) -> Facts:
    """A record without what is empty; decimals as floats."""
    filled = {name: value for name, value in record.items() if value not in ("", None, [])}
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in filled.items()}
