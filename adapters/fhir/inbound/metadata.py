"""CapabilityStatements (R4 CapabilityStatement; PAS 2.2.1 and 2.0.1 server requirements, conf-1: one per version)."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from adapters.fhir.inbound import intake
from adapters.fhir.inbound.answers import reply
from adapters.fhir.inbound.reading import Edge
from adapters.fhir.inbound.reads import READABLE
from adapters.fhir.wire.terms import PAS, SUBSCRIPTION_TOPIC, TOPIC_CANONICAL

DATE = "2026-11-01"
SECURITY_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"
BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport"
CDEX_ATTACHMENT = "http://hl7.org/fhir/us/davinci-cdex/OperationDefinition/submit-attachment"


async def pas(edge: Edge, request: Request, version: str) -> Response:
    """`GET /fhir/pas/{version}/metadata`; open to all, as R4 demands."""
    return reply(request, pas_statement(edge.settings.base_url, version, edge.settings.payer))


async def plain(edge: Edge, request: Request) -> Response:
    """`GET /fhir/r4/metadata`."""
    base = f"{edge.settings.base_url}/fhir/r4"
    resources = [_resource(kind, "create", "read", "vread") for kind in intake.TYPES]
    rest = {"mode": "server", "security": _security(), "resource": resources}
    statement = _statement(base, "R4 intake", edge.settings.payer)
    return reply(
        request, {**statement, "rest": [{**rest, "interaction": [{"code": "transaction"}, {"code": "batch"}]}]}
    )


def pas_statement(base_url: str, version: str, payer: str) -> dict[str, Any]:
    """The CapabilityStatement of one PAS version."""
    claim = _resource("Claim")
    claim["operation"] = [
        {"name": "submit", "definition": f"{PAS}/OperationDefinition/Claim-submit"},
        {"name": "inquire", "definition": f"{PAS}/OperationDefinition/Claim-inquiry"},
    ]
    subscription = _resource("Subscription", "create", "update", "delete", "read")
    subscription["supportedProfile"] = [f"{PAS}/StructureDefinition/profile-subscription"]
    subscription["versioning"] = "versioned-update"
    subscription["extension"] = [{"url": TOPIC_CANONICAL, "valueCanonical": SUBSCRIPTION_TOPIC}]
    subscription["operation"] = [
        {"name": name, "definition": f"{BACKPORT}/OperationDefinition/backport-subscription-{name}"}
        for name in ("status", "events")
    ]
    reads = [_resource(kind, "read") for kind in READABLE]
    rest = {
        "mode": "server",
        "security": _security(),
        "resource": sorted([claim, subscription, *reads], key=lambda row: str(row["type"])),
        "operation": [{"name": "submit-attachment", "definition": CDEX_ATTACHMENT}],
    }
    statement = _statement(f"{base_url}/fhir/pas/{version}", f"Da Vinci PAS {version}", payer)
    guide = f"{PAS}/ImplementationGuide/hl7.fhir.us.davinci-pas|{version}"
    return {**statement, "implementationGuide": [guide], "rest": [rest]}


def _statement(base: str, title: str, payer: str) -> dict[str, Any]:
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": DATE,
        "publisher": payer,
        "kind": "instance",
        "software": {"name": "authorization-gateway"},
        "implementation": {"description": f"{title}, {payer}", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json", "application/fhir+xml", "xml"],
    }


def _resource(kind: str, *interactions: str) -> dict[str, Any]:
    codes = [{"code": code} for code in interactions]
    return {"type": kind, **({"interaction": codes} if codes else {})}


def _security() -> dict[str, Any]:
    # No oauth-uris extension: it demands an authorize endpoint, which backend services have not; the addresses are at
    # /.well-known/smart-configuration.
    return {
        "service": [{"coding": [{"system": SECURITY_SERVICE, "code": "SMART-on-FHIR"}]}],
        "description": "SMART Backend Services (private_key_jwt, RS384 or ES384); see .well-known/smart-configuration",
    }
