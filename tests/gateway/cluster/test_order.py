"""From the wire to sixteen consumers of a real Kafka: a patient's messages never overtake each other or a merge.

GATEWAY_ORDER sets the number of messages (default 2,000; ten for each patient).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from faststream.kafka import KafkaBroker

from adapters.hl7.inbound import Listener
from adapters.hl7.settings import ListenerSettings
from adapters.hl7.wire import read_header
from adapters.hl7.wire.mllp import Frame, Framer, frame
from gateway.core.envelope import Envelope
from gateway.core.errors import ConcurrencyError
from gateway.infra import consuming
from gateway.infra.kafka import KafkaPublisher
from gateway.infra.subscription import Subscription
from gateway.security.cipher import IdentityCipher
from gateway.security.tokens import Tokens
from gateway.stages.accept import AcceptStage
from gateway.testing import FixedClock
from mappings.hl7_codec import Hl7Codec

pytestmark = [pytest.mark.connected, pytest.mark.timeout(900)]

MESSAGES = int(os.environ.get("GATEWAY_ORDER", "2000"))
EACH = 10
PATIENTS = MESSAGES // EACH
FACILITIES, PIPELINED, CONSUMERS, POISON = 32, 50, 16, 3
TOPIC, BURIED = "order.clinical", "order.deadletter"


def facility_of(patient: int) -> int:
    return patient % FACILITIES


def message(patient: int, number: int, merged: int | None = None) -> bytes:
    """The patient's message of this number; a merge of another one into it, where `merged` is given."""
    control, event = f"{patient}-{number}", "A40^ADT_A39" if merged is not None else "A08^ADT_A01"
    head = f"MSH|^~\\&|EHR|H{facility_of(patient)}|GW|PAYER|20260301101500||ADT^{event}|{control}|P|2.5.1"
    rest = f"MRG|{merged}^^^HOSP^MR" if merged is not None else "PV1|1|I"
    return f"{head}\rPID|1||{patient}^^^HOSP^MR||DOE^JANE||19700101|F\r{rest}\r".encode()


def feed(facility: int) -> Iterator[tuple[str, bytes]]:
    """One facility's messages as (control id, bytes), mixed; one in forty is a merge of another of its patients."""
    chance = random.Random(facility)
    patients = range(facility, PATIENTS, FACILITIES)
    order = [patient for patient in patients for _ in range(EACH)]
    chance.shuffle(order)
    left = {patient: itertools.count() for patient in patients}
    for patient in order:
        others = [other for other in patients if other != patient]
        merged = chance.choice(others) if others and chance.random() < 1 / 40 else None
        number = next(left[patient])
        yield f"{patient}-{number}", message(patient, number, merged)


async def send(port: int, facility: int) -> list[tuple[str, bytes]]:
    """Pipeline a facility's messages on one connection; what was accepted, in order."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    messages = list(feed(facility))
    room = asyncio.Semaphore(PIPELINED)

    async def write() -> None:
        for _, data in messages:
            await room.acquire()
            writer.write(frame(data))
            await writer.drain()

    writing = asyncio.create_task(write())
    framer, accepted = Framer(), 0
    while accepted < len(messages):
        for event in framer.feed(await reader.read(65536)):
            assert isinstance(event, Frame)
            assert b"\rMSA|AA|" in event.payload
            accepted += 1
            room.release()
    await writing
    writer.close()
    return messages


@dataclass
class Handled:
    """What the consumers did, as it happened."""

    begun: dict[str, int] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    order: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    attempts: list[float] = field(default_factory=list)
    """When the poison was tried."""
    place: dict[str, tuple[int, int, float]] = field(default_factory=dict)
    """Partition, offset and time of what was done."""
    repeated: int = 0
    """Records that came once more."""
    ticks: Iterator[int] = field(default_factory=itertools.count)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, record: consuming.Record) -> None:
        envelope = Envelope.parse(record.key, record.headers, record.value)
        control = read_header(envelope.raw.data or b"").get(10)
        patient, number = control.split("-")
        if (int(patient), int(number)) == (POISON, 5):
            self.place["poison"] = (record.partition, record.offset, time.monotonic())
            self.attempts.append(time.monotonic())
            raise ConcurrencyError
        if control in self.ended:  # read again after a rebalance: the inbox knows it (design D5), nothing happens
            self.repeated += 1
            return
        self.begun[control] = next(self.ticks)
        await asyncio.sleep(random.uniform(0, 0.002))
        self.ended[control] = next(self.ticks)
        self.order[patient].append(int(number))
        self.place[control] = (record.partition, record.offset, time.monotonic())
        if len(self.ended) == MESSAGES - 1:
            self.done.set()


async def create(kafka: str, *topics: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1 if topic == BURIED else CONSUMERS, 1) for topic in topics])
    await admin.close()


def pairs_out_of_order(feeds: list[list[tuple[str, bytes]]], handled: Handled) -> list[tuple[str, str]]:
    """Messages with a merge of their facility before or after them that were not handled on the same side of it."""
    wrong = []
    for messages in feeds:
        known = [control for control, _ in messages if control in handled.ended]
        merges = [control for control, data in messages if b"ADT^A40" in data and control in handled.ended]
        at = {control: place for place, control in enumerate(known)}
        for merge in merges:
            for other in known:
                first, second = sorted((merge, other), key=at.__getitem__)
                if first != second and handled.ended[first] > handled.begun[second]:
                    wrong.append((first, second))
    return wrong


async def committed(kafka: str, topic: str, group: str) -> tuple[int, int]:
    """Offsets committed and written, of all partitions."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
    await consumer.start()
    names = [TopicPartition(topic, number) for number in range(CONSUMERS)]
    ends = await consumer.end_offsets(names)
    done = [await consumer.committed(name) or 0 for name in names]
    await consumer.stop()
    return sum(done), sum(ends.values())


async def test_the_order_of_a_patient_holds_from_the_wire_to_the_consumers(kafka: str) -> None:
    await create(kafka, TOPIC, BURIED)
    publisher = KafkaPublisher(kafka)
    await publisher.open()
    stage = AcceptStage(
        publisher=publisher,
        blobs=None,  # type: ignore[arg-type]  # no message here is large enough
        cipher=IdentityCipher(),
        token=Tokens(b"t" * 32),
        routes={"clinical": TOPIC},
        parked_topic=BURIED,
    )
    handled = Handled()
    broker = consuming.build_broker(kafka)
    guard = consuming.Guard(publisher, BURIED, "order")
    subscription = consuming.subscribe(broker, TOPIC, group="order", guard=guard, handler=handled, workers=CONSUMERS)
    settings = ListenerSettings(name="order", tenant="t", port=0, unknown_partners=True, accept_timeout=60)
    numbers = itertools.count()
    listener = Listener(
        settings, codec=Hl7Codec(), accept=stage, clock=FixedClock(), identify=lambda: f"A{next(numbers)}"
    )
    async with listener:
        feeds = await asyncio.gather(*(send(listener.port, facility) for facility in range(FACILITIES)))
    assert sum(map(len, feeds)) == MESSAGES
    await broker.start()
    await asyncio.wait_for(handled.done.wait(), 600)
    await subscription.close()
    await broker.stop()
    await publisher.close()
    broken = {patient: found for patient, found in handled.order.items() if found != sorted(found)}
    assert broken == {}
    assert pairs_out_of_order(list(feeds), handled) == []
    merges = sum(b"ADT^A40" in data for messages in feeds for _, data in messages)
    assert merges > MESSAGES / 100
    assert handled.repeated < MESSAGES / 20, "a rebalance reads again what was not committed in its tenth of a second"
    _poison_held_only_its_own_key(handled)
    assert await committed(kafka, TOPIC, "order") == (MESSAGES, MESSAGES)


def _poison_held_only_its_own_key(handled: Handled) -> None:
    assert len(handled.attempts) == consuming.ATTEMPTS
    partition, offset, _ = handled.place.pop("poison")
    meanwhile = [
        control
        for control, (where, at, when) in handled.place.items()
        if where == partition and at > offset and handled.attempts[0] < when < handled.attempts[-1]
    ]
    own = {f"{POISON}-{number}" for number in range(6, EACH)}
    assert meanwhile, "others of its partition went on while it was tried again"
    assert not own & set(meanwhile)
    assert handled.order[str(POISON)] == [number for number in range(EACH) if number != 5]


async def test_consumers_that_come_and_go_lose_nothing_and_keep_the_order(kafka: str) -> None:
    topic, keys, each = "order.moving", 60, 30
    await create(kafka, topic)
    publisher = KafkaPublisher(kafka)
    await publisher.open()
    for number in range(each):
        await asyncio.gather(
            *(publisher.publish(topic, key=f"k{key}", headers={}, value=b"%d" % number) for key in range(keys))
        )
    seen: dict[str, list[int]] = defaultdict(list)
    chance = random.Random(5)

    async def handle(record: consuming.Record) -> None:
        await asyncio.sleep(chance.uniform(0, 0.02))
        seen[record.key].append(int(record.value))

    def consumers(workers: int) -> tuple[KafkaBroker, Subscription]:
        broker = consuming.build_broker(kafka)
        guard = consuming.Guard(publisher, BURIED, "moving")
        return broker, consuming.subscribe(broker, topic, group="moving", guard=guard, handler=handle, workers=workers)

    def distinct() -> int:
        return sum(len(set(found)) for found in seen.values())

    async def until(count: int) -> None:
        async with asyncio.timeout(120):
            while distinct() < count:  # noqa: ASYNC110 - two groups of consumers lead there
                await asyncio.sleep(0.02)

    first, one = consumers(3)
    await first.start()
    await until(keys * each // 5)
    second, other = consumers(3)
    await second.start()
    await until(keys * each // 2)
    await one.close()
    await first.stop()
    await until(keys * each)
    await other.close()
    await second.stop()
    await publisher.close()
    assert {key: list(dict.fromkeys(found)) for key, found in seen.items()} == {
        f"k{key}": list(range(each)) for key in range(keys)
    }
    assert sum(map(len, seen.values())) < 2 * keys * each, "little is handled again"
    assert await committed(kafka, topic, "moving") == (keys * each, keys * each)
