"""`POST $submit-attachment` (Da Vinci CDex): documents for a case that asked for them.

The tracking id (with the administrative reference, where given) must be one that a case of this tenant waits for;
else 422. `Final=false` keeps the case waiting for more: that, too, is for the case to know, so it travels with the
message. The operation has no output: 200 with an informational OperationOutcome, after the message is durable.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from adapters.fhir.inbound.answers import errors_of, reply
from adapters.fhir.inbound.reading import Edge
from adapters.fhir.inbound.services import Resource
from adapters.fhir.wire import operation_outcome, validate_attachment
from gateway.core.errors import Issue

TRACKING = "Parameters.parameter.where(name='TrackingId')"


async def submit_attachment(edge: Edge, request: Request, version: str) -> Response:
    """Answer one `$submit-attachment`. Raises Failure and GatewayError."""
    principal = await edge.sender(request, *edge.operation_needs("Claim", "c"))
    message = await edge.message(request, principal, operation="submit-attachment", version=version)
    parameters = message.resource
    issues = validate_attachment(parameters)
    if not errors_of(issues) and _value(parameters, "AttachTo", "valueCode") == "preauthorization":
        tracking = _identifier(parameters, "TrackingId")
        if not await edge.services.cases.awaits(principal.tenant, tracking, _identifier(parameters, "AdminRefNumber")):
            issues = [Issue("not-found", TRACKING, "no request for attachments has this tracking id")]
    intake = await edge.admit(message, issues)
    await edge.services.accept(intake, message.reception)
    said = Issue("informational", "", "the attachment was accepted", severity="information")
    return reply(request, operation_outcome([said]))


def _identifier(parameters: Resource, name: str) -> str:
    return str((_value(parameters, name, "valueIdentifier") or {}).get("value", ""))


def _value(parameters: Resource, name: str, element: str) -> Any:
    rows = (row for row in parameters.get("parameter", ()) if row.get("name") == name)
    return next((row.get(element) for row in rows), None)
