"""One connection to one broker that carries Produce requests, one at a time.

aiokafka connects: TCP or TLS, the broker's versions, SASL. Then its stream is replaced by the protocol here, which
gives a response to its reader in the turn of the event loop in which it came; a stream, its reader task and a future
with a timeout would need four turns and about 60 µs.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any, cast

from aiokafka.conn import AIOKafkaConnection

_SIZE = struct.Struct(">i")
_PATIENCE = 2.0
"""Seconds for a broker to take what was written before the connection is cut."""
_LARGEST = 64 * 1024 * 1024
"""Bytes of a response at most: a sane one has some for each partition."""


class Channel(asyncio.Protocol):
    """What aiokafka's protocol of the same transport hears too: that the connection is gone."""

    def __init__(self, respond: Callable[[bytes], None], lost: Callable[[Channel], None]) -> None:
        self._respond, self._lost = respond, lost
        self._buffer = b""
        self._connection: AIOKafkaConnection | None = None
        self._transport: asyncio.Transport | None = None
        self._before: asyncio.BaseProtocol | None = None

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int,
        options: dict[str, Any],
        respond: Callable[[bytes], None],
        lost: Callable[[Channel], None],
    ) -> Channel:
        """Dial and authenticate. Raises OSError, TimeoutError, KafkaError."""
        channel = cls(respond, lost)
        connection = AIOKafkaConnection(host, port, **options)
        _, writer = await connection.connect()
        transport = cast("asyncio.Transport", writer.transport)
        channel._connection, channel._transport = connection, transport
        channel._before = transport.get_protocol()
        transport.set_protocol(channel)
        return channel

    @property
    def open(self) -> bool:
        """Whether it may be written to."""
        return self._transport is not None and not self._transport.is_closing()

    def write(self, request: bytes) -> None:
        """Send one request."""
        if self._transport is not None:
            self._transport.write(request)

    def abort(self) -> None:
        """Close at once; `lost` is called soon."""
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Close and wait until it is."""
        if self._connection is not None:
            closed = asyncio.ensure_future(self._connection.close())
            await asyncio.wait([closed], timeout=_PATIENCE)
            self.abort()

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        while len(data) >= 4:
            (size,) = _SIZE.unpack_from(data)
            if not 0 <= size <= _LARGEST:
                self.abort()
                return
            if len(data) < 4 + size:
                break
            self._respond(data[4 : 4 + size])
            data = data[4 + size :]
        self._buffer = data

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._before is not None:
            self._before.connection_lost(exc)
        self._lost(self)
