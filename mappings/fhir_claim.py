"""A PAS Bundle → `ClaimView`: one reading of the Claim for facts, keys, X12 and the answer.

Priority (which legal clock, 42 CFR 422.568/572, 438.210): UM06 level of service U or 03 → expedited; else
Claim.priority `stat` → expedited; else standard. `normal` never overrides an urgent level of service, because the
sender filled the mandatory Claim.priority with it by default.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from adapters.fhir.wire import BundleIndex, entries
from adapters.fhir.wire.elements import (
    cancelled,
    certification_type,
    code,
    coding,
    extension,
    extension_value,
    extensions,
    identifier,
    npi,
    rows,
    value_of,
    withdrawn,
)
from adapters.fhir.wire.terms import (
    ADMINISTRATION_REFERENCE,
    AUTHORIZATION_NUMBER,
    INFO_CHANGED,
    ITEM_TRACE_NUMBER,
    LEVEL_OF_SERVICE,
    REQUEST_TYPE,
    SUB_DEPARTMENT,
    TRANSMISSION_IDENTIFIERS,
)
from mappings.claim_model import ClaimView, Party, ServiceLine

URGENT_LEVELS = {"U": "level of service U (urgent)", "03": "level of service 03 (emergency)"}
"""X12 element 1338 codes that start the expedited clock, with the rule's name for the metrics."""


def view_claim(bundle: dict[str, Any]) -> ClaimView:
    """Read the first Claim of a validated request or inquiry Bundle."""
    index = BundleIndex(bundle)
    claim: dict[str, Any] = entries(bundle)[0]["resource"]
    priority, rule = _priority(claim)
    trace = next(iter(rows(claim, "identifier")), {})
    lines = tuple(_line(item) for item in rows(claim, "item"))
    return ClaimView(
        kind=_kind(claim, lines),
        bundle_identifier=_pair(bundle.get("identifier")),
        trace=_pair(trace),
        trace_department=str(extension_value(trace, SUB_DEPARTMENT) or ""),
        certification_type=_roll_up(claim, lines),
        priority=priority,
        priority_rule=rule,
        level_of_service=code(extension_value(claim, LEVEL_OF_SERVICE)),
        member_id=member_id(index, claim),
        lines=lines,
        insurer=party(index, claim.get("insurer")),
        provider=party(index, claim.get("provider")),
        transmission=transmission(claim),
    )


def member_id(index: BundleIndex, claim: dict[str, Any]) -> str:
    """The member number: Coverage identifier MB, its subscriberId, Patient identifier MB, the patient's first.

    The order follows who assigns the number; all four occur in the guide's own examples.
    """
    coverages = [index.resource(row.get("coverage")) for row in rows(claim, "insurance")]
    patient = index.resource(claim.get("patient"))
    candidates = [identifier(coverage, kind="MB") for coverage in coverages]
    candidates += [str((coverage or {}).get("subscriberId", "")) for coverage in coverages]
    candidates += [identifier(patient, kind="MB"), identifier(patient)]
    return next((candidate for candidate in candidates if candidate), "")


def party(index: BundleIndex, reference: Any, holder: int = 0) -> Party:
    """Who a reference means: an organization, or the practitioner and organization behind a PractitionerRole."""
    number = index.entry_number(reference, holder)
    if number is None:
        logical = reference.get("identifier") if isinstance(reference, dict) else None
        return Party(npi=npi({"identifier": [logical]}), identifiers=_pairs([logical])) if logical else Party()
    resource: dict[str, Any] = index.rows[number].get("resource") or {}
    if resource.get("resourceType") != "PractitionerRole":
        return _party(resource)
    person = party(index, resource.get("practitioner"), number)
    organization = party(index, resource.get("organization"), number)
    return Party(
        npi=person.npi or npi(resource) or organization.npi,
        identifiers=person.identifiers + organization.identifiers + _pairs(rows(resource, "identifier")),
        name=person.name or organization.name,
        taxonomy=code(next(iter(rows(resource, "specialty")), {})) or person.taxonomy,
    )


def _party(resource: dict[str, Any]) -> Party:
    name = resource.get("name")
    if isinstance(name, list):
        first = next((row for row in name if isinstance(row, dict)), {})
        parts = [*first.get("given", []), first.get("family")]
        name = first.get("text") or " ".join(part for part in parts if part)
    return Party(npi=npi(resource), identifiers=_pairs(rows(resource, "identifier")), name=str(name or ""))


def transmission(claim: dict[str, Any]) -> dict[str, str]:
    """The transmission identifiers (ISA06, ISA08, GS02, GS03) by their PAS names."""
    found = extension(claim, TRANSMISSION_IDENTIFIERS)
    return {str(row.get("url")): str(value_of(row)) for row in rows(found, "extension") if value_of(row) is not None}


def number(value: Any) -> int | Decimal | None:
    """A FHIR decimal as int where whole, else Decimal; None when it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    exact = Decimal(str(value))
    return int(exact) if exact == exact.to_integral_value() and abs(exact) < 10**15 else exact


def _line(item: dict[str, Any]) -> ServiceLine:
    service = coding(item.get("productOrService"))
    period = item.get("servicedPeriod") or {}
    quantity = item.get("quantity") or {}
    day = str(item.get("servicedDate", ""))
    change = "cancelled" if cancelled(item) else str(extension_value(item, INFO_CHANGED) or "")
    return ServiceLine(
        sequence=int(item.get("sequence", 0)),
        code=str(service.get("code", "")),
        system=str(service.get("system", "")),
        modifiers=tuple(code(modifier) for modifier in rows(item, "modifier") if code(modifier)),
        category=code(item.get("category")),
        request_type=code(extension_value(item, REQUEST_TYPE)),
        certification_type=certification_type(item),
        quantity=number(quantity.get("value")),
        unit=str(quantity.get("code") or quantity.get("unit") or ""),
        start=str(period.get("start") or day),
        end=str(period.get("end") or day),
        place_of_service=code(item.get("locationCodeableConcept")),
        amount=number((item.get("unitPrice") or {}).get("value")),
        traces=_pairs([value_of(row) for row in extensions(item, ITEM_TRACE_NUMBER)]),
        authorization_number=str(extension_value(item, AUTHORIZATION_NUMBER) or ""),
        administration_reference=str(extension_value(item, ADMINISTRATION_REFERENCE) or ""),
        change=change,
        element=item,
    )


def _kind(claim: dict[str, Any], lines: tuple[ServiceLine, ...]) -> str:
    if withdrawn(claim) or (lines and all(line.change == "cancelled" for line in lines)):
        return "authorization.cancel"
    return "authorization.update" if rows(claim, "related") else "authorization.request"


def _roll_up(claim: dict[str, Any], lines: tuple[ServiceLine, ...]) -> str:
    # UM02 stands on the Claim for the whole request; else the items' common code; a mixture is a revision.
    said = "3" if withdrawn(claim) else certification_type(claim)
    codes = {line.certification_type for line in lines if line.certification_type}
    if said or not codes:
        return said
    if rows(claim, "related") and codes != {"3"}:
        return "S"
    return codes.pop() if len(codes) == 1 else "S"


def _priority(claim: dict[str, Any]) -> tuple[str, str]:
    level = code(extension_value(claim, LEVEL_OF_SERVICE))
    if level in URGENT_LEVELS:
        return "expedited", URGENT_LEVELS[level]
    if code(claim.get("priority")) == "stat":
        return "expedited", "Claim.priority stat"
    return "standard", "no urgent level of service"


def _pair(found: Any) -> tuple[str, str]:
    return (str(found.get("system", "")), str(found.get("value", ""))) if isinstance(found, dict) else ("", "")


def _pairs(found: Any) -> tuple[tuple[str, str], ...]:
    return tuple(_pair(row) for row in found if isinstance(row, dict) and row.get("value"))
