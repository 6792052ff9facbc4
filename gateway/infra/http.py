"""The HTTP door: uvicorn (httptools, uvloop) hardened where it was measured to be soft, and the httpx client factory.

uvicorn with httptools refuses ambiguous framing (CL+TE, bare LF, obs-fold), but never closes a connection that sends
nothing or drips its head, accepts missing and duplicate Host headers, has no limit on headers, and shows no client
certificate. `EdgeProtocol` adds exactly these. Deadlines and limits of the body belong to the adapters, which answer
in their protocol. Certificates appear in the ASGI scope as the TLS extension says (`extensions.tls`).

One process, one event loop, one listener; more cores by more processes on the same port (SO_REUSEPORT, D12).
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import uvloop
from pydantic import BaseModel, ConfigDict, Field
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.core.errors import ConfigurationError

MAX_HEADERS = 100
MAX_HEAD = 32 * 1024
"""Headers in number and bytes: what nginx and Apache allow by default, and several times what FHIR clients send."""

Application = Callable[..., Awaitable[None]]
"""An ASGI 3 application."""


class TlsSettings(BaseModel):
    """TLS of one listener or client. TLS 1.2 is the floor."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    certificate: Path | None = Field(None, description="PEM chain we show; a server needs one")
    key: Path | None = Field(None, description="PEM private key of the certificate; None: in the same file")
    authorities: Path | None = Field(
        None, description="PEM authorities the other side must come from; None: public ones"
    )
    revoked: Path | None = Field(None, description="PEM revocation lists, checked for the other side's certificate")
    require_client: bool = Field(False, description="server only: refuse clients without a certificate (mTLS)")


class HttpSettings(BaseModel):
    """One HTTP listener."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str = Field("127.0.0.1:8080", description="host:port to bind; port 0 takes a free one")
    tls: TlsSettings | None = Field(None, description="TLS; None: plaintext, for loopback or behind a proxy only")
    head_seconds: float = Field(10, gt=0, description="longest time for a connection to send a request's head")
    keep_alive_seconds: int = Field(30, gt=0, description="longest idle time between two requests")
    max_concurrent: int = Field(1000, gt=0, description="connections and requests at once; beyond it 503")
    grace_seconds: int = Field(30, gt=0, description="time for running requests to end at shutdown")
    reuse_port: bool = Field(False, description="let several processes share the port (SO_REUSEPORT)")


class ClientSettings(BaseModel):
    """Outgoing HTTP. Each attempt also has a deadline of its own: a read time-out does not stop a dripping server."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connect_seconds: float = Field(5, gt=0, description="TCP and TLS")
    read_seconds: float = Field(15, gt=0, description="longest silence while reading or writing")
    max_connections: int = Field(20, gt=0, description="connections to all hosts of this client")
    tls: TlsSettings = Field(default_factory=TlsSettings, description="authorities to trust, certificate to show")


class _Refused(Exception):
    """The head of a request breaks a limit; the parser turns it into an error answer."""


class EdgeProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a deadline and limits for the head, exactly one Host, and the client certificate."""

    head_seconds = 10.0
    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _status = 400
    _tls: dict[str, Any] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first head."""
        super().connection_made(transport)
        self._tls = _certificate(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._head_done()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes that belong to no running request (a body after its answer, stray line ends) are a head in waiting.

        uvicorn drops its keep-alive timer at any byte, so that a blank line now and then would hold a connection.
        """
        super().data_received(data)
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self._await_head()

    def on_message_begin(self) -> None:
        """A request line begins: its head must be complete in time."""
        super().on_message_begin()
        self._head_bytes = 0
        if self._tls is not None:
            extensions: Any = {"tls": self._tls}
            self.scope["extensions"] = extensions
        self._await_head()

    def on_url(self, url: bytes) -> None:
        """Count the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count headers."""
        self._count(len(name) + len(value))
        super().on_header(name, value)
        if len(self.headers) > MAX_HEADERS:
            self._refuse(431)

    def on_headers_complete(self) -> None:
        """The head is complete: it names its host exactly once (RFC 9112, 3.2)."""
        self._head_done()
        if sum(name == b"host" for name, _ in self.headers) != 1:
            self._refuse(400)
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer a head that cannot be served, and close."""
        phrase = http.HTTPStatus(self._status).phrase if self._status != 400 else msg
        body = phrase.encode("ascii")
        head = f"HTTP/1.1 {self._status} {http.HTTPStatus(self._status).phrase}\r\n"
        fields = f"content-type: text/plain\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode("ascii") + fields.encode("ascii") + body)
        self.transport.close()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD:
            self._refuse(431)

    def _refuse(self, status: int) -> None:
        self._status = status
        raise _Refused  # httptools reports it as a parser error, which ends in send_400_response

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._head_late)

    def _head_done(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()


class EdgeServer(uvicorn.Server):
    """A server whose signals belong to the process that runs it, and that tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, and say so."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signal handlers alone."""
        yield


def listener(settings: HttpSettings) -> socket.socket:
    """Bind the address. Raises ConfigurationError."""
    host, _, port = settings.address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if settings.reuse_port:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((host.strip("[]"), int(port)))
    except (OSError, ValueError) as error:
        bound.close()
        raise ConfigurationError("cannot bind the HTTP address", location=settings.address) from error
    return bound


def server(app: Application, settings: HttpSettings) -> EdgeServer:
    """A configured server, not yet listening; run it with `await server.serve(sockets=[listener(settings)])`."""
    protocol = type("BoundProtocol", (EdgeProtocol,), {"head_seconds": settings.head_seconds})
    context = server_context(settings.tls) if settings.tls else None
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,  # uvicorn's line holds path and query; the adapters log route templates
        proxy_headers=False,  # an identity from a header is an identity anybody can write
        server_header=False,
        backlog=2048,
        limit_concurrency=settings.max_concurrent,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.grace_seconds,
        ssl_context_factory=(lambda _config, _default: context) if context else None,
    )
    return EdgeServer(config)


async def serve(
    app: Application,
    settings: HttpSettings,
    stop: asyncio.Event,
    *,
    bound: socket.socket | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until `stop` is set, then finish running requests within `grace_seconds`.

    `ready` is called once with the base URL. Raises ConfigurationError (address, certificate).
    """
    running = server(app, settings)
    opened = bound or listener(settings)
    url = f"{'https' if settings.tls else 'http'}://{_name(opened)}"
    task = asyncio.create_task(running.serve(sockets=[opened]))
    try:
        await _first(task, running.listening.wait())
        if ready is not None and not task.done():
            ready(url)
        await _first(task, stop.wait())
    finally:
        running.should_exit = True
        await task


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a process's main coroutine on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def server_context(tls: TlsSettings) -> ssl.SSLContext:
    """The TLS context of a listener. Raises ConfigurationError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if tls.certificate is None:
        raise ConfigurationError("a TLS listener needs a certificate")
    _load(context, tls)
    if tls.authorities is not None:
        # Asked for but not demanded: clients may come by token as well. Demanded: nobody enters without one.
        context.verify_mode = ssl.CERT_REQUIRED if tls.require_client else ssl.CERT_OPTIONAL
    elif tls.require_client:
        raise ConfigurationError("client certificates need authorities to check them against")
    return context


def client_context(tls: TlsSettings) -> ssl.SSLContext:
    """The TLS context of a client: verifies always. Raises ConfigurationError."""
    context = ssl.create_default_context(cafile=None if tls.authorities is None else str(tls.authorities))
    _load(context, tls, authorities=False)
    return context


def client(settings: ClientSettings, *, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """A client that follows no redirects and reads no proxy from the environment (a token goes to one host only)."""
    return httpx.AsyncClient(
        transport=transport or client_transport(settings),
        timeout=httpx.Timeout(settings.read_seconds, connect=settings.connect_seconds, pool=settings.connect_seconds),
        follow_redirects=False,
        trust_env=False,
        headers={"user-agent": "authorization-gateway"},
    )


def client_transport(settings: ClientSettings) -> httpx.AsyncHTTPTransport:
    """The plain transport, to be wrapped by an egress guard."""
    return httpx.AsyncHTTPTransport(
        verify=client_context(settings.tls),
        trust_env=False,
        limits=httpx.Limits(
            max_connections=settings.max_connections, max_keepalive_connections=settings.max_connections
        ),
    )


def _load(context: ssl.SSLContext, tls: TlsSettings, *, authorities: bool = True) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key)
        if authorities and tls.authorities is not None:
            context.load_verify_locations(tls.authorities)
        if tls.revoked is not None:
            context.load_verify_locations(tls.revoked)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"TLS files do not load: {type(error).__name__}") from error


def _certificate(transport: asyncio.Transport) -> dict[str, Any] | None:
    """The ASGI TLS extension; None on plaintext. A certificate here has been verified by the handshake."""
    connection = transport.get_extra_info("ssl_object")
    if connection is None:
        return None
    shown = connection.getpeercert(binary_form=True)
    return {
        "server_cert": None,
        "client_cert_chain": [ssl.DER_cert_to_PEM_cert(shown)] if shown else [],
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}.get(connection.version()),
        "cipher_suite": None,
    }


async def _first(task: asyncio.Task[None], event: Coroutine[Any, Any, object]) -> None:
    """Wait for an event, or for the server's end."""
    waiting = asyncio.create_task(event)
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


def _name(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if bound.family == socket.AF_INET6 else f"{host}:{port}"
