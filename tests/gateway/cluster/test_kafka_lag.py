"""Consumer lag read off a real cluster."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from gateway.infra.kafka_lag import collector
from gateway.ops.lag import GroupLag, Status, judge
from gateway.stack.cache import cache_folder
from gateway.stack.java import jars, java

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[3]


def now() -> datetime:
    return datetime.now(UTC)


async def make(kafka: str, topic: str, *counts: int, ages: tuple[float, ...] = ()) -> None:
    """A topic with so many records in each partition; `ages`: seconds, one per record of partition 0."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(topic, len(counts), 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all", enable_idempotence=True) as producer:
        for partition, count in enumerate(counts):
            for number in range(count):
                at = int((time.time() - ages[number]) * 1000) if ages and partition == 0 else None
                await producer.send(topic, b"x", partition=partition, timestamp_ms=at)


@asynccontextmanager
async def member(kafka: str, group: str, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of a group that reads nothing by itself and commits when told."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    yield consumer
    await consumer.stop()


async def lag(kafka: str, group: str, *topics: str) -> GroupLag:
    """The lag of a group now."""
    async with collector(kafka, now) as collecting:
        (reading,) = await collecting.collect({group: topics} if topics else {}, [group])
    return judge(reading)


async def test_a_live_group(kafka: str) -> None:
    await make(kafka, "lag.live.v1", 10, 20, 0)
    async with member(kafka, "live", "lag.live.v1") as consumer:
        await consumer.commit({TopicPartition("lag.live.v1", 0): 10, TopicPartition("lag.live.v1", 1): 5})
        found = await lag(kafka, "live", "lag.live.v1")
    assert (found.state, found.members, found.total) == ("Stable", 1, 15)
    assert [(part.committed, part.lag, part.status) for part in found.partitions] == [
        (10, 0, Status.OK),
        (5, 15, Status.OK),
        (None, 0, Status.NEVER),
    ]
    left = await lag(kafka, "live", "lag.live.v1")
    assert (left.state, left.members, left.abandoned) == ("Empty", 0, True)


async def test_a_group_that_never_was_is_shown_as_never_committed(kafka: str) -> None:
    await make(kafka, "lag.never.v1", 4)
    found = await lag(kafka, "never", "lag.never.v1")
    (part,) = found.partitions
    assert (part.committed, part.lag, part.status, found.members) == (None, 4, Status.NEVER, 0)


@pytest.mark.parametrize(
    ("offsets", "expected"), [((3, 3, 3), Status.STALL), ((3, 8, 4), Status.REWIND), ((3, 4, 5), Status.OK)]
)
async def test_the_commits_tell_the_status_at_one_look(kafka: str, offsets: tuple[int, ...], expected: Status) -> None:
    topic = f"lag.status.{expected.name.lower()}.v1"
    await make(kafka, topic, 20)
    async with member(kafka, topic, topic) as consumer:
        for offset in offsets:
            await consumer.commit({TopicPartition(topic, 0): offset})
            await asyncio.sleep(1.1)
        assert (await lag(kafka, topic)).status is expected


async def test_looking_again_reads_what_is_new(kafka: str) -> None:
    await make(kafka, "lag.again.v1", 20)
    async with member(kafka, "again", "lag.again.v1") as consumer, collector(kafka, now) as collecting:
        await consumer.commit({TopicPartition("lag.again.v1", 0): 9})
        (first,) = await collecting.collect({}, ["again"])
        await asyncio.sleep(1.1)
        await consumer.commit({TopicPartition("lag.again.v1", 0): 3})
        (second,) = await collecting.collect({}, ["again"])
    assert judge(first).status is Status.OK
    assert judge(second).status is Status.REWIND
    assert [commit.offset for commit in second.partitions[0].commits] == [9, 3]


async def test_lag_in_time_is_within_a_tenth_at_a_steady_rate(kafka: str) -> None:
    count = 2000  # one record each half second, the last one now
    await make(kafka, "lag.steady.v1", count, ages=tuple((count - number) / 2 for number in range(count)))
    async with member(kafka, "steady", "lag.steady.v1") as consumer:
        for behind in (60, 333, 900):
            await consumer.commit({TopicPartition("lag.steady.v1", 0): count - 2 * behind})
            found = await lag(kafka, "steady")
            assert found.seconds == pytest.approx(behind, rel=0.1)


async def test_the_numbers_are_those_of_kafkas_own_tool(kafka: str) -> None:
    await make(kafka, "lag.tool.v1", 7, 11, 13)
    async with member(kafka, "tool", "lag.tool.v1") as consumer:
        await consumer.commit({TopicPartition("lag.tool.v1", 0): 7, TopicPartition("lag.tool.v1", 1): 2})
        found = await lag(kafka, "tool", "lag.tool.v1")
        libraries = jars(cache_folder(), "org.apache.kafka:kafka-tools:4.1.1", lambda _: None, "nothing")
        command = [java(), "-cp", f"{libraries}/*", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"]
        process = await asyncio.create_subprocess_exec(
            *command, "--bootstrap-server", kafka, "--describe", "--group", "tool", stdout=subprocess.PIPE
        )
        output, _ = await process.communicate()
    rows = re.findall(r"^tool +\S+ +(\d+) +(\d+|-) +(\d+|-) +(\d+|-)", output.decode(), re.MULTILINE)
    theirs = {int(number): (committed, end, behind) for number, committed, end, behind in rows}
    ours = {
        part.partition: (str(part.committed), str(part.end), str(part.lag))
        if part.committed is not None
        else ("-", str(part.end), "-")
        for part in found.partitions
    }
    assert len(rows) == 3
    assert ours == theirs


async def test_the_command_line(kafka: str) -> None:
    await make(kafka, "lag.shown.v1", 5)
    async with member(kafka, "shown", "lag.shown.v1") as consumer:
        await consumer.commit({TopicPartition("lag.shown.v1", 0): 2})
    command = [sys.executable, "-m", "gateway", "lag", "--kafka", kafka, "--group", "shown"]

    def gateway(*arguments: str) -> subprocess.CompletedProcess[str]:
        whole = [*command, *arguments]
        return subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    shown = gateway("--json")
    (group,) = json.loads(shown.stdout)
    assert (group["lag"], group["members"], group["abandoned"]) == (3, 0, True)
    assert shown.returncode == 1
    table = gateway()
    assert "no members" in table.stdout
    assert "Traceback" not in table.stderr
