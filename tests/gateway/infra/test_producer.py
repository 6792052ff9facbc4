"""The producer against a cluster that fails as told: every record once, in order, or a no."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerClosed,
    TopicAuthorizationFailedError,
)
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.protocol.produce import ProduceRequest_v7, ProduceResponse_v7

from gateway.core.errors import Unavailable
from gateway.infra import produce_wire as wire
from gateway.infra.broker import Channel
from gateway.infra.kafka import KafkaPublisher, KafkaSecurity
from gateway.infra.producer import Producer
from tests.gateway.infra.certificates import SERVER, Authority
from tests.gateway.infra.kafka_double import HANG, LOSE_REQUEST, LOSE_RESPONSE, Broker, Cluster

TOPIC, PLACE = "orders", ("orders", 0)


@asynccontextmanager
async def cluster(
    partitions: int = 1, *, brokers: int = 1, timeout: float = 8.0, **topics: int
) -> AsyncIterator[tuple[Cluster, Producer, list[Broker]]]:
    shared = Cluster({TOPIC: partitions, **topics})
    nodes = [Broker(shared, number) for number in range(1, brokers + 1)]
    for node in nodes:
        await node.start()
    producer = Producer(
        f"127.0.0.1:{nodes[0].port}", {}, timeout=timeout, batch_bytes=64 * 1024, record_bytes=1024 * 1024
    )
    await producer.start()
    try:
        yield shared, producer, nodes
    finally:
        await producer.stop()
        for node in nodes:
            await node.stop()


async def send(producer: Producer, *values: bytes, topic: str = TOPIC) -> list[tuple[int, int] | BaseException]:
    found = await asyncio.gather(*(producer.send(topic, b"k", value, []) for value in values), return_exceptions=True)
    return list(found)


def values(count: int) -> list[bytes]:
    return [b"%05d" % number for number in range(count)]


async def test_records_are_stored_once_in_order_and_their_places_told() -> None:
    async with cluster() as (shared, producer, _):
        assert await send(producer, b"first") == [(0, 0)]
        assert await send(producer, *values(50)) == [(0, number + 1) for number in range(50)]
        assert shared.logs[PLACE] == [b"first", *values(50)]
        assert len(shared.requests) == 2, "what comes in one turn goes in one request"


async def test_what_comes_during_a_request_goes_together() -> None:
    async with cluster() as (shared, producer, _):
        await send(producer, b"first")
        waves = []
        for value in values(20):
            waves.append(asyncio.create_task(producer.send(TOPIC, b"k", value, [])))
            await asyncio.sleep(0)
        await asyncio.gather(*waves)
        assert shared.logs[PLACE] == [b"first", *values(20)]
        assert len(shared.requests) < 10


@pytest.mark.parametrize("fault", [LOSE_REQUEST, LOSE_RESPONSE, *sorted(wire.TRANSIENT)])
async def test_what_may_pass_is_tried_again_and_stored_once(fault: int) -> None:
    async with cluster() as (shared, producer, _):
        await send(producer, b"before")
        shared.script[PLACE].extend((fault, fault))
        first = asyncio.create_task(send(producer, *values(5)))
        await asyncio.sleep(0.02)
        behind = asyncio.create_task(send(producer, b"behind"))
        assert await first == [(0, number) for number in range(1, 6)]
        assert await behind == [(0, 6)]
        assert shared.logs[PLACE] == [b"before", *values(5), b"behind"]
        assert shared.identities == 1
        assert {(sequence, count) for _, _, sequence, count in shared.batches} <= {(0, 1), (1, 5), (6, 1)}


@pytest.mark.parametrize("fault", sorted(wire.IDENTITY_LOST))
async def test_a_lost_identity_is_replaced_and_nothing_overtakes(fault: int) -> None:
    async with cluster() as (shared, producer, _):
        await send(producer, b"before")
        shared.script[PLACE].append(fault)
        first = asyncio.create_task(send(producer, *values(5)))
        await asyncio.sleep(0)
        behind = asyncio.create_task(send(producer, b"behind"))
        assert await first == [(0, number) for number in range(1, 6)]
        assert await behind == [(0, 6)]
        assert shared.logs[PLACE] == [b"before", *values(5), b"behind"]
        assert shared.identities == 2


async def test_a_record_known_from_an_earlier_attempt_is_stored() -> None:
    async with cluster() as (shared, producer, _):
        shared.script[PLACE].append(wire.DUPLICATE_SEQUENCE)
        assert await send(producer, b"again") == [(0, -1)]


async def test_a_no_is_told_and_the_next_record_is_stored() -> None:
    async with cluster() as (shared, producer, _):
        await send(producer, b"before")
        shared.script[PLACE].append(29)
        (refused,) = await send(producer, b"refused")
        assert isinstance(refused, TopicAuthorizationFailedError)
        assert await send(producer, b"after") == [(0, 1)]
        assert shared.logs[PLACE] == [b"before", b"after"]


async def test_a_record_that_is_too_large_does_not_take_its_neighbours_with_it() -> None:
    async with cluster() as (shared, producer, _):
        shared.largest = 5_000
        given = [b"a" * 1_000, b"b" * 9_000, b"c" * 1_000, b"d" * 1_000, b"e" * 2_500]
        found = await send(producer, *given)
        assert [isinstance(each, MessageSizeTooLargeError) for each in found] == [False, True, False, False, False]
        assert shared.logs[PLACE] == [value for value in given if value[:1] != b"b"]
        assert await send(producer, b"after") == [(0, 4)]
        (refused,) = await send(producer, b"x" * 1024 * 1024)
        assert isinstance(refused, MessageSizeTooLargeError), "larger than we send at all"


async def test_a_silent_leader_is_left_and_the_numbers_behind_it_are_not_reused() -> None:
    async with cluster(timeout=1.0) as (shared, producer, _):
        await send(producer, b"before")
        shared.script[PLACE].append(HANG)
        found = await send(producer, b"lost", b"too")
        assert [type(each) for each in found] == [KafkaTimeoutError, KafkaTimeoutError]
        assert await send(producer, b"after") == [(0, 1)]
        assert shared.identities == 2
        assert shared.batches[-1][2:] == (0, 1)


async def test_leaders_change() -> None:
    async with cluster(4, brokers=2) as (shared, producer, _):
        keys = [b"%d" % number for number in range(40)]
        await asyncio.gather(*(producer.send(TOPIC, key, b"1" + key, []) for key in keys))
        for partition in range(4):
            shared.leaders[TOPIC, partition] = 1 + partition % 2
        await asyncio.gather(*(producer.send(TOPIC, key, b"2" + key, []) for key in keys))
        stored = [value for log in shared.logs.values() for value in log]
        assert sorted(stored) == sorted(turn + key for turn in (b"1", b"2") for key in keys)


async def test_a_broker_restarts_under_load_and_the_order_of_each_key_holds() -> None:
    async with cluster(3) as (shared, producer, nodes):
        chance = random.Random(1)

        async def speak(key: bytes) -> None:
            for number in range(60):
                await producer.send(TOPIC, key, b"%s-%d" % (key, number), [])

        for place in ((TOPIC, part) for part in range(3)):
            shared.script[place].extend(chance.choice((0, 0, 0, 6, 7, LOSE_REQUEST, LOSE_RESPONSE)) for _ in range(30))
        speaking = asyncio.gather(*(speak(b"%d" % key) for key in range(12)))
        await asyncio.sleep(0.2)
        await nodes[0].stop()
        await asyncio.sleep(0.3)
        await nodes[0].start()
        await speaking
        stored = [value.split(b"-") for log in shared.logs.values() for value in log]
        assert len(stored) == 12 * 60
        for key in range(12):
            assert [int(number) for name, number in stored if name == b"%d" % key] == list(range(60))
        assert shared.identities == 1


async def test_nobody_is_told_yes_while_the_broker_is_away_and_all_is_well_after() -> None:
    async with cluster(timeout=1.0) as (shared, producer, nodes):
        await send(producer, b"before")
        await nodes[0].stop()
        found = await send(producer, b"1", b"2")
        assert [type(each) for each in found] == [KafkaTimeoutError, KafkaTimeoutError]
        await nodes[0].start()
        async with asyncio.timeout(5):
            while isinstance((await send(producer, b"after"))[0], BaseException):
                pass
        assert shared.logs[PLACE] == [b"before", b"after"]


async def test_a_cancelled_caller_takes_its_record_back() -> None:
    async with cluster() as (shared, producer, _):
        await send(producer, b"before")
        shared.script[PLACE].extend((6, 6))
        leaving = asyncio.create_task(producer.send(TOPIC, b"k", b"left", []))
        await asyncio.sleep(0.02)
        waiting = [asyncio.create_task(producer.send(TOPIC, b"k", value, [])) for value in (b"no", b"yes")]
        await asyncio.sleep(0)
        waiting[0].cancel()
        leaving.cancel()
        assert await waiting[1] == (0, 1)
        assert shared.logs[PLACE] == [b"before", b"yes"]
        assert shared.identities == 2, "what had left might have been stored: its number is not used again"
        assert await send(producer, b"after") == [(0, 2)]


async def test_many_topics_share_a_request_and_fail_apart() -> None:
    more = {f"t{number}": 8 for number in range(10)}
    async with cluster(**more) as (shared, producer, _):
        await asyncio.gather(*(producer.send(topic, None, b"open", []) for topic in more))
        shared.script["t3", 0].append(29)
        shared.requests.clear()
        jobs = [(topic, b"%d" % number) for topic in more for number in range(40)]
        found = await asyncio.gather(
            *(producer.send(topic, key, topic.encode() + key, []) for topic, key in jobs), return_exceptions=True
        )
        assert len(shared.requests) == 1
        refused = {job for job, outcome in zip(jobs, found, strict=True) if isinstance(outcome, BaseException)}
        assert refused == {job for job in jobs if job[0] == "t3" and wire.partition_of(job[1], 8) == 0} != set()
        stored = {value for log in shared.logs.values() for value in log} - {b"open"}
        assert stored == {topic.encode() + key for topic, key in jobs if (topic, key) not in refused}


async def test_a_topic_nobody_has_is_told_and_one_that_is_made_later_is_found() -> None:
    async with cluster(timeout=1.0) as (shared, producer, _):
        (missing,) = await send(producer, b"x", topic="later")
        assert isinstance(missing, KafkaError)
        shared.topics["later"] = 2
        assert isinstance((await send(producer, b"x", topic="later"))[0], tuple)


async def test_partitions_that_are_added_are_used() -> None:
    async with cluster(1) as (shared, producer, _):
        await send(producer, b"before")
        shared.topics[TOPIC] = 6
        shared.script[PLACE].append(6)  # makes it ask again
        await send(producer, b"again")
        await asyncio.gather(*(producer.send(TOPIC, b"%d" % key, b"x", []) for key in range(60)))
        assert {place for place, log in shared.logs.items() if log} == {(TOPIC, part) for part in range(6)}


async def test_a_handshake_that_fails_in_an_unknown_way_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    connect, refused = Channel.connect, 0

    async def refuse(*given: Any) -> Channel:
        nonlocal refused
        refused += 1
        if refused < 3:
            raise AssertionError
        return await connect(*given)

    monkeypatch.setattr(Channel, "connect", refuse)
    async with cluster() as (shared, producer, _):
        assert await send(producer, *values(3)) == [(0, number) for number in range(3)]
        assert shared.logs[PLACE] == values(3)


async def test_stopping_waits_for_what_was_given() -> None:
    async with cluster() as (shared, producer, _):
        await send(producer, b"before")
        shared.script[PLACE].extend((6, 6))
        given = asyncio.create_task(send(producer, *values(10)))
        unknown = asyncio.create_task(send(producer, b"x", topic="unknown"))
        await asyncio.sleep(0.01)
        await producer.stop()
        assert await given == [(0, number + 1) for number in range(10)]
        assert isinstance((await unknown)[0], KafkaError)
        assert isinstance((await send(producer, b"late"))[0], ProducerClosed)


async def test_stopping_does_not_wait_for_ever() -> None:
    async with cluster(timeout=1.0) as (_, producer, nodes):
        await send(producer, b"before")
        await nodes[0].stop()
        given = asyncio.create_task(send(producer, *values(3)))
        await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            await producer.stop()
        assert all(isinstance(each, KafkaError) for each in await given)


async def test_an_answer_that_does_not_fit_is_not_believed() -> None:
    async with cluster() as (shared, producer, nodes):
        await send(producer, b"before")
        honest = nodes[0].answer
        lies = iter([b"\x00" * 4, b"\x00" * 12])

        def lie(data: bytes) -> bytes | bool | None:
            found = honest(data)
            return next(lies, found) if data[:2] == b"\x00\x00" else found

        nodes[0].answer = lie  # type: ignore[method-assign]
        assert await send(producer, b"once") == [(0, 1)]
        assert shared.logs[PLACE] == [b"before", b"once"]


async def _over_tls(folder: Path) -> None:
    """A password over TLS, answers in pieces, a lost connection: the stream is changed under a real TLS transport."""
    authority = Authority(folder)
    chain, _ = authority.issue("broker", SERVER)
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(chain)
    shared = Cluster({TOPIC: 40}, password=b"secret")
    broker = Broker(shared, 1, served)
    await broker.start()
    options = {
        "security_protocol": "SASL_SSL",
        "ssl_context": ssl.create_default_context(cafile=str(authority.path)),
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "gateway",
        "sasl_plain_password": "secret",
    }
    producer = Producer(f"127.0.0.1:{broker.port}", options, timeout=8, batch_bytes=64 * 1024, record_bytes=2**20)
    await producer.start()
    shared.script[TOPIC, 3].append(LOSE_RESPONSE)
    keys = [b"%d" % number for number in range(200)]
    await asyncio.gather(*(producer.send(TOPIC, key, b"x" * 9_000 + key, []) for key in keys))
    await producer.stop()
    await broker.stop()
    stored = sorted(value[9_000:] for log in shared.logs.values() for value in log)
    assert stored == sorted(keys)
    assert shared.proven >= 3, "bootstrap, metadata and twice the producer's own"


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_tls_and_a_password(run: Callable[[Coroutine[None, None, None]], None], tmp_path: Path) -> None:
    run(_over_tls(tmp_path))


async def test_a_wrong_password_is_told() -> None:
    shared = Cluster({TOPIC: 1}, password=b"secret")
    broker = Broker(shared, 1)
    await broker.start()
    security = KafkaSecurity(protocol="SASL_PLAINTEXT", username="gateway", password="guess")
    with pytest.raises(Unavailable):
        await KafkaPublisher(f"127.0.0.1:{broker.port}", security).open()
    await broker.stop()


def test_partitions_are_those_of_other_clients() -> None:
    other, chance = DefaultPartitioner(), random.Random(7)
    for _ in range(2_000):
        key, count = chance.randbytes(chance.randint(0, 70)), chance.randint(1, 64)
        assert wire.partition_of(key, count) == other(key, list(range(count)), [])


@pytest.mark.parametrize("places", [[("a", 0)], [("a", 0), ("b", 3), ("a", 2)]])
def test_a_request_reads_as_what_was_meant(places: list[wire.Place]) -> None:
    data = wire.request(77, "us", 8_000, [(place, b"batch-%d" % place[1]) for place in places])
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    assert data[4:16] == b"\x00\x00\x00\x07\x00\x00\x00\x4d\x00\x02us"
    read = ProduceRequest_v7.decode(BytesIO(data[16:]))
    assert (read.transactional_id, read.required_acks, read.timeout) == (None, -1, 8_000)
    found = {(topic, part): batch for topic, parts in read.topics for part, batch in parts}
    assert found == {place: b"batch-%d" % place[1] for place in places}


def test_a_response_reads_as_what_was_said_and_half_of_it_as_nothing() -> None:
    said = ProduceResponse_v7(
        topics=[("a", [(0, 0, 12, -1, 0), (2, 6, -1, -1, -1)]), ("b", [(1, 0, 9, -1, 0)])], throttle_time_ms=0
    )
    data = b"\x00\x00\x00\x05" + said.encode()
    expected = {("a", 0): wire.Result(0, 12), ("a", 2): wire.Result(6, -1), ("b", 1): wire.Result(0, 9)}
    assert wire.response(data) == (5, expected)
    for size in range(len(data)):
        with pytest.raises(ValueError, match="Produce"):
            wire.response(data[:size])
