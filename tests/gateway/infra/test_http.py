"""The HTTP door over raw sockets and real TLS: framing, slow heads, certificates, shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.core.errors import ConfigurationError
from gateway.infra.http import ClientSettings, HttpSettings, TlsSettings, client, listener, serve
from gateway.security.clients import ClientRegistry, fingerprint
from tests.gateway.infra.certificates import CLIENT, SERVER, Authority


@dataclass
class Running:
    url: str
    port: int
    stop: asyncio.Event
    served: list[str]
    task: asyncio.Task[None]
    begun: asyncio.Event
    """Whether a slow request has come in."""

    async def raw(self, data: bytes, *, wait: float = 20) -> bytes:
        """Everything the server says to these bytes until it closes, or until `wait` seconds passed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        answer = bytearray()
        try:
            async with asyncio.timeout(wait):
                while piece := await reader.read(65536):
                    answer += piece
        except TimeoutError:
            answer += b"(open)"
        except ConnectionResetError:
            pass  # closed while bytes of ours were unread
        writer.close()
        return bytes(answer)


@asynccontextmanager
async def server(**settings: Any) -> AsyncIterator[Running]:
    served: list[str] = []
    begun = asyncio.Event()

    async def echo(request: Request) -> Response:
        body = await request.body()
        served.append(request.url.path)
        tls = request.scope.get("extensions", {}).get("tls")
        chain = tls["client_cert_chain"] if tls else []
        return JSONResponse({"size": len(body), "certificate": fingerprint(chain[0]) if chain else ""})

    async def slow(request: Request) -> Response:
        begun.set()
        await asyncio.sleep(0.5)
        served.append("/slow")
        return Response("done")

    application = Starlette(routes=[Route("/slow", slow), Route("/{x:path}", echo, methods=["GET", "POST"])])
    stop = asyncio.Event()
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    chosen = HttpSettings(**{"address": "127.0.0.1:0", "grace_seconds": 3, "keep_alive_seconds": 1, **settings})
    task = asyncio.create_task(serve(application, chosen, stop, ready=started.set_result))
    url = await asyncio.wait_for(started, 20)
    yield Running(url, int(url.rsplit(":", 1)[1]), stop, served, task, begun)
    stop.set()
    await asyncio.wait_for(task, 10)


GET = b"GET /second HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST /first HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
FRAMING = {
    "CL and TE": b"POST /first HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + GET,
    "TE and CL": b"POST /first HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"
    + GET,
    "two lengths": b"POST /first HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde" + GET,
    "length with plus": b"POST /first HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nabcd" + GET,
    "xchunked": b"POST /first HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + GET,
    "blank before colon": b"POST /first HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + GET,
    "bare LF": b"GET /first HTTP/1.1\nHost: x\n\n" + GET,
    "folded header": b"GET /first HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n" + GET,
    "chunk size with 0x": CHUNKED + b"0x4\r\nabcd\r\n0\r\n\r\n" + GET,
    "chunk ends with LF": CHUNKED + b"4\nabcd\n0\n\n" + GET,
    "no host": b"GET /first HTTP/1.1\r\n\r\n" + GET,
    "two hosts": b"GET /first HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" + GET,
    "NUL in a header": b"GET /first HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n" + GET,
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + GET,
}


async def test_ambiguous_requests_are_refused_and_nothing_behind_them_is_served() -> None:
    async with server() as running:
        for name, data in FRAMING.items():
            running.served.clear()
            answer = await running.raw(data)
            assert answer.startswith(b"HTTP/1.1 400"), (name, answer[:80])
            assert not answer.endswith(b"(open)"), name
            assert "/second" not in running.served, name


async def test_heads_have_limits() -> None:
    async with server() as running:
        many = b"".join(b"X-%d: y\r\n" % n for n in range(200))
        for head in (many, b"X: " + b"y" * 40_000 + b"\r\n"):
            answer = await running.raw(b"GET / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
            assert answer.startswith(b"HTTP/1.1 431")
        long = await running.raw(b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert long.startswith(b"HTTP/1.1 431")
        assert running.served == []


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nA: "])
async def test_connections_that_never_finish_a_head_are_closed(sent: bytes) -> None:
    async with server(head_seconds=0.3) as running:
        assert not (await running.raw(sent)).endswith(b"(open)")


async def test_a_head_that_drips_is_closed_too() -> None:
    async with server(head_seconds=0.4) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        closed = asyncio.create_task(reader.read())
        for piece in b"GET / HTTP/1.1\r\nHost: x\r\nA: bcdefghijklmnop":
            if closed.done():
                break
            writer.write(bytes([piece]))
            await asyncio.sleep(0.05)
        with contextlib.suppress(ConnectionResetError):  # closed while our next byte was on the way
            await asyncio.wait_for(closed, 20)
        writer.close()


async def test_a_second_request_gets_a_deadline_of_its_own() -> None:
    async with server(head_seconds=0.3, keep_alive_seconds=20) as running:
        answer = await running.raw(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HT")
        assert answer.startswith(b"HTTP/1.1 200")
        assert not answer.endswith(b"(open)")


@pytest.mark.parametrize("after", [b"\r\n", b"x" * 10])
async def test_what_trickles_in_after_an_answer_does_not_hold_the_connection(after: bytes) -> None:
    async with server(head_seconds=0.4, keep_alive_seconds=1) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        body = b"" if after == b"\r\n" else b"Content-Length: 1000\r\n"
        writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n" + body + b"\r\n")
        await reader.readuntil(b"done")
        closed = asyncio.create_task(reader.read())
        for _ in range(200):
            if closed.done():
                break
            writer.write(after)
            await asyncio.sleep(0.1)
        with contextlib.suppress(ConnectionResetError):
            await asyncio.wait_for(closed, 0.1)
        writer.close()


async def test_running_requests_end_before_the_server_does() -> None:
    async with server() as running, httpx.AsyncClient(trust_env=False) as http:
        asked = asyncio.create_task(http.get(f"{running.url}/slow"))
        await asyncio.wait_for(running.begun.wait(), 20)
        running.stop.set()
        assert (await asked).text == "done"
        await asyncio.wait_for(running.task, 20)
        with pytest.raises(httpx.ConnectError):
            await http.get(running.url)


async def test_processes_share_a_port_when_told_to() -> None:
    first = listener(HttpSettings(address="127.0.0.1:0", reuse_port=True))
    port = first.getsockname()[1]
    second = listener(HttpSettings(address=f"127.0.0.1:{port}", reuse_port=True))
    first.listen()
    with pytest.raises(ConfigurationError):
        listener(HttpSettings(address=f"127.0.0.1:{port}"))
    for bound in (first, second):
        bound.close()
    with pytest.raises(ConfigurationError):
        listener(HttpSettings(address="nowhere"))


async def get(url: str, authority: Path, certificate: Path | None = None) -> dict[str, Any]:
    settings = ClientSettings(tls=TlsSettings(authorities=authority, certificate=certificate), connect_seconds=3)
    async with client(settings) as http:
        answer: dict[str, Any] = (await http.get(f"{url}/x")).json()
        return answer


async def test_mutual_tls_names_the_client_and_refuses_all_others(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    shown, _ = ours.issue("server", SERVER)
    good, certificate = ours.issue("good", CLIENT)
    stolen, revoked = ours.issue("stolen", CLIENT)
    bad = {
        "unknown authority": theirs.issue("foreign", CLIENT)[0],
        "expired": ours.issue("old", CLIENT, days=-1)[0],
        "a server's certificate": ours.issue("wrong-usage", SERVER)[0],
        "revoked": stolen,
        "none": None,
    }
    tls = TlsSettings(certificate=shown, authorities=ours.path, revoked=ours.revoke(revoked), require_client=True)
    async with server(tls=tls) as running:
        answer = await get(running.url, ours.path, good)
        registered = ClientRegistry.load(
            {"clients": [{"id": "a", "tenant": "t", "certificates": [answer["certificate"]]}]}
        )
        from cryptography.hazmat.primitives.serialization import Encoding

        found = registered.shown(certificate.public_bytes(Encoding.PEM).decode())
        assert found is not None
        assert found.id == "a"
        for path in bad.values():
            with pytest.raises(httpx.TransportError):
                await get(running.url, ours.path, path)
        with pytest.raises(httpx.TransportError):
            await get(running.url.replace("https", "http"), ours.path, good)
        with pytest.raises(httpx.ConnectError):  # we check servers as strictly
            await get(running.url, theirs.path, good)
        assert len(running.served) == 1


async def test_old_tls_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    shown, _ = authority.issue("server", SERVER)
    async with server(tls=TlsSettings(certificate=shown)) as running:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(authority.path)
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLS"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", running.port, ssl=context)


def test_settings_that_cannot_work_are_told(tmp_path: Path) -> None:
    from gateway.infra.http import server_context

    shown, _ = Authority(tmp_path).issue("server", SERVER)
    for tls in (
        TlsSettings(),
        TlsSettings(certificate=tmp_path / "none.pem"),
        TlsSettings(certificate=shown, require_client=True),
        TlsSettings(certificate=shown, authorities=tmp_path / "none.pem"),
    ):
        with pytest.raises(ConfigurationError):
            server_context(tls)
