"""Reading FHIR elements: extensions by URL, codings, identifiers. All tolerate absence and odd shapes."""

from __future__ import annotations

from typing import Any

from adapters.fhir.wire.terms import CERTIFICATION_TYPE, IDENTIFIER_TYPE, INFO_CANCELLED, NPI


def rows(value: Any, name: str) -> list[dict[str, Any]]:
    """The objects of a repeating element; [] when absent."""
    found = value.get(name) if isinstance(value, dict) else None
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def extension(element: Any, url: str) -> dict[str, Any] | None:
    """The first extension with this URL."""
    return next((row for row in rows(element, "extension") if row.get("url") == url), None)


def extensions(element: Any, url: str) -> list[dict[str, Any]]:
    """All extensions with this URL."""
    return [row for row in rows(element, "extension") if row.get("url") == url]


def value_of(element: Any) -> Any:
    """The value[x] of an extension, parameter or input; None when absent."""
    if not isinstance(element, dict):
        return None
    return next((content for name, content in element.items() if name.startswith("value")), None)


def extension_value(element: Any, url: str) -> Any:
    """The value[x] of the first extension with this URL."""
    return value_of(extension(element, url))


def coding(concept: Any, *systems: str) -> dict[str, Any]:
    """The first coding (of one of `systems`, when given) that has a code; {} when none."""
    found = [row for row in rows(concept, "coding") if row.get("code")]
    if systems:
        found = [row for row in found if row.get("system") in systems]
    return found[0] if found else {}


def code(concept: Any, *systems: str) -> str:
    """The code of `coding(...)`; "" when none."""
    return str(coding(concept, *systems).get("code", ""))


def identifier(resource: Any, *, system: str = "", kind: str = "") -> str:
    """The value of the first identifier of this system, or of this v2-0203 type; "" when none."""
    for row in rows(resource, "identifier"):
        of_kind = not kind or code(row.get("type"), IDENTIFIER_TYPE) == kind or code(row.get("type")) == kind
        if of_kind and (not system or row.get("system") == system) and row.get("value"):
            return str(row["value"])
    return ""


def npi(resource: Any) -> str:
    """The NPI of a practitioner or organization; "" when none."""
    return identifier(resource, system=NPI)


def certification_type(element: Any) -> str:
    """UM02 of an item or Claim: I S 3 4 R 1 2, "" when not said."""
    return code(extension_value(element, CERTIFICATION_TYPE))


def withdrawn(claim: Any) -> bool:
    """Is the whole request taken back: certification type 3 (PAS), or a status that says so (R4, financial status)?"""
    status = claim.get("status") if isinstance(claim, dict) else None
    return certification_type(claim) == "3" or status in ("cancelled", "entered-in-error")


def cancelled(element: Any) -> bool:
    """Is this item or supportingInfo withdrawn: infoCancelled = true, or certification type 3?"""
    flags = [row for row in rows(element, "modifierExtension") if row.get("url") == INFO_CANCELLED]
    return any(row.get("valueBoolean") is True for row in flags) or certification_type(element) == "3"
