"""CDex `$submit-attachment` (Parameters): which parameters must be there, and in which type."""

from __future__ import annotations

from typing import Any

from adapters.fhir.wire.structure import structure_issues
from gateway.core.errors import Issue

SINGLE = {
    "TrackingId": ("valueIdentifier", True),
    "AdminRefNumber": ("valueIdentifier", False),
    "AttachTo": ("valueCode", True),
    "PayerId": ("valueIdentifier", False),
    "OrganizationId": ("valueIdentifier", False),
    "ProviderId": ("valueIdentifier", False),
    "MemberId": ("valueIdentifier", True),
    "ServiceDate": ("valueDateTime", False),
    "Final": ("valueBoolean", False),
}
"""Parameters that come at most once: their value element and whether they must be there."""


def validate_attachment(parameters: dict[str, Any]) -> list[Issue]:
    """Check the Parameters of `$submit-attachment`; empty when sound. Locations are FHIRPath expressions."""
    if parameters.get("resourceType") != "Parameters":
        return [Issue("structure", "Parameters", "a Parameters resource expected")]
    issues = structure_issues(parameters)
    if issues:
        return issues
    rows: list[dict[str, Any]] = parameters.get("parameter", [])
    for name, (element, required) in SINGLE.items():
        found = [row for row in rows if row.get("name") == name]
        where = f"Parameters.parameter.where(name='{name}')"
        if required and not found:
            issues.append(Issue("required", where, "a required parameter is missing"))
        if len(found) > 1:
            issues.append(Issue("structure", where, "a parameter that may not repeat"))
        issues += [Issue("value", where, f"{element} expected") for row in found if not _filled(row, element)]
    attach_to = next((row.get("valueCode") for row in rows if row.get("name") == "AttachTo"), None)
    if attach_to not in (None, "claim", "preauthorization"):
        issues.append(Issue("value", "Parameters.parameter.where(name='AttachTo')", "claim or preauthorization"))
    if attach_to == "claim" and not any(row.get("name") == "ServiceDate" for row in rows):
        issues.append(Issue("required", "Parameters.parameter.where(name='ServiceDate')", "required for a claim"))
    attachments = [(number, row) for number, row in enumerate(rows) if row.get("name") == "Attachment"]
    if not attachments:
        issues.append(Issue("required", "Parameters.parameter.where(name='Attachment')", "no attachment"))
    for number, row in attachments:
        contents = [part for part in row.get("part", []) if part.get("name") == "Content"]
        if len(contents) != 1 or not isinstance(contents[0].get("resource"), dict):
            issues.append(Issue("required", f"Parameters.parameter[{number}].part", "exactly one Content resource"))
    return issues


def _filled(row: dict[str, Any], element: str) -> bool:
    value = row.get(element, row.get("valueDate") if element == "valueDateTime" else None)
    if element == "valueIdentifier":
        return isinstance(value, dict) and bool(value.get("value"))
    return value is not None
