"""Notifications of payers that we have subscribed at (Subscriptions R5 Backport 1.1.0): taken like any other message.

The payer shows what our subscription told it to (a secret header), or a certificate, or an access token of ours. The
body is hostile until it has been parsed within the limits of this edge. 200 follows only what is durable; a payer that
gets anything else sends it again.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from adapters.fhir.inbound.answers import Failure, empty, invalid
from adapters.fhir.inbound.reading import Edge
from adapters.fhir.inbound.services import PayerNotices
from adapters.fhir.inbound.subscribing import NOT_FOUND
from adapters.fhir.wire.notification import read_notification
from gateway.core.errors import InvalidMessage, Issue, MalformedMessage, UnauthorizedSender
from gateway.security.principal import Principal

PATH = "/fhir/pas/notifications/{partner}"


async def receive(edge: Edge, request: Request) -> Response:
    """`POST /fhir/pas/notifications/{partner}`."""
    notices = edge.services.notices
    if notices is None:
        raise Failure(404, NOT_FOUND)
    principal = await _sender(edge, request, notices, request.path_params["partner"])
    received = await edge.received(request, principal, "notification", "pas")
    bundle = await edge.parsed(received)
    try:
        await notices.take(read_notification(bundle), received.reception)
    except (InvalidMessage, MalformedMessage) as error:
        issue = Issue(error.code, error.location, error.message)
        await edge.refused(received, [issue])
        raise invalid([issue]) from None
    return empty(200)


async def _sender(edge: Edge, request: Request, notices: PayerNotices, partner: str) -> Principal:
    """The partner the address names. Who it is not learns nothing of which partners there are."""
    authorization = request.headers.get("authorization")
    tls = request.scope.get("extensions", {}).get("tls") or {}
    principal = notices.sender(partner, authorization, tuple(tls.get("client_cert_chain") or ()))
    if principal is None:
        principal = await edge.sender(request)
        if principal.client != partner:
            raise UnauthorizedSender()
    request.state.principal = principal
    return principal
