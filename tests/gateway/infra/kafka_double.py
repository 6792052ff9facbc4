"""A Kafka broker that can be told to fail: what a real one says only when disks, networks and elections go wrong.

It reads requests with aiokafka's schemas, which nothing in our producer writes with, and keeps the rules that a
leader keeps for idempotent producers (KIP-98): a batch that follows on is stored, one of the last five is answered
again, anything else is out of order.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

from aiokafka.protocol.admin import ApiVersionResponse_v0, SaslAuthenticateResponse_v0, SaslHandShakeResponse_v1
from aiokafka.protocol.metadata import MetadataRequest_v1, MetadataResponse_v1
from aiokafka.protocol.produce import ProduceRequest_v7
from aiokafka.protocol.transaction import InitProducerIdResponse_v0
from aiokafka.record.default_records import DefaultRecordBatch

Place = tuple[str, int]
STORE, LOSE_REQUEST, LOSE_RESPONSE, HANG = 0, -100, -101, -102
"""Scripted outcomes beside Kafka's error codes: store, close before storing, close after storing, say nothing."""


@dataclass
class Cluster:
    """What its brokers share: topics, leaders, logs, and the script of faults for each partition."""

    topics: dict[str, int]
    brokers: dict[int, int] = field(default_factory=dict)
    leaders: dict[Place, int] = field(default_factory=dict)
    logs: dict[Place, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    script: dict[Place, deque[int]] = field(default_factory=lambda: defaultdict(deque))
    identities: int = 0
    requests: list[ProduceRequest_v7] = field(default_factory=list)
    batches: list[tuple[Place, int, int, int]] = field(default_factory=list)
    """Place, producer id, first sequence number and number of records of each batch received."""
    largest: int = 1_000_000
    password: bytes = b""
    """Where it is set, each connection must say it (SASL PLAIN) before anything else."""
    proven: int = 0
    state: dict[Place, tuple[int, int, deque[tuple[int, int, int]]]] = field(default_factory=dict)
    """Producer id, next sequence number, and (sequence, count, offset) of the last five batches."""

    def leader(self, place: Place) -> int:
        return self.leaders.get(place, min(self.brokers))

    def take(self, place: Place, data: bytes) -> tuple[int, int]:
        """Store a batch as a leader does; error and offset."""
        batch = DefaultRecordBatch(data)
        assert batch.validate_crc()
        assert batch.producer_epoch == 0
        values = [bytes(record.value or b"") for record in batch]
        producer, sequence, count = batch.producer_id, batch.base_sequence, len(values)
        assert producer >= 0
        self.batches.append((place, producer, sequence, count))
        if len(data) > self.largest:
            return 10, -1
        known, expected, recent = self.state.get(place, (producer, 0, deque(maxlen=5)))
        if known != producer:
            expected, recent = 0, deque(maxlen=5)
        for earlier, size, offset in recent:
            if (earlier, size) == (sequence, count):
                return 0, offset
        if sequence != expected:
            return 45, -1
        offset = len(self.logs[place])
        self.logs[place] += values
        recent.append((sequence, count, offset))
        self.state[place] = (producer, sequence + count, recent)
        return 0, offset


class Broker:
    """One node of a cluster, on a port of its own."""

    def __init__(self, cluster: Cluster, node: int, context: ssl.SSLContext | None = None) -> None:
        self.cluster, self.node, self.context = cluster, node, context
        self.writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def start(self) -> None:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port, ssl=self.context)
        self.port = self.server.sockets[0].getsockname()[1]
        self.cluster.brokers[self.node] = self.port

    async def stop(self) -> None:
        self.server.close()
        for writer in list(self.writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                data = await reader.readexactly(size)
                answer = self.answer(data)
                if answer is None:
                    await asyncio.sleep(3600)
                elif answer is False:
                    break
                else:
                    writer.write(struct.pack(">i", len(answer)) + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    def answer(self, data: bytes) -> bytes | bool | None:
        api, version, correlation, length = struct.unpack_from(">hhih", data)
        body = data[10 + length :]
        handler: Callable[[bytes], bytes | bool | None] = {
            (18, 0): self.versions,
            (3, 1): self.metadata,
            (22, 0): self.identify,
            (0, 7): self.produce,
            (17, 1): self.shake_hands,
            (36, 0): self.authenticate,
        }[api, version]
        found = handler(body)
        return struct.pack(">i", correlation) + found if isinstance(found, bytes) else found

    def versions(self, _: bytes) -> bytes:
        return ApiVersionResponse_v0(0, [(0, 3, 7), (3, 1, 1), (17, 1, 1), (18, 0, 0), (22, 0, 0), (36, 0, 0)]).encode()

    def shake_hands(self, _: bytes) -> bytes:
        return SaslHandShakeResponse_v1(0, ["PLAIN"]).encode()

    def authenticate(self, body: bytes) -> bytes:
        good = body.endswith(b"\0" + self.cluster.password)
        self.cluster.proven += good
        return SaslAuthenticateResponse_v0(0 if good else 58, None, b"").encode()

    def metadata(self, body: bytes) -> bytes:
        asked = MetadataRequest_v1.decode(BytesIO(body)).topics or ()
        cluster = self.cluster
        topics = []
        for name in asked:
            count = cluster.topics.get(name, 0)
            found = [
                (0, part, cluster.leader((name, part)), [cluster.leader((name, part))], []) for part in range(count)
            ]
            topics.append((0 if count else 3, name, False, found))
        nodes = [(node, "127.0.0.1", port, None) for node, port in cluster.brokers.items()]
        return MetadataResponse_v1(nodes, self.node, topics).encode()

    def identify(self, _: bytes) -> bytes:
        self.cluster.identities += 1
        return InitProducerIdResponse_v0(0, 0, 1000 + self.cluster.identities, 0).encode()

    def produce(self, body: bytes) -> bytes | bool | None:
        request = ProduceRequest_v7.decode(BytesIO(body))
        cluster = self.cluster
        cluster.requests.append(request)
        assert request.required_acks == -1
        answer: bytes | bool | None = b""
        topics = []
        for topic, partitions in request.topics:
            results = []
            for partition, batch in partitions:
                place = (topic, partition)
                fault = cluster.script[place].popleft() if cluster.script[place] else STORE
                if cluster.leader(place) != self.node:
                    error, offset = 6, -1
                elif fault > 0:
                    error, offset = fault, -1
                elif fault in (STORE, LOSE_RESPONSE):
                    error, offset = cluster.take(place, bytes(batch))
                answer = {LOSE_REQUEST: False, LOSE_RESPONSE: False, HANG: None}.get(fault, answer)
                results.append((partition, error, offset, -1, 0) if answer == b"" else None)
            topics.append((topic, results))
        if answer != b"":
            return answer
        encoded = struct.pack(">i", len(topics))
        for topic, results in topics:
            encoded += struct.pack(">h", len(topic)) + topic.encode() + struct.pack(">i", len(results))
            encoded += b"".join(struct.pack(">ihqqq", *result) for result in results if result)
        return encoded + struct.pack(">i", 0)
