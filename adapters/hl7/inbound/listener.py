"""The port: lets peers in (network, caps, TLS with certificate binding), sweeps idle and slow ones, drains on stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from adapters.hl7.settings import ListenerSettings
from gateway.core.errors import ConfigurationError
from gateway.core.ports import Accept, Clock, Codec

from .connection import Connection, configure
from .exchange import Exchange, Inquire, Observe, Peer, Respond, never, within

_SWEEP = 1.0
"""Seconds between two looks at all connections' clocks: one timer for all is cheaper than three for each."""


_PEERS_FAULT = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPERM})
"""Errors of accept that are about one connection, which never came to be."""


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
        respond: Respond = never,
        inquire: Inquire | None = None,
    ) -> None:
        """`identify` gives control ids for our acknowledgements, `observe` is told what happens, `respond` gives
        business answers to senders that wait for them, `inquire` answers questions; without it they are parked."""
        self.settings = settings
        self.observe = observe
        self.tasks: set[asyncio.Task[None]] = set()
        self.port = settings.port
        """The port bound, also when the settings left it to the system."""
        self.exchange: Exchange
        self._parts = (codec, accept, clock, identify, respond, inquire)
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[Connection] = set()
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
        codec, accept, clock, identify, respond, inquire = self._parts
        self.exchange = Exchange(
            self.settings,
            codec=codec,
            accept=accept,
            clock=clock,
            identify=identify,
            observe=self.observe,
            respond=respond,
            inquire=inquire,
        )
        context = self.settings.tls.listener_context() if self.settings.tls else None
        self._sockets = await self._bind()
        self.port = int(self._sockets[0].getsockname()[1])
        self._tasks = {loop.create_task(self._accept(bound, context)) for bound in self._sockets}
        self._sweeper = loop.call_later(_SWEEP, self._sweep)

    async def _bind(self) -> list[socket.socket]:
        """One listening socket for each address the host name stands for."""
        settings, bound, port = self.settings, [], self.settings.port
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                settings.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, *_, address in dict.fromkeys(found):
                listening = socket.create_server(
                    (str(address[0]), port), family=family, backlog=settings.backlog, reuse_port=settings.reuse_port
                )
                listening.setblocking(False)
                bound.append(listening)
                port = int(listening.getsockname()[1])
        except OSError as error:
            for listening in bound:
                listening.close()
            raise ConfigurationError(f"cannot bind: {error.strerror}", location=f"port {settings.port}") from error
        return bound

    async def stop(self) -> None:
        """Take no new connections, finish what was received, close; after `drain_timeout` cut what is left."""
        if not self._sockets:
            return
        if self._sweeper is not None:
            self._sweeper.cancel()
        for entering in self._tasks:
            entering.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for listening in self._sockets:
            listening.close()
        self._sockets = []
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
        await asyncio.gather(*self.tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):  # the loop tells connections that they are gone
            await asyncio.wait_for(self._quiet.wait(), _SWEEP)

    async def __aenter__(self) -> Listener:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    def use(self, settings: ListenerSettings) -> None:
        """Take new partners over without a restart; address and TLS stay as they were."""
        self.settings = settings
        self.exchange.use(settings)

    # What connections report.

    def lost(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        self._left(connection.peer.address)
        self._check_quiet()

    def _left(self, address: str) -> None:
        self._addresses[address] -= 1
        if self._addresses[address] <= 0:
            del self._addresses[address]

    def admit(self, size: int, *, place: bool) -> bool:
        """Count one more message of this many bytes, which needs a place among those in flight, or will inherit one of
        its connection; False when there are too many of either."""
        full = place and self._in_flight >= self.settings.in_flight
        if full or self._held + size > self.settings.buffered:
            self.observe("hl7.busy", {"in-flight": self._in_flight, "held": self._held})
            return False
        self._in_flight += place
        self._held += size
        return True

    def release(self, size: int, *, places: int) -> None:
        """A message less, and the places among those in flight that nobody inherits."""
        self._in_flight -= places
        self._held -= size
        if not self._in_flight and not self._connections:
            self._quiet.set()

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

    def welcome(self, connection: Connection, transport: asyncio.Transport) -> bool:
        """Whether a connection whose handshake is done may speak for anybody."""
        connection.peer.names = certificate_names(transport.get_extra_info("peercert"))
        if not self.exchange.partners_of(connection.peer) and not self.settings.unknown_partners:
            self.observe("hl7.security", {"reason": "certificate-not-bound", "peer": connection.peer.address})
            return False
        self._connections.add(connection)
        return True

    # Letting peers in.

    async def _accept(self, listening: socket.socket, context: ssl.SSLContext | None) -> None:
        """Take connections from the kernel: network and caps come before the handshake."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connected, name = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno in _PEERS_FAULT:
                    continue
                # Out of file descriptors or memory: the kernel keeps the queue for a moment.
                self.observe("hl7.busy", {"reason": errno.errorcode.get(error.errno or 0, "")})
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(loop.create_future(), _SWEEP)
                continue
            address = str(name[0])
            if not self._may_enter(address):
                connected.close()
                continue
            self._addresses[address] += 1
            task = loop.create_task(self._enter(connected, address, context))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _may_enter(self, address: str) -> bool:
        settings = self.settings
        if settings.networks and not within(address, settings.networks):
            self.observe("hl7.security", {"reason": "network", "peer": address})
            return False
        if sum(self._addresses.values()) >= settings.connections:
            self.observe("hl7.busy", {"reason": "connections", "peer": address})
            return False
        if self._addresses[address] >= settings.connections_per_peer:
            self.observe("hl7.busy", {"reason": "connections-per-peer", "peer": address})
            return False
        return True

    async def _enter(self, connected: socket.socket, address: str, context: ssl.SSLContext | None) -> None:
        """Hand a socket to a connection, after the TLS handshake where there is one."""
        connection = Connection(self, Peer(address))
        try:
            configure(connected, self.settings.keepalive)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                connected,
                ssl=context,
                ssl_handshake_timeout=self.settings.handshake_timeout if context else None,
            )
        except OSError as error:
            name = "hl7.security" if context else "hl7.closed"
            self.observe(name, {"reason": "tls" if context else "reset", "error": _tls_reason(error), "peer": address})
        finally:
            if not connection.entered:
                connected.close()
                self._left(address)

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
