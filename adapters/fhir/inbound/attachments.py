"""`POST $submit-attachment` (Da Vinci CDex): documents for a case that asked for them.

The tracking id (with the administrative reference, where given) must be one that a case of this tenant waits for;
else 422. `Final=false` keeps the case waiting for more: that, too, is for the case to know, so it travels with the
message. The operation has no output: 200 with an informational OperationOutcome, after the message is durable.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from adapters.fhir.inbound.answers import invalid, reply
from adapters.fhir.inbound.reading import Edge
from adapters.fhir.inbound.services import Resource
from adapters.fhir.wire import operation_outcome
from gateway.core.errors import Issue

TRACKING = "Parameters.parameter.where(name='TrackingId')"


async def submit_attachment(edge: Edge, request: Request, version: str) -> Response:
    """Answer one `$submit-attachment`. Raises Failure and GatewayError."""
    principal = await edge.sender(request, *edge.operation_needs("Claim", "c"))
    received = await edge.received(request, principal, "submit-attachment", version)
    (intake, *_) = await edge.mapped(received)
    parameters = intake.resource or {}
    if _value(parameters, "AttachTo", "valueCode") == "preauthorization":
        tracking, reference = (_identifier(parameters, name) for name in ("TrackingId", "AdminRefNumber"))
        if not await edge.services.cases.awaits(principal.tenant, tracking, reference):
            issues = [Issue("not-found", TRACKING, "no request for attachments has this tracking id")]
            await edge.refused(received, issues)
            raise invalid(issues)
    await edge.services.accept(intake, received.reception)
    said = Issue("informational", "", "the attachment was accepted", severity="information")
    return reply(request, operation_outcome([said]))


def _identifier(parameters: Resource, name: str) -> str:
    return str((_value(parameters, name, "valueIdentifier") or {}).get("value", ""))


def _value(parameters: Resource, name: str, element: str) -> Any:
    rows = (row for row in parameters.get("parameter", ()) if row.get("name") == name)
    return next((row.get(element) for row in rows), None)
