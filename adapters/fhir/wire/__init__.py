"""FHIR R4 on the wire: bytes to and from resources, structure and profile rules, OperationOutcome. Pure.

Standard: HL7 FHIR R4 4.0.1 JSON (2.6.2) and XML (2.6.1); Da Vinci PAS 2.2.1 and 2.0.1 (request, inquiry, update,
subscription); Da Vinci CDex 2.1 `$submit-attachment`; Subscriptions R5 Backport 1.1.0. Models: fhir.resources R4B.

Limits: 16 MiB, 64 levels, 500,000 elements, 40 digits per number, exponents within ±30 (reasons: json_form.Limits).
XML with a document type declaration is refused unread. Duplicate keys, NaN, Infinity, control characters and lone
surrogates are refused. Errors carry positions, never content.

Not handled: terminology (value sets are X12's and are checked by the payer), FHIRPath invariants other than those
written as code here, Turtle, JSON comments, R5 and R4B-only resources.
"""

from __future__ import annotations

from typing import Any

from adapters.fhir.wire.attachment_rules import validate_attachment
from adapters.fhir.wire.json_form import LIMITS, Limits, dump_json, exact, parse_json
from adapters.fhir.wire.outcome import operation_outcome, outcome_of
from adapters.fhir.wire.pas_rules import validate_inquire, validate_resource, validate_response, validate_submit
from adapters.fhir.wire.references import BundleIndex, Closure, closure, entries, references_in
from adapters.fhir.wire.subscription_rules import validate_subscription
from adapters.fhir.wire.xml_form import from_xml, to_xml
from gateway.core.errors import UnsupportedMessage

FHIR_JSON = "application/fhir+json"
FHIR_XML = "application/fhir+xml"
JSON_TYPES = frozenset({FHIR_JSON, "application/json", "application/json+fhir", "text/json", "json"})
"""`application/json+fhir` is DSTU2's, still demanded by some payers' gateways; `json` is the `_format` short form."""
XML_TYPES = frozenset({FHIR_XML, "application/xml", "application/xml+fhir", "text/xml", "xml"})

__all__ = [
    "FHIR_JSON",
    "FHIR_XML",
    "LIMITS",
    "BundleIndex",
    "Closure",
    "Limits",
    "closure",
    "entries",
    "exact",
    "media_form",
    "operation_outcome",
    "outcome_of",
    "parse",
    "references_in",
    "serialize",
    "to_xml",
    "validate_attachment",
    "validate_inquire",
    "validate_resource",
    "validate_response",
    "validate_submit",
    "validate_subscription",
]


def media_form(content_type: str) -> str:
    """`application/fhir+json` or `application/fhir+xml` for a media type or `_format` value.

    Raises UnsupportedMessage for any other type, for a charset that is not UTF-8 and a fhirVersion that is not 4.0.
    """
    kind, *parameters = [part.strip().lower() for part in content_type.split(";")]
    options = dict(part.split("=", 1) for part in parameters if "=" in part)
    if options.get("charset", "utf-8").strip('"') not in ("utf-8", "utf8"):
        raise UnsupportedMessage("only UTF-8 is served")
    if not options.get("fhirversion", "4.0").startswith("4.0"):
        raise UnsupportedMessage("only FHIR R4 (fhirVersion=4.0) is served")
    if kind in JSON_TYPES:
        return FHIR_JSON
    if kind in XML_TYPES:
        return FHIR_XML
    raise UnsupportedMessage("send application/fhir+json or application/fhir+xml")


def parse(body: bytes, content_type: str, limits: Limits = LIMITS) -> dict[str, Any]:
    """Read one resource in JSON or XML; decimals keep their digits.

    Raises UnsupportedMessage (media type), LimitExceeded (size, depth, numbers), MalformedMessage (all else).
    """
    return from_xml(body, limits) if media_form(content_type) == FHIR_XML else parse_json(body, limits)


def serialize(resource: dict[str, Any], content_type: str = FHIR_JSON) -> bytes:
    """Write one resource in JSON or XML.

    Raises UnsupportedMessage (media type) and InvalidMessage where XML has no such element.
    """
    return to_xml(resource) if media_form(content_type) == FHIR_XML else dump_json(resource)
