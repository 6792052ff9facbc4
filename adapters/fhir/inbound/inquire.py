"""`POST Claim/$inquire`: the current state of the authorizations that match an example (PAS spec-42 to spec-53).

PAS 2.2.1 answers Parameters with one `return` for each match and none where nothing matches; 2.0.1 answers one bare
Bundle, the newest match, or one OperationOutcome inside a Bundle without matches. Always 200: no match is an answer.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from adapters.fhir.inbound.answers import errors_of, invalid, reply
from adapters.fhir.inbound.reading import Edge
from adapters.fhir.inbound.services import FoundCase, Resource
from adapters.fhir.inbound.submit import ids_of, kept
from adapters.fhir.wire import operation_outcome, validate_inquire
from gateway.core.errors import Issue, OwnError


async def inquire(edge: Edge, request: Request, version: str) -> Response:
    """Answer one `$inquire`. Raises Failure and GatewayError."""
    principal = await edge.sender(request, *edge.operation_needs("Claim", "rs"))
    message = await edge.message(request, principal, operation="inquire", version=version)
    bundle = message.resource
    issues = errors_of(validate_inquire(bundle, version=version, strict=edge.strict(request, principal)))
    if issues:
        await edge.refused(message.raw, message.reception, issues)
        raise invalid(issues)
    found = await edge.services.cases.inquire(principal.tenant, principal.client, bundle, version)
    answers = [answer for case in found if (answer := _rendered(edge, case, version)) is not None]
    resources = [resource for answer in answers for resource in kept(answer)]
    if resources:
        await edge.services.issued.save(principal.tenant, principal.client, resources)
    return reply(request, _packed(edge, answers, bundle, version))


def _rendered(edge: Edge, case: FoundCase, version: str) -> Resource | None:
    """The case's answer; None where its decision must not be sent as it stands."""
    decision = case.decision
    ids = ids_of(decision.case_id, str(decision.version), "inquiry")
    try:
        return edge.services.render(case.request, decision, ids=ids, now=decision.decided_at, version=version)
    except OwnError:
        return None


def _packed(edge: Edge, answers: list[Resource], inquiry: Resource, version: str) -> Resource:
    if version != "2.0.1":
        rows = [{"name": "return", "resource": answer} for answer in answers]
        return {"resourceType": "Parameters", **({"parameter": rows} if rows else {})}
    if answers:
        return answers[0]
    nothing = operation_outcome([Issue("informational", "", "no authorization matches", severity="information")])
    return {
        "resourceType": "Bundle",
        "type": "collection",
        **({"identifier": inquiry["identifier"]} if "identifier" in inquiry else {}),
        "timestamp": edge.services.clock().isoformat(timespec="milliseconds"),
        "entry": [{"fullUrl": f"urn:uuid:{ids_of('no match', inquiry['entry'][0]['fullUrl'])()}", "resource": nothing}],
    }
