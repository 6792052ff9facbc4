"""CDS Hooks 2.0 with Da Vinci CRD 2.2.1: is an authorization needed for this draft order, and which documents.

    GET  /cds-services                  discovery
    POST /cds-services/order-sign-crd   and order-select-crd: cards for the person, coverage-information for the order

The answers come from the same rules that decide cases (port `Advise`). CRD wants an answer within 5 s (found-2): what
is not known by then is left out, and the order can still be signed. Only what the caller sends along (prefetch) is
read: the EHR's token is not used and its URLs are not followed. A missing Coverage is 412, as CDS Hooks says.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import Response

from adapters.fhir.inbound.answers import ALWAYS, Failure, errors_of
from adapters.fhir.inbound.reading import Edge
from adapters.fhir.inbound.services import Advice, Resource
from adapters.fhir.wire import exact, validate_resource
from gateway.core.errors import GatewayError, Issue
from gateway.security.principal import Principal

log = structlog.get_logger("adapters.fhir")

HOOKS = {"order-sign-crd": "order-sign", "order-select-crd": "order-select"}
ORDERS = (
    "CommunicationRequest",
    "DeviceRequest",
    "MedicationRequest",
    "NutritionOrder",
    "ServiceRequest",
    "VisionPrescription",
)
"""Tuples where a value of the sender is looked up: it may be a list, which no set can be asked about."""
MAX_ORDERS = 50
PREFETCH = {
    "patient": "Patient/{{context.patientId}}",
    "coverage": "Coverage?patient={{context.patientId}}&status=active",
}
COVERAGE_INFORMATION = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"
CARD_TYPE = "http://hl7.org/fhir/us/davinci-crd/CodeSystem/temp"
SUMMARIES = {
    "no-auth": "No prior authorization needed",
    "auth-needed": "Prior authorization needed",
    "satisfied": "Prior authorization on file",
    "performpa": "Prior authorization can be requested by the performer",
    "conditional": "Prior authorization depends on missing information",
}


async def discovery(edge: Edge, request: Request) -> Response:  # noqa: ARG001 - one shape for all handlers
    """`GET /cds-services`."""
    services = [
        {
            "hook": hook,
            "id": identity,
            "title": f"{edge.settings.payer}: coverage requirements",
            "description": "Whether prior authorization is needed for the orders, and which documents",
            "prefetch": PREFETCH,
            "extension": {
                "davinci-crd.version": ["2.2"],
                "davinci-crd.configuration-options": [
                    {
                        "code": "coverage-info",
                        "type": "boolean",
                        "name": "Coverage information",
                        "description": "Coverage, prior authorization and documentation requirements of an order",
                        "default": True,
                    }
                ],
            },
        }
        for identity, hook in HOOKS.items()
    ]
    return _json({"services": services})


async def call(edge: Edge, request: Request) -> Response:
    """`POST /cds-services/{id}`. Raises Failure: 400, 404, 412."""
    identity = request.path_params["id"]
    principal = await edge.sender(request, audience=f"{edge.settings.base_url}/cds-services/{identity}")
    if identity not in HOOKS:
        raise Failure(404, Issue("not-found", "", "no such service"))
    received = await edge.received(request, principal, "cds-hook", "crd")
    body = await edge.parsed(received)
    issues = _shape(body, HOOKS[identity])
    if issues:
        await edge.refused(received, issues)
        raise Failure(400, *issues)
    coverage = _coverage(body)
    if coverage is None:
        raise Failure(412, Issue("required", "prefetch.coverage", "an active Coverage is needed to answer"))
    if not _configured(body):
        return _json({"cards": []})
    return _json(await _answer(edge, principal, body, coverage))


async def _answer(edge: Edge, principal: Principal, body: Resource, coverage: Resource) -> Resource:
    orders = [order for order in _orders(body) if _sound(order)]
    prefetch = {name: value for name, value in (body.get("prefetch") or {}).items() if _sound(value)}
    advice: list[tuple[Resource, Advice]] = []
    try:
        async with asyncio.timeout(edge.settings.hook_seconds):
            for order in orders:
                advice.append((order, await edge.services.advise(principal.tenant, order, prefetch)))
    except TimeoutError:
        log.warning("hook answered in part", tenant=principal.tenant, count=len(advice))
    except GatewayError as error:
        log.warning("hook answered in part", code=error.code, tenant=principal.tenant, count=len(advice))
    today = edge.services.clock().date().isoformat()
    cards = [_card(edge.settings.payer, order, said, str(uuid.uuid4())) for order, said in advice]
    actions = [
        {
            "type": "update",
            "description": "Adds coverage information to the order",
            "resource": _informed(order, said, coverage, today),
        }
        for order, said in advice
    ]
    return {"cards": cards, "systemActions": actions}


def _shape(body: Resource, hook: str) -> list[Issue]:
    context = body.get("context")
    issues = []
    if body.get("hook") != hook:
        issues.append(Issue("value", "hook", f"{hook} expected"))
    if not isinstance(body.get("hookInstance"), str) or not body["hookInstance"]:
        issues.append(Issue("required", "hookInstance", "a UUID expected"))
    if not isinstance(context, dict):
        return [*issues, Issue("required", "context", "an object expected")]
    issues += [
        Issue("required", f"context.{name}", "a string expected")
        for name in ("userId", "patientId")
        if not isinstance(context.get(name), str)
    ]
    drafts = context.get("draftOrders")
    if not isinstance(drafts, dict) or drafts.get("resourceType") != "Bundle":
        issues.append(Issue("required", "context.draftOrders", "a Bundle expected"))
    elif not _entries(drafts):
        issues.append(Issue("required", "context.draftOrders.entry", f"1 to {MAX_ORDERS} resources expected"))
    selections = context.get("selections")
    if hook == "order-select" and not (
        isinstance(selections, list) and all(isinstance(value, str) for value in selections)
    ):
        issues.append(Issue("required", "context.selections", "a list of references expected"))
    if not isinstance(body.get("prefetch") or {}, dict):
        issues.append(Issue("structure", "prefetch", "an object expected"))
    return issues


def _entries(bundle: Resource) -> list[Resource]:
    """The resources of a Bundle; none where it is not one or holds more than we look at."""
    rows = bundle.get("entry")
    if not isinstance(rows, list) or len(rows) > MAX_ORDERS:
        return []
    found = [row.get("resource") for row in rows if isinstance(row, dict)]
    return [resource for resource in found if isinstance(resource, dict)]


def _orders(body: Resource) -> list[Resource]:
    """The orders asked about: all drafts when signing, the selected ones when selecting."""
    drafts = [row for row in _entries(body["context"]["draftOrders"]) if row.get("resourceType") in ORDERS]
    if body["hook"] != "order-select":
        return drafts
    selected = set(body["context"]["selections"])
    return [row for row in drafts if f"{row['resourceType']}/{row.get('id', '')}" in selected]


def _coverage(body: Resource) -> Resource | None:
    """The first Coverage that came along: prefetch may hold the resource or a searchset."""
    given = (body.get("prefetch") or {}).get("coverage")
    if not isinstance(given, dict):
        return None
    candidates = [given, *_entries(given)]
    return next((row for row in candidates if row.get("resourceType") == "Coverage"), None)


def _configured(body: Resource) -> bool:
    """Whether the caller wants coverage information (davinci-crd.configuration)."""
    extension = body.get("extension")
    options = extension.get("davinci-crd.configuration") if isinstance(extension, dict) else None
    return not (isinstance(options, dict) and options.get("coverage-info") is False)


def _card(payer: str, order: Resource, advice: Advice, identity: str) -> Resource:
    topic = {"system": CARD_TYPE, "code": "coverage-info", "display": "Coverage information"}
    card: Resource = {
        "uuid": identity,
        "summary": SUMMARIES.get(advice.authorization, SUMMARIES["conditional"]),
        "indicator": "warning" if advice.authorization in {"auth-needed", "conditional"} else "info",
        "source": {"label": payer, "topic": topic},
        "extension": {"davinci-crd.associated-resource": [{"reference": _reference(order)}]},
    }
    details = [*advice.reasons]
    if advice.documentation != "no-doc":
        details.append(f"Documentation needed: {advice.documentation}.")
    details += [f"Questionnaire: {url}" for url in advice.questionnaires]
    return {**card, "detail": "\n\n".join(details)} if details else card


def _informed(order: Resource, advice: Advice, coverage: Resource, today: str) -> Resource:
    """The order with one coverage-information extension, replacing an older one for the same coverage."""
    reference = _reference(coverage)
    parts: list[Resource] = [
        {"url": "coverage", "valueReference": {"reference": reference}},
        {"url": "covered", "valueCode": advice.covered},
        {"url": "pa-needed", "valueCode": advice.authorization},
    ]
    if advice.documentation != "no-doc":
        parts.append({"url": "doc-needed", "valueCode": advice.documentation})
    parts += [{"url": "info-needed", "valueCode": code} for code in advice.information]
    parts += [{"url": "questionnaire", "valueCanonical": url} for url in advice.questionnaires]
    parts += [{"url": "reason", "valueCodeableConcept": {"text": text}} for text in advice.reasons]
    parts.append({"url": "date", "valueDate": today})
    parts.append({"url": "coverage-assertion-id", "valueString": advice.assertion_id or str(uuid.uuid4())})
    if advice.satisfied_id:
        parts.append({"url": "satisfied-pa-id", "valueString": advice.satisfied_id})
    given = order.get("extension")
    others = [row for row in given if not _same(row, reference)] if isinstance(given, list) else []
    return {**order, "extension": [*others, {"url": COVERAGE_INFORMATION, "extension": parts}]}


def _same(extension: Any, reference: str) -> bool:
    if not isinstance(extension, dict) or extension.get("url") != COVERAGE_INFORMATION:
        return False
    parts = extension.get("extension")
    rows = parts if isinstance(parts, list) else []
    named = [row.get("valueReference") for row in rows if isinstance(row, dict) and row.get("url") == "coverage"]
    return {"reference": reference} in named


def _sound(resource: object) -> bool:
    """Whether rules can read it: R4 structure. What is not sound is left out, and the order can still be signed."""
    return isinstance(resource, dict) and not errors_of(validate_resource(resource))


def _reference(resource: Resource) -> str:
    return f"{resource['resourceType']}/{resource.get('id', '')}"


def _json(body: Resource) -> Response:
    return Response(orjson.dumps(body, default=exact), media_type="application/json", headers=ALWAYS)
