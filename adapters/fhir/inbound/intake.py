"""Plain FHIR R4 intake: what an EHR's feed posts enters like every other message (R4 http.html §3.1.0.8, §3.1.0.11).

    POST /fhir/r4/{type}   201, Location: the resource under an id of ours    (Claim, ServiceRequest, Patient …)
    POST /fhir/r4          Bundle: transaction or batch → the response Bundle; message or collection → OperationOutcome

A preauthorization is decided; who is told, the way back says (README, decision 0090).
Everything of a body is accepted, or nothing is (a batch, too: it is one message to us, and resending it whole is safe).
Conditional create, update and delete are not handled: this is a feed, not a repository. The resource can be read back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from starlette.requests import Request
from starlette.responses import Response

from adapters.fhir.inbound.answers import Failure, empty, etag, invalid, names, preference, reply
from adapters.fhir.inbound.reading import Edge, Received
from adapters.fhir.inbound.services import Resource
from adapters.fhir.inbound.subscribing import NOT_FOUND
from adapters.fhir.wire import operation_outcome
from gateway.core.envelope import Envelope
from gateway.core.errors import Issue
from gateway.security.principal import Principal

TYPES = (
    "Claim",
    "Communication",
    "CoverageEligibilityRequest",
    "DocumentReference",
    "Encounter",
    "Patient",
    "ServiceRequest",
    "Task",
)
"""Resource types that may be posted alone; a Bundle may hold others beside them."""
BUNDLE_TYPES = ("transaction", "batch", "message", "collection")
CHANGES = ("POST", "PUT")


async def create(edge: Edge, request: Request, resource_type: str) -> Response:
    """`POST /fhir/r4/{type}`."""
    principal = await edge.sender(request, (resource_type, "c"))
    received = await edge.received(request, principal, "intake", "r4")
    posted = await edge.parsed(received)
    if posted.get("resourceType") != resource_type:
        await _refuse(edge, received, Issue("structure", "resourceType", f"a {resource_type} expected here"))
    envelopes = await _accepted(edge, received)
    resource = {**posted, "id": envelopes[0].id}
    await edge.services.issued.save(principal.tenant, principal.client, [resource])
    location = f"{edge.base('r4')}/{resource_type}/{resource['id']}"
    headers = {"location": f"{location}/_history/1", "etag": 'W/"1"'}
    wanted = preference(request, "return")
    if wanted == "minimal":
        return empty(201, headers)
    said = operation_outcome([]) if wanted == "OperationOutcome" else resource
    return reply(request, said, 201, headers)


async def bundle(edge: Edge, request: Request) -> Response:
    """`POST /fhir/r4`."""
    principal = await edge.sender(request)
    received = await edge.received(request, principal, "intake", "r4")
    resource = await edge.parsed(received)
    for issue in _frame(principal, resource):
        await _refuse(edge, received, issue)
    await _accepted(edge, received)
    if resource["type"] in {"transaction", "batch"}:
        rows = [{"response": {"status": "201 Created"}} for _ in resource.get("entry", ())]
        answer = {"resourceType": "Bundle", "type": f"{resource['type']}-response"}
        return reply(request, {**answer, **({"entry": rows} if rows else {})})
    said = Issue("informational", "", "the Bundle was accepted", severity="information")
    return reply(request, operation_outcome([said]))


async def read(edge: Edge, request: Request, resource_type: str) -> Response:
    """`GET /fhir/r4/{type}/{id}`, also with `/_history/{version}`: what this client posted, in the one version kept."""
    principal = await edge.sender(request, (resource_type, "r"))
    identity = request.path_params["id"]
    stored = await edge.services.issued.read(principal.tenant, principal.client, resource_type, identity)
    if stored is None or request.path_params.get("version", str(stored.version)) != str(stored.version):
        raise Failure(404, NOT_FOUND)
    headers = {"etag": etag(stored.version)}
    if names(request.headers.get("if-none-match", ""), stored.version):
        return empty(304, headers)
    return reply(request, stored.resource, headers=headers)


async def _accepted(edge: Edge, received: Received) -> list[Envelope]:
    intakes = await edge.mapped(received)
    return [(await edge.services.accept(intake, received.reception)).envelope for intake in intakes]


async def _refuse(edge: Edge, received: Received, issue: Issue) -> NoReturn:
    await edge.refused(received, [issue])
    raise invalid([issue])


def _frame(principal: Principal, resource: Resource) -> Iterator[Issue]:
    """What a feed's Bundle must be: of a type served here, creating or replacing only, within the token's scopes."""
    if resource.get("resourceType") != "Bundle" or resource.get("type") not in BUNDLE_TYPES:
        words = "a Bundle of type transaction, batch, message or collection expected"
        yield Issue("structure", "Bundle.type", words)
        return
    rows = resource.get("entry", [])
    entries = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    for number, entry in enumerate(entries):
        inner = entry.get("resource")
        kind = inner.get("resourceType") if isinstance(inner, dict) else None
        if isinstance(kind, str) and not principal.may(kind, "c"):
            yield Issue("forbidden", f"Bundle.entry[{number}]", "the token's scopes do not allow this type")
        asked = entry.get("request")
        method = asked.get("method") if isinstance(asked, dict) else None
        if resource["type"] in {"transaction", "batch"} and method not in CHANGES:
            yield Issue("unsupported", f"Bundle.entry[{number}].request.method", "only POST and PUT are served")
