"""The port: lets peers in (network, caps, TLS with certificate binding), sweeps idle and slow ones, drains on stop."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, cast

from adapters.hl7.settings import ListenerSettings
from gateway.core.errors import ConfigurationError
from gateway.core.ports import Accept, Clock, Codec

from .connection import Connection, configure
from .duplicates import Outcome
from .exchange import Exchange, Observe, Peer, within

_SWEEP = 1.0
"""Seconds between two looks at all connections' clocks: one timer for all is cheaper than three for each."""


def _unobserved(_name: str, _fields: Mapping[str, str | int]) -> None:
    return None


class Listener:
    """One MLLP port on one event loop. `start`, then `stop` (drains) or use as an asynchronous context."""

    def __init__(
        self,
        settings: ListenerSettings,
        *,
        codec: Codec,
        accept: Accept,
        clock: Clock,
        identify: Callable[[], str],
        observe: Observe = _unobserved,
    ) -> None:
        """`identify` gives control ids for our acknowledgements, `observe` is told what happens."""
        self.settings = settings
        self.observe = observe
        self.tasks: set[asyncio.Task[Outcome]] = set()
        self.port = settings.port
        """The port bound, also when the settings left it to the system."""
        self.exchange: Exchange
        self._parts = (codec, accept, clock, identify)
        self._server: asyncio.Server | None = None
        self._context: ssl.SSLContext | None = None
        self._connections: set[Connection] = set()
        self._gates: set[asyncio.Task[None]] = set()
        self._addresses: Counter[str] = Counter()
        self._in_flight = 0
        self._held = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self._quiet = asyncio.Event()

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._connections)

    @property
    def in_flight(self) -> int:
        """Messages received and not yet answered."""
        return self._in_flight

    async def start(self) -> None:
        """Bind and serve. Raises ConfigurationError when the address cannot be bound or TLS files do not fit."""
        loop = asyncio.get_running_loop()
        codec, accept, clock, identify = self._parts
        self.exchange = Exchange(
            self.settings, codec=codec, accept=accept, clock=clock, identify=identify, observe=self.observe
        )
        self._context = self.settings.tls.listener_context() if self.settings.tls else None
        try:
            self._server = await loop.create_server(
                lambda: _Gate(self),
                self.settings.host,
                self.settings.port,
                backlog=self.settings.backlog,
                reuse_port=self.settings.reuse_port or None,
            )
        except OSError as error:
            raise ConfigurationError(f"cannot bind: {error.strerror}", location=f"port {self.settings.port}") from error
        self.port = int(self._server.sockets[0].getsockname()[1])
        self._sweeper = loop.call_later(_SWEEP, self._sweep)

    async def stop(self) -> None:
        """Take no new connections, finish what was received, close; after `drain_timeout` cut what is left."""
        if self._server is None:
            return
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._server.close()
        for gate in list(self._gates):
            gate.cancel()
        for connection in list(self._connections):
            connection.drain()
        self._check_quiet()
        try:
            async with asyncio.timeout(self.settings.drain_timeout):
                await self._quiet.wait()
        except TimeoutError:
            self.observe("hl7.drain-timeout", {"in-flight": self._in_flight})
        for connection in list(self._connections):
            connection.abort("drain-timeout")
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, *self._gates, return_exceptions=True)
        await asyncio.sleep(0)
        self._server = None

    async def __aenter__(self) -> Listener:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    def use(self, settings: ListenerSettings) -> None:
        """Take new partners over without a restart; address and TLS stay as they were."""
        self.settings = settings
        self.exchange.use(settings)

    # What gates and connections report.

    def opened(self, connection: Connection) -> None:
        """A connection is up."""
        self._connections.add(connection)

    def lost(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        self.left(connection.peer.address)
        self._check_quiet()

    def left(self, address: str) -> None:
        """One connection of an address less."""
        self._addresses[address] -= 1
        if self._addresses[address] <= 0:
            del self._addresses[address]

    def admit(self) -> bool:
        """Count one more message in flight; False when there are too many."""
        if self._in_flight >= self.settings.in_flight:
            self.observe("hl7.busy", {"in-flight": self._in_flight})
            return False
        self._in_flight += 1
        return True

    def release(self) -> None:
        """One message in flight less."""
        self._in_flight -= 1
        self._check_quiet()

    def _check_quiet(self) -> None:
        if not self._connections and not self._in_flight:
            self._quiet.set()
        else:
            self._quiet.clear()

    def hold(self, change: int) -> bool:
        """Count bytes of unfinished frames; False when growing over the limit."""
        self._held += change
        if change > 0 and self._held > self.settings.buffered:
            self.observe("hl7.busy", {"held": self._held})
            return False
        return True

    def enter(self, transport: asyncio.Transport) -> None:
        """Let a TCP peer in, or not: network, caps, then TLS or plain."""
        settings = self.settings
        name = transport.get_extra_info("peername")
        address = str(name[0]) if name else ""
        reason = ""
        if settings.networks and not within(address, settings.networks):
            reason = "network"
        elif sum(self._addresses.values()) >= settings.connections:
            reason = "connections"
        elif self._addresses[address] >= settings.connections_per_peer:
            reason = "connections-per-peer"
        if reason:
            event = "hl7.security" if reason == "network" else "hl7.busy"
            self.observe(event, {"reason": reason, "peer": address})
            transport.abort()
            return
        self._addresses[address] += 1
        configure(transport, settings.keepalive)
        if self._context is None:
            self._welcome(transport, Connection(self, Peer(address)))
            return
        transport.pause_reading()
        gate = asyncio.get_running_loop().create_task(self._secure(transport, self._context, address))
        self._gates.add(gate)
        gate.add_done_callback(self._gates.discard)

    async def _secure(self, transport: asyncio.Transport, context: ssl.SSLContext, address: str) -> None:
        """TLS, done by hand so that a failed handshake is an event and not silence."""
        connection = Connection(self, Peer(address))
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport,
                connection,
                context,
                server_side=True,
                ssl_handshake_timeout=self.settings.handshake_timeout,
            )
        except (OSError, asyncio.CancelledError) as error:
            self.observe("hl7.security", {"reason": "tls", "error": _tls_reason(error), "peer": address})
            transport.abort()
            self.left(address)
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        if secured is None or connection.gone:  # the peer left right after the handshake
            return
        peer = Peer(address, certificate_names(secured.get_extra_info("peercert")))
        connection.peer = peer
        if not self.exchange.partners_of(peer) and not self.settings.unknown_partners:
            self.observe("hl7.security", {"reason": "certificate-not-bound", "peer": address})
            secured.abort()
            return
        connection.connection_made(secured)

    def _welcome(self, transport: asyncio.Transport, connection: Connection) -> None:
        transport.set_protocol(connection)
        connection.connection_made(transport)

    def _sweep(self) -> None:
        """Close peers that are idle, slow inside a frame, or do not read."""
        loop = asyncio.get_running_loop()
        now, settings = loop.time(), self.settings
        for connection in list(self._connections):
            if connection.frame_since is not None and now - connection.frame_since > settings.frame_timeout:
                connection.abort("frame-timeout")
            elif connection.unread_since is not None and now - connection.unread_since > settings.slow_peer_timeout:
                connection.abort("slow-peer")
            elif not connection.busy and now - connection.heard > settings.idle_timeout:
                connection.abort("idle")
        self._sweeper = loop.call_later(_SWEEP, self._sweep)


class _Gate(asyncio.Protocol):
    """Stands in until a peer is let in: networks and caps come before the handshake."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._listener.enter(cast("asyncio.Transport", transport))


def certificate_names(certificate: Mapping[str, Any] | None) -> frozenset[str]:
    """Common name and alternative names of a verified certificate (as the ssl module gives it)."""
    if not certificate:
        return frozenset()
    names = {value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"}
    return frozenset(names | {value for _, value in certificate.get("subjectAltName", ())})


def _tls_reason(error: BaseException) -> str:
    """A code, never text: what OpenSSL found wrong."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate-{error.verify_code}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "ssl").lower().replace("_", "-")
    return type(error).__name__
