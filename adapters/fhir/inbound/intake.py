"""Plain FHIR R4 intake: what an EHR's feed posts enters like every other message (R4 http.html §3.1.0.8, §3.1.0.11).

    POST /fhir/r4/{type}   201, Location: the resource under an id of ours    (Claim, ServiceRequest, Patient …)
    POST /fhir/r4          Bundle: transaction or batch → the response Bundle; message or collection → OperationOutcome

Everything of a body is accepted, or nothing is (a batch, too: it is one message to us, and resending it whole is safe).
Conditional create, update and delete are not handled: this is a feed, not a repository. The resource can be read back.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from adapters.fhir.inbound.answers import Failure, empty, errors_of, invalid, preference, reply
from adapters.fhir.inbound.reading import Edge, Message
from adapters.fhir.inbound.services import Resource
from adapters.fhir.inbound.subscribing import NOT_FOUND
from adapters.fhir.wire import operation_outcome, validate_resource
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
BUNDLE_TYPES = frozenset({"transaction", "batch", "message", "collection"})


async def create(edge: Edge, request: Request, resource_type: str) -> Response:
    """`POST /fhir/r4/{type}`."""
    principal = await edge.sender(request, (resource_type, "c"))
    message = await edge.message(request, principal, operation="create", version="r4")
    if message.resource.get("resourceType") != resource_type:
        issue = Issue("structure", "resourceType", f"a {resource_type} expected here")
        await edge.refused(message.raw, message.reception, [issue])
        raise Failure(400, issue)
    envelopes = await _accepted(edge, message, validate_resource(message.resource))
    resource = {**message.resource, "id": envelopes[0].id}
    await edge.services.issued.save(principal.tenant, principal.client, [resource])
    location = f"{edge.settings.base_url}/fhir/r4/{resource_type}/{resource['id']}"
    headers = {"location": f"{location}/_history/1", "etag": 'W/"1"'}
    wanted = preference(request, "return")
    if wanted == "minimal":
        return empty(201, headers)
    said = operation_outcome([]) if wanted == "OperationOutcome" else resource
    return reply(request, said, 201, headers)


async def bundle(edge: Edge, request: Request) -> Response:
    """`POST /fhir/r4`."""
    principal = await edge.sender(request)
    message = await edge.message(request, principal, operation="bundle", version="r4")
    resource = message.resource
    if resource.get("resourceType") != "Bundle" or resource.get("type") not in BUNDLE_TYPES:
        issue = Issue("structure", "Bundle.type", "a Bundle of type transaction, batch, message or collection expected")
        await edge.refused(message.raw, message.reception, [issue])
        raise Failure(400, issue)
    issues = validate_resource(resource)
    if not errors_of(issues):
        _authorized(principal, resource)
        issues = _only_creates(resource)
    await _accepted(edge, message, issues)
    if resource["type"] in {"transaction", "batch"}:
        rows = [{"response": {"status": "201 Created"}} for _ in resource.get("entry", ())]
        answer = {"resourceType": "Bundle", "type": f"{resource['type']}-response"}
        return reply(request, {**answer, **({"entry": rows} if rows else {})})
    said = Issue("informational", "", "the Bundle was accepted", severity="information")
    return reply(request, operation_outcome([said]))


async def read(edge: Edge, request: Request, resource_type: str) -> Response:
    """`GET /fhir/r4/{type}/{id}`: what this client posted."""
    principal = await edge.sender(request, (resource_type, "r"))
    identity = request.path_params["id"]
    stored = await edge.services.issued.read(principal.tenant, principal.client, resource_type, identity)
    if stored is None:
        raise Failure(404, NOT_FOUND)
    return reply(request, stored.resource, headers={"etag": f'W/"{stored.version}"'})


async def _accepted(edge: Edge, message: Message, issues: list[Issue]) -> list[Envelope]:
    intakes = await edge.admit_all(message, issues)
    return [(await edge.services.accept(intake, message.reception)).envelope for intake in intakes]


def _authorized(principal: Principal, resource: Resource) -> None:
    for number, entry in enumerate(resource.get("entry", ())):
        kind = (entry.get("resource") or {}).get("resourceType")
        if kind is not None and not principal.may(kind, "c"):
            issue = Issue("forbidden", f"Bundle.entry[{number}]", "the token's scopes do not allow this type")
            raise invalid([issue])


def _only_creates(resource: Resource) -> list[Issue]:
    """A transaction of a feed creates or replaces; it does not search, read or delete here."""
    if resource["type"] not in {"transaction", "batch"}:
        return []
    return [
        Issue("unsupported", f"Bundle.entry[{number}].request.method", "only POST and PUT are served")
        for number, entry in enumerate(resource.get("entry", ()))
        if (entry.get("request") or {}).get("method") not in {"POST", "PUT"}
    ]
