"""Reading a request: its body within size and time, its sender, its circumstances.

uvicorn never ends a connection that drips its body, so the deadline is here. A body over the limit is read on and
thrown away for a while before 413 is said: a client that is still sending would not see an answer given earlier.
A client that disconnects while sending has sent nothing: the body is never used in part.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from starlette.requests import ClientDisconnect, Request

from adapters.fhir.inbound.answers import Failure, accepted_form, errors_of, invalid, preference
from adapters.fhir.inbound.services import FhirServices, Resource
from adapters.fhir.settings import FhirSettings
from adapters.fhir.wire import FHIR_JSON, Limits, media_form, parse
from gateway.core.envelope import Intake, Raw, Reception
from gateway.core.errors import Issue, OwnError, SenderError, UnsupportedMessage
from gateway.security.principal import Principal

log = structlog.get_logger("adapters.fhir")

T = TypeVar("T")

LONGEST_KEY = 200
"""Longest Idempotency-Key, in characters; longer ones are ignored rather than refused."""
LARGE = 256 * 1024
"""Bytes from which a body is parsed in a thread: parsing 1 MiB takes some 20 ms."""
TRACE_PARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")
DRAIN = 4
"""A body is thrown away up to this many times the limit before the connection is closed on its sender."""


@dataclass(frozen=True, slots=True)
class Received:
    """A body with its circumstances, not yet read."""

    raw: Raw
    reception: Reception
    operation: str
    version: str
    strict: bool
    """Profile rules are errors: by setting unless the partner is lenient, or asked for (`Prefer: handling=strict`)."""


@dataclass(slots=True)
class Held:
    """How many bytes of bodies all running requests hold together."""

    total: int = 0

    def release(self, request: Request) -> None:
        """The request has ended, or its body turned out too large."""
        self.total -= getattr(request.state, "held", 0)
        request.state.held = 0


@dataclass(frozen=True, slots=True)
class Edge:
    """What every handler gets: services, settings, and the clock that measures the 12 seconds."""

    services: FhirServices
    settings: FhirSettings
    running: set[asyncio.Task[Any]] = field(default_factory=set)
    """Work that outlives a client's disconnect."""
    held: Held = field(default_factory=Held)
    timer: Callable[[], float] = time.monotonic

    async def sender(self, request: Request, *needs: tuple[str, str], audience: str = "") -> Principal:
        """Authenticate and authorize: one of `needs` (resource type, letters of cruds) must be granted."""
        tls = request.scope.get("extensions", {}).get("tls") or {}
        principal = await self.services.authenticate(
            request.headers.get("authorization"), tuple(tls.get("client_cert_chain") or ()), audience=audience
        )
        request.state.principal = principal
        if needs and not any(principal.may(kind, verbs) for kind, verbs in needs):
            challenge = {"www-authenticate": 'Bearer realm="fhir", error="insufficient_scope"'}
            raise Failure(403, Issue("forbidden", "", "the token's scopes do not allow this"), headers=challenge)
        return principal

    def operation_needs(self, kind: str, verbs: str) -> tuple[tuple[str, str], ...]:
        """Scopes for a PAS interaction: its own letter, or (unless strict) read and search."""
        return ((kind, verbs),) if self.settings.strict_scopes else ((kind, verbs), (kind, "rs"))

    def reception(self, request: Request, principal: Principal, form: str, **attributes: str) -> Reception:
        """The circumstances of a request, stamped now: the legal clock starts here."""
        trace = request.headers.get("traceparent", "")
        return Reception(
            tenant=principal.tenant,
            source=f"fhir/{principal.client}",
            received_at=self.services.clock(),
            media_type=form,
            client=principal.client,
            trace_parent=trace if TRACE_PARENT.match(trace) else None,
            attributes=attributes,
        )

    async def body(self, request: Request, limit: int) -> bytes:
        """The whole body, at most `limit` bytes. Raises Failure: 413 too large, 408 too slow, 503 too much at once."""
        announced = request.headers.get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced) > limit * DRAIN:
            raise _too_large(limit)
        data = bytearray()
        size = 0
        try:
            async with asyncio.timeout(self.settings.body_seconds):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size <= limit:
                        self._hold(request, len(chunk))
                        data += chunk
                        continue
                    data.clear()
                    self.held.release(request)
                    if size > limit * DRAIN:
                        break
        except TimeoutError:
            raise Failure(408, Issue("timeout", "", "the body did not arrive in time"), headers=_CLOSE) from None
        except ClientDisconnect:
            raise Failure(400, Issue("malformed", "", "the body ended early"), headers=_CLOSE) from None
        if size > limit:
            raise _too_large(limit)
        return bytes(data)

    def _hold(self, request: Request, size: int) -> None:
        """Count bytes that are kept until the request ends, so that many large bodies cannot take all memory."""
        if self.held.total + size > self.settings.max_held:
            raise self.busy()
        self.held.total += size
        request.state.held = getattr(request.state, "held", 0) + size

    def busy(self) -> Failure:
        """Too much at once: come again."""
        headers = {"retry-after": str(self.settings.retry_after), **_CLOSE}
        return Failure(503, Issue("unavailable", "", "too much at once"), headers=headers)

    async def received(self, request: Request, principal: Principal, operation: str, version: str) -> Received:
        """Read the body and stamp its receipt. Raises Failure: 406, 415, 413, 408, 400.

        Whether the client understands our answers is asked first: after accept, 406 would be a lie.
        """
        accepted_form(request)
        form = content_form(request.headers)
        data = await self.body(request, self.settings.max_body)
        strict = (self.settings.strict and not principal.lenient) or preference(request, "handling") == "strict"
        key = request.headers.get("idempotency-key", "")
        extra = {"idempotency-key": key} if 0 < len(key) <= LONGEST_KEY else {}
        reception = self.reception(request, principal, form, operation=operation, version=version, **extra)
        return Received(Raw.of(data, form), reception, operation, version, strict)

    async def parsed(self, received: Received) -> Resource:
        """The body as a resource. Raises Failure(400), after the refusal was put on record."""
        limits = Limits(size=self.settings.max_body)
        data = received.raw.data or b""
        try:
            return await self.aside(lambda: parse(data, received.raw.media_type, limits), len(data))
        except SenderError as error:
            # Size was checked before: depth, numbers and node counts are the sender's to mend, 413 would mislead.
            issue = Issue(error.code, error.location, error.message)
            await self.refused(received, [issue])
            raise Failure(400, issue) from None

    async def mapped(self, received: Received) -> Sequence[Intake]:
        """The business messages of a body, at least one. Raises Failure, after the refusal was put on record."""
        version, operation = received.version, received.operation
        codec = self.services.codecs(operation, version=version, strict=received.strict, base_url=self.base(version))
        reading = await self.aside(lambda: codec.read(received.raw, received.reception), received.raw.size)
        if reading.intakes and not reading.refused:
            return reading.intakes
        found = errors_of(reading.issues) or [Issue("unsupported", "", "nothing in this message is served here")]
        await self.refused(received, found)
        raise invalid(found)

    async def refused(self, received: Received, issues: Sequence[Issue]) -> None:
        """Keep a refusal for operations. The sender's answer does not depend on our store's health."""
        try:
            await self.services.refusals(received.raw, received.reception, issues)
        except OwnError as error:
            log.warning("refusal not recorded", code=error.code, tenant=received.reception.tenant)

    def base(self, version: str) -> str:
        """The base URL of a version's endpoint: a PAS version, or `r4`."""
        return f"{self.settings.base_url}/fhir/{version if version == 'r4' else f'pas/{version}'}"

    async def aside(self, work: Callable[[], T], size: int) -> T:
        """Run heavy work on a body of this size off the event loop, so that others are served meanwhile."""
        return await asyncio.to_thread(work) if size > LARGE else work()

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Hold a task until it ends, whatever happens to the request it came from."""
        self.running.add(task)
        task.add_done_callback(self.running.discard)


_CLOSE = {"connection": "close"}


def content_form(headers: Mapping[str, str]) -> str:
    """The body's form. No Content-Type counts as FHIR JSON. Raises Failure(415)."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise Failure(415, Issue("unsupported", "", "compressed bodies are not served"))
    try:
        return media_form(headers.get("content-type", FHIR_JSON))
    except UnsupportedMessage as error:
        raise Failure(415, Issue("unsupported", "", error.message)) from None


def _too_large(limit: int) -> Failure:
    return Failure(413, Issue("limit", "", f"the body is larger than {limit} bytes"), headers=_CLOSE)
