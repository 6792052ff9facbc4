"""`GET {type}/{id}`: what we issued, for the client it was issued to; all else is 404, unknown or another's."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from adapters.fhir.inbound.answers import Failure, empty, names, reply, versioned
from adapters.fhir.inbound.reading import Edge
from adapters.fhir.inbound.subscribing import NOT_FOUND

READABLE = ("Bundle", "ClaimResponse", "CommunicationRequest", "Task")


async def read(edge: Edge, request: Request, resource_type: str) -> Response:
    """One resource in its newest version, with ETag; 304 where the client has it."""
    needed = "ClaimResponse" if resource_type == "Bundle" else resource_type
    principal = await edge.sender(request, (needed, "r"))
    identity = request.path_params["id"]
    stored = await edge.services.issued.read(principal.tenant, principal.client, resource_type, identity)
    if stored is None:
        raise Failure(404, NOT_FOUND)
    headers = versioned(stored.version, stored.updated)
    if names(request.headers.get("if-none-match", ""), stored.version):
        return empty(304, headers)
    meta = {
        **(stored.resource.get("meta") or {}),
        "versionId": str(stored.version),
        "lastUpdated": stored.updated.isoformat(timespec="milliseconds"),
    }
    return reply(request, {**stored.resource, "meta": meta}, headers=headers)
