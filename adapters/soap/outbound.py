"""Calling a payer's CORE server: a zeep client on the WSDL of this package, one attempt per call.

zeep enforces neither facets nor timeouts and logs whole messages at debug level, so the transport here is our own:
a deadline for the whole call, a byte limit on the answer, no content in logs. DTDs and external references in answers
are refused; nothing is ever fetched to build the client.
"""

from __future__ import annotations

import asyncio
import ssl
import uuid
from collections.abc import Callable
from importlib.resources import as_file, files
from typing import Any

import httpx
import zeep
from lxml import etree
from zeep.exceptions import Error as ZeepError
from zeep.exceptions import Fault as ZeepFault
from zeep.exceptions import TransportError
from zeep.proxy import AsyncServiceProxy
from zeep.transports import AsyncTransport
from zeep.wsse.username import UsernameToken

from adapters.soap.settings import CoreEndpoint
from adapters.soap.wire import checksum, decode_payload, payload_type
from gateway.core.errors import ConfigurationError, EndpointRefused, EndpointUnavailable, MalformedMessage
from gateway.core.ports import Clock, Outbound, Receipt

BINDING = "{http://www.caqh.org/SOAP/WSDL/}CoreSoapBinding"
IDENTIFIERS = uuid.UUID("6f0f3f0a-38a5-5d0c-9d0c-3d1f6a2f7b11")
"""Name space of the PayloadIDs we send: derived from the idempotency key, so that a resend has the same one."""

NOT_YET = {"PayloadIDNotUnderstood", "PayloadIDIllegal"}
"""Error codes of a retrieval that mean: nothing is kept under this PayloadID."""

BUSY = {408, 425, 429, 500, 502, 503, 504}
"""HTTP statuses that mean: the same request may succeed later."""


def batch_attributes(data: bytes) -> dict[str, str]:
    """`attributes` of an Outbound that is to be submitted as a batch."""
    return {"payloadType": payload_type(data), "processingMode": "Batch"}


class CoreSender:
    """Sends X12 to one CORE endpoint. `attributes` of an Outbound: `payloadType`, `processingMode`, `timeStamp`."""

    def __init__(self, endpoint: CoreEndpoint, *, secret: Callable[[str], bytes], clock: Clock) -> None:
        """`secret` resolves a reference to a password. Raises ConfigurationError on unusable TLS files."""
        self._endpoint = endpoint
        self._clock = clock
        self._http = httpx.AsyncClient(
            verify=_tls(endpoint), timeout=endpoint.timeout, follow_redirects=False, trust_env=False
        )
        self._transport = _Transport(self._http, endpoint.maximum_bytes)
        build: Any = UsernameToken  # zeep has no types: Any marks where its calls begin
        token = build(endpoint.username, secret(endpoint.password).decode()) if endpoint.username else None
        settings = zeep.Settings(
            strict=True, forbid_dtd=True, forbid_entities=True, forbid_external=True, xml_huge_tree=False
        )
        with as_file(files("adapters.soap.wire")) as folder:
            client: Any = zeep.AsyncClient
            self._client = client(str(folder / "core.wsdl"), transport=self._transport, settings=settings, wsse=token)
        # `create_service` of the asynchronous client gives a synchronous proxy.
        proxy: Any = AsyncServiceProxy
        self._service = proxy(self._client, self._client.wsdl.bindings[BINDING], address=endpoint.url)

    async def send(self, outbound: Outbound) -> Receipt:
        """Send once. `Receipt.data` is the X12 of the answer, `reference` its PayloadID.

        Raises EndpointUnavailable (timeout, connection, busy, fault Receiver) or EndpointRefused (any other no).
        """
        is_batch = outbound.attributes.get("processingMode") == "Batch"
        operation = "BatchSubmitTransaction" if is_batch else "RealTimeTransaction"
        return _receipt(await self._call(operation, self._fields(outbound, is_batch=is_batch)), is_batch=is_batch)

    async def acknowledgement(self, key: str, kind: str) -> bytes:
        """What the server says of a batch sent under an idempotency key: its 999 or TA1; empty: nothing yet.

        `kind` = PayloadType of the batch. Raises as `send`.
        """
        return await self._retrieve("BatchSubmitAckRetrievalTransaction", key, kind)

    async def results(self, key: str, kind: str) -> bytes:
        """The results of a batch so far, in X12; empty: none yet. Raises as `send`."""
        return await self._retrieve("BatchResultsRetrievalTransaction", key, kind)

    async def confirm(self, key: str, data: bytes) -> None:
        """Acknowledge results (999 or TA1) under the PayloadID of their batch. Raises as `send`."""
        fields = self._head(key, payload_type(data), "Batch") | _content(data)
        _receipt(await self._call("BatchResultsAckSubmitTransaction", fields), is_batch=True)

    async def _retrieve(self, operation: str, key: str, kind: str) -> bytes:
        answer = await self._call(operation, self._head(key, kind, "Batch"))
        # No PayloadID is known under which nothing is kept: the rule has no other code for "not yet".
        return b"" if answer.ErrorCode in NOT_YET else _receipt(answer, is_batch=True).data

    async def _call(self, name: str, fields: dict[str, Any]) -> Any:
        """One operation of the service, within the deadline. Raises EndpointUnavailable, EndpointRefused."""
        try:
            async with asyncio.timeout(self._endpoint.timeout):
                return await getattr(self._service, name)(**fields)
        except httpx.ConnectError as error:
            raise EndpointUnavailable("no connection to the CORE server") from error
        except (TimeoutError, httpx.HTTPError) as error:
            # It may have the message and be at work on it: the same again at once would be another one.
            raise EndpointUnavailable(
                f"no answer from the CORE server: {type(error).__name__}", retry_after=self._endpoint.repeat_seconds
            ) from error
        except ZeepFault as fault:
            raise _of_fault(fault) from None
        except TransportError as error:
            status = error.status_code or 0
            message = f"the CORE server answered with HTTP status {status} and no SOAP envelope"
            raise (
                EndpointUnavailable(message) if status in BUSY or status == 200 else EndpointRefused(message)
            ) from None
        except (ZeepError, etree.LxmlError, ValueError, TypeError) as error:
            # An answer that is no CORE envelope, often a proxy's page: nothing was decided.
            raise EndpointUnavailable(f"the answer is not a CORE envelope: {type(error).__name__}") from None

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _fields(self, outbound: Outbound, *, is_batch: bool) -> dict[str, Any]:
        given = outbound.attributes
        head = self._head(
            outbound.idempotency_key, given["payloadType"], "Batch" if is_batch else "RealTime", given.get("timeStamp")
        )
        return head | (_content(outbound.data) if is_batch else {"Payload": outbound.data.decode()})

    def _head(self, key: str, kind: str, mode: str, at: str | None = None) -> dict[str, Any]:
        return {
            "PayloadType": kind,
            "ProcessingMode": mode,
            "PayloadID": str(uuid.uuid5(IDENTIFIERS, key)),
            "TimeStamp": at or self._clock().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "SenderID": self._endpoint.sender_id,
            "ReceiverID": self._endpoint.receiver_id,
            "CORERuleVersion": self._endpoint.version,
        }


def _content(data: bytes) -> dict[str, Any]:
    """The payload of a batch."""
    return {"Payload": data, "PayloadLength": len(data), "CheckSum": checksum(data)}


class _Transport(AsyncTransport):
    """zeep's transport without its logging of bodies, and with a limit on the answer."""

    def __init__(self, client: httpx.AsyncClient, maximum_bytes: int) -> None:
        super().__init__(client=client, wsdl_client=httpx.Client(trust_env=False))  # type: ignore[no-untyped-call]
        self._maximum_bytes = maximum_bytes

    async def post(self, address: str, message: bytes, headers: dict[str, str]) -> httpx.Response:
        """POST and read at most the limit. Raises EndpointUnavailable beyond it."""
        async with self.client.stream("POST", address, content=message, headers=headers) as response:
            chunks: list[bytes] = []
            size = 0
            async for chunk in response.aiter_bytes():
                size += len(chunk)
                if size > self._maximum_bytes:
                    raise EndpointRefused("the answer of the CORE server is larger than the limit")
                chunks.append(chunk)
        decoded = {name: value for name, value in response.headers.items() if name != "content-encoding"}
        return httpx.Response(response.status_code, headers=decoded, content=b"".join(chunks), request=response.request)


def _tls(endpoint: CoreEndpoint) -> ssl.SSLContext | bool:
    if not (endpoint.authority or endpoint.certificate):
        return True
    try:
        context = ssl.create_default_context(cafile=endpoint.authority or None)
        if endpoint.certificate:
            context.load_cert_chain(endpoint.certificate, endpoint.certificate_key or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"the TLS files of endpoint {endpoint.name} cannot be used") from error
    return context


def _of_fault(fault: ZeepFault) -> EndpointUnavailable | EndpointRefused:
    """SOAP fault → error: Receiver may pass, everything else will not. Their text may hold anything: not repeated."""
    kind = str(fault.code or "").rpartition(":")[2]
    if kind in ("Receiver", "Server", ""):
        return EndpointUnavailable("the CORE server reports a fault of its own")
    return EndpointRefused(f"the CORE server refused the message with fault {kind[:40]}")


def _receipt(answer: Any, *, is_batch: bool) -> Receipt:
    code = str(answer.ErrorCode or "")
    if code == "Receiver":
        raise EndpointUnavailable("the CORE server cannot process the message now")
    if code != "Success":
        known = code if code.isalnum() and len(code) <= 40 else "unknown"
        raise EndpointRefused(f"the CORE server refused the message with error code {known}")
    payload = answer.Payload or b""
    if not is_batch and payload:
        try:
            payload = decode_payload(str(payload), is_text=True)
        except MalformedMessage:
            raise EndpointUnavailable("the payload of the answer is neither X12 nor base64 of X12") from None
    return Receipt(accepted=True, reference=str(answer.PayloadID or ""), data=bytes(payload))
