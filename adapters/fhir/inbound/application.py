"""The ASGI application: the table of routes, and the door that every request passes.

The door checks the Host, bounds how much is worked on at once, turns every error into one OperationOutcome, and writes
one access line: route template, status, time and client, never a path, a query or a body.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapters.fhir.inbound import (
    attachments,
    cds_hooks,
    inquire,
    intake,
    metadata,
    notifications,
    oauth,
    querying,
    reads,
    submit,
    subscribing,
)
from adapters.fhir.inbound.answers import Failure, empty, failure_of, refuse
from adapters.fhir.inbound.openapi import FAILURES, Operation, document
from adapters.fhir.inbound.reading import Edge
from adapters.fhir.inbound.services import FhirServices
from adapters.fhir.settings import FhirSettings
from adapters.fhir.wire.terms import VERSIONS
from gateway.core.errors import GatewayError, Issue

log = structlog.get_logger("adapters.fhir")

Handler = Callable[[Edge, Request], Awaitable[Response]]
ASKED_OF_SEVERAL: Mapping[str, Mapping[str, Any]] = {
    "id": {"type": "array", "items": {"type": "string", "pattern": "^[A-Za-z0-9.-]{1,64}$"}},
    "status": {"type": "array", "items": {"type": "string", "enum": sorted(querying.STATES)}},
}
ASKED_OF_EVENTS: Mapping[str, Mapping[str, Any]] = {
    "eventsSinceNumber": {"type": "string", "pattern": "^[0-9]{1,20}$"},
    "eventsUntilNumber": {"type": "string", "pattern": "^[0-9]{1,20}$"},
    "content": {"type": "string", "enum": sorted(querying.CONTENTS)},
}
BOTH = ("GET", "POST")
"""Methods of an operation that changes nothing (R4 operations, section 3.2.0.1)."""
READ = ("200", "304", "401", "403", "404", "406", "503")


@dataclass(frozen=True, slots=True)
class Served:
    """One route: what it is, and who answers."""

    operation: Operation
    handler: Handler


def app(services: FhirServices, settings: FhirSettings) -> Starlette:
    """The FHIR edge as an ASGI application."""
    edge = Edge(services, settings)
    served = table()
    described = document([row.operation for row in served], settings.base_url)
    door = Door(edge)
    routes = [
        Route(row.operation.path, door.guarded(row.operation.path, row.handler), methods=[row.operation.method])
        for row in served
    ]

    async def openapi(_request: Request) -> Response:
        return JSONResponse(described)

    routes.append(Route("/openapi.json", openapi))
    routes.append(Route("/healthz", door.health))
    built = Starlette(routes=_merged(routes), exception_handlers={HTTPException: door.http_exception})
    built.state.edge = edge
    built.router.redirect_slashes = False  # a redirect would send a token and a body somewhere else
    return built


async def drain(application: Starlette, seconds: float) -> None:
    """Wait for answers that outlived their request; called at shutdown, after the server stopped."""
    running = set(application.state.edge.running)
    if running:
        await asyncio.wait(running, timeout=seconds)


def table() -> list[Served]:
    """Every route of the edge."""
    rows = [row for version in VERSIONS for row in _pas(version)]
    told = Operation(
        method="POST",
        path=notifications.PATH,
        summary="Take a payer's notification",
        answers=("200", "401", "404", *FAILURES),
        body="fhir",
    )
    return [*rows, Served(told, notifications.receive), *_r4(), *_hooks_and_tokens()]


def _pas(version: str) -> list[Served]:
    base = f"/fhir/pas/{version}"

    def fixed(handler: Callable[[Edge, Request, str], Awaitable[Response]], argument: str = version) -> Handler:
        return lambda edge, request: handler(edge, request, argument)

    def row(method: str, path: str, summary: str, answers: tuple[str, ...], handler: Handler, body: str = "") -> Served:
        operation = Operation(method=method, path=base + path, summary=summary, answers=answers, body=body)
        return Served(operation, handler)

    done = ("200", *FAILURES)
    changed = (*FAILURES, "404")
    return [
        _open("GET", f"{base}/metadata", "CapabilityStatement", fixed(metadata.pas)),
        _open("GET", f"{base}/.well-known/smart-configuration", "SMART configuration", oauth.configuration),
        row("POST", "/Claim/$submit", "Submit a request", (*done, "409"), fixed(submit.submit), "fhir"),
        row("POST", "/Claim/$inquire", "Inquire", done, fixed(inquire.inquire), "fhir"),
        row("POST", "/$submit-attachment", "Send documents", done, fixed(attachments.submit_attachment), "fhir"),
        row("POST", "/Subscription", "Subscribe", ("201", *FAILURES), fixed(subscribing.create), "fhir"),
        # Before {id}, which would match the operation's name.
        *(_asked(by, f"{base}/Subscription/$status", fixed(querying.statuses), ASKED_OF_SEVERAL) for by in BOTH),
        row("PUT", "/Subscription/{id}", "Change", ("200", "412", *changed), fixed(subscribing.update), "fhir"),
        row("GET", "/Subscription/{id}", "Read", READ, fixed(subscribing.read)),
        row("DELETE", "/Subscription/{id}", "End", ("204", "401", "403", "404", "503"), fixed(subscribing.delete)),
        *(row(by, "/Subscription/{id}/$status", "Status", READ, fixed(querying.status)) for by in BOTH),
        *(_asked(by, f"{base}/Subscription/{{id}}/$events", fixed(querying.events), ASKED_OF_EVENTS) for by in BOTH),
        *(row("GET", f"/{kind}/{{id}}", f"Read a {kind}", READ, fixed(reads.read, kind)) for kind in reads.READABLE),
    ]


def _asked(method: str, path: str, handler: Handler, query: Mapping[str, Mapping[str, Any]]) -> Served:
    """An operation on Subscriptions: by GET with query parameters, or by POST with Parameters."""
    by_post = method == "POST"
    operation = Operation(
        method=method,
        path=path,
        summary="Status of several" if query is ASKED_OF_SEVERAL else "Events told of",
        answers=("200", *FAILURES, "404"),
        body="fhir" if by_post else "",
        query={} if by_post else query,
    )
    return Served(operation, handler)


def _r4() -> list[Served]:
    rows = [
        _open("GET", "/fhir/r4/metadata", "CapabilityStatement", metadata.plain),
        _open("GET", "/fhir/r4/.well-known/smart-configuration", "SMART configuration", oauth.configuration),
        Served(
            Operation(method="POST", path="/fhir/r4", summary="Post a Bundle", answers=("200", *FAILURES), body="fhir"),
            intake.bundle,
        ),
    ]
    for kind in intake.TYPES:
        path = f"/fhir/r4/{kind}"
        create = Operation(method="POST", path=path, summary=f"Post a {kind}", answers=("201", *FAILURES), body="fhir")
        read = Operation(method="GET", path=f"{path}/{{id}}", summary=f"Read a posted {kind}", answers=READ)
        version = Operation(
            method="GET", path=f"{path}/{{id}}/_history/{{version}}", summary=f"Read a {kind} by version", answers=READ
        )
        rows.append(Served(create, partial(_create, kind)))
        rows += [Served(operation, partial(_read, kind)) for operation in (read, version)]
    return rows


def _hooks_and_tokens() -> list[Served]:
    return [
        _open("GET", "/cds-services", "CDS Hooks discovery", cds_hooks.discovery),
        Served(
            Operation(
                method="POST",
                path="/cds-services/{id}",
                summary="Call a hook",
                answers=("200", "404", "412", *FAILURES),
                body="json",
            ),
            cds_hooks.call,
        ),
        _open("GET", "/.well-known/smart-configuration", "SMART configuration", oauth.configuration),
        Served(
            Operation(
                method="POST",
                path=oauth.TOKEN_PATH,
                summary="Access token (SMART Backend Services)",
                answers=("200", "400", "408", "413", "503"),
                body="form",
                open=True,
            ),
            oauth.token,
        ),
    ]


def _open(method: str, path: str, summary: str, handler: Handler) -> Served:
    return Served(Operation(method=method, path=path, summary=summary, answers=("200", "406"), open=True), handler)


async def _create(kind: str, edge: Edge, request: Request) -> Response:
    return await intake.create(edge, request, kind)


async def _read(kind: str, edge: Edge, request: Request) -> Response:
    return await intake.read(edge, request, kind)


def _merged(routes: list[Route]) -> list[Route]:
    """Starlette answers 405 from the first route of a path: one route per path, dispatching by method."""
    by_path: dict[str, dict[str, Route]] = {}
    for route in routes:
        for method in (route.methods or {"GET"}) - {"HEAD"}:
            by_path.setdefault(route.path, {})[method] = route

    def dispatcher(rows: Mapping[str, Route]) -> Callable[[Request], Awaitable[Response]]:
        async def dispatch(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            answer: Response = await rows[method].endpoint(request)
            return answer

        return dispatch

    return [Route(path, dispatcher(rows), methods=list(rows)) for path, rows in by_path.items()]


class Door:
    """What happens to every request before and after its handler."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.inside = 0

    def guarded(self, route: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """The handler behind the door."""

        async def endpoint(request: Request) -> Response:
            begun = time.perf_counter()
            self.inside += 1
            try:
                response = await self._answer(handler, request)
            finally:
                self.inside -= 1
                self.edge.held.release(request)
            response.headers["x-request-id"] = str(uuid.uuid4())
            principal = getattr(request.state, "principal", None)
            seconds = time.perf_counter() - begun
            self.edge.services.observe(route, response.status_code, seconds)
            log.info(
                "request",
                route=route,
                method=request.method,
                status=response.status_code,
                seconds=round(seconds, 4),
                tenant=principal.tenant if principal else "",
                client=principal.client if principal else "",
                request_id=response.headers["x-request-id"],
            )
            return response

        return endpoint

    async def health(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's signature
        """`GET /healthz`: 204 while our servers answer, else 503."""
        return empty(204 if await self.edge.services.ready() else 503)

    async def http_exception(self, request: Request, error: Exception) -> Response:
        """Unknown paths and methods."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        if request.url.path == oauth.TOKEN_PATH:
            return oauth.error_answer("invalid_request", status, headers)
        words = {404: "not-found", 405: "unsupported"}
        text = {404: "nothing is served here", 405: "this method is not served here"}.get(status, "refused")
        return refuse(request, status, [Issue(words.get(status, "invalid"), "", text)], headers)

    async def _answer(self, handler: Handler, request: Request) -> Response:
        settings = self.edge.settings
        try:
            if settings.hosts and request.headers.get("host", "") not in settings.hosts:
                raise Failure(421, Issue("invalid", "", "this host is not served here"))
            if self.inside > settings.max_connections:
                raise self.edge.busy()
            return await handler(self.edge, request)
        except Failure as failure:
            return refuse(request, failure.status, failure.issues, failure.headers)
        except GatewayError as error:
            answer = failure_of(error, settings.retry_after)
            if answer.status >= 500:
                log.warning("not served", code=error.code, status=answer.status)
            return refuse(request, answer.status, answer.issues, answer.headers)
        except Exception as error:
            log.error("fault", exc_info=error)
            return refuse(request, 500, [Issue("own", "", "an internal fault")])
