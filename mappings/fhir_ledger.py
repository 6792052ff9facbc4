"""The ledger of a FHIR message: the resource is canonical already, so nothing can be lost, only not understood.

A leaf is `mapped` (it keeps its own meaning in the canonical form; target = the fact it fills, or itself),
`carried` (an extension nobody here knows, kept verbatim) or `ignored` (narrative: it repeats the data).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from gateway.core.ledger import Ledger

KNOWN = ("http://hl7.org/fhir/", "http://terminology.hl7.org/")
"""Extension families with published meaning: PAS and its parents, US Core, HL7's own."""

FACTS = {
    "Claim.priority": "request.priority",
    "Claim.identifier": "request.traceNumber",
    "Claim.item": "services",
    "Claim.diagnosis": "diagnoses",
    "Claim.insurer": "coverage.payer",
    "Claim.provider": "provider.npi",
    "Claim.careTeam": "performer.npi",
    "Claim.supportingInfo": "documents",
    "Patient.identifier": "patient.id",
    "Patient.birthDate": "patient.birthDate",
    "Patient.gender": "patient.sex",
    "Coverage.identifier": "coverage.memberId",
    "Coverage.subscriberId": "coverage.memberId",
    "Coverage.status": "coverage.active",
    "Coverage.period": "coverage.start",
    "Encounter.class": "encounter.class",
    "Observation.code": "observations",
    "Observation.value": "observations",
    "DocumentReference.type": "documents",
    "Procedure.code": "therapies",
    "MedicationRequest.medication": "therapies",
}
"""Element (resource type and first step) → the fact it feeds; matched by prefix."""


def trace_leaves(resource: dict[str, Any], ledger: Ledger) -> None:
    """Record the fate of every leaf of a resource or Bundle."""
    _walk(resource, str(resource.get("resourceType", "")), str(resource.get("resourceType", "")), ledger)


def _walk(value: Any, path: str, element: str, ledger: Ledger) -> None:
    if isinstance(value, dict):
        if "resourceType" in value:
            element = str(value["resourceType"])
        url = value.get("url")
        if isinstance(url, str) and path.rpartition(".")[2].startswith(("extension", "modifierExtension")):
            nested = not url.startswith("http") and not url.startswith("urn:")
            if not nested and not url.startswith(KNOWN):
                ledger.add(path, "carried", "extension kept verbatim")
                return
        for name, child in value.items():
            if name == "resourceType":
                continue
            if name == "text" and "resourceType" in value and isinstance(child, dict):
                ledger.add(f"{path}.text", "ignored", "narrative repeats the data")
                continue
            step = element if "." in element else f"{element}.{name.removeprefix('_')}"
            _walk(child, f"{path}.{name}", step, ledger)
    elif isinstance(value, list):
        for number, child in enumerate(value):
            _walk(child, f"{path}[{number}]", element, ledger)
    elif value is not None:
        ledger.add(path, "mapped", _fact(element) or path)


@lru_cache(maxsize=4096)
def _fact(element: str) -> str:
    """The fact that an element feeds, or nothing. A message has hundreds of leaves and few kinds of elements."""
    return next((fact for key, fact in FACTS.items() if element.startswith(key)), "")
