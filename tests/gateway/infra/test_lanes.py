"""Lanes keep order, merges stand between, and a partition is committed up to its lowest unfinished record only."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError

from gateway.infra import subscription as module
from gateway.infra.consuming import Record
from gateway.infra.lanes import Lanes
from gateway.infra.subscription import LANE, Subscription

ONE = TopicPartition("t", 0)


@dataclass(eq=False)
class Consumer:
    """Remembers what was committed; may refuse."""

    commits: list[dict[TopicPartition, int]] = field(default_factory=list)
    assigned: Collection[TopicPartition] = (ONE,)
    refusals: int = 0

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise CommitFailedError
        self.commits.append(offsets)

    def assignment(self) -> Collection[TopicPartition]:
        return self.assigned

    @property
    def last(self) -> int | None:
        return self.commits[-1][ONE] if self.commits else None


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMIT_SECONDS", 0.005)
    monkeypatch.setattr(module, "LEAVE_SECONDS", 0.1)


def record(offset: int, key: str = "k", lane: str = "") -> Record:
    return Record(topic="t", partition=0, offset=offset, key=key, headers={LANE: lane} if lane else {}, value=b"")


async def until(check: object) -> None:
    assert callable(check)
    async with asyncio.timeout(5):
        while not check():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.002)


@dataclass
class Gates:
    """A handler whose records wait until they are let through."""

    begun: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    gates: dict[int, asyncio.Event] = field(default_factory=dict)

    def hold(self, *offsets: int) -> None:
        self.gates |= {offset: asyncio.Event() for offset in offsets}

    async def __call__(self, record: Record) -> None:
        self.begun.append(record.offset)
        if (gate := self.gates.get(record.offset)) is not None:
            await gate.wait()
        self.done.append(record.offset)


async def run(work: Sequence[tuple[str, str]], seed: int) -> list[tuple[str, int]]:
    """Begin all of (key, lane), each taking its own time; ("begin" | "end", number) as it happened."""
    lanes, happened, chance = Lanes(), list[tuple[str, int]](), random.Random(seed)

    def job(number: int) -> object:
        async def go() -> None:
            happened.append(("begin", number))
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            happened.append(("end", number))

        return go

    for number, (key, lane) in enumerate(work):
        lanes.add(key, lane, job(number))  # type: ignore[arg-type]
        if chance.random() < 0.3:
            await asyncio.sleep(0)
    await until(lambda: len(happened) == 2 * len(work))
    await asyncio.sleep(0)
    assert len(lanes) == 0, "nothing is kept of what has ended"
    return happened


@pytest.mark.parametrize("seed", range(50))
async def test_what_must_not_overtake_does_not(seed: int) -> None:
    chance = random.Random(seed)
    work = [(chance.choice("ab"), chance.choice(["", "1", "2", "3", "1", "2", "3"])) for _ in range(40)]
    at = {event: place for place, event in enumerate(await run(work, seed))}
    for later, (key, lane) in enumerate(work):
        for earlier, (other, before) in enumerate(work[:later]):
            if key == other and (lane == before or "" in (lane, before)):
                assert at["end", earlier] < at["begin", later], (earlier, later)


async def test_lanes_of_a_key_and_other_keys_go_side_by_side() -> None:
    gates, consumer = Gates(), Consumer()
    gates.hold(0, 1, 2)
    subscription = Subscription(gates)
    for offset, (key, lane) in enumerate([("a", "1"), ("a", "2"), ("b", ""), ("a", "1"), ("a", "")]):
        await subscription.put(record(offset, key, lane), consumer)
    await until(lambda: gates.begun == [0, 1, 2])
    await subscription.close()


async def test_what_is_slow_holds_its_own_key_and_the_commit_and_nothing_else() -> None:
    gates, consumer = Gates(), Consumer()
    gates.hold(10)
    subscription = Subscription(gates)
    for offset, key in enumerate(["slow", "x", "slow", "y", "z"], 10):
        await subscription.put(record(offset, key), consumer)
    await until(lambda: gates.done == [11, 13, 14])
    await asyncio.sleep(0.05)
    assert consumer.last is None, "after a crash the slow one is read again"
    gates.gates[10].set()
    await until(lambda: consumer.last == 15)
    assert gates.done == [11, 13, 14, 10, 12]
    await subscription.close()


async def test_a_full_window_stops_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 3)
    gates, consumer = Gates(), Consumer()
    gates.hold(0)
    subscription = Subscription(gates)
    for offset in range(3):
        await subscription.put(record(offset), consumer)
    reading = asyncio.create_task(subscription.put(record(3), consumer))
    await asyncio.sleep(0.05)
    assert not reading.done()
    gates.gates[0].set()
    await asyncio.wait_for(reading, 5)
    await until(lambda: consumer.last == 4)
    await subscription.close()


async def test_a_revoked_partition_is_committed_as_far_as_it_is_done_and_its_rest_forgotten() -> None:
    gates, consumer = Gates(), Consumer()
    gates.hold(1)
    subscription = Subscription(gates)
    for offset in range(4):
        await subscription.put(record(offset, "k" if offset else "first"), consumer)
    await until(lambda: gates.begun == [0, 1])
    await subscription.on_partitions_revoked([ONE])
    assert consumer.last == 1, "what was not done is read again, by whoever has the partition now"
    gates.gates[1].set()
    await asyncio.sleep(0.05)
    assert gates.begun == [0, 1], "what waited was not begun"
    assert consumer.last == 1
    # It comes back to us: the same records again, behind the one that was still at work.
    for offset in range(1, 4):
        await subscription.put(record(offset), consumer)
    await until(lambda: consumer.last == 4)
    assert gates.begun == [0, 1, 1, 2, 3]
    await subscription.close()


async def test_the_rest_of_a_reading_is_dropped_once_its_partition_went_though_it_came_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WINDOW", 2)
    gates, consumer = Gates(), Consumer()
    gates.hold(0)
    subscription = Subscription(gates)
    gone = TopicPartition(ONE.topic, ONE.partition + 1)
    rest = [replace(record(number, "other"), partition=gone.partition) for number in (110, 111)]
    reading = asyncio.create_task(subscription.put_all([record(0), record(1), record(2), *rest], consumer))
    await until(lambda: gates.begun == [0])
    await subscription.on_partitions_revoked([gone])
    await subscription.on_partitions_assigned([gone])
    gates.gates[0].set()
    await reading
    await until(lambda: consumer.last == 3)
    assert gates.begun == [0, 1, 2]
    again = [replace(one, offset=one.offset - 5) for one in rest]
    await subscription.put_all(again, consumer)
    await until(lambda: gates.begun == [0, 1, 2, 105, 106])
    await subscription.close()


async def test_closing_waits_for_what_is_at_work_and_begins_nothing() -> None:
    gates, consumer = Gates(), Consumer()
    gates.hold(0)
    subscription = Subscription(gates)
    for offset in range(3):
        await subscription.put(record(offset), consumer)
    await until(lambda: gates.begun == [0])
    closing = asyncio.create_task(subscription.close())
    await asyncio.sleep(0.02)
    gates.gates[0].set()
    await closing
    await subscription.put(record(3), consumer)
    assert (gates.begun, consumer.last) == ([0], 1)


async def test_a_refused_commit_is_tried_again_and_foreign_partitions_are_left_alone() -> None:
    gates, consumer = Gates(), Consumer(refusals=2)
    subscription = Subscription(gates)
    await subscription.put(record(0), consumer)
    await until(lambda: consumer.last == 1)
    consumer.assigned = ()
    await subscription.put(record(1), consumer)
    await asyncio.sleep(0.05)
    assert consumer.last == 1
    await subscription.close()
