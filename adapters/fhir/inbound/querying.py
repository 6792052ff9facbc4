"""What is asked about Subscriptions: `$status` of one or several, `$events` of one (Subscriptions R5 Backport 1.1.0).

By GET with query parameters, or by POST with Parameters. A client hears of its own only: of a list of ids, the others
are left out as unknown ones are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from adapters.fhir.inbound.answers import Failure, accepted_form, reply
from adapters.fhir.inbound.reading import Edge
from adapters.fhir.inbound.subscribing import own, shown
from adapters.fhir.wire.subscription_rules import payload_content
from gateway.core.errors import Issue
from gateway.security.principal import Principal

MOST_STATUSES = 500
"""Subscriptions told of in one answer; a client with more names those it means."""
MOST_EVENTS = 100
"""Events in one answer, from the lower bound up; the last number in it says where to go on."""
STATES = frozenset({"requested", "active", "error", "off"})
CONTENTS = frozenset({"empty", "id-only", "full-resource"})
LAST_NUMBER = 2**31 - 1

Asked = Mapping[str, Sequence[str]]


async def status(edge: Edge, request: Request, version: str) -> Response:
    """`Subscription/{id}/$status`: a searchset with one SubscriptionStatus (as R4 Parameters)."""
    principal = await _asker(edge, request)
    stored = await own(edge, principal, request.path_params["id"])
    bundle = edge.services.render_status(
        [(shown(stored), stored.events)],
        now=edge.services.clock(),
        base_url=edge.base(version),
        address=f"Subscription/{stored.id}/$status",
    )
    return reply(request, bundle)


async def statuses(edge: Edge, request: Request, version: str) -> Response:
    """`Subscription/$status`: one SubscriptionStatus for each of the caller's, as `id` and `status` narrow it down."""
    principal = await _asker(edge, request)
    asked = await _asked(edge, request, principal, version, {"id": "valueId", "status": "valueCode"})
    wanted = asked.get("status", ())
    if not STATES.issuperset(wanted):
        raise _wrong("status", "requested, active, error or off expected")
    found = await edge.services.subscriptions.owned(
        principal.tenant, principal.client, version, asked.get("id", ()), MOST_STATUSES + 1
    )
    if len(found) > MOST_STATUSES:
        raise Failure(422, Issue("limit", "id", f"more than {MOST_STATUSES} subscriptions: name those that are meant"))
    query = urlencode([(name, value) for name, values in asked.items() for value in values])
    bundle = edge.services.render_status(
        [(shown(one), one.events) for one in found if not wanted or one.status in wanted],
        now=edge.services.clock(),
        base_url=edge.base(version),
        address="Subscription/$status" + (f"?{query}" if query else ""),
    )
    return reply(request, bundle)


async def events(edge: Edge, request: Request, version: str) -> Response:
    """`Subscription/{id}/$events`: a notification of type query-event with what was told before."""
    principal = await _asker(edge, request)
    stored = await own(edge, principal, request.path_params["id"])
    names = {"eventsSinceNumber": "valueString", "eventsUntilNumber": "valueString", "content": "valueCode"}
    asked = await _asked(edge, request, principal, version, names)
    content = _one(asked, "content") or payload_content(stored.resource)
    if content not in CONTENTS:
        raise _wrong("content", "empty, id-only or full-resource expected")
    since, until = _number(asked, "eventsSinceNumber", 1), _number(asked, "eventsUntilNumber", LAST_NUMBER)
    told = await edge.services.subscriptions.told(
        principal.tenant, principal.client, stored.id, since, until, MOST_EVENTS
    )
    bundle = edge.services.render_events(
        shown(stored),
        told,
        content=content,
        now=edge.services.clock(),
        base_url=edge.base(version),
        events_since_start=stored.events,
    )
    return reply(request, bundle)


async def _asker(edge: Edge, request: Request) -> Principal:
    return await edge.sender(request, *edge.operation_needs("Subscription", "r"))


async def _asked(
    edge: Edge, request: Request, principal: Principal, version: str, names: Mapping[str, str]
) -> dict[str, list[str]]:
    """Values by parameter name; `names` = where each one's value is in Parameters. Raises Failure."""
    accepted_form(request)
    found: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        if name in names:
            found.setdefault(name, []).append(value)
    if request.method != "POST":
        return found
    received = await edge.received(request, principal, "query", version)
    if not received.raw.size:
        return found
    resource = await edge.parsed(received)
    rows = resource.get("parameter", [])
    if resource.get("resourceType") != "Parameters" or not isinstance(rows, list):
        raise _wrong("", "Parameters expected")
    for row in rows:
        name = str(row.get("name")) if isinstance(row, dict) else ""
        if name in names:
            # Some clients send an id or a code as a string: what it says is the same.
            value = row.get(names[name], row.get("valueString"))
            if not isinstance(value, str):
                raise _wrong(name, f"{names[name]} expected")
            found.setdefault(name, []).append(value)
    return found


def _one(asked: Asked, name: str) -> str:
    values = asked.get(name, ())
    if len(values) > 1:
        raise _wrong(name, "one value at most")
    return values[0] if values else ""


def _number(asked: Asked, name: str, otherwise: int) -> int:
    text = _one(asked, name)
    if not text:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise _wrong(name, "a number expected")
    return min(int(text), LAST_NUMBER)


def _wrong(where: str, text: str) -> Failure:
    return Failure(400, Issue("value", where, text))
