"""`POST Claim/$inquire`: the current state of the authorizations that match an example (PAS spec-42 to spec-53).

PAS 2.2.1 answers Parameters with one `return` for each match, 2.0.1 one bare Bundle. No match is an answer: 200.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from adapters.fhir.inbound.answers import errors_of, invalid, reply
from adapters.fhir.inbound.reading import Edge
from adapters.fhir.inbound.services import Resource
from adapters.fhir.inbound.submit import kept
from adapters.fhir.wire import validate_inquire

MAX_CASES = 50
"""Most authorizations in one answer; a member with more is asked about with dates or services."""


async def inquire(edge: Edge, request: Request, version: str) -> Response:
    """Answer one `$inquire`. Raises Failure and GatewayError."""
    principal = await edge.sender(request, *edge.operation_needs("Claim", "rs"))
    received = await edge.received(request, principal, "inquire", version)
    bundle = await edge.parsed(received)
    issues = errors_of(validate_inquire(bundle, version=version, strict=received.strict))
    if issues:
        await edge.refused(received, issues)
        raise invalid(issues)
    inquiry = edge.services.inquiry
    query = inquiry.match_query(bundle)
    candidates = await edge.services.cases.candidates(principal.tenant, query.keys, MAX_CASES)
    found = [case for case in candidates if inquiry.matches(query, case)]
    answer = inquiry.render_inquiry_response(
        bundle, found, now=edge.services.clock(), version=version, base_url=edge.base(version)
    )
    if resources := [resource for each in _bundles(answer) for resource in kept(each)]:
        await edge.services.issued.save(principal.tenant, principal.client, resources)
    return reply(request, answer)


def _bundles(answer: Resource) -> list[Resource]:
    if answer["resourceType"] == "Bundle":
        return [answer]
    return [row["resource"] for row in answer.get("parameter", ()) if row["name"] == "return"]
