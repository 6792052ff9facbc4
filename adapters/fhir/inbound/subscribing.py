"""The life of a Subscription: create, read, update, delete (R5 Backport 1.1.0, PAS spec-54 to spec-62).

    POST → 201 requested → handshake → active | error        PUT → requested again        DELETE → 204

A client sees and touches its own subscriptions only, and may watch only the sending systems it is registered for
(spec-59): anything else is 404 and 403. Channel headers hold the receiver's token: they are echoed to their owner.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from adapters.fhir.inbound.answers import Failure, empty, errors_of, invalid, names, preference, reply, versioned
from adapters.fhir.inbound.reading import Edge
from adapters.fhir.inbound.services import Resource, Subscription
from adapters.fhir.wire import operation_outcome, validate_subscription
from adapters.fhir.wire.subscription_rules import filters
from gateway.core.errors import InvalidMessage, Issue, OwnError
from gateway.security.egress import EgressPolicy
from gateway.security.principal import Principal

ENDPOINT = "Subscription.channel.endpoint"
NOT_FOUND = Issue("not-found", "", "no such resource")


async def create(edge: Edge, request: Request, version: str) -> Response:
    """`POST Subscription`: 201 with status requested; the handshake follows."""
    principal = await edge.sender(request, *edge.operation_needs("Subscription", "c"))
    resource, organizations = await _read(edge, request, principal, version)
    stored = await edge.services.subscriptions.create(
        principal.tenant, principal.client, version, organizations, resource
    )
    try:
        await edge.services.notifier.handshake(stored)
    except OwnError:
        # The client will be told 503 and try again: what nobody will ever shake hands with must not stay.
        await edge.services.subscriptions.delete(principal.tenant, principal.client, stored.id)
        raise
    location = f"{edge.base(version)}/Subscription/{stored.id}"
    return _changed(request, stored, 201, {"location": location})


async def update(edge: Edge, request: Request, version: str) -> Response:
    """`PUT Subscription/{id}`: replaces it, and shakes hands anew. There is no update-as-create."""
    principal = await edge.sender(request, *edge.operation_needs("Subscription", "u"))
    identity = request.path_params["id"]
    resource, organizations = await _read(edge, request, principal, version)
    if resource.get("id") not in {None, identity}:
        raise Failure(400, Issue("invariant", "Subscription.id", "the id in the body differs from the address"))
    before = await own(edge, principal, identity)
    expected = request.headers.get("if-match")
    if expected is not None and not names(expected, before.version):
        raise Failure(412, Issue("conflict", "", "the resource has another version"))
    stored = await edge.services.subscriptions.update(
        principal.tenant, principal.client, identity, organizations, resource
    )
    if stored is None:
        raise Failure(404, NOT_FOUND)
    await edge.services.notifier.handshake(stored)
    return _changed(request, stored, 200)


async def read(edge: Edge, request: Request, version: str) -> Response:  # noqa: ARG001 - one shape for all handlers
    """`GET Subscription/{id}`. Never 304: the status changes without a new version."""
    principal = await edge.sender(request, *edge.operation_needs("Subscription", "r"))
    stored = await own(edge, principal, request.path_params["id"])
    return reply(request, shown(stored), headers=versioned(stored.version, stored.updated))


async def delete(edge: Edge, request: Request, version: str) -> Response:  # noqa: ARG001 - one shape for all handlers
    """`DELETE Subscription/{id}`: 204; nothing is sent for it any more."""
    principal = await edge.sender(request, *edge.operation_needs("Subscription", "d"))
    if not await edge.services.subscriptions.delete(principal.tenant, principal.client, request.path_params["id"]):
        raise Failure(404, NOT_FOUND)
    return empty(204)


def shown(stored: Subscription) -> Resource:
    """The Subscription as its owner sees it."""
    meta = {
        **(stored.resource.get("meta") or {}),
        "versionId": str(stored.version),
        "lastUpdated": stored.updated.isoformat(timespec="milliseconds"),
    }
    resource = {**stored.resource, "id": stored.id, "meta": meta, "status": stored.status}
    return {**resource, "error": stored.error} if stored.error else resource


async def _read(edge: Edge, request: Request, principal: Principal, version: str) -> tuple[Resource, tuple[str, ...]]:
    """A valid Subscription and the sending systems it watches. Raises Failure."""
    received = await edge.received(request, principal, "subscribe", version)
    resource = await edge.parsed(received)
    owned = None if "*" in principal.organizations else principal.organizations
    demo = edge.settings.profile == "demo"
    issues = errors_of(validate_subscription(resource, owned, version=version, allow_http=demo))
    if not issues:
        issues = _address_issues(resource, EgressPolicy(demo=demo, private_hosts=edge.settings.private_hosts))
    if issues:
        await edge.refused(received, issues)
        raise invalid(issues)
    organizations = tuple(dict.fromkeys(value for _, values in filters(resource) for value in values))
    return {name: value for name, value in resource.items() if name not in {"status", "error"}}, organizations


def _address_issues(resource: dict[str, Any], policy: EgressPolicy) -> list[Issue]:
    """The endpoint must be one that we may call at all; where its name leads is checked again at each call."""
    try:
        policy.check(str(resource["channel"]["endpoint"]))
    except InvalidMessage as error:
        return [Issue("value", ENDPOINT, error.message)]
    return []


async def own(edge: Edge, principal: Principal, identity: str) -> Subscription:
    """The caller's Subscription. Raises Failure(404)."""
    stored = await edge.services.subscriptions.read(principal.tenant, principal.client, identity)
    if stored is None:
        raise Failure(404, NOT_FOUND)
    return stored


def _changed(
    request: Request, stored: Subscription, status_code: int, headers: dict[str, str] | None = None
) -> Response:
    """The answer to a change, as the client prefers it (`Prefer: return=…`)."""
    extra = {**versioned(stored.version, stored.updated), **(headers or {})}
    wanted = preference(request, "return")
    if wanted == "minimal":
        return empty(status_code, extra)
    if wanted == "OperationOutcome":
        return reply(request, operation_outcome([]), status_code, extra)
    return reply(request, shown(stored), status_code, extra)
