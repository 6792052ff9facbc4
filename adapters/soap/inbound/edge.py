"""The CORE SOAP edge: HTTP in, `Accept` in the middle, an envelope, fault or receipt out.

Success is said only after every business message is durable (promise 1). A PayloadID is answered once: the same
PayloadID with the same payload gets the same bytes again, with another payload it is a conflict.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from adapters.soap.inbound.answers import Answer, Answers, RecentAnswers
from adapters.soap.settings import SoapSettings
from adapters.soap.wire import (
    ERROR_TEXTS,
    CoreMessage,
    Expectations,
    Fault,
    UsernameToken,
    parse_envelope,
    payload_type,
    problems,
    read_message,
    render_answer,
    render_fault,
    split_package,
)
from gateway.core.envelope import Intake, Raw, Reception
from gateway.core.errors import GatewayError, Issue, LimitExceeded, UnauthorizedSender
from gateway.core.ports import Accept, Accepted, Clock, Codec, Reading

MEDIA_TYPES = ("application/soap+xml", "multipart/related", "text/xml", "application/xml")
"""What is read. SOAP 1.1 has text/xml: it is parsed too, to be answered with VersionMismatch in its own version."""

X12 = "application/edi-x12"
UNAUTHORIZED = "unauthorized"
"""Code of the codec's issues: an interchange of a sender that may not send here."""

RESULTS, ACKNOWLEDGED = "results", "acknowledged"
"""Behind a PayloadID: what is kept for BatchResultsRetrieval; what was said of an acknowledgement of results."""

STATUS = {"Sender": 400, "VersionMismatch": 500, "MustUnderstand": 500, "Receiver": 500}
"""HTTP status by fault (SOAP 1.2 part 2, table 20)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a caller showed. Nothing in it is trusted yet."""

    sender_id: str
    token: UsernameToken | None
    certificate: str
    """Subject of the client certificate, where a trusted proxy passed one."""


Authenticate = Callable[[Credentials], Awaitable[str | None]]
"""The authenticated client's name, or None: unauthorized. Also the place that remembers used nonces."""

Respond = Callable[[Sequence[Accepted], Reception], Awaitable[bytes | None]]
"""The fast lane (D6): the business answer (271, 278, 277) in X12, or None: answer with the acknowledgement alone."""


Ask = Callable[[Intake, Reception], Awaitable[bytes | None]]
"""Answers a question (a 278 inquiry) in X12; None: the message is no question, and is to be accepted."""

Results = Callable[[Reading, Reception], Awaitable[bytes | None]]
"""What is said of a batch beyond its acknowledgement, once it is accepted: the 277CAs of its claims; None: nothing."""

Refused = Callable[[Raw, Reception, Sequence[Issue]], Awaitable[None]]
"""Keeps what was refused for operations."""

Later = Callable[[str, str, str], Awaitable[bytes]]
"""(tenant, client, PayloadID) → what was decided after the request was answered, in X12; empty: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the edge needs from the world."""

    accept: Accept
    codec: Codec
    authenticate: Authenticate
    clock: Clock
    new_id: Callable[[], str]
    """A new UUID for the PayloadID of an answer."""
    respond: Respond | None = None
    ask: Ask | None = None
    results: Results | None = None
    later: Later | None = None
    refused: Refused | None = None
    answers: Answers = field(default_factory=RecentAnswers)


def routes(services: Services, settings: SoapSettings) -> list[Route]:
    """The edge as Starlette routes: `POST /core/realtime`, `POST /core/batch`, and the WSDL at `?wsdl` of both."""
    edge = Edge(services, settings)

    async def wsdl(request: Request) -> Response:
        return _describe(request, settings)

    def post(mode: str) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            return await edge.serve(request, mode)

        return serve

    return [
        Route("/core/realtime", post("RealTime"), methods=["POST"]),
        Route("/core/batch", post("Batch"), methods=["POST"]),
        Route("/core/realtime", wsdl, methods=["GET"]),
        Route("/core/batch", wsdl, methods=["GET"]),
        Route("/core/core.xsd", wsdl, methods=["GET"]),
    ]


def _describe(request: Request, settings: SoapSettings) -> Response:
    """`?wsdl` and the schema it imports, from the package."""
    package = files("adapters.soap.wire")
    if request.url.path.endswith("core.xsd"):
        return Response((package / "core.xsd").read_bytes(), media_type="text/xml")
    if "wsdl" not in {name.lower() for name in request.query_params}:
        return PlainTextResponse("POST a SOAP 1.2 envelope here; its description is at ?wsdl\n", 405, {"Allow": "POST"})
    address = settings.public_url or str(request.url.replace(query=""))
    escaped = address.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    text = (package / "core.wsdl").read_text("utf-8").replace("https://gateway.invalid/core/realtime", escaped)
    return Response(text, media_type="text/xml")


class Turns:
    """A lock per key that exists only while somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[tuple[str, ...], tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def of(self, key: tuple[str, ...]) -> AsyncIterator[None]:
        """Wait for the key's turn."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            users = self._locks[key][1] - 1
            if users:
                self._locks[key] = (lock, users)
            else:
                del self._locks[key]


class Edge:
    """One CORE endpoint."""

    def __init__(self, services: Services, settings: SoapSettings) -> None:
        self._services = services
        self._settings = settings
        self._expected = Expectations(
            receivers=settings.receivers,
            payload_types=settings.payload_types,
            versions=settings.versions,
            is_strict=settings.strict,
        )
        self._turns = Turns()

    async def serve(self, request: Request, mode: str) -> Response:
        """One HTTP exchange. Every failure is a SOAP answer; only transport-level refusals are bare HTTP."""
        content_type = request.headers.get("content-type", "")
        if content_type.split(";")[0].strip().lower() not in MEDIA_TYPES:
            return PlainTextResponse("the content type must be application/soap+xml or multipart/related\n", 415)
        try:
            data = await read_body(request, self._settings.maximum_bytes)
        except LimitExceeded as error:
            return PlainTextResponse(f"{error}\n", 413)
        except ClientDisconnect:
            return Response(status_code=400)
        try:
            return _soap(await self._exchange(request, mode, data, content_type))
        except Fault as fault:
            return _soap(render_fault(fault), STATUS[fault.kind], is_old=fault.soap_11)
        except GatewayError:
            # Nothing was promised: the sender may send the same PayloadID again.
            return _soap(render_fault(Fault("Receiver", ERROR_TEXTS["Receiver"])), 500)

    async def _exchange(self, request: Request, mode: str, data: bytes, content_type: str) -> bytes:
        root, parts = split_package(data, content_type)
        soap = parse_envelope(root)
        message = read_message(soap.body, parts)
        received_at = self._services.clock()
        if message.kind.mode != mode:
            return self._refusal(message, (Issue("ProcessingModeIllegal", "ProcessingMode", ERROR_TEXTS["Illegal"]),))
        found = problems(message, self._expected)
        if found:
            return self._refusal(message, found)
        credentials = Credentials(
            sender_id=message.fields["SenderID"],
            token=soap.token,
            certificate=request.headers.get(self._settings.certificate_header or "-", ""),
        )
        has_expired = soap.expires is not None and soap.expires < received_at
        client = None if has_expired else await self._services.authenticate(credentials)
        if client is None:
            return self._refusal(message, (Issue("UnAuthorized", "SenderID", ERROR_TEXTS["UnAuthorized"]),))
        return await self._once(message, self._reception(message, client, received_at, request))

    async def _once(self, message: CoreMessage, reception: Reception) -> bytes:
        """Answer a PayloadID once; requests with the same PayloadID wait for each other."""
        key: tuple[str, ...] = (reception.tenant, reception.client, message.payload_id)
        if "Retrieval" in message.kind.name:
            return await self._retrieve(message, (*key, RESULTS) if "Results" in message.kind.name else key)
        if "ResultsAck" in message.kind.name:
            # The PayloadID is that of what is acknowledged: the submission under it was another message.
            key = (*key, ACKNOWLEDGED, hashlib.sha256(message.payload).hexdigest())
        digest = hashlib.sha256(message.kind.name.encode() + b"\0" + message.payload).hexdigest()
        async with self._turns.of(key):
            known = await self._services.answers.get(key)
            if known is None:
                try:
                    known = await self._answer(message, reception, digest, key)
                except UnauthorizedSender as error:
                    # Not remembered: under this PayloadID nothing was ever taken.
                    issue = Issue("UnAuthorized", "SenderID", error.message)
                    return self._refusal(message, (issue,))
                await self._services.answers.put(key, known)
        if known.digest != digest:
            conflict = Issue("PayloadIDIllegal", "PayloadID", "the PayloadID was used before with another payload")
            return self._refusal(message, (conflict,))
        return known.envelope

    async def _answer(self, message: CoreMessage, reception: Reception, digest: str, key: tuple[str, ...]) -> Answer:
        """Codec, accept, fast lane, envelope. Raises Unavailable when a message could not be made durable."""
        services = self._services
        raw = Raw.of(message.payload, X12)
        reading = await asyncio.to_thread(services.codec.read, raw, reception)
        await self._must_be_bound(raw, reading, reception)
        accepted, told = await self._settled(reading, reception)
        acknowledgement = reading.answer(None)
        if message.kind.mode == "Batch":
            if ACKNOWLEDGED in key:
                return Answer(digest, self._success(message, None))
            await self._keep_results(reading, reception, told, (*key, RESULTS), digest)
            shown = None if self._settings.batch_answer == "confirmation" else acknowledgement
            return Answer(digest, self._success(message, shown), acknowledgement)
        if services.respond is not None and accepted:
            told.append(await services.respond(accepted, reception) or b"")
        return Answer(digest, self._success(message, b"".join(told) or acknowledgement))

    async def _must_be_bound(self, raw: Raw, reading: Reading, reception: Reception) -> None:
        """Refuse a payload as a whole in which its client speaks for somebody else. Raises UnauthorizedSender."""
        found = [issue for issue in reading.issues if issue.code == UNAUTHORIZED]
        if not found:
            return
        if self._services.refused is not None:
            await self._services.refused(raw, reception, found)
        raise UnauthorizedSender("the payload names a sender that the client may not speak for")

    async def _settled(self, reading: Reading, reception: Reception) -> tuple[list[Accepted], list[bytes]]:
        """Every message accepted, every question answered."""
        accepted: list[Accepted] = []
        told: list[bytes] = []
        for intake in _publishable(reading):
            answer = await self._services.ask(intake, reception) if self._services.ask is not None else None
            if answer is not None:
                told.append(answer)
            else:
                accepted.append(await self._services.accept(intake, reception))
        return accepted, told

    async def _keep_results(
        self, reading: Reading, reception: Reception, told: list[bytes], key: tuple[str, ...], digest: str
    ) -> None:
        """For BatchResultsRetrieval under the same PayloadID: answers to questions, and what is said of claims."""
        if self._services.results is not None and not reading.refused:
            told = [*told, await self._services.results(reading, reception) or b""]
        if any(told):
            await self._services.answers.put(key, Answer(digest, b"", b"".join(told)))

    async def _retrieve(self, message: CoreMessage, key: tuple[str, ...]) -> bytes:
        """The acknowledgement or the results of what was submitted before under the same PayloadID.

        Results are all there are so far, each time: who fetches twice loses nothing, and knows interchanges by number.
        """
        known = await self._services.answers.get(key)
        found = (known.acknowledgement if known is not None else None) or b""
        if key[-1] == RESULTS and self._services.later is not None:
            found += await self._services.later(*key[:3])
        if not found:
            missing = Issue("PayloadIDNotUnderstood", "PayloadID", "nothing is kept for this PayloadID")
            return self._refusal(message, (missing,))
        return self._success(message, found)

    def _reception(self, message: CoreMessage, client: str, received_at: datetime, request: Request) -> Reception:
        return Reception(
            tenant=self._settings.tenant,
            source=f"soap/{self._settings.endpoint}",
            received_at=received_at,
            media_type=X12,
            client=client,
            trace_parent=request.headers.get("traceparent"),
            attributes={
                "payloadId": message.payload_id,
                "payloadType": message.fields["PayloadType"],
                "processingMode": message.kind.mode,
                "senderId": message.fields["SenderID"],
                "receiverId": message.fields["ReceiverID"],
            },
        )

    def _success(self, message: CoreMessage, payload: bytes | None) -> bytes:
        receipt = "X12_BatchReceiptConfirmation" if message.kind.mode == "Batch" else message.fields["PayloadType"]
        kind = receipt if payload is None else payload_type(payload)
        return self._render(message, kind, payload, "Success", ERROR_TEXTS["Success"])

    def _refusal(self, message: CoreMessage, found: Sequence[Issue]) -> bytes:
        """An envelope that names the first problem as ErrorCode and every problem in ErrorMessage."""
        text = "; ".join(f"{issue.location}: {issue.text}" for issue in found)
        return self._render(message, "CoreEnvelopeError", None, found[0].code, text)

    def _render(self, message: CoreMessage, kind: str, payload: bytes | None, code: str, text: str) -> bytes:
        spoiled = {issue.location for issue in problems(message, self._expected)}

        def echo(name: str, otherwise: str) -> str:
            return otherwise if name in spoiled else message.fields.get(name) or otherwise

        fields = {
            "PayloadType": kind,
            "ProcessingMode": message.kind.mode,
            "PayloadID": self._services.new_id(),
            "TimeStamp": self._services.clock().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "SenderID": echo("ReceiverID", self._settings.own_id),
            "ReceiverID": echo("SenderID", "unknown"),
            "CORERuleVersion": echo("CORERuleVersion", self._settings.versions[0]),
            "ErrorCode": code,
            "ErrorMessage": text,
        }
        return render_answer(message.kind, fields, payload)


async def read_body(request: Request, maximum: int) -> bytes:
    """The whole body, never more than `maximum` bytes in memory. Raises LimitExceeded."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > maximum:
        raise LimitExceeded(f"the body is larger than {maximum} bytes")
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > maximum:
            raise LimitExceeded(f"the body is larger than {maximum} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _publishable(reading: Reading) -> Sequence[Intake]:
    return () if reading.refused else reading.intakes


def _soap(data: bytes, status: int = 200, *, is_old: bool = False) -> Response:
    kind = "text/xml" if is_old else "application/soap+xml"
    return Response(data, status, media_type=f"{kind}; charset=utf-8")
