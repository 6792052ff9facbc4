"""An idempotent producer that waits for all replicas (design promise 1), made for many small waits (decision 0066).

Records of one partition wait in one line. Its oldest go as one batch, and the next batch goes when the leader has
confirmed this one: what comes meanwhile goes together, so that a busy line batches by itself and an idle one does not
wait. A batch is sent again, the same bytes with the same sequence number, until the leader confirms or refuses it or
its time is up: its records are stored once and in order, and never overtaken by those behind.

Cluster metadata, the producer id and authentication are aiokafka's client's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError, ProducerClosed, for_code
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.structs import TopicPartition

from gateway.infra import produce_wire as wire
from gateway.infra.broker import Channel
from gateway.infra.produce_line import Headers, Line, Record, Stored
from gateway.infra.telemetry import logger

log = logger("kafka")

BACKOFF = 0.1
"""Seconds before a batch is tried again."""
GATHERING = 3
"""Turns of the event loop that a request waits for company where the last one had some: whoever was answered by it asks
again within them, and a request costs more than a record. A turn in which nothing happens takes microseconds."""
SWEEP = 0.25
"""Seconds between looks for what is late."""
REQUEST_BYTES = 8 * 1024 * 1024
"""A request takes batches of more partitions up to this size; a broker allows 100 MiB."""


class _Broker:
    """One leader: its connection, the lines that are ready, and those whose batches are with it."""

    __slots__ = ("channel", "company", "connecting", "correlation", "ready", "scheduled", "sent", "since")

    def __init__(self) -> None:
        self.channel: Channel | None = None
        self.connecting: asyncio.Task[None] | None = None
        self.ready: deque[Line] = deque()
        self.sent: dict[wire.Place, Line] = {}
        self.correlation = 0
        self.since = 0.0
        self.scheduled = False
        self.company = False
        """Whether the last request had more than one record, or others waited for its answer."""


class Producer:
    """Used from one event loop. `start`, `send`, `stop`."""

    def __init__(
        self, servers: str, security: dict[str, Any], *, timeout: float, batch_bytes: int, record_bytes: int
    ) -> None:
        """`security` are aiokafka's connection options; `timeout` is how long a record may take, in seconds."""
        self._servers, self._security = servers, security
        self._timeout, self._batch_bytes, self._record_bytes = timeout, batch_bytes, record_bytes
        self._topics: dict[str, list[Line]] = {}
        """Those that were asked for; the client asks the cluster about no others."""
        self._brokers: dict[int, _Broker] = {}
        self._identity: tuple[int, int] | None = None
        self._naming: asyncio.Task[None] | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._turn = 0
        self._closing = self._stopped = False
        self._client: AIOKafkaClient

    async def start(self) -> None:
        """Connect and get a producer id. Raises KafkaError."""
        self._loop = asyncio.get_running_loop()
        milliseconds = int(self._timeout * 1000)
        self._options = {"client_id": "gateway-producer", "request_timeout_ms": milliseconds, **self._security}
        self._client = AIOKafkaClient(bootstrap_servers=self._servers, **self._options)
        try:
            await self._client.bootstrap()
            self._client.cluster.add_listener(self._learn)
            self._rename()
            async with asyncio.timeout(self._timeout):
                while self._naming is not None:
                    await self._naming
        except TimeoutError as error:
            raise KafkaTimeoutError from error
        self._sweeper = self._loop.call_later(SWEEP, self._sweep)

    async def stop(self) -> None:
        """Wait for what was given, then disconnect."""
        self._closing = True
        left = [record.done for line in self._lines() for record in line.unsettled()]
        if left:
            await asyncio.wait(left, timeout=self._timeout)
        self._stopped = True
        for line in self._lines():
            line.abandon(ProducerClosed())
        if self._sweeper is not None:
            self._sweeper.cancel()
        tasks = [self._naming, *(broker.connecting for broker in self._brokers.values())]
        running = [task for task in tasks if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for broker in self._brokers.values():
            if broker.channel is not None:
                await broker.channel.close()
        await self._client.close()

    async def send(self, topic: str, key: bytes | None, value: bytes, headers: Headers) -> Stored:
        """Store one record. Raises KafkaError. A caller that is cancelled before its record left takes it back."""
        if self._closing:
            raise ProducerClosed
        size = len(value) + len(key or b"")
        for name, content in headers:
            size += len(name) + len(content) + 10
        if size > self._record_bytes:
            raise MessageSizeTooLargeError
        lines = self._topics.get(topic) or await self._discover(topic)
        if self._stopped:
            raise ProducerClosed
        if key is None:
            self._turn += 1
            line = lines[self._turn % len(lines)]
        else:
            line = lines[wire.partition_of(key, len(lines))]
        done: asyncio.Future[Stored] = self._loop.create_future()
        line.waiting.append(Record(done, key, value, headers, self._loop.time() + self._timeout))
        if not line.busy:
            self._wake(line)
        return await done

    # What goes where.

    def _lines(self) -> list[Line]:
        return [line for lines in self._topics.values() for line in lines]

    async def _discover(self, topic: str) -> list[Line]:
        """The partitions of a topic seen for the first time."""
        lines = self._topics.setdefault(topic, [])
        try:
            async with asyncio.timeout(self._timeout):
                await self._client.add_topic(topic)
                self._learn(self._client.cluster)
                while not lines:
                    await asyncio.sleep(BACKOFF)
                    await self._client.force_metadata_update()
        except TimeoutError as error:
            raise KafkaTimeoutError from error
        return lines

    def _learn(self, cluster: Any) -> None:
        """Take over leaders, and partitions that were added; called with each new metadata."""
        for topic, lines in self._topics.items():
            count = len(cluster.partitions_for_topic(topic) or ())
            lines += [Line((topic, partition)) for partition in range(len(lines), count)]
            for line in lines:
                leader = cluster.leader_for_partition(TopicPartition(*line.place))
                line.leader = -1 if leader is None else leader

    def _wake(self, line: Line) -> None:
        """Make a line ready at its leader."""
        line.busy = True
        if line.leader < 0:
            self._rest(line)
            return
        broker = self._brokers.get(line.leader)
        if broker is None:
            broker = self._brokers[line.leader] = _Broker()
        broker.ready.append(line)
        self._schedule(line.leader, broker)

    def _rest(self, line: Line) -> None:
        """Try again a little later, by newer metadata, what there is time for."""
        self._expire(line, self._loop.time())
        self._client.force_metadata_update()
        self._loop.call_later(BACKOFF, self._wake, line)

    def _schedule(self, leader: int, broker: _Broker) -> None:
        """Send a few turns of the loop from now, with what else comes in them."""
        if not broker.scheduled and not broker.sent:
            broker.scheduled = True
            self._loop.call_soon(self._gather, leader, broker, GATHERING if broker.company else 0)

    def _gather(self, leader: int, broker: _Broker, turns: int) -> None:
        if turns:
            self._loop.call_soon(self._gather, leader, broker, turns - 1)
        else:
            self._flush(leader, broker)

    # Out.

    def _flush(self, leader: int, broker: _Broker) -> None:
        """One request of what is ready, when none is on its way."""
        broker.scheduled = False
        if broker.sent or not broker.ready or self._identity is None or self._stopped:
            return  # called again when that changes
        if broker.channel is None or not broker.channel.open:
            if broker.connecting is None:
                broker.connecting = self._loop.create_task(self._connect(leader, broker))
            return
        batches: list[tuple[wire.Place, bytearray]] = []
        size = 0
        while broker.ready and size < REQUEST_BYTES:
            line = broker.ready.popleft()
            if line.leader != leader:
                self._wake(line)
                continue
            batch = line.batch = line.batch or line.build(self._identity, self._batch_bytes)
            if batch is None:
                line.busy = False
                continue
            broker.sent[line.place] = line
            batches.append((line.place, batch.data))
            size += len(batch.data)
        if batches:
            broker.correlation = (broker.correlation + 1) % 2**31
            broker.since = self._loop.time()
            milliseconds = int(self._timeout * 1000)
            broker.channel.write(wire.request(broker.correlation, "gateway-producer", milliseconds, batches))

    async def _connect(self, leader: int, broker: _Broker) -> None:
        try:
            address = self._client.cluster.broker_metadata(leader)
            if address is not None:
                broker.channel = await Channel.connect(
                    address.host,
                    address.port,
                    self._options,
                    lambda data: self._respond(leader, broker, data),
                    lambda channel: self._lost(broker, channel),
                )
        except Exception as error:  # noqa: BLE001 - handshakes fail in many ways (aiokafka asserts); all may pass
            log.warning("producer.connect", error=type(error).__name__)
            broker.channel = None
        broker.connecting = None
        if broker.channel is None:
            while broker.ready:
                self._rest(broker.ready.popleft())
        else:
            self._flush(leader, broker)

    # In.

    def _respond(self, leader: int, broker: _Broker, data: bytes) -> None:
        try:
            correlation, results = wire.response(data)
        except ValueError:
            correlation, results = -1, {}
        sent, broker.sent = broker.sent, {}
        if correlation != broker.correlation or results.keys() != sent.keys():
            broker.sent = sent
            if broker.channel is not None:
                broker.channel.abort()  # out of step: its batches go again on a new connection
            return
        carried = sum(len(line.batch.records) + len(line.waiting) for line in sent.values() if line.batch is not None)
        broker.company = carried > 1 or bool(broker.ready)
        for place, result in results.items():
            self._settle(sent[place], result)
        if broker.ready:
            self._schedule(leader, broker)

    def _settle(self, line: Line, result: wire.Result) -> None:
        """What one partition's leader said of its batch."""
        batch, error = line.batch, result.error
        if batch is None:
            return
        if error in wire.TRANSIENT:
            self._rest(line)
            return
        if error in (wire.NO_ERROR, wire.DUPLICATE_SEQUENCE):
            line.confirm(result.offset)
        elif error in wire.IDENTITY_LOST or (error in wire.TOO_LARGE and len(batch.records) > 1):
            line.unpack(alone=error in wire.TOO_LARGE)
            if error in wire.IDENTITY_LOST:
                self._rename()
        else:
            line.refuse(for_code(error)())
            if error not in wire.TOO_LARGE:
                self._rename()
        self._next(line)

    def _next(self, line: Line) -> None:
        if line.waiting:
            self._wake(line)
        else:
            line.busy = False

    def _lost(self, broker: _Broker, channel: Channel) -> None:
        """The connection is gone: what was on it goes again."""
        if broker.channel is not channel:
            return
        sent, broker.sent, broker.channel = broker.sent, {}, None
        for line in (*sent.values(), *broker.ready):
            self._rest(line)
        broker.ready.clear()

    def _sweep(self) -> None:
        """Give up what is late."""
        now = self._loop.time()
        on_their_way = {id(line) for broker in self._brokers.values() for line in broker.sent.values()}
        for line in self._lines():
            if id(line) not in on_their_way:
                self._expire(line, now)
        for broker in self._brokers.values():
            if broker.sent and broker.channel is not None and now - broker.since > self._timeout:
                broker.channel.abort()
        self._sweeper = self._loop.call_later(SWEEP, self._sweep)

    def _expire(self, line: Line, now: float) -> None:
        if line.expire(now):
            self._rename()

    # Who we are.

    def _rename(self) -> None:
        """Get a new producer id; no new batch is built until then."""
        self._identity = None
        if self._naming is None:
            self._naming = self._loop.create_task(self._name())

    async def _name(self) -> None:
        try:
            while True:
                node = self._client.get_random_node()
                try:
                    found = await self._client.send(node, InitProducerIdRequest(None, int(self._timeout * 1000)))
                except (KafkaError, OSError):
                    found = None
                if found is not None and found.error_code == wire.NO_ERROR:
                    self._identity = (found.producer_id, found.producer_epoch)
                    break
                self._client.force_metadata_update()
                await asyncio.sleep(BACKOFF)
        finally:
            self._naming = None
        for leader, broker in self._brokers.items():
            self._schedule(leader, broker)
