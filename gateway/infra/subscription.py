"""Records on their way: side by side by lane, committed up to the lowest that is not done (decision 0070).

A handler that commits when it returns makes all keys of a partition wait for the slowest. Here a record is only begun
before the next one is read; the offset that is committed is that of the lowest unfinished one, so that after a crash
whatever was not done is read again (at least once, design D3). A window bounds what is begun.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError

from gateway.infra.lanes import BARRIER, Lanes

if TYPE_CHECKING:
    from gateway.infra.consuming import Record

WINDOW = 1000
"""Unfinished records of a subscription, after which no more are read: in an outage they all wait in memory."""
COMMIT_SECONDS = 0.1
"""Least time between two commits: one per record would cost a round trip each."""
LEAVE_SECONDS = 5.0
"""How long what is being handled is waited for when its partition goes to another consumer, or at the end."""
LANE = "ce_lane"


class Committing(Protocol):
    """aiokafka's consumer, as far as it is needed here."""

    def commit(self, offsets: dict[TopicPartition, int]) -> Awaitable[None]:
        """Commit the offsets of the next records to read."""
        ...

    def assignment(self) -> Collection[TopicPartition]:
        """The partitions that are its own now."""
        ...


@dataclass(slots=True, eq=False)
class Partition:
    """What one assignment of a partition has begun and not ended."""

    consumer: Committing
    leaving: bool = False
    """It goes to another consumer, or we stop: what waits is not begun any more."""
    running: set[asyncio.Task[None]] = field(default_factory=set)
    _unfinished: set[int] = field(default_factory=set)
    _next: int = -1
    _committed: int = -1

    def __len__(self) -> int:
        return len(self._unfinished)

    def begin(self, offset: int) -> None:
        """A record was read."""
        if self._next < 0:
            self._committed = offset
        self._unfinished.add(offset)
        self._next = max(self._next, offset + 1)

    def end(self, offset: int) -> None:
        """A record was handled to its end."""
        self._unfinished.discard(offset)

    def due(self) -> int | None:
        """The offset to commit: that of the next record to read after a restart; None when it is committed."""
        position = min(self._unfinished, default=self._next)
        return position if position > self._committed else None

    def committed(self, offset: int) -> None:
        """`offset` was committed."""
        self._committed = offset


class Subscription(ConsumerRebalanceListener):  # type: ignore[misc]  # the library has no types
    """The records of a subscriber's consumers. `handle` never raises: it is guarded."""

    def __init__(self, handle: Callable[[Record], Awaitable[None]]) -> None:
        self._handle = handle
        self._lanes = Lanes()
        self._partitions: dict[TopicPartition, Partition] = {}
        self._ended = asyncio.Event()
        self._committer: asyncio.Task[None] | None = None
        self._closed = False
        self._left: Counter[TopicPartition] = Counter()
        """How often each partition went to another consumer."""

    async def put_all(self, records: Sequence[Record], consumer: Committing) -> None:
        """Begin the records of one reading.

        What is left of a partition that goes to another consumer meanwhile is not begun, even when it has come back: it
        is read again from where it was committed, and a record from further on must not be taken for the first one.
        """
        before = self._left.copy()
        for record in records:
            name = TopicPartition(record.topic, record.partition)
            if self._left[name] == before[name]:
                await self.put(record, consumer)

    async def put(self, record: Record, consumer: Committing) -> None:
        """Begin a record; returns at once, or when the window has room."""
        if self._closed:
            return
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._committing())
        found = self._partitions.setdefault(TopicPartition(record.topic, record.partition), Partition(consumer))
        while sum(map(len, self._partitions.values())) >= WINDOW and not found.leaving:
            self._ended.clear()
            await self._ended.wait()
        if found.leaving:
            return
        found.begin(record.offset)
        work = partial(self._work, record, found)
        self._lanes.add(f"{record.topic}:{record.key}", record.headers.get(LANE, BARRIER), work)

    async def _work(self, record: Record, partition: Partition) -> None:
        if partition.leaving:
            return
        task = cast("asyncio.Task[None]", asyncio.current_task())
        partition.running.add(task)
        try:
            await self._handle(record)
            partition.end(record.offset)
        finally:
            partition.running.discard(task)
            self._ended.set()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Nothing: a partition begins with its first record."""

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Wait a little for what is being handled, commit what is done, and forget the rest: it is read again."""
        names = list(revoked)
        self._left.update(names)
        await self._leave([one for one in names if one in self._partitions])

    async def close(self) -> None:
        """End: what is being handled is finished and committed, what waits is left for the next start."""
        self._closed = True
        await self._leave(list(self._partitions))
        if self._committer is not None:
            self._committer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._committer

    async def _leave(self, names: list[TopicPartition]) -> None:
        for name in names:
            self._partitions[name].leaving = True
        self._ended.set()
        if running := {task for name in names for task in self._partitions[name].running}:
            await asyncio.wait(running, timeout=LEAVE_SECONDS)
        await self._commit()
        for name in names:
            self._partitions.pop(name, None)

    async def _committing(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            await self._commit()

    async def _commit(self) -> None:
        due: dict[Committing, dict[TopicPartition, tuple[Partition, int]]] = {}
        for name, found in self._partitions.items():
            if (offset := found.due()) is not None and name in found.consumer.assignment():
                due.setdefault(found.consumer, {})[name] = (found, offset)
        for consumer, offsets in due.items():
            try:
                await consumer.commit({name: offset for name, (_, offset) in offsets.items()})
            except (KafkaError, ConsumerStoppedError, OSError):
                continue  # tried again in a moment, or the partition is another's by now, who reads the records again
            for found, offset in offsets.values():
                found.committed(offset)
