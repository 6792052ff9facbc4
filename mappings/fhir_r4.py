"""Plain FHIR R4 → message type, facts and patient key: an EHR's feed enters like everything else."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from adapters.fhir.wire import BundleIndex, entries
from adapters.fhir.wire.elements import code, coding, identifier, rows
from gateway.core.envelope import Reception
from mappings.fhir_claim import number, party, view_claim
from mappings.fhir_facts import clinical_facts, coverage_facts, document_fact, facts_of, filled, patient_facts
from mappings.fhir_pas import LookupKey, number_keys
from mappings.own_addresses import address, meant

Facts = dict[str, Any]

REQUEST = "authorization.request"
PRIOR = frozenset({"", "prior"})
"""Relationship of a Claim that is revised; `associated` Claims are others (ex-relatedclaimrelationship)."""

CLAIM_TYPES = {"claim": "claim.submit", "preauthorization": "authorization.request", "predetermination": "claim.submit"}
"""Claim.use → message type."""
TYPES = {
    "CoverageEligibilityRequest": "eligibility.request",
    "ServiceRequest": "clinical.order",
    "Encounter": "clinical.encounter",
    "DocumentReference": "clinical.document",
    "Communication": "clinical.communication",
    "Task": "clinical.task",
    "Observation": "clinical.observation",
    "DiagnosticReport": "clinical.observation",
    "Procedure": "clinical.procedure",
    "MedicationRequest": "clinical.order",
    "DeviceRequest": "clinical.order",
    "Condition": "clinical.condition",
    "QuestionnaireResponse": "clinical.document",
    "Coverage": "clinical.coverage",
    "Patient": "clinical.patient",
}
"""Resource type → message type, strongest first: a Bundle is what its strongest resource says."""


def message_type(bundle: dict[str, Any]) -> str | None:
    """The CloudEvents type of a Bundle; None when it holds nothing we serve."""
    resources = [entry.get("resource") or {} for entry in entries(bundle)]
    for resource in resources:
        if resource.get("resourceType") == "Claim":
            return CLAIM_TYPES.get(str(resource.get("use")))
    present = {resource.get("resourceType") for resource in resources}
    return next((kind for name, kind in TYPES.items() if name in present), None)


def prior_claims(claim: dict[str, Any]) -> list[Any]:
    """The References to the Claims that this one revises."""
    return [row.get("claim") for row in rows(claim, "related") if code(row.get("relationship")) in PRIOR]


def authorization_keys(bundle: dict[str, Any], client: str) -> tuple[str, tuple[LookupKey, ...], tuple[LookupKey, ...]]:
    """Of a preauthorization: its message type, what it is found by later, and what the case it continues is found by.

    A Claim that is sent again from its address states its request anew, or takes it back; one that names a prior Claim
    revises that one's case. A Claim without an address is known by what is in it only.
    """
    view, index = view_claim(bundle), BundleIndex(bundle)
    first = entries(bundle)[0]
    related = prior_claims(first["resource"])
    kind = REQUEST if view.kind == "authorization.update" and not related else view.kind

    def keys(where: str, named: list[dict[str, Any]]) -> list[LookupKey]:
        known: tuple[str, ...] = (client, *patient_key(bundle))
        found: list[LookupKey] = [("claim-address", *known, where)] if where else []
        rest = [row for row in named if row.get("value")]
        return found + [("claim-identifier", *known, str(row.get("system", "")), str(row["value"])) for row in rest]

    own = keys(address(first), rows(first["resource"], "identifier"))
    parents = [key for key in own if key[0] == "claim-address"]
    for one in related:
        logical = one.get("identifier") if isinstance(one, dict) else None
        parents += keys(meant(index, one), [logical] if isinstance(logical, dict) else [])
    numbers = number_keys(first["resource"], view) if kind != REQUEST else ()
    return kind, tuple(own), (*parents, *numbers)


def patient_key(bundle: dict[str, Any]) -> tuple[str, ...]:
    """What tells the patient apart for ordering: identifier, else address or id; () when no patient is named."""
    index = BundleIndex(bundle)
    for position, entry in enumerate(entries(bundle)):
        resource = entry.get("resource") or {}
        if resource.get("resourceType") == "Patient":
            return _patient(resource)
        reference = resource.get("subject") or resource.get("patient") or resource.get("for")
        if not isinstance(reference, dict):
            continue
        found = index.resource(reference, position)
        if found:
            return _patient(found)
        logical = reference.get("identifier") or {}
        if logical.get("value"):
            return (str(logical.get("system", "")), str(logical["value"]))
        if reference.get("reference"):
            return ("reference", str(reference["reference"]))
    return ()


def facts_of_bundle(bundle: dict[str, Any], reception: Reception) -> Facts:
    """The facts a plain R4 message carries, under the names every rail uses."""
    resources = _flattened(bundle)
    first = resources[0] if resources else {}
    if first.get("resourceType") == "Claim":
        return facts_of(bundle, view_claim(bundle), reception)
    facts: Facts = {
        "request.receivedAt": reception.received_at.astimezone(UTC).isoformat(),
        "request.submitter": reception.client,
    }
    index = BundleIndex(bundle)
    patient = next((row for row in resources if row.get("resourceType") == "Patient"), None)
    facts |= patient_facts(patient, reception.received_at) if patient else {}
    coverage = next((row for row in resources if row.get("resourceType") == "Coverage"), None)
    if coverage:
        facts |= coverage_facts(coverage)
        facts["coverage.memberId"] = identifier(coverage, kind="MB") or str(coverage.get("subscriberId", ""))
    facts |= clinical_facts(resources)
    facts["documents"] = [document_fact(row) for row in resources if row.get("resourceType") == "DocumentReference"]
    facts["diagnoses"] = [_condition(row) for row in resources if row.get("resourceType") == "Condition"]
    facts |= _eligibility(index, first) if first.get("resourceType") == "CoverageEligibilityRequest" else {}
    orders = [row for row in resources if row.get("resourceType") in ("ServiceRequest", "DeviceRequest")]
    if orders:
        facts["services"] = [_order(row, sequence) for sequence, row in enumerate(orders, 1)]
        facts["request.priority"] = (
            "expedited" if orders[0].get("priority") in ("urgent", "asap", "stat") else "standard"
        )
    return {name: value for name, value in facts.items() if value not in ("", None)}


def _flattened(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    """The resources of a Bundle and of the Bundles in it: prefetched search results come as such."""
    found: list[dict[str, Any]] = []
    for entry in entries(bundle):
        resource = entry.get("resource") or {}
        found += _flattened(resource) if resource.get("resourceType") == "Bundle" else [resource]
    return found


def _eligibility(index: BundleIndex, request: dict[str, Any]) -> Facts:
    period = request.get("servicedPeriod") or {}
    day = request.get("servicedDate", "")
    items = rows(request, "item")
    return {
        "request.traceNumber": identifier(request),
        "request.serviceStart": period.get("start", day),
        "request.serviceEnd": period.get("end", day),
        "coverage.payer": next((v for _, v in party(index, request.get("insurer")).identifiers), ""),
        "provider.npi": party(index, request.get("provider")).npi,
        "services": [_asked(item, sequence) for sequence, item in enumerate(items, 1)],
    }


def _asked(item: dict[str, Any], sequence: int) -> Facts:
    found = coding(item.get("productOrService"))
    record = {
        "sequence": sequence,
        "code": found.get("code", ""),
        "system": found.get("system", ""),
        "category": code(item.get("category")),
        "quantity": number((item.get("quantity") or {}).get("value")),
    }
    return filled(record)


def _order(order: dict[str, Any], sequence: int) -> Facts:
    found = coding(order.get("code") or order.get("codeCodeableConcept"))
    period = order.get("occurrencePeriod") or {}
    day = str(order.get("occurrenceDateTime", ""))[:10]
    record = {
        "sequence": sequence,
        "code": found.get("code", ""),
        "system": found.get("system", ""),
        "quantity": number((order.get("quantityQuantity") or {}).get("value")),
        "start": str(period.get("start") or day)[:10],
        "end": str(period.get("end") or day)[:10],
    }
    return filled(record)


def _condition(row: dict[str, Any]) -> Facts:
    found = coding(row.get("code"))
    record = {"code": found.get("code"), "system": found.get("system"), "date": str(row.get("recordedDate", ""))[:10]}
    return filled(record)


def _patient(patient: dict[str, Any]) -> tuple[str, ...]:
    row = next((row for row in rows(patient, "identifier") if row.get("value")), None)
    if row:
        return (str(row.get("system", "")), str(row["value"]))
    return ("id", str(patient["id"])) if patient.get("id") else ()
