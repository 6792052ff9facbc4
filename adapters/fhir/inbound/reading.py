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
from typing import Any

import structlog
from starlette.requests import ClientDisconnect, Request

from adapters.fhir.inbound.answers import Failure, errors_of, invalid, preference
from adapters.fhir.inbound.services import FhirServices, Resource
from adapters.fhir.settings import FhirSettings
from adapters.fhir.wire import FHIR_JSON, Limits, media_form, parse
from gateway.core.envelope import Intake, Raw, Reception
from gateway.core.errors import Issue, OwnError, SenderError, UnsupportedMessage
from gateway.security.principal import Principal

log = structlog.get_logger("adapters.fhir")

LARGE = 256 * 1024
"""Bytes from which a body is parsed in a thread: parsing 1 MiB takes some 20 ms."""
TRACE_PARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")
DRAIN = 4
"""A body is thrown away up to this many times the limit before the connection is closed on its sender."""


@dataclass(frozen=True, slots=True)
class Message:
    """A body, read: the bytes, the resource in them, and how they came."""

    raw: Raw
    resource: Resource
    reception: Reception


@dataclass(frozen=True, slots=True)
class Edge:
    """What every handler gets: services, settings, and the clock that measures the 12 seconds."""

    services: FhirServices
    settings: FhirSettings
    running: set[asyncio.Task[Any]] = field(default_factory=set)
    """Work that outlives a client's disconnect."""
    timer: Callable[[], float] = time.monotonic

    async def sender(self, request: Request, *needs: tuple[str, str]) -> Principal:
        """Authenticate and authorize: one of `needs` (resource type, letters of cruds) must be granted."""
        tls = request.scope.get("extensions", {}).get("tls") or {}
        principal = await self.services.authenticate(
            request.headers.get("authorization"), tuple(tls.get("client_cert_chain") or ())
        )
        request.state.principal = principal
        if needs and not any(principal.may(kind, verbs) for kind, verbs in needs):
            raise Failure(403, Issue("forbidden", "", "the token's scopes do not allow this"))
        return principal

    def operation_needs(self, kind: str, verbs: str) -> tuple[tuple[str, str], ...]:
        """Scopes for a PAS interaction: its own letter, or (unless strict) read and search."""
        return ((kind, verbs),) if self.settings.strict_scopes else ((kind, verbs), (kind, "rs"))

    def strict(self, request: Request, principal: Principal) -> bool:
        """Whether profile rules are errors: by setting, by partner, or asked for (`Prefer: handling=strict`)."""
        return self.settings.strict or principal.strict or preference(request, "handling") == "strict"

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

    async def body(self, request: Request) -> bytes:
        """The whole body. Raises Failure: 413 too large, 408 too slow."""
        limit = self.settings.max_body
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > limit * DRAIN:
            raise _too_large(limit)
        data = bytearray()
        size = 0
        try:
            async with asyncio.timeout(self.settings.body_seconds):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size <= limit:
                        data += chunk
                    elif size > limit * DRAIN:
                        break
        except TimeoutError:
            raise Failure(408, Issue("timeout", "", "the body did not arrive in time"), headers=_CLOSE) from None
        except ClientDisconnect:
            raise Failure(400, Issue("malformed", "", "the body ended early"), headers=_CLOSE) from None
        if size > limit:
            raise _too_large(limit)
        return bytes(data)

    async def message(self, request: Request, principal: Principal, **attributes: str) -> Message:
        """Read a request's body as a resource. `attributes` tell the codec which operation it is for.

        Raises Failure: 415, 413, 408, 400.
        """
        form = content_form(request.headers)
        data = await self.body(request)
        raw = Raw.of(data, form)
        reception = self.reception(request, principal, form, **attributes)
        limits = Limits(size=self.settings.max_body)
        try:
            # A large body takes long to parse: off the event loop, so that others are served meanwhile.
            heavy = len(data) > LARGE
            resource = await asyncio.to_thread(parse, data, form, limits) if heavy else parse(data, form, limits)
        except SenderError as error:
            # Size was checked above: depth, numbers and node counts are the sender's to mend, 413 would mislead.
            issue = Issue(error.code, error.location, error.message)
            await self.refused(raw, reception, [issue])
            raise Failure(400, issue) from None
        return Message(raw, resource, reception)

    async def admit(self, message: Message, issues: Sequence[Issue]) -> Intake:
        """Refuse what is invalid, map the rest. Raises Failure, after the refusal was put on record."""
        intakes = await self.admit_all(message, issues)
        return intakes[0]

    async def admit_all(self, message: Message, issues: Sequence[Issue]) -> Sequence[Intake]:
        """All business messages of a body. Raises Failure, after the refusal was put on record."""
        found = errors_of(issues)
        if not found:
            reading = self.services.codec.read(message.raw, message.reception)
            if reading.intakes and not reading.refused:
                return reading.intakes
            found = list(reading.issues) or [Issue("unsupported", "", "nothing in this message is served here")]
        await self.refused(message.raw, message.reception, found)
        raise invalid(found)

    async def refused(self, raw: Raw, reception: Reception, issues: Sequence[Issue]) -> None:
        """Keep a refusal for operations. The sender's answer does not depend on our store's health."""
        try:
            await self.services.refusals(raw, reception, issues)
        except OwnError as error:
            log.warning("refusal not recorded", code=error.code, tenant=reception.tenant)

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
