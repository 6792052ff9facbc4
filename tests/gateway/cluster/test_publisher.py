"""The publisher against a real Kafka: what the port promises, and what a broker that goes away may and may not do."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from gateway.core.errors import Unavailable
from gateway.core.ports import Publisher
from gateway.infra.broker import Channel
from gateway.infra.kafka import KafkaPublisher
from gateway.stack import Stack, StackSettings
from gateway.stack.progress import Silent
from tests.gateway.stages.fakes import MemoryPublisher

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]
NAMES = (f"publisher.{number}" for number in itertools.count())


async def topic(kafka: str, partitions: int = 1, **settings: str) -> str:
    name = next(NAMES)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=settings)])
    await admin.close()
    return name


@asynccontextmanager
async def publisher(kafka: str) -> AsyncIterator[KafkaPublisher]:
    opened = KafkaPublisher(kafka)
    await opened.open()
    yield opened
    await opened.close()


async def stored(kafka: str, name: str, partitions: int = 1) -> dict[int, list[tuple[str, dict[str, str], bytes]]]:
    """Everything in a topic, by partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        places = [TopicPartition(name, number) for number in range(partitions)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        found: dict[int, list[tuple[str, dict[str, str], bytes]]] = defaultdict(list)
        for place in places:
            while await consumer.position(place) < ends[place]:
                for records in (await consumer.getmany(place, timeout_ms=1_000)).values():
                    for record in records:
                        headers = {header: value.decode() for header, value in record.headers}
                        found[place.partition].append(((record.key or b"").decode(), headers, record.value))
        return found
    finally:
        await consumer.stop()


async def put(port: Publisher, name: str, key: str, value: bytes) -> tuple[int, int]:
    return await port.publish(name, key=key, headers={"ce_id": f"id-{key}"}, value=value)


@pytest.mark.parametrize("kind", ["memory", "kafka"])
async def test_what_the_port_promises(kafka: str, kind: str) -> None:
    name = await topic(kafka)
    async with publisher(kafka) as real:
        port: Publisher = MemoryPublisher() if kind == "memory" else real
        places = [await put(port, name, "a", b"1"), await put(port, name, "b", b"2"), await put(port, name, "a", b"3")]
    assert len({partition for partition, _ in places}) == 1
    offsets = [offset for _, offset in places]
    assert offsets == list(range(offsets[0], offsets[0] + 3))
    kept = (
        port.records
        if isinstance(port, MemoryPublisher)
        else [(name, *each) for each in (await stored(kafka, name))[0]]
    )
    assert kept == [
        (name, key, {"ce_id": f"id-{key}"}, value) for key, value in (("a", b"1"), ("b", b"2"), ("a", b"3"))
    ]


@pytest.mark.parametrize("kind", ["memory", "kafka"])
async def test_unavailable_is_told(kafka: str, kind: str) -> None:
    port: Publisher = MemoryPublisher(failure=Unavailable()) if kind == "memory" else KafkaPublisher(kafka)
    with pytest.raises(Unavailable):
        await put(port, "any", "a", b"1")


async def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await KafkaPublisher("127.0.0.1:9").open()


async def test_many_topics_and_partitions_keep_the_order_of_each_key(kafka: str) -> None:
    names = [await topic(kafka, 12) for _ in range(4)]
    async with publisher(kafka) as port:

        async def speak(name: str, key: str) -> set[int]:
            return {(await put(port, name, key, b"%d" % number))[0] for number in range(20)}

        jobs = [(name, f"k{number}") for name in names for number in range(30)]
        used = await asyncio.gather(*(speak(*job) for job in jobs))
    assert all(len(partitions) == 1 for partitions in used)
    for name in names:
        orders: dict[str, list[int]] = defaultdict(list)
        for records in (await stored(kafka, name, 12)).values():
            for key, _, value in records:
                orders[key].append(int(value))
        assert orders == {f"k{number}": list(range(20)) for number in range(30)}


async def test_a_record_too_large_for_its_topic_is_refused_alone(kafka: str) -> None:
    name = await topic(kafka, **{"max.message.bytes": "4000"})
    async with publisher(kafka) as port:
        values = [bytes([65 + number]) * size for number, size in enumerate((1_500, 9_000, 1_500, 1_500, 1_500))]
        found = await asyncio.gather(*(put(port, name, "k", value) for value in values), return_exceptions=True)
        assert [isinstance(each, Unavailable) for each in found] == [False, True, False, False, False]
        assert isinstance(await put(port, name, "k", b"after"), tuple)
        with pytest.raises(Unavailable):
            await put(port, name, "k", b"x" * 3 * 1024 * 1024)
    assert [value for _, _, value in (await stored(kafka, name))[0]] == [*values[:1], *values[2:], b"after"]


async def test_lost_answers_and_cancelled_callers_leave_each_record_once(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every seventh answer is lost after the broker has stored the batch, which goes again: the broker knows it."""
    name, turns = await topic(kafka, 3), itertools.count(1)
    honest, lost = Channel.data_received, 0

    def lose(channel: Channel, data: bytes) -> None:
        nonlocal lost
        if next(turns) % 7 == 0:
            lost += 1
            channel.abort()
        else:
            honest(channel, data)

    monkeypatch.setattr(Channel, "data_received", lose)
    async with publisher(kafka) as port:

        async def speak(key: str) -> None:
            for number in range(40):
                await put(port, name, key, b"%d" % number)

        speaking = [asyncio.create_task(speak(f"k{number}")) for number in range(24)]
        await asyncio.sleep(0.5)
        for task in speaking[:4]:
            task.cancel()
        found = await asyncio.gather(*speaking, return_exceptions=True)
    assert [each for each in found[4:] if each is not None] == []
    assert lost > 3
    orders: dict[str, list[int]] = defaultdict(list)
    for records in (await stored(kafka, name, 3)).values():
        for key, _, value in records:
            orders[key].append(int(value))
    for number in range(24):
        got = orders[f"k{number}"]
        assert got == list(range(len(got)))
        assert number < 4 or len(got) == 40


async def test_a_broker_that_is_restarted_stores_each_record_once_and_in_order(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port_number = int(probe.getsockname()[1])
    stack = Stack(StackSettings(state=tmp_path, kafka_port=port_number), {"kafka"}, Silent())
    kafka = stack.up().addresses.kafka
    try:
        name = await topic(kafka, 3)
        confirmed: dict[str, list[int]] = defaultdict(list)
        refused: dict[str, list[int]] = defaultdict(list)
        async with publisher(kafka) as port:
            running = True

            async def speak(key: str) -> None:
                for number in itertools.count():
                    if not running:
                        break
                    try:
                        await put(port, name, key, b"%d" % number)
                        confirmed[key].append(number)
                    except Unavailable:
                        refused[key].append(number)

            speaking = [asyncio.create_task(speak(f"k{number}")) for number in range(12)]
            await asyncio.sleep(1)
            await asyncio.to_thread(stack.down)
            before = {key: len(numbers) for key, numbers in confirmed.items()}
            assert (await asyncio.to_thread(stack.up)).addresses.kafka == kafka
            async with asyncio.timeout(60):
                while any(len(confirmed[key]) < count + 20 for key, count in before.items()):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            running = False
            await asyncio.gather(*speaking)
        orders: dict[str, list[int]] = defaultdict(list)
        for records in (await stored(kafka, name, 3)).values():
            for key, _, value in records:
                orders[key].append(int(value))
        for key, numbers in confirmed.items():
            assert orders[key] == sorted(set(orders[key])), "once, and in order"
            assert set(numbers) <= set(orders[key]), "confirmed is stored"
            assert set(orders[key]) <= {*numbers, *refused[key]}
    finally:
        await asyncio.to_thread(stack.down)
