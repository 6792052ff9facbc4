"""The zeep client against our own server and against servers that hang, lie or refuse."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvicorn

from adapters.soap.outbound import CoreSender
from adapters.soap.settings import CoreEndpoint
from gateway.core.errors import EndpointRefused, EndpointUnavailable
from gateway.core.ports import Outbound
from gateway.testing import FixedClock
from tests.adapters.soap.bench import ACKNOWLEDGEMENT, ANSWER, RESULTS, Bench

X12 = ANSWER.decode().encode()
PASSWORD = "open sesame"


@pytest.fixture
async def server(bench: Bench) -> AsyncIterator[str]:
    config = uvicorn.Config(bench.app(), host="127.0.0.1", port=0, log_level="error", lifespan="off")
    running = uvicorn.Server(config)
    task = asyncio.create_task(running.serve())
    while not running.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    running.should_exit = True
    await task


def sender(url: str, **change: object) -> CoreSender:
    endpoint = CoreEndpoint(name="plan", url=url, sender_id="CLINIC7", receiver_id="PLAN0009", **change)
    return CoreSender(endpoint, secret=lambda _: PASSWORD.encode(), clock=FixedClock())


def outbound(key: str = "k1", mode: str = "RealTime") -> Outbound:
    attributes = {"payloadType": "X12_278_Request_005010X217", "processingMode": mode}
    return Outbound(
        endpoint="plan", data=X12, media_type="application/edi-x12", idempotency_key=key, attributes=attributes
    )


async def test_real_time_and_batch(server: str, bench: Bench) -> None:
    client = sender(f"{server}/core/realtime", username="clinic", password="ref")
    receipt = await client.send(outbound())
    assert receipt.accepted
    assert receipt.data == ANSWER
    token = bench.asked[0].token
    assert token is not None
    assert (token.username, token.matches(PASSWORD), token.matches("other")) == ("clinic", True, False)
    await client.close()
    batch = sender(f"{server}/core/batch")
    assert (await batch.send(outbound("k2", "Batch"))).data == b""
    assert [raw.data for raw in bench.codec.seen] == [X12, X12]
    await batch.close()


async def test_resend_has_the_same_payload_id(server: str, bench: Bench) -> None:
    client = sender(f"{server}/core/realtime")
    first = await client.send(outbound("same"))
    again = await client.send(outbound("same"))
    assert (first, len(bench.accept.accepted)) == (again, 1)
    await client.close()


async def test_twenty_calls_on_one_loop(server: str, bench: Bench) -> None:
    client = sender(f"{server}/core/realtime")
    receipts = await asyncio.gather(*(client.send(outbound(f"k{number}")) for number in range(20)))
    assert {receipt.data for receipt in receipts} == {ANSWER}
    assert len(bench.accept.accepted) == 20
    await client.close()


async def test_refusal_names_the_code(server: str) -> None:
    client = sender(f"{server}/core/realtime", version="9.9.9")
    with pytest.raises(EndpointRefused, match="VersionMismatch"):
        await client.send(outbound())
    await client.close()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def canned(status: str, body: bytes, kind: str = "application/soap+xml") -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
        )
        await writer.drain()
        writer.close()

    return handle


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One byte now and then: each read is in time, the whole call is not."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: 1000\r\n\r\n")
    try:
        for _ in range(1000):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.1)
    except ConnectionError:
        pass
    writer.close()


LEAK = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>'
RECEIVER = b"""<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><e:Fault><e:Code><e:Value>e:Receiver</e:Value>
</e:Code><e:Reason><e:Text xml:lang="en">JOHN DOE</e:Text></e:Reason></e:Fault></e:Body></e:Envelope>"""


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (hang, EndpointUnavailable),
        (drip, EndpointUnavailable),
        (canned("503 Busy", b"", "text/plain"), EndpointUnavailable),
        (canned("200 OK", b"<html>proxy</html>", "text/html"), EndpointUnavailable),
        (canned("200 OK", b"not xml", "text/html"), EndpointUnavailable),
        (canned("500 Fault", RECEIVER), EndpointUnavailable),
        (canned("400 Fault", RECEIVER.replace(b"e:Receiver<", b"e:Sender<")), EndpointRefused),
        (canned("404 Not Found", b"", "text/plain"), EndpointRefused),
        (canned("200 OK", LEAK), EndpointUnavailable),
        (canned("200 OK", b" " * (1 << 20)), EndpointRefused),
    ],
    ids=["hang", "drip", "busy", "proxy", "noise", "receiver", "sender", "missing", "dtd", "huge"],
)
async def test_bad_servers(handler: Handler, expected: type[Exception]) -> None:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = sender(f"http://127.0.0.1:{port}/", timeout=0.5, maximum_bytes=1 << 19)
    with pytest.raises(expected) as caught:
        await client.send(outbound())
    assert "DOE" not in str(caught.value)
    # Who may have the message gets it again after CORE's ninety seconds only; who said no, when the stage says so.
    assert getattr(caught.value, "retry_after", None) == (90.0 if handler in (hang, drip) else None)
    await client.close()
    server.close()


async def test_connection_refused() -> None:
    client = sender("http://127.0.0.1:9/")
    with pytest.raises(EndpointUnavailable) as caught:
        await client.send(outbound())
    assert caught.value.retry_after is None  # nothing arrived: it may follow soon
    await client.close()


def test_password_digest() -> None:
    from adapters.soap.wire import UsernameToken

    nonce = b"0123456789abcdef"
    digest = hashlib.sha1(nonce + b"2026-01-15T12:00:00Z" + PASSWORD.encode()).digest()
    token = UsernameToken(
        "clinic", base64.b64encode(digest).decode(), True, base64.b64encode(nonce).decode(), "2026-01-15T12:00:00Z"
    )
    assert token.matches(PASSWORD)
    assert not token.matches("other")
    assert PASSWORD not in repr(token)


async def test_a_batch_is_fetched_and_acknowledged_under_its_payload_id(server: str, bench: Bench) -> None:
    client = sender(f"{server}/core/batch")
    kind = "X12_278_Request_005010X217"
    assert (await client.acknowledgement("k3", kind), await client.results("k3", kind)) == (b"", b"")
    await client.send(outbound("k3", "Batch"))
    assert await client.acknowledgement("k3", kind) == ACKNOWLEDGEMENT
    assert await client.results("k3", kind) == RESULTS
    taken = len(bench.accept.accepted)
    await client.confirm("k3", ACKNOWLEDGEMENT)
    await client.confirm("k3", ACKNOWLEDGEMENT)
    assert len(bench.accept.accepted) == taken + 1
    assert await client.results("k3", kind) == RESULTS
    assert (await client.send(outbound("k3", "Batch"))).accepted
    assert len(bench.accept.accepted) == taken + 1
    await client.close()
